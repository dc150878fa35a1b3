"""One stage of training, from its configuration to a checkpoint, for the command and for Python programs."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from depth_anything_ros.data.overwriting import NamedPath, check_inputs, refuse_overwriting
from depth_anything_ros.runtime.cuda.gpu_advice import unused_by_torch
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.malloc import keep_freed_memory
from depth_anything_ros.system.output_folder import check_contents
from depth_anything_ros.system.process_rank import Task, cores_of, find_task
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.distributed.devices import limit_threads, open_fabric
from depth_anything_ros.training.distributed.placement import choose_placement
from depth_anything_ros.training.distributed.precision import check_same_precision, settle_precision
from depth_anything_ros.training.distributed.ranks import ending_launched
from depth_anything_ros.training.finish_stage import finish_stage
from depth_anything_ros.training.input.batches import check_shares
from depth_anything_ros.training.input.samples import open_data
from depth_anything_ros.training.input.shared_names import names_folder, remove
from depth_anything_ros.training.input.sources_in_use import sources_table
from depth_anything_ros.training.loop import RAISED_ON_ALL_RANKS, Training
from depth_anything_ros.training.run.folder import MADE, StageFolder
from depth_anything_ros.training.run.memory_errors import MemoryRanOutError, memory_that_ran_out
from depth_anything_ros.training.run.stop_request import StopRequest

log = logging.getLogger(__name__)

STOP_BEFORE_TRAINING = "stop requested before training; run the same command again to start it"
STOP_DURING_TRAINING = (
    "stop requested: saving the state after this step; run the same command to continue from there; press Ctrl-C again "
    "to end at once without saving"
)
STOP_AFTER_TRAINING = "stop requested after the last step; run the same command to write the checkpoint"
"""Texts that are printed at once on a request to stop."""


ACCELERATORS = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class StageRun:
    """A stage to train.

    Attributes:
        configuration: its YAML file.
        output: the run's folder; None for runs/NAME.
        changes: settings that replace those of the file, by dotted names.
        accelerator: one of `ACCELERATORS`.
        devices: GPUs, or processes on a CPU; None for one.
        other_outputs: more files that will be written.
        dashes: prefix of argument names in messages, such as "--".
    """

    configuration: Path
    output: Path | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    accelerator: str = "auto"
    devices: int | None = None
    other_outputs: tuple[NamedPath, ...] = ()
    dashes: str = ""

    def check(self) -> None:
        """Check the devices, without opening data; the log reports an idle GPU. Raise `ValueError`."""
        if self.accelerator not in ACCELERATORS:
            raise ValueError(f"accelerator is {self.accelerator!r}; give one of {', '.join(ACCELERATORS)}")
        if self.accelerator == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"{self.dashes}accelerator cuda: PyTorch {torch.__version__} finds no CUDA GPU; train with "
                f"{self.dashes}accelerator cpu, fix the GPU's driver, or install a PyTorch built for CUDA"
            )
        if self.devices is not None and self.devices < 1:
            raise ValueError(f"{self.dashes}devices is {self.devices}; give at least 1")
        if self.accelerator == "auto" and (unused := unused_by_torch()):
            log.warning(unused)


def is_first(task: Task | None = None) -> bool:
    """Return whether this process is the first of its run, which prints for all."""
    task = find_task(os.environ) if task is None else task
    return task.rank == 0 and os.environ.get("LOCAL_RANK", "0") == "0"


def run_stage(run: StageRun) -> dict[str, Any]:
    """Train a stage to its end, or continue an earlier call, and return the result.

    Meanwhile Ctrl-C and SIGTERM save the state and stop.

    Returns:
        Plain values as `finish_stage` returns them; {} in all processes but the first.

    Raises:
        StoppedError: on a request to stop.
        ValueError: the configuration, or a file in it, cannot be used.
        RuntimeError: memory ran out, the loss diverged, the state is damaged, or another process failed.
    """
    run.check()
    task = find_task(os.environ)
    stop = StopRequest(STOP_BEFORE_TRAINING if is_first(task) else "")
    try:
        with stop.listening():
            return _run(run, task, stop)
    except MemoryRanOutError:
        raise
    except (MemoryError, RuntimeError) as error:
        if memory := memory_that_ran_out(error):
            raise MemoryRanOutError(f"{memory} is too small for the network and its start weights: {error}") from error
        raise


def _run(run: StageRun, task: Task, stop: StopRequest) -> dict[str, Any]:
    keep_freed_memory(megabytes=2000)
    with stop.interrupting():
        configuration = StageConfiguration.read(run.configuration, dict(run.changes))
        folder = StageFolder(run.output or Path("runs") / configuration.name)
        _refuse_overwriting(configuration, folder, run)
        check_contents(folder.root, MADE)
        configuration, reason = settle_precision(configuration, run.accelerator, folder)
        gpus = torch.cuda.device_count() if run.accelerator != "cpu" else 0
        placement = choose_placement(task, run.devices, os.environ, gpus)
        check_shares(configuration, placement.devices * placement.nodes)
        names = names_folder(task, placement)
        data = open_data(configuration, names)
        folder.root.mkdir(parents=True, exist_ok=True)
        fabric = open_fabric(configuration.run, run.accelerator, placement)
    with ExitStack() as stack:
        with ending_launched(fabric), stop.interrupting():
            fabric.launch()
            starts_others = placement.starts_others
            limit_threads(usable_cores() // placement.devices if starts_others else cores_of(task, os.environ))
            claim = stack.enter_context(folder.claimed()) if fabric.is_global_zero else None
            check_same_precision(fabric, configuration.run.precision)
            remove(names)
            training = Training(configuration, data, folder, fabric)
        if claim is not None:
            print(sources_table(configuration, data.sources))
            precision = configuration.run.precision + (f" ({reason})" if reason else "")
            is_finished = training.step == configuration.optimizer.steps
            steps = f"finished at step {training.step}" if is_finished else f"from step {training.step}"
            print(f"{configuration.stage} in {folder.root}, {steps}, in {precision}", flush=True)
            stop.announcement = STOP_DURING_TRAINING
        result = _train(training, stop)
        if claim is not None:
            claim.note({"": str(run.configuration)}, [Path(result["checkpoint"]).name])
        return result


def _train(training: Training, stop: StopRequest) -> dict[str, Any]:
    """Train to the end; the first process writes the checkpoint after the others have ended."""
    with ending_launched(training.fabric, but_for=RAISED_ON_ALL_RANKS):
        training.run(stop)
    if not training.fabric.is_global_zero:
        return {}
    stop.announcement = STOP_AFTER_TRAINING
    with stop.interrupting():
        return finish_stage(training)


def _refuse_overwriting(configuration: StageConfiguration, folder: StageFolder, run: StageRun) -> None:
    """Raise `OverwritingError` if an output would replace a file that the configuration uses."""
    data = [
        NamedPath(f"data.{kind}", path)
        for kind, one in configuration.sources
        for path in (one.shards, one.labels, one.root)
        if path
    ]
    teacher = configuration.teacher
    weights = [configuration.network.start, *([teacher.model, teacher.record] if teacher else [])]
    files = [Path(name) for name in weights if name and Path(name).is_file()]
    output_name = f"{run.dashes}output"
    outputs = [NamedPath(output_name, folder.root, is_folder=True), *run.other_outputs]
    check_inputs(outputs, [*data, *(NamedPath("weights", path) for path in files)])
    refuse_overwriting(output_name, folder.root, [folder.checkpoint(configuration.name).name, folder.best.name], files)
