"""The loop that trains every stage, on one processor or on many GPUs.

Whatever is random is drawn from the run's seed and the step, so that a run that was killed goes on from its last state
exactly as it would have gone on without, and several devices learn what one would have learned.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict

from depth_anything_ros.data.sources import name_and_version
from depth_anything_ros.training.configuration import StageConfiguration, without_places
from depth_anything_ros.training.distributed.devices import prepare
from depth_anything_ros.training.distributed.ranks import (
    FailedError,
    agree,
    check_all_stand_alike,
    on_rank_zero,
    together,
)
from depth_anything_ros.training.earlier_names import state_with_present_names, with_present_names
from depth_anything_ros.training.ema import MovingAverage
from depth_anything_ros.training.initial_network import first_pixels
from depth_anything_ros.training.input.batch_reader import BatchReader
from depth_anything_ros.training.input.batches import Batch, Data, open_batches
from depth_anything_ros.training.optimizer import build_optimizer, rate_factor
from depth_anything_ros.training.run.checkpoints import Checkpoints, StateError, load_state, save_state
from depth_anything_ros.training.run.folder import StageFolder, describe_run, differences, write_record
from depth_anything_ros.training.run.log import Bar, RunLog
from depth_anything_ros.training.run.memory_errors import MemoryRanOutError, memory_that_ran_out
from depth_anything_ros.training.run.provenance import origins_of
from depth_anything_ros.training.run.stop_request import StoppedError, StopRequest
from depth_anything_ros.training.run.whole_state import WHOLE, gather, put_back
from depth_anything_ros.training.stages import build_objective, parts_of, scoring_of
from depth_anything_ros.training.training_focal import training_focal
from depth_anything_ros.training.validation.predictions import is_better
from depth_anything_ros.training.validation.scorer import Scores, Validation

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """Gradients are no longer numbers; the batch that did it lies beside the run's states."""


TOGETHER = (DivergedError, FailedError, StateError, StoppedError)
"""Errors that all processes of a run raise together."""


class Training:
    """One run of one stage: everything that changes while it lasts."""

    def __init__(self, configuration: StageConfiguration, data: Data, folder: StageFolder, fabric: Fabric) -> None:
        """Builds all that the run needs and takes up the newest state, where there is one.

        Raises:
            ValueError: the folder holds a run with another configuration or a damaged state, or is another folder for
                another process.
            DataError: a sample that is needed at once cannot be read.
        """
        self.configuration, self.folder, self.fabric = configuration, folder, fabric
        settings = configuration.run
        fabric.seed_everything(settings.seed, verbose=False)
        self.samples, self.sources = data.samples, data.sources
        self.origins = origins_of(configuration)
        is_metric = configuration.network.max_depth is not None
        self.training_focal = training_focal(configuration, self.samples) if is_metric else None
        self.scoring = scoring_of(configuration, self.training_focal)
        self.validation = self._choose_validation()
        self.objective = build_objective(configuration, first_pixels(self.samples))
        prepare(self.objective, settings)
        self.module = fabric.setup_module(self.objective)
        self.network = self.objective.network
        self.optimizer = build_optimizer(parts_of(self.network), configuration.optimizer)
        self._wrapped_optimizer = fabric.setup_optimizers(self.optimizer)
        decay = configuration.optimizer.ema_decay
        self.average = MovingAverage(self.network, decay) if decay else None
        self.states = Checkpoints(folder.states, settings.keep)
        self.step = self._saved = self._validated = 0
        self._is_whole = True
        self._resume(self.states.newest())
        best = self.best()
        self._best = best["scores"] if best else None
        check_all_stand_alike(fabric, [self.step, best["step"] if best else 0], folder.root)
        if fabric.is_global_zero:
            folder.remove_left_behind()
        self._stop = StopRequest()

    def _choose_validation(self) -> Validation | None:
        sources, configuration = self.sources["validation"], self.configuration
        if not sources:
            return None
        count = configuration.data.validation_images
        return Validation(sources, count, configuration.scored_size, self.scoring, self.fabric)

    def run(self, stop: StopRequest | None = None) -> dict[str, float]:
        """Trains to the last step; returns the last scores on held-out images.

        Raises:
            DivergedError: gradients became NaN or infinite.
            StoppedError: ``stop`` was made, in this process or another; the state is saved.
            FailedError: images cannot be read, or a process that reads them has died; the state is saved.
            StateError: a state could not be written.
            MemoryRanOutError: in the midst of a step, of which other processes know nothing.

        All processes raise the others together, when what the first of them had to write is written.
        """
        configuration, fabric = self.configuration, self.fabric
        self._stop = stop or self._stop
        self._record()
        loader = open_batches(configuration, self.samples, self.step, fabric.global_rank, fabric.world_size)
        bar = Bar(configuration.name, self.step, configuration.optimizer.steps, shown=fabric.is_global_zero)
        run_log = RunLog(self.folder, self.step) if fabric.is_global_zero else None
        logging_run = closing(run_log) if run_log else nullcontext()
        with closing(bar), logging_run, closing(BatchReader(loader, fabric.device)) as batches:
            try:
                return self._steps(batches, run_log, bar)
            except StoppedError:
                self._save_what_is_new()
                raise StoppedError(
                    f"stopped at step {self.step} as asked; the same command goes on from there"
                ) from None
            except FailedError as error:
                raise FailedError(f"{error}; {self._save_what_is_new()}") from error
            except TOGETHER:
                raise
            except Exception as error:
                self._end_alone(error)
                raise

    def _steps(self, batches: Iterator[Batch], run_log: RunLog | None, bar: Bar) -> dict[str, float]:
        settings, last, scores = self.configuration.run, self.configuration.optimizer.steps, {}
        agreed = self._agreed(batches)
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
            losses = self.learn(agreed)
            bar.step()
            if self.step % settings.log_every == 0 or self.step == last:
                values = {name: self.fabric.all_reduce(value).item() for name, value in losses.items()}
                bar.numbers(values)
                if run_log:
                    run_log.numbers(self.step, values, "loss")
        self._go_on()
        on_rank_zero(self.fabric, self.states.wait)
        return scores

    def _agreed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, each when every process has its own and none was asked to stop; else all raise."""
        while True:
            batch = reason = None
            try:
                with self._stop.interrupting():
                    batch = next(batches)
            except Exception as error:
                reason = error.with_traceback(None)  # which holds what is to be closed
                if memory := memory_that_ran_out(error):
                    reason = FailedError(f"{memory} does not hold the images that are read: lower data.workers")
            agree(self.fabric, reason)
            yield batch

    def _go_on(self) -> None:
        """Raises `StoppedError`, in all processes, where one was asked to stop."""
        agree(self.fabric, StoppedError() if self._stop.is_made else None)

    def _save_what_is_new(self) -> str:
        """Saves the state that is reached, unless it is saved already; says what there is."""
        if self.step == 0:
            return "nothing had been learned yet"
        if self._saved < self.step:
            self._save()
        on_rank_zero(self.fabric, self.states.wait)
        return f"the state of step {self.step} is saved, and the same command goes on from there"

    def _end_alone(self, error: Exception) -> None:
        """Saves the state after an error that other processes know nothing of, if it is whole and there are none.

        Raises `MemoryRanOutError` where it did; else the error itself is to be raised, and the log says what became of
        the state.
        """
        saved = f"the last state is in {self.folder.states}"
        if self.fabric.world_size == 1 and self._is_whole:
            try:
                self._wrapped_optimizer.zero_grad(set_to_none=True)
                saved = self._save_what_is_new()
            except Exception as second:
                saved = f"the state of step {self.step} could not be saved: {second}"
        if memory := memory_that_ran_out(error):
            raise MemoryRanOutError(
                f"{memory} does not hold a step: set optimizer.grad_accum_steps to 2 or more, which sends a step's "
                "images in parts and learns the same, or run.activation_checkpointing to true, or lower data.sizes; "
                f"{saved}"
            ) from error
        log.error("training ends at step %d, of an error: %s", self.step, saved)

    def learn(self, batches: Iterator[Batch]) -> dict[str, torch.Tensor]:
        """One step; returns the parts of its loss on this device."""
        settings = self.configuration.optimizer
        factor = rate_factor(self.step, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["rate"]
        seen, total = [], {}
        for part in range(settings.grad_accum_steps):
            batch = next(batches)
            seen.append(batch)
            is_last = part == settings.grad_accum_steps - 1
            with self.fabric.no_backward_sync(self.module, enabled=not is_last):
                losses = {name: value / settings.grad_accum_steps for name, value in self.module(batch).items()}
                self.fabric.backward(sum(losses.values()))
            for name, value in losses.items():
                total[name] = total.get(name, 0.0) + value.detach()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.grad_clip)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        if not torch.isfinite(norm):
            self._report_divergence(seen, total)
        self._is_whole = False
        self._wrapped_optimizer.step()
        self._wrapped_optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.step + 1)
        self.step += 1
        self._is_whole = True
        return total

    def _report_divergence(self, batches: list[Batch], losses: dict[str, torch.Tensor]) -> None:
        path = self.folder.root / f"diverged_step{self.step}_device{self.fabric.global_rank}.pt"
        state = {"step": self.step, "batches": [batch.to_dictionary() for batch in batches]}
        together(self.fabric, lambda: save_state(path, state))
        on_rank_zero(self.fabric, self.states.wait)
        values = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
        raise DivergedError(
            f"gradients at step {self.step} are no numbers (losses: {values}); the batch is in {path}, the last state "
            f"in {self.folder.states}. Lower optimizer.encoder_lr or decoder_lr, warm up longer, or use 32-true"
        )

    def _validate(self, run_log: RunLog | None, bar: Bar) -> dict[str, float]:
        """Scores the averaged weights, or the weights where there is no average; keeps them if they are the best."""
        with self._averaged():
            scores, by_source, picture = self.validation.score(self.module, self._go_on)
            if run_log:
                several = by_source if len(by_source) > 1 else {}
                texts = [f"{in_words(of_one)} on {source}" for source, of_one in several.items()]
                bar.say("; ".join([f"step {self.step}: held-out images: {in_words(scores)}", *texts]))
                run_log.numbers(self.step, scores, "validation")
                for source, of_one in several.items():
                    run_log.numbers(self.step, of_one, f"validation/{source}")
                if picture is not None:
                    run_log.picture(self.step, "validation", picture)
            self._keep_if_best(scores, by_source)
        self._validated = self.step
        return scores

    def best(self) -> dict[str, Any] | None:
        """The step, scores and weights that did best on these held-out images; None where nothing was scored on them.

        Those of a step that is yet to come, for a run that was killed, will come again.
        """
        best = load_state(self.folder.best)
        if best is None or self.validation is None or best["step"] > self.step:
            return None
        best = state_with_present_names(best)
        if best["validation"] == self.validation.described:
            return best
        log.warning(
            "%s: the best weights so far, of step %d, do not count: they were scored on other held-out images (%s, not "
            "%s). The next ones replace them: copy the file to keep it",
            *(self.folder.best, best["step"], best["validation"], self.validation.described),
        )
        return None

    def _keep_if_best(self, scores: Scores, by_source: dict[str, Scores]) -> None:
        if math.isnan(scores[self.scoring.best]):
            log.warning(
                "step %d: the network gives no numbers for held-out images, its weights are not kept", self.step
            )
        if not is_better(scores, self._best, self.scoring.best):
            return
        self._best = scores
        weights = get_model_state_dict(self.network, options=WHOLE)
        best = {"step": self.step, "scores": scores, "by_source": by_source, "network": weights}
        best["validation"] = self.validation.described
        on_rank_zero(self.fabric, lambda: save_state(self.folder.best, best))

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        if self.average is None:
            yield
        else:
            with self.average.applied():
                yield

    def _save(self) -> None:
        """Gathers the state, on all devices, and has the first write it beside the work."""
        known = {"step": self.step, "validated": self._validated, "fingerprint": self._fingerprint()}
        state = {**known, **gather(self.objective, self.optimizer, self.average)}
        on_rank_zero(self.fabric, lambda: self.states.save(self.step, state))
        self._saved = self.step

    def _resume(self, state: dict[str, Any] | None) -> None:
        """Puts an earlier run's state back, if there is one."""
        if state is None:
            return
        earlier = json.loads(state_with_present_names(state)["fingerprint"])
        before, now = without_places(with_present_names(earlier)), json.loads(self._fingerprint())
        if before != now:
            changes = "; ".join(differences(before, now))
            raise ValueError(
                f"{self.folder.root} holds a run with another configuration, or of other data ({changes}): choose "
                "another folder, or delete it"
            )
        put_back(state, self.objective, self.optimizer, self.average)
        self.step = self._saved = state["step"]
        self._validated = state.get("validated", self.step)  # a run that was asked to stop did not wait for that

    def _versions(self) -> dict[str, list[str]]:
        """Names and versions of the sources, by kind."""
        return {
            kind: [name_and_version(source) for source in sources] for kind, sources in self.sources.items() if sources
        }

    def _fingerprint(self) -> str:
        """What decides the result, as JSON: a run goes on only with the same."""
        learned = {kind: versions for kind, versions in self._versions().items() if kind in self.samples.mixtures}
        fingerprint = without_places(self.configuration.fingerprint())
        return json.dumps({**fingerprint, "sources": learned, "origins": self.origins}, sort_keys=True)

    def _record(self) -> None:
        """Notes what this run, or its continuation, is made from."""
        if self.fabric.is_global_zero:
            record = describe_run(self.configuration.to_dictionary(), self._versions(), self.fabric.world_size)
            write_record(self.folder.record, {"from_step": self.step, "origins": self.origins, **record})


def in_words(scores: Scores) -> str:
    """Scores by name, for people."""
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
