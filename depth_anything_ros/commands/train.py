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
"""Exit status of a run that was asked to stop, and goes on when the command is run again (EX_TEMPFAIL)."""

_EPILOG = """\
The configuration says which stage this is (compress, teacher, student, distil, metric, segment) and all that decides
what it learns; see docs/training.md and config/train/.

Interrupted or killed, a run goes on when the same command is run again. Several GPUs of one machine: --devices 8.
Several machines: start the command with torchrun or srun, which say how many there are.

example: depth_anything_ros train config/train/teacher.yaml --output runs/teacher --set optimizer.steps=1000
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


def run(arguments: argparse.Namespace) -> int:
    """Trains to the end, or goes on with what an earlier call left."""
    require("torch", "lightning_fabric", "pydantic")
    if arguments.settings:
        from depth_anything_ros.training.settings_list import settings_list

        print(settings_list())
        return 0
    if arguments.configuration is None:
        raise CommandError("give the YAML file of a stage; config/train holds the papers'")
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
        atomic_write(arguments.json, json.dumps(result, indent=2).encode())
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


def train(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Trains the stage; returns what came of it: {} on all devices but the first, None where it was asked to stop."""
    from depth_anything_ros.training.distributed.ranks import FailedError
    from depth_anything_ros.training.loop import DivergedError
    from depth_anything_ros.training.run.checkpoints import StateError
    from depth_anything_ros.training.run.memory_errors import MemoryRanOutError
    from depth_anything_ros.training.run.stop_request import StoppedError
    from depth_anything_ros.training.run_stage import StageRun, is_first, run_stage

    others = (NamedPath("--json", arguments.json),) if arguments.json else ()
    changes = parse_changes(arguments.set)
    devices = (arguments.accelerator, arguments.devices)
    try:
        return run_stage(StageRun(arguments.configuration, arguments.output, changes, *devices, others, dashes="--"))
    except StoppedError as stopped:
        if not is_first():  # a status that is not 0 would have the first process killed
            return {}
        print(stopped)
        return None
    except (DivergedError, FailedError, MemoryRanOutError, StateError) as error:
        raise CommandError(str(error)) from error
