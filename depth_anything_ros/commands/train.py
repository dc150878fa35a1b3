"""`depth_anything_ros train`: one stage of training, from its configuration to a checkpoint with its record."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.data.overwriting import NamedPath
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.extras import require

STOPPED = 75
"""Exit status after a request to stop; the same command continues the run (EX_TEMPFAIL)."""

_EPILOG = """\
The configuration sets the stage (compress, teacher, student, distil, metric, segment) and all that it depends on; see
docs/training.md and config/train/.

The same command continues an interrupted or killed run. Several GPUs of one machine: --devices 8. Several machines:
start the command with torchrun or srun, which set the number of processes.

example: depth_anything_ros train config/train/teacher.yaml --output runs/teacher --set optimizer.steps=1000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("configuration", nargs="?", type=parse.path, help="YAML file")
    parser.add_argument("--settings", action="store_true", help="list and explain all settings, and exit")
    parser.add_argument(
        "--output", type=parse.output_folder, help="folder of the run, new or to be continued (default: runs/NAME)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one setting")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--devices", type=int, metavar="N", help="GPUs, or processes on a CPU (default: one)")
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write the result to FILE as JSON")


def parse_changes(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the values of --set by name, read as YAML. Raise ValueError for a pair without an equals sign."""
    return {name: yaml.safe_load(value) for name, value in parse_pairs("--set", pairs).items()}


def parse_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Return the values of an option's NAME=VALUE pairs by name.

    Args:
        option: its name, for the message.
        pairs: NAME=VALUE each.

    Raises:
        ValueError: a pair has no equals sign.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{option} {pair}: give NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def run(arguments: argparse.Namespace) -> int:
    """Train to the end, or continue an earlier call."""
    require("torch", "lightning_fabric", "pydantic")
    if arguments.settings:
        from depth_anything_ros.training.settings_list import settings_list

        print(settings_list())
        return 0
    if arguments.configuration is None:
        raise CommandError("give the YAML file of a stage; config/train has the papers' stages")
    folder = arguments.json and arguments.json.absolute().parent
    if folder and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise CommandError(f"--json {arguments.json}: cannot write into {folder}; give another file")
    _check_configuration(arguments)
    result = train(arguments)
    if result is None:
        return STOPPED
    if not result:
        return 0
    print_result(result)
    if arguments.json:
        atomic_write(arguments.json, json.dumps(result, indent=2).encode())
    return int(result["left_out"] + result["evaluation_left_out"] > 0)


def _check_configuration(arguments: argparse.Namespace) -> None:
    """Check the YAML file and its folders before the seconds in which PyTorch is imported. Raise `ValueError`."""
    from depth_anything_ros.training.configuration import StageConfiguration

    StageConfiguration.read(arguments.configuration, parse_changes(arguments.set)).check_sources()


def print_result(result: dict[str, Any]) -> None:
    """Print the checkpoint, its scores, and the number of images that could not be scored."""
    from depth_anything_ros.training.validation.scorer import format_scores

    scores = format_scores(result["scores"])
    print(f"{result['checkpoint']}: {f'validation {scores}' if scores else 'no validation scores'}")
    for source, of_source in result["by_source"].items() if len(result["by_source"]) > 1 else ():
        print(f"  {source}: {format_scores(of_source)}")
    for source, of_source in result["evaluation"].items():
        print(f"evaluation on {source}: {format_scores(of_source)}")
    for name, kind in (("left_out", "validation"), ("evaluation_left_out", "evaluation")):
        if result[name]:
            print(f"left out: {result[name]} {kind} images that cannot be read, see above", file=sys.stderr)


def train(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Train the stage; return its result, {} in all processes but the first, or None after a request to stop."""
    from depth_anything_ros.training.distributed.ranks import FailedError
    from depth_anything_ros.training.loop import DivergedError
    from depth_anything_ros.training.run.checkpoints import StateError
    from depth_anything_ros.training.run.memory_errors import MemoryRanOutError
    from depth_anything_ros.training.run.stop_request import StoppedError
    from depth_anything_ros.training.run_stage import StageRun, is_first, run_stage

    other_outputs = (NamedPath("--json", arguments.json),) if arguments.json else ()
    changes = parse_changes(arguments.set)
    devices = (arguments.accelerator, arguments.devices)
    try:
        run = StageRun(arguments.configuration, arguments.output, changes, *devices, other_outputs, dashes="--")
        return run_stage(run)
    except StoppedError as stopped:
        if not is_first():  # with another status than 0, Fabric would kill the first process
            return {}
        print(stopped)
        return None
    except (DivergedError, FailedError, MemoryRanOutError, StateError) as error:
        raise CommandError(str(error)) from error
