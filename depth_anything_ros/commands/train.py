"""`depth_anything_ros train`: one stage of training, from its configuration to a checkpoint with its record."""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import yaml

from depth_anything_ros.allocation import keep_freed_memory
from depth_anything_ros.commands import CommandError
from depth_anything_ros.share import share_directory
from depth_anything_ros.whole_file import write_whole

STOPPED = 75
"""Exit status of a run that was asked to stop, and goes on when the command is run again (EX_TEMPFAIL)."""

_EPILOG = """\
A configuration that names a stage (teacher, student, distil, metric, segment) trains that stage on your data; see
docs/training.md and config/train/. One that names none, such as the default, trains the bundled model on scenes that
are rendered first.

Interrupted or killed, a run goes on when the same command is run again. Several GPUs of one machine: --devices 8.
Several machines: start the command with torchrun or srun, which say how many there are.

example: depth_anything_ros train config/train/teacher.yaml --output runs/teacher --set optimiser.steps=1000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("configuration", nargs="?", type=Path, help="YAML file (default: the bundled model's)")
    parser.add_argument("--output", type=Path, help="run folder; a run found there goes on (default: runs/NAME)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="changes one setting")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--devices", type=int, metavar="N", help="GPUs, or processes on a CPU (default: one)")
    parser.add_argument("--json", type=Path, help="writes the result here as JSON")
    bundled = parser.add_argument_group("the bundled model")
    bundled.add_argument("--pretrained", type=Path, help="DINOv2 ViT weights that the encoder is cut from")
    bundled.add_argument("--name", default="tiny", help="name of the model in its record")
    bundled.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes that render scenes")


def parse_changes(pairs: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs, values in YAML. Raises ValueError for a pair without an equals sign."""
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set {pair}: write NAME=VALUE")
        changes[name] = yaml.safe_load(value)
    return changes


def _check_accelerator(accelerator: str) -> None:
    """Raises `CommandError` for a GPU that is not there: at once, not after minutes of rendering."""
    import torch

    if accelerator == "cuda" and not torch.cuda.is_available():
        raise CommandError(
            f"--accelerator cuda: PyTorch {torch.__version__} finds no CUDA GPU; train with --accelerator cpu, or mend "
            "the GPU's driver, or install a PyTorch that was built for CUDA"
        )


def run(arguments: argparse.Namespace) -> int:
    """Trains to the end, or goes on with what an earlier call left."""
    _check_accelerator(arguments.accelerator)
    from depth_anything_ros.training.stage_configuration import read_yaml

    path = arguments.configuration or share_directory() / "config" / "train" / "tiny.yaml"
    is_stage = "stage" in read_yaml(path)
    result = train_stage(path, arguments) if is_stage else train_bundled(path, arguments)
    if result is None:
        return STOPPED
    if arguments.json and result:
        write_whole(arguments.json, json.dumps(result, indent=2).encode())
    return 0


def train_stage(path: Path, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Trains a stage; returns what came of it: {} on all devices but the first, None where it was asked to stop."""
    from depth_anything_ros.training.batches import open_data
    from depth_anything_ros.training.checkpointing import StateError
    from depth_anything_ros.training.devices import launched_devices, open_fabric
    from depth_anything_ros.training.finish_stage import finish_stage
    from depth_anything_ros.training.loop import DivergedError, StoppedError, Training
    from depth_anything_ros.training.run_folder import StageFolder
    from depth_anything_ros.training.stage_configuration import StageConfiguration

    configuration = StageConfiguration.read(path, parse_changes(arguments.set))
    data = open_data(configuration)
    folder = StageFolder(arguments.output or Path("runs") / configuration.name)
    folder.root.mkdir(parents=True, exist_ok=True)
    devices, nodes = launched_devices(arguments.devices)
    fabric = open_fabric(configuration.run, arguments.accelerator, devices, nodes)
    fabric.launch()
    try:
        training = Training(configuration, data, folder, fabric)
        training.run()
    except StoppedError as stopped:
        print(stopped)
        return None
    except (DivergedError, StateError) as error:
        raise CommandError(str(error)) from error
    if not fabric.is_global_zero:
        return {}
    result = finish_stage(training)
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result["scores"].items())
    print(f"{result['checkpoint']}: {f'held-out images {scores}' if scores else 'not validated: no data.held_out'}")
    return result


def train_bundled(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Renders what is missing, trains the bundled model to the end, writes the checkpoint."""
    from depth_anything_ros.training.configuration import TrainingConfiguration
    from depth_anything_ros.training.finish import finish_run
    from depth_anything_ros.training.scene_set import render_scenes
    from depth_anything_ros.training.trainer import DivergedError, RunFolder, train

    keep_freed_memory(megabytes=2000)
    configuration = TrainingConfiguration.read(path, parse_changes(arguments.set))
    folder = RunFolder(arguments.output or Path("runs/tiny"))
    folder.root.mkdir(parents=True, exist_ok=True)
    try:
        render_scenes(folder.scenes, configuration, arguments.processes)
    except BrokenProcessPool as error:
        raise CommandError(
            f"one of {arguments.processes} processes that render scenes died: it was killed, most likely because "
            "memory ran out (then give fewer --processes); finished scenes are kept, the next run goes on from there"
        ) from error
    try:
        network = train(configuration, folder, arguments.pretrained, arguments.accelerator)
    except DivergedError as error:
        raise CommandError(str(error)) from error
    result = finish_run(network, configuration, folder, arguments.name, arguments.pretrained)
    print(f"{result['checkpoint']}: held-out scenes AbsRel {result['abs_rel']:.4f}, delta1 {result['delta1']:.4f}")
    return result
