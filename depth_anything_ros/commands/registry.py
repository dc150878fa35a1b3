"""The commands of `depth_anything_ros` by name, and the parser of one of them."""

from __future__ import annotations

import importlib

from depth_anything_ros import __version__
from depth_anything_ros.commands.parser import Parser

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


def build_parser(command: str | None) -> Parser:
    """The parser; only the named sub-command's module is imported, so that `--help` stays quick everywhere."""
    parser = Parser(prog="depth_anything_ros", description="Any camera as a depth sensor on ROS 2.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == command:
            module = importlib.import_module(f"depth_anything_ros.commands.{name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser
