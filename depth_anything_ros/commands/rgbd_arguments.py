"""Options that describe the user's own images with depth; they override rgbd.yaml."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.arguments import reads
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.rgbd_declaration import MATCHES, Declaration, Numbers, camera_of, located, scale_of

Value = TypeVar("Value")


def add_rgbd_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    group = parser.add_argument_group("rgbd, your own images with depth (docs/data.md)")
    group.add_argument("--images", metavar="WHERE", help="folder or pattern of the images, such as rgb or 'rgb/*.png'")
    group.add_argument("--depths", metavar="WHERE", help="folder or pattern of the depth files")
    group.add_argument(
        "--match", choices=MATCHES, help="common part of an image and its depth (default: the one with the most pairs)"
    )
    group.add_argument(
        "--pairs",
        type=_file,
        metavar="FILE",
        help="text file with an image and its depth per line, or only the names of images, such as a split file",
    )
    group.add_argument(
        "--depth-scale",
        type=_parsed(scale_of),
        metavar="S",
        help="meters per stored unit, such as 0.001; a number above 1 is units per meter, such as 5000 (default: "
        "integers 0.001, floats 1)",
    )
    group.add_argument(
        "--camera",
        "--intrinsics",
        type=_camera,
        metavar="CAMERA",
        help="FX,FY,CX,CY in pixels, optionally with ,WIDTH,HEIGHT of their image; or a file (default: a file in the "
        "folder)",
    )
    group.add_argument("--depth-key", metavar="KEY", help="array in .npz files, or channel in .exr files")
    group.add_argument(
        "--resize-depth",
        action="store_true",
        help="resize depth to the image size by nearest neighbor (default: depth of another size is an error)",
    )


def declaration_of(arguments: argparse.Namespace) -> Declaration:
    """Return the options as a `Declaration`. Raises `DataError` if they contradict each other."""
    names = ("images", "depths", "match", "pairs", "depth_scale", "camera", "depth_key", "resize_depth")
    return Declaration(**{name: getattr(arguments, name) for name in names})


def _parsed(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    def parsed(text: str) -> Value:
        try:
            return parse(text)
        except DataError as error:
            raise CommandError(str(error)) from error

    return parsed


@reads
def _camera(text: str) -> Numbers | str:
    camera = _parsed(camera_of)(text)
    return located(camera) if isinstance(camera, str) else camera


@reads
def _file(text: str) -> str:
    return located(text)
