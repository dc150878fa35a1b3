"""`depth_anything_ros train`: one stage of training, from its configuration to a checkpoint with its record."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from depth_anything_ros.allocation import keep_freed_memory
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.overwriting import Named, check_inputs, refuse_replacing
from depth_anything_ros.cores import usable_cores
from depth_anything_ros.extras import require
from depth_anything_ros.output_folder import refuse_other
from depth_anything_ros.runtime.gpu_advice import unused_by_torch
from depth_anything_ros.task import Task, cores_of, find_task
from depth_anything_ros.whole_file import write_whole

if TYPE_CHECKING:
    from depth_anything_ros.training.loop import Training
    from depth_anything_ros.training.run_folder import StageFolder
    from depth_anything_ros.training.stage_configuration import StageConfiguration
    from depth_anything_ros.training.stop_request import StopRequest

log = logging.getLogger(__name__)

BEFORE = "asked to stop: training has not begun, this ends now; the same command begins it"
MEANWHILE = (
    "asked to stop: the state is saved after this step, and the same command goes on from there; Ctrl-C again ends at "
    "once, without that"
)
AFTERWARDS = "asked to stop: all steps are learnt, this ends now; the same command writes the checkpoint"
"""What is said at once where a run is asked to stop."""

STOPPED = 75
"""Exit status of a run that was asked to stop, and goes on when the command is run again (EX_TEMPFAIL)."""

_EPILOG = """\
The configuration says which stage this is (compress, teacher, student, distil, metric, segment) and all that decides
what it learns; see docs/training.md and config/train/.

Interrupted or killed, a run goes on when the same command is run again. Several GPUs of one machine: --devices 8.
Several machines: start the command with torchrun or srun, which say how many there are.

example: depth_anything_ros train config/train/teacher.yaml --output runs/teacher --set optimiser.steps=1000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("configuration", nargs="?", type=parse.path, help="YAML file")
    parser.add_argument("--settings", action="store_true", help="list all settings and their meaning; train nothing")
    parser.add_argument(
        "--output", type=parse.output_folder, help="run folder; a run found there goes on (default: runs/NAME)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="changes one setting")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--devices", type=int, metavar="N", help="GPUs, or processes on a CPU (default: one)")
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="writes the result here as JSON")


def parse_changes(pairs: Sequence[str]) -> dict[str, Any]:
    """The values of --set by name, in YAML. Raises ValueError for a pair without an equals sign."""
    return {name: yaml.safe_load(value) for name, value in parse_pairs("--set", pairs).items()}


def parse_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """The values of an option's NAME=VALUE pairs by name. Raises ValueError for a pair without an equals sign."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{option} {pair}: write NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def _check_accelerator(accelerator: str) -> None:
    """Raises `CommandError` for a GPU that is not there, before data is opened and a folder made; names an idle one."""
    import torch

    if accelerator == "cuda" and not torch.cuda.is_available():
        raise CommandError(
            f"--accelerator cuda: PyTorch {torch.__version__} finds no CUDA GPU; train with --accelerator cpu, or mend "
            "the GPU's driver, or install a PyTorch that was built for CUDA"
        )
    if accelerator == "auto" and (unused := unused_by_torch()):
        log.warning(unused)


def run(arguments: argparse.Namespace) -> int:
    """Trains to the end, or goes on with what an earlier call left."""
    require("torch", "lightning_fabric", "pydantic")
    if arguments.settings:
        from depth_anything_ros.training.settings_list import settings_list

        print(settings_list())
        return 0
    if arguments.configuration is None:
        raise CommandError("give the YAML file of a stage; config/train holds the papers'")
    _check_accelerator(arguments.accelerator)
    if arguments.devices is not None and arguments.devices < 1:
        raise CommandError(f"--devices is {arguments.devices}; at least one is needed")
    folder = arguments.json and arguments.json.absolute().parent
    if folder and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise CommandError(f"--json {arguments.json}: nothing can be written into {folder}")
    result = train(arguments)
    if result is None:
        return STOPPED
    if not result:
        return 0
    print_result(result)
    if arguments.json:
        write_whole(arguments.json, json.dumps(result, indent=2).encode())
    return int(result["left_out"] + result["evaluation_left_out"] > 0)


def print_result(result: dict[str, Any]) -> None:
    """Says where the checkpoint lies, what it scores, and how many images it was not scored on."""
    from depth_anything_ros.training.loop import in_words

    scores = in_words(result["scores"])
    print(f"{result['checkpoint']}: {f'held-out images {scores}' if scores else 'no scores on held-out images'}")
    for source, of_source in result["by_source"].items() if len(result["by_source"]) > 1 else ():
        print(f"  {source}: {in_words(of_source)}")
    for source, of_source in result["evaluation"].items():
        print(f"evaluation on {source}: {in_words(of_source)}")
    for name, kind in (("left_out", "held-out"), ("evaluation_left_out", "evaluation")):
        if result[name]:
            print(f"left out: {result[name]} {kind} images that cannot be read, named above", file=sys.stderr)


def _refuse_overwriting(configuration: StageConfiguration, folder: StageFolder, result: Path | None) -> None:
    """Raises `CommandError` where the run, or its result, would replace what the configuration names."""
    kinds = ("labelled", "unlabelled", "held_out", "evaluation")
    sources = [(kind, source) for kind in kinds for source in getattr(configuration.data, kind)]
    data = [Named(f"data.{kind}", path) for kind, one in sources for path in (one.shards, one.labels, one.root) if path]
    teacher = configuration.teacher
    weights = [configuration.network.start, *([teacher.model, teacher.record] if teacher else [])]
    files = [Path(name) for name in weights if name and Path(name).is_file()]
    outputs = [Named("--output", folder.root, is_folder=True), *([Named("--json", result)] if result else [])]
    check_inputs(outputs, [*data, *(Named("weights", path) for path in files)])
    refuse_replacing("--output", folder.root, [folder.checkpoint(configuration.name).name, folder.best.name], files)


def train(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Trains the stage; returns what came of it: {} on all devices but the first, None where it was asked to stop."""
    from depth_anything_ros.training.checkpointing import StateError
    from depth_anything_ros.training.loop import DivergedError
    from depth_anything_ros.training.memory_errors import MemoryRanOutError, memory_that_ran_out
    from depth_anything_ros.training.processes import FailedError
    from depth_anything_ros.training.stop_request import StoppedError, StopRequest

    task = find_task(os.environ)
    is_first = task.rank == 0 and os.environ.get("LOCAL_RANK", "0") == "0"
    stop = StopRequest(BEFORE if is_first else "")
    try:
        with stop.listening():
            return _train(arguments, task, stop)
    except StoppedError as stopped:
        if not is_first:  # a status that is not 0 would have the first process killed
            return {}
        print(stopped)
        return None
    except (DivergedError, FailedError, MemoryRanOutError, StateError) as error:
        raise CommandError(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if memory := memory_that_ran_out(error):
            raise CommandError(f"{memory} does not hold the network and what it starts from: {error}") from error
        raise


def _train(arguments: argparse.Namespace, task: Task, stop: StopRequest) -> dict[str, Any]:
    import torch

    from depth_anything_ros.training.batches import check_shares, open_data
    from depth_anything_ros.training.devices import limit_threads, open_fabric
    from depth_anything_ros.training.loop import Training
    from depth_anything_ros.training.placement import place
    from depth_anything_ros.training.precision import check_all_compute_alike, settle_precision
    from depth_anything_ros.training.processes import ending_launched
    from depth_anything_ros.training.run_folder import MADE, StageFolder
    from depth_anything_ros.training.shared_names import names_folder, remove
    from depth_anything_ros.training.sources_in_use import sources_table
    from depth_anything_ros.training.stage_configuration import StageConfiguration

    keep_freed_memory(megabytes=2000)
    with stop.interrupting():
        configuration = StageConfiguration.read(arguments.configuration, parse_changes(arguments.set))
        folder = StageFolder(arguments.output or Path("runs") / configuration.name)
        _refuse_overwriting(configuration, folder, arguments.json)
        refuse_other(folder.root, MADE)
        configuration, reason = settle_precision(configuration, arguments.accelerator, folder)
        gpus = torch.cuda.device_count() if arguments.accelerator != "cpu" else 0
        placement = place(task, arguments.devices, os.environ, gpus)
        check_shares(configuration, placement.devices * placement.nodes)
        names = names_folder(task, placement)
        data = open_data(configuration, names)
        folder.root.mkdir(parents=True, exist_ok=True)
        fabric = open_fabric(configuration.run, arguments.accelerator, placement)
    with ExitStack() as stack:
        with ending_launched(fabric), stop.interrupting():
            fabric.launch()
            starts_others = placement.starts_others
            limit_threads(usable_cores() // placement.devices if starts_others else cores_of(task, os.environ))
            claim = stack.enter_context(folder.claimed()) if fabric.is_global_zero else None
            check_all_compute_alike(fabric, configuration.run.precision)
            remove(names)
            training = Training(configuration, data, folder, fabric)
        if claim is not None:
            print(sources_table(configuration, data.sources))
            precision = configuration.run.precision + (f" ({reason})" if reason else "")
            print(f"{configuration.stage} in {folder.root}, from step {training.step}, in {precision}", flush=True)
            stop.announcement = MEANWHILE
        result = _run(training, stop)
        if claim is not None:
            claim.note({"": str(arguments.configuration)}, [Path(result["checkpoint"]).name])
        return result


def _run(training: Training, stop: StopRequest) -> dict[str, Any]:
    """Trains to the end; the first process writes the checkpoint, when the others have ended."""
    from depth_anything_ros.training.finish_stage import finish_stage
    from depth_anything_ros.training.loop import TOGETHER
    from depth_anything_ros.training.processes import ending_launched

    with ending_launched(training.fabric, but_for=TOGETHER):
        training.run(stop)
    if not training.fabric.is_global_zero:
        return {}
    stop.announcement = AFTERWARDS
    with stop.interrupting():
        return finish_stage(training)
