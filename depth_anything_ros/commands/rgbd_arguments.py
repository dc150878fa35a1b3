"""Options that say where images and depth of one's own lie, and what depth means; each goes before rgbd.yaml."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.arguments import reads
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.rgbd_declaration import MATCHES, Declaration, Numbers, camera_of, scale_of

Value = TypeVar("Value")


def add_rgbd_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    group = parser.add_argument_group("rgbd, images with depth of your own (docs/data.md)")
    group.add_argument("--images", metavar="WHERE", help="folder or pattern of the images, such as rgb or 'rgb/*.png'")
    group.add_argument("--depths", metavar="WHERE", help="folder or pattern of the depth files")
    group.add_argument("--match", choices=MATCHES, help="how an image and its depth belong together (default: by most)")
    group.add_argument("--pairs", type=_file, metavar="FILE", help="a text file with an image and its depth a line")
    group.add_argument(
        "--depth-scale",
        type=_parsed(scale_of),
        metavar="S",
        help="meters per stored unit, such as 0.001; above 1 units per meter, such as 5000 (default: integers 0.001, "
        "floats 1)",
    )
    group.add_argument(
        "--camera",
        "--intrinsics",
        type=_camera,
        metavar="CAMERA",
        help="FX,FY,CX,CY in pixels, perhaps with ,WIDTH,HEIGHT of their image; or a file of them (default: one in the "
        "folder)",
    )
    group.add_argument("--depth-key", metavar="KEY", help="the array of .npz files, or the channel of .exr files")
    group.add_argument(
        "--resize-depth",
        action="store_true",
        help="depth of another size takes the nearest value for each pixel of its image (default: it is refused)",
    )


def declaration_of(arguments: argparse.Namespace) -> Declaration:
    """What the options say. Raises `DataError` for options that contradict each other."""
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
    return _file(camera) if isinstance(camera, str) else camera


@reads
def _file(text: str) -> str:
    """A file that is named from where one is; else from the folder of the images."""
    return str(Path(text).absolute()) if Path(text).is_file() else text
