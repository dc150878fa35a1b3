"""The loop that trains every stage, on one processor or on many GPUs.

Everything random is drawn from the run's seed and the step. So a killed run resumes from its last state exactly as it
would have continued, and several devices learn what one would have learned.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.distributed.devices import prepare
from depth_anything_ros.training.distributed.ranks import (
    FailedError,
    agree,
    check_same_steps,
    on_all_ranks,
    on_rank_zero,
)
from depth_anything_ros.training.ema import MovingAverage
from depth_anything_ros.training.initial_network import first_pixels
from depth_anything_ros.training.input.batch import Batch
from depth_anything_ros.training.input.batch_reader import BatchReader
from depth_anything_ros.training.input.batches import open_batches
from depth_anything_ros.training.input.samples import Data
from depth_anything_ros.training.optimizer import build_optimizer, lr_factor
from depth_anything_ros.training.run.best_weights import BestWeights
from depth_anything_ros.training.run.checkpoints import Checkpoints, StateError, save_state
from depth_anything_ros.training.run.fingerprint import check_same_run, fingerprint_of, versions_of
from depth_anything_ros.training.run.folder import StageFolder, describe_run, write_record
from depth_anything_ros.training.run.log import ProgressBar, RunLog
from depth_anything_ros.training.run.memory_errors import MemoryRanOutError, memory_that_ran_out
from depth_anything_ros.training.run.provenance import origins_of
from depth_anything_ros.training.run.stop_request import StoppedError, StopRequest
from depth_anything_ros.training.run.whole_state import gather_state, restore_state
from depth_anything_ros.training.stages import build_objective, parts_of, scoring_of
from depth_anything_ros.training.training_focal import training_focal
from depth_anything_ros.training.validation.scorer import Validation, format_scores

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """Gradients are NaN or infinite; the batch that caused it is saved in the run's folder."""


RAISED_ON_ALL_RANKS = (DivergedError, FailedError, StateError, StoppedError)
"""Errors that all processes of a run raise together."""


class Training:
    """One run of one stage, and its state: network, optimizer, step.

    Args:
        configuration: the stage's settings.
        data: the opened sources.
        folder: the run's folder. The run resumes from the newest state in it.
        fabric: the devices, launched.

    Raises:
        ValueError: the folder holds a run with another configuration or a damaged state, or processes see
            different folders.
        DataError: a sample that is needed at once cannot be read.
    """

    def __init__(self, configuration: StageConfiguration, data: Data, folder: StageFolder, fabric: Fabric) -> None:
        self.configuration, self.folder, self.fabric = configuration, folder, fabric
        settings = configuration.run
        fabric.seed_everything(settings.seed, verbose=False)
        self.samples, self.sources = data.samples, data.sources
        self.origins = origins_of(configuration)
        is_metric = configuration.network.max_depth is not None
        self.training_focal = training_focal(configuration, self.samples) if is_metric else None
        self.scoring = scoring_of(configuration, self.training_focal)
        self.validation = self._open_validation()
        self.objective = build_objective(configuration, first_pixels(self.samples))
        prepare(self.objective, settings)
        self.module = fabric.setup_module(self.objective)
        self.network = self.objective.network
        self.optimizer = build_optimizer(parts_of(self.network), configuration.optimizer)
        self._wrapped_optimizer = fabric.setup_optimizers(self.optimizer)
        decay = configuration.optimizer.ema_decay
        self.average = MovingAverage(self.network, decay) if decay else None
        self.states = Checkpoints(folder.states, settings.keep)
        self._best = BestWeights(folder.best, self.validation, self.scoring.best, fabric)
        self.step = self._saved = self._validated = 0
        self._is_consistent = True
        self._resume(self.states.newest())
        best_step = self._best.resume(self.step)
        check_same_steps(fabric, [self.step, best_step], folder.root)
        if fabric.is_global_zero:
            folder.remove_left_behind()
        self._stop = StopRequest()

    def _open_validation(self) -> Validation | None:
        sources, configuration = self.sources["validation"], self.configuration
        if not sources:
            return None
        count = configuration.data.validation_images
        return Validation(sources, count, configuration.scored_size, self.scoring, self.fabric)

    def run(self, stop: StopRequest | None = None) -> dict[str, float]:
        """Train to the last step; return the last validation scores.

        All processes raise the same error together, after the first process has written its files. Only
        `MemoryRanOutError` comes in one process alone.

        Raises:
            DivergedError: gradients are NaN or infinite.
            StoppedError: ``stop`` was requested, in this process or another; the state is saved.
            FailedError: images cannot be read, or a process that reads them has died; the state is saved.
            StateError: a state could not be written.
            MemoryRanOutError: memory ran out during a step; other processes do not know of it.
        """
        configuration, fabric = self.configuration, self.fabric
        self._stop = stop or self._stop
        self._write_record()
        loader = open_batches(configuration, self.samples, self.step, fabric.global_rank, fabric.world_size)
        bar = ProgressBar(configuration.name, self.step, configuration.optimizer.steps, shown=fabric.is_global_zero)
        run_log = RunLog(self.folder, self.step) if fabric.is_global_zero else None
        logging_run = closing(run_log) if run_log else nullcontext()
        with closing(bar), logging_run, closing(BatchReader(loader, fabric.device)) as batches:
            try:
                return self._train_steps(batches, run_log, bar)
            except StoppedError:
                self._save_unsaved()
                raise StoppedError(
                    f"stopped at step {self.step}; run the same command to continue from there"
                ) from None
            except FailedError as error:
                raise FailedError(f"{error}; {self._save_unsaved()}") from error
            except RAISED_ON_ALL_RANKS:
                raise
            except Exception as error:
                self._end_alone(error)
                raise

    def _train_steps(self, batches: Iterator[Batch], run_log: RunLog | None, bar: ProgressBar) -> dict[str, float]:
        settings, last, scores = self.configuration.run, self.configuration.optimizer.steps, {}
        agreed = self._agreed_batches(batches)
        while True:
            is_last = self.step == last
            if (
                self.validation
                and self._validated < self.step
                and (is_last or self.step % settings.validate_every == 0)
            ):
                scores = self._validate(run_log, bar)
            if self._saved < self.step and (is_last or self.step % settings.save_every == 0):
                self._save()
            if is_last:
                break
            losses = self.train_step(agreed)
            bar.step()
            if self.step % settings.log_every == 0 or self.step == last:
                values = {name: self.fabric.all_reduce(value).item() for name, value in losses.items()}
                bar.show_values(values)
                if run_log:
                    run_log.add_values(self.step, values, "loss")
        self._check_stop()
        on_rank_zero(self.fabric, self.states.wait)
        return scores

    def _agreed_batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield each batch once every process has its own and none is to stop; else all raise."""
        while True:
            batch = reason = None
            try:
                with self._stop.interrupting():
                    batch = next(batches)
            except Exception as error:
                reason = error.with_traceback(None)  # the traceback holds iterators that must be closed
                if memory := memory_that_ran_out(error):
                    reason = FailedError(f"{memory} is too small for the images that are read: lower data.workers")
            agree(self.fabric, reason)
            yield batch

    def _check_stop(self) -> None:
        """Raise `StoppedError` in all processes if one is to stop."""
        agree(self.fabric, StoppedError() if self._stop.is_made else None)

    def _save_unsaved(self) -> str:
        """Save the present state unless it is saved already; return a text that says what there is."""
        if self.step == 0:
            return "no step was done yet"
        if self._saved < self.step:
            self._save()
        on_rank_zero(self.fabric, self.states.wait)
        return f"the state of step {self.step} is saved, run the same command to continue from there"

    def _end_alone(self, error: Exception) -> None:
        """Handle an error in this process alone: save the state if it is consistent and there are no other processes.

        Raise `MemoryRanOutError` if memory ran out; else log where the state is, and the caller raises ``error``.
        """
        saved = f"the last state is in {self.folder.states}"
        if self.fabric.world_size == 1 and self._is_consistent:
            try:
                self._wrapped_optimizer.zero_grad(set_to_none=True)
                saved = self._save_unsaved()
            except Exception as second:
                saved = f"the state of step {self.step} could not be saved: {second}"
        if memory := memory_that_ran_out(error):
            raise MemoryRanOutError(
                f"{memory} is too small for a step: set optimizer.grad_accum_steps to 2 or more, which sends a step's "
                "images in parts and learns the same, or run.activation_checkpointing to true, or lower data.sizes; "
                f"{saved}"
            ) from error
        log.error("training ends at step %d because of an error: %s", self.step, saved)

    def train_step(self, batches: Iterator[Batch]) -> dict[str, torch.Tensor]:
        """Do one step with the next batches; return the parts of its loss on this device, scalars by name."""
        settings = self.configuration.optimizer
        factor = lr_factor(self.step, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["rate"]  # "rate" is the base lr; optimizer states store it by this name
        used, total = [], {}
        for part in range(settings.grad_accum_steps):
            batch = next(batches)
            used.append(batch)
            is_last = part == settings.grad_accum_steps - 1
            with self.fabric.no_backward_sync(self.module, enabled=not is_last):
                losses = {name: value / settings.grad_accum_steps for name, value in self.module(batch).items()}
                self.fabric.backward(sum(losses.values()))
            for name, value in losses.items():
                total[name] = total.get(name, 0.0) + value.detach()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.grad_clip)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        if not torch.isfinite(norm):
            self._raise_diverged(used, total)
        self._is_consistent = False
        self._wrapped_optimizer.step()
        self._wrapped_optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.step + 1)
        self.step += 1
        self._is_consistent = True
        return total

    def _raise_diverged(self, batches: list[Batch], losses: dict[str, torch.Tensor]) -> None:
        path = self.folder.root / f"diverged_step{self.step}_device{self.fabric.global_rank}.pt"
        state = {"step": self.step, "batches": [batch.to_dictionary() for batch in batches]}
        on_all_ranks(self.fabric, lambda: save_state(path, state))
        on_rank_zero(self.fabric, self.states.wait)
        values = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
        raise DivergedError(
            f"gradients at step {self.step} are NaN or infinite (losses: {values}); the batch is in {path}, the last "
            f"state in {self.folder.states}. Lower optimizer.encoder_lr or decoder_lr, raise warmup_steps, or set "
            "run.precision to 32-true"
        )

    def _validate(self, run_log: RunLog | None, bar: ProgressBar) -> dict[str, float]:
        """Score the averaged weights, or the weights if there is no average; keep them if they are the best."""
        with self._averaged():
            scores, by_source, picture = self.validation.score(self.module, self._check_stop)
            if run_log:
                several = by_source if len(by_source) > 1 else {}
                texts = [f"{format_scores(of_one)} on {source}" for source, of_one in several.items()]
                bar.print_line("; ".join([f"step {self.step}: validation: {format_scores(scores)}", *texts]))
                run_log.add_values(self.step, scores, "validation")
                for source, of_one in several.items():
                    run_log.add_values(self.step, of_one, f"validation/{source}")
                if picture is not None:
                    run_log.add_picture(self.step, "validation", picture)
            self._best.keep_if_better(self.step, scores, by_source, self.network)
        self._validated = self.step
        return scores

    def best(self) -> dict[str, Any] | None:
        """Return the step, scores and weights with the best validation scores, or None; see `BestWeights.load`."""
        return self._best.load(self.step)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        if self.average is None:
            yield
        else:
            with self.average.applied():
                yield

    def _save(self) -> None:
        """Gather the state on all devices; the first process writes it in a thread while training goes on."""
        progress = {"step": self.step, "validated": self._validated, "fingerprint": self._fingerprint()}
        state = {**progress, **gather_state(self.objective, self.optimizer, self.average)}
        on_rank_zero(self.fabric, lambda: self.states.save(self.step, state))
        self._saved = self.step

    def _resume(self, state: dict[str, Any] | None) -> None:
        """Restore the state of an earlier call, if there is one."""
        if state is None:
            return
        check_same_run(state, self._fingerprint(), self.folder.root)
        restore_state(state, self.objective, self.optimizer, self.average)
        self.step = self._saved = state["step"]
        self._validated = state.get("validated", self.step)  # a stopped run saves its state without a validation

    def _fingerprint(self) -> str:
        learned = {kind: self.sources[kind] for kind in self.samples.mixtures}
        return fingerprint_of(self.configuration, learned, self.origins)

    def _write_record(self) -> None:
        """Record what this run, or its continuation, is made from."""
        if self.fabric.is_global_zero:
            versions = versions_of(self.sources)
            record = describe_run(self.configuration.to_dictionary(), versions, self.fabric.world_size)
            write_record(self.folder.record, {"from_step": self.step, "origins": self.origins, **record})
