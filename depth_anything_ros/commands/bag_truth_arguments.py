"""Options of `evaluate` for bags: their topics."""

from __future__ import annotations

import argparse

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.sensor_arguments import add_extrinsics, extrinsics_of
from depth_anything_ros.evaluation.bag_recording import BagTruth

_NAMES = ("image", "camera_info", "truth", "rectified", "extrinsics")


def add_bag_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    group = parser.add_argument_group("bags (docs/bags.md)")
    group.add_argument("--image", metavar="TOPIC", help="images of the camera (default: the only topic with pictures)")
    group.add_argument("--camera-info", metavar="TOPIC", help="its camera_info (default: next to the images)")
    group.add_argument(
        "--truth", metavar="TOPIC", help="true depth: a depth image or a PointCloud2 (default: the only one)"
    )
    group.add_argument(
        "--rectified",
        choices=("auto", "true", "false"),
        help="whether the images are rectified (default: auto: the topic's name decides); raw images are rectified",
    )
    add_extrinsics(group, "the truth's sensor")


def check_no_bag_options(args: argparse.Namespace) -> None:
    """Check that no option for bags is given. Raises `CommandError`."""
    given = [f"--{name.replace('_', '-')}" for name in _NAMES if getattr(args, name) is not None]
    if given:
        raise CommandError(f"{', '.join(given)}: for bags only; give a bag instead of --data", 2)


def truth_of(args: argparse.Namespace) -> BagTruth:
    """Return the topics of the options. Raises `CommandError` for an invalid rotation."""
    rectified = {"true": True, "false": False}.get(args.rectified)
    return BagTruth(args.image, args.camera_info, args.truth, rectified, extrinsics_of(args))
