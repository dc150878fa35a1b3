"""Options for the sensors of a recording: their topics, the ground, and where a sensor is."""

from __future__ import annotations

import argparse

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.geometry.transform import Transform


def add_sensor_arguments(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add the options of the sensors for the scale.

    Args:
        parser: Parser of the command.
        purpose: Purpose of a sensor, at the start of each help text.
    """
    parser.add_argument("--points", metavar="TOPIC", help=f"{purpose} a PointCloud2")
    parser.add_argument("--depth", metavar="TOPIC", help=f"{purpose} a depth image, with camera_info next to it")
    parser.add_argument("--scan", metavar="TOPIC", help=f"{purpose} a LaserScan")
    parser.add_argument("--range", metavar="TOPIC", help=f"{purpose} a Range")
    parser.add_argument(
        "--camera-height", type=parse.positive, metavar="METERS", help=f"{purpose} a flat ground below the camera"
    )
    parser.add_argument(
        "--camera-pitch",
        type=parse.number,
        metavar="DEGREES",
        help="angle by which the camera looks down, with --camera-height and without --imu (default: 0)",
    )
    parser.add_argument("--imu", metavar="TOPIC", help="Imu for the direction of gravity, with --camera-height")
    add_extrinsics(parser, "the sensor")


def add_extrinsics(parser: argparse._ActionsContainer, sensor: str) -> None:
    """Add ``--extrinsics``.

    Args:
        parser: Parser of the command, or a group of it.
        sensor: whose extrinsics they are, for the help.
    """
    parser.add_argument(
        "--extrinsics",
        nargs=7,
        type=parse.number,
        metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
        help=f"position and rotation of {sensor} in the camera's optical frame, instead of TF",
    )


def extrinsics_of(args: argparse.Namespace) -> Transform | None:
    """Return the transform of ``--extrinsics``; None for TF. Raises `CommandError` if it is no rotation."""
    if args.extrinsics is None:
        return None
    try:
        return Transform.from_quaternion(args.extrinsics[3:], args.extrinsics[:3])
    except ValueError as error:
        raise CommandError(f"--extrinsics: {error}") from error


def check_imu(args: argparse.Namespace) -> None:
    """Check that an IMU has a ground to be used for. Raises `CommandError`."""
    if args.imu is not None and args.camera_height is None:
        raise CommandError("--imu gives the direction of gravity for the ground: give --camera-height too")
