"""`depth_anything_ros train`: renders scenes, trains, and writes a checkpoint with its record."""

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("configuration", nargs="?", type=Path, help="YAML file (default: the bundled model's)")
    parser.add_argument("--output", type=Path, default=Path("runs/tiny"), help="run folder; a run found there goes on")
    parser.add_argument("--pretrained", type=Path, help="DINOv2 ViT weights that the encoder is cut from")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="changes one setting")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--name", default="tiny", help="name of the model in its record")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes that render scenes")
    parser.add_argument("--json", type=Path, help="writes the result here as JSON")


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
    """Renders what is missing, trains to the end, writes the checkpoint."""
    _check_accelerator(arguments.accelerator)
    from depth_anything_ros.training.configuration import TrainingConfiguration
    from depth_anything_ros.training.finish import finish_run
    from depth_anything_ros.training.scene_set import render_scenes
    from depth_anything_ros.training.trainer import DivergedError, RunFolder, train

    path = arguments.configuration or share_directory() / "config" / "train" / "tiny.yaml"
    keep_freed_memory(megabytes=2000)
    configuration = TrainingConfiguration.read(path, parse_changes(arguments.set))
    folder = RunFolder(arguments.output)
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
    if arguments.json:
        write_whole(arguments.json, json.dumps(result, indent=2).encode())
    return 0
