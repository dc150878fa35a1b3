"""The commands of `depth_anything_ros` by name, and their parsers."""

from __future__ import annotations

import importlib

from depth_anything_ros import __version__
from depth_anything_ros.commands.parser import Parser

COMMANDS = {
    "predict": "predict depth of images, folders and videos, as arrays, pictures and point clouds",
    "camera": "publish a live camera (or file) and its depth as ROS 2 topics, in one process",
    "view": "show the image, depth and cloud of a running depth node on a page for browsers",
    "doctor": "check this machine: packages, backend, cameras, middleware; and print the fix for each problem",
    "bag": "write the outputs of the depth node for a recording, offline at full speed",
    "calibrate": "compare the sensors of a bag or of live topics with a model, and write the scale's parameters",
    "demo": "run camera and depth nodes over ROS 2 on sample images, and write pictures of the result",
    "models": "list, show, fetch and verify the models that are known by name",
    "export": "export a network to ONNX",
    "build": "build, check and store engines before a robot needs them",
    "bench": "measure speed, accuracy and memory of every backend on this machine",
    "verify": "compare the depth of two backends, on your images",
    "data": "list data sets of images and depth, check them, and pack them into shards",
    "scenes": "render a sheet of training scenes to look at",
    "meshes": "make a pack of furniture meshes for rendered scenes",
    "train": "train one stage: teacher, student, metric, segmentation and others",
    "label": "write a teacher's pseudo-labels for packed images, with one process, many, or a cluster",
    "ablate": "train and score variants of a stage, and print a table next to the paper's",
    "pipeline": "run several of these commands in a row: teacher, labels, student, scores, export",
    "evaluate": "score models on RGB-D sets and recordings, next to baselines and other models",
    "completion": "print the shell script that completes these commands",
}


def build_parser(*commands: str | None) -> Parser:
    """Return the parser. Only the modules of the named sub-commands are imported, so that `--help` stays fast."""
    parser = Parser(prog="depth_anything_ros", description="Any camera as a depth sensor on ROS 2.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in commands:
            module = importlib.import_module(f"depth_anything_ros.commands.{name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser
