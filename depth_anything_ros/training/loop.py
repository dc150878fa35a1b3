"""The loop that trains every stage, on one processor or on many GPUs.

Whatever is random is drawn from the run's seed and the step, so that a run that was killed goes on from its last state
exactly as it would have gone on without, and several devices learn what one would have learnt.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from tqdm import tqdm

from depth_anything_ros.data.sources import Source, name_and_version
from depth_anything_ros.signal_handlers import answering
from depth_anything_ros.training.batches import Batch, Data, Place, Samples, open_batches
from depth_anything_ros.training.checkpointing import States, load_state, save_state, snapshot
from depth_anything_ros.training.devices import prepare
from depth_anything_ros.training.moving_average import MovingAverage
from depth_anything_ros.training.optimisation import build_optimizer, rate_factor
from depth_anything_ros.training.origins import origins_of
from depth_anything_ros.training.processes import check_all_stand_alike, on_first, together
from depth_anything_ros.training.run_folder import RunLog, StageFolder, describe_run, differences, write_record
from depth_anything_ros.training.stage_configuration import StageConfiguration
from depth_anything_ros.training.stages import build_objective, parts_of, scoring_of
from depth_anything_ros.training.validation import HeldOut

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""States hold whole tensors, so that a run may go on with another number of devices."""


class DivergedError(RuntimeError):
    """Gradients are no longer numbers; the batch that did it lies beside the run's states."""


class StoppedError(RuntimeError):
    """The run was asked to stop, and has saved its state."""


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
        self.samples = data.samples
        self.origins = origins_of(configuration)
        self.held_out = self._choose_held_out(data.held_out)
        self.objective = build_objective(configuration, first_pixels(self.samples))
        prepare(self.objective, settings)
        self.module = fabric.setup_module(self.objective)
        self.network = self.objective.network
        self.optimizer = build_optimizer(parts_of(self.network), configuration.optimiser)
        self._wrapped_optimizer = fabric.setup_optimizers(self.optimizer)
        decay = configuration.optimiser.average
        self.average = MovingAverage(self.network, decay) if decay else None
        self.states = States(folder.states, settings.keep)
        self.step = self._take_up(self.states.newest())
        best = self.best()
        self._best = best["scores"] if best else None
        check_all_stand_alike(fabric, [self.step, best["step"] if best else 0], folder.root)
        if fabric.is_global_zero:
            folder.remove_left_behind()
        self._stop = threading.Event()

    def _choose_held_out(self, sources: Sequence[Source]) -> HeldOut | None:
        if not sources:
            return None
        configuration, fabric = self.configuration, self.fabric
        count, scoring = configuration.data.held_out_images, scoring_of(configuration)
        return HeldOut(sources, count, configuration.scored_size, scoring, fabric.global_rank, fabric.world_size)

    def run(self) -> dict[str, float]:
        """Trains to the last step; returns the last scores on held-out images.

        Raises:
            DivergedError: gradients became NaN or infinite.
            StoppedError: SIGTERM or Ctrl-C came; the state is saved.
            StateError: a state could not be written.

        All processes raise these together, when what the first of them had to write is written.
        """
        configuration, fabric, settings = self.configuration, self.fabric, self.configuration.run
        steps, scores = configuration.optimiser.steps, {}
        batches = iter(
            fabric.setup_dataloaders(
                open_batches(configuration, self.samples, self.step, fabric.global_rank, fabric.world_size),
                use_distributed_sampler=False,
            )
        )
        self._record()
        is_first = fabric.is_global_zero
        run_log = RunLog(self.folder, self.step) if is_first else None
        bar = progress_bar(configuration.name, self.step, steps, shown=is_first)
        with self._stopping_at_signals(), closing(batches), bar:  # what reads ahead does not outlive an error
            while self.step < steps:
                losses = self.learn(batches)
                self.step += 1
                bar.update()
                if self.step % settings.log_every == 0 or self.step == steps:
                    values = {name: fabric.all_reduce(value).item() for name, value in losses.items()}
                    bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)
                    if run_log:
                        run_log.numbers(self.step, values, "loss")
                if self.held_out and (self.step % settings.validate_every == 0 or self.step == steps):
                    scores = self._validate(run_log, bar)
                if self.step % settings.save_every == 0 or self.step == steps:
                    self._save()
                if self.step % settings.log_every == 0 and self.step < steps:
                    self._stop_if_asked()
        on_first(self.fabric, self.states.wait)
        if run_log:
            run_log.close()
        return scores

    def learn(self, batches: Iterator[Batch]) -> dict[str, torch.Tensor]:
        """One step; returns the parts of its loss on this device."""
        settings = self.configuration.optimiser
        factor = rate_factor(self.step, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["rate"]
        seen, total = [], {}
        for part in range(settings.accumulate):
            batch = next(batches)
            seen.append(batch)
            is_last = part == settings.accumulate - 1
            with self.fabric.no_backward_sync(self.module, enabled=not is_last):
                losses = {name: value / settings.accumulate for name, value in self.module(batch).items()}
                self.fabric.backward(sum(losses.values()))
            for name, value in losses.items():
                total[name] = total.get(name, 0.0) + value.detach()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        if not torch.isfinite(norm):
            self._report_divergence(seen, total)
        self._wrapped_optimizer.step()
        self._wrapped_optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.step + 1)
        return total

    def _report_divergence(self, batches: list[Batch], losses: dict[str, torch.Tensor]) -> None:
        path = self.folder.root / f"diverged_step{self.step}_device{self.fabric.global_rank}.pt"
        state = {"step": self.step, "batches": [batch.to_dictionary() for batch in batches]}
        together(self.fabric, lambda: save_state(path, state))
        on_first(self.fabric, self.states.wait)
        values = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
        raise DivergedError(
            f"gradients at step {self.step} are no numbers (losses: {values}); the batch is in {path}, the last state "
            f"in {self.folder.states}. Lower optimiser.encoder_rate or decoder_rate, warm up longer, or use 32-true"
        )

    def _validate(self, run_log: RunLog | None, bar: tqdm) -> dict[str, float]:
        """Scores the averaged weights, or the weights where there is no average; keeps them if they are the best."""
        with self._averaged():
            scores, picture = self.held_out.score(self.fabric, self.module)
            if run_log:
                text = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
                bar.write(f"step {self.step}: held-out images: {text}")
                run_log.numbers(self.step, scores, "held_out")
                run_log.picture(self.step, "held_out", picture)
            self._keep_if_best(scores)
        return scores

    def best(self) -> dict[str, Any] | None:
        """The step, scores and weights that did best on these held-out images; None where nothing was scored on them.

        Those of a step that is yet to come, for a run that was killed, will come again.
        """
        best = load_state(self.folder.best)
        is_ours = best is not None and self.held_out is not None and best["held_out"] == self.held_out.described
        return best if is_ours and best["step"] <= self.step else None

    def _keep_if_best(self, scores: dict[str, float]) -> None:
        name = scoring_of(self.configuration).best
        if self._best is not None and scores[name] < self._best[name]:
            return
        self._best = scores
        weights = get_model_state_dict(self.network, options=WHOLE)
        best = {"step": self.step, "scores": scores, "held_out": self.held_out.described, "network": weights}
        on_first(self.fabric, lambda: save_state(self.folder.best, best))

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        if self.average is None:
            yield
        else:
            with self.average.applied():
                yield

    def _save(self) -> None:
        """Gathers the state, on all devices, and has the first write it beside the work."""
        state: dict[str, Any] = {
            "step": self.step,
            "decisive": self._decisive(),
            "network": get_model_state_dict(self.network, options=WHOLE),
            "optimizer": get_optimizer_state_dict(self.network, self.optimizer, options=WHOLE),
            "buffers": snapshot(dict(self.objective.named_buffers())),  # computed when training began
        }
        if self.average:
            with self.average.applied():  # copied, since on a processor these are the parameters themselves
                state["average"] = snapshot(get_model_state_dict(self.network, options=WHOLE))
        on_first(self.fabric, lambda: self.states.save(self.step, state))

    def _take_up(self, state: dict[str, Any] | None) -> int:
        """Puts an earlier run's state back; returns the step to go on with (0 for a new run)."""
        if state is None:
            return 0
        if state["decisive"] != self._decisive():
            changes = "; ".join(differences(json.loads(state["decisive"]), json.loads(self._decisive())))
            raise ValueError(
                f"{self.folder.root} holds a run with another configuration, or of other data ({changes}): choose "
                "another folder, or delete it"
            )
        whole = StateDictOptions(full_state_dict=True)
        if self.average:
            set_model_state_dict(self.network, state["average"], options=whole)
            self.average.restart()
        set_model_state_dict(self.network, state["network"], options=whole)
        set_optimizer_state_dict(self.network, self.optimizer, state["optimizer"], options=whole)
        for name, buffer in self.objective.named_buffers():
            buffer.copy_(state["buffers"][name])
        return state["step"]

    def _data(self) -> dict[str, list[str]]:
        """Names and versions of the sources, by kind."""
        return {
            kind: [name_and_version(source) for source in mixture.sources]
            for kind, mixture in self.samples.mixtures.items()
        }

    def _decisive(self) -> str:
        """What decides the result, as JSON: a run goes on only with the same."""
        decisive = {**self.configuration.decisive(), "sources": self._data(), "origins": self.origins}
        return json.dumps(decisive, sort_keys=True)

    def _record(self) -> None:
        """Notes what this run, or its continuation, is made from."""
        if self.fabric.is_global_zero:
            record = describe_run(self.configuration.to_dictionary(), self._data(), self.fabric.world_size)
            write_record(self.folder.record, {"from_step": self.step, "origins": self.origins, **record})

    def _stopping_at_signals(self) -> AbstractContextManager:
        """SIGTERM, as clusters send before they take a machine away, and Ctrl-C let the state be saved before the end.

        Ctrl-C a second time ends at once.
        """

        def stop(number: int, _: object) -> None:
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            self._stop.set()

        return answering({signal.SIGTERM: stop, signal.SIGINT: stop})

    def _stop_if_asked(self) -> None:
        """All devices stop at the same step, or they would wait for one another for ever."""
        asked = torch.tensor(float(self._stop.is_set()), device=self.fabric.device)
        if self.fabric.all_reduce(asked, reduce_op="sum") > 0:
            self._save()
            on_first(self.fabric, self.states.wait)
            raise StoppedError(f"stopped at step {self.step} as asked; the same command goes on from there")


def progress_bar(name: str, first: int, last: int, shown: bool) -> tqdm:
    """Drawn anew ten times a second for people, twice a minute where a file keeps what is drawn."""
    interval = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(initial=first, total=last, desc=name, unit="step", disable=not shown, mininterval=interval)


def first_pixels(samples: Samples, count: int = 32) -> torch.Tensor:
    """RGB uint8 (N, H, W, 3): the first images of the run, at most so many, cut to one size."""
    kind = next(iter(samples.mixtures))
    places = [Place(kind, 0, slot) for slot in range(min(count, len(samples.mixtures[kind])))]
    return torch.stack([torch.from_numpy(samples.view(place).image) for place in places])
