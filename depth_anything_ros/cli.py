"""The one entry point, `depth_anything_ros`: parses the sub-command, imports only what it needs, reports errors."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from depth_anything_ros import __version__
from depth_anything_ros.commands import CommandError
from depth_anything_ros.runtime.errors import ModelError

COMMANDS = {
    "predict": "depth of images, folders and videos, as arrays, pictures and point clouds",
    "camera": "a live camera (or file) and its depth as ROS 2 topics, in one process",
    "demo": "camera and depth nodes over ROS 2 on sample images; leaves pictures to look at",
    "models": "list, show, fetch and verify the models that are known by name",
    "export": "network to ONNX",
    "build": "engines made, checked and stored before a robot needs them",
    "bench": "how fast every backend runs a model here, how exactly, and in how much memory",
    "verify": "whether a backend gives the same depth as another, on your images",
    "data": "sets of images and depth: which are known, whether one is whole, packing into shards",
    "scenes": "a sheet of rendered training scenes, to look at",
    "train": "a stage of training: teacher, student, metric, segmentation and others",
    "label": "a teacher's pseudo-labels for packed images, by one process, many, or a cluster",
    "ablate": "variants of a stage trained and scored, and a table beside the paper's",
    "pipeline": "several of these commands in a row, each done once: teacher, labels, student, scores, export",
    "evaluate": "scores on RGB-D sets, beside baselines and other models",
}


EXTRAS = {
    "onnx": "onnx",
    "torch": "torch",
    "safetensors": "torch",
    "numba": "train",
    "lightning_fabric": "train",
    "pydantic": "train",
    "ray": "ray",
    "skimage": "demo",
    "webdataset": "data",
    "h5py": "data",
    "huggingface_hub": "hub",
    "rclpy": "ros",
    "transformers": "test",
}
"""The extra that brings a package, by what it is imported as."""


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser; only the named sub-command's module is imported, so that `--help` stays quick everywhere."""
    parser = argparse.ArgumentParser(prog="depth_anything_ros", description="Any camera as a depth sensor on ROS 2.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == command:
            module = importlib.import_module(f"depth_anything_ros.commands.{name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one sub-command and returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in arguments if not word.startswith("-")), None)
    try:
        parsed = build_parser(command).parse_args(arguments)
        return parsed.run(parsed) or 0
    except (CommandError, ModelError, OSError, ValueError) as error:
        print(f"depth_anything_ros {command}: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        fix = f"it comes with the extra {extra}: pip install '.[{extra}]'" if extra else "see docs/installation.md"
        print(f"depth_anything_ros {command}: {error}; {fix}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
