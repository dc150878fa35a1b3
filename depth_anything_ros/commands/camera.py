"""`depth_anything_ros camera`: the nodes of camera.launch.py in one process, for machines without `launch`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.export.prepare import prepare_model
from depth_anything_ros.system.extras import require

if TYPE_CHECKING:
    from rclpy.node import Node

EPILOG = """\
Both nodes share a namespace, so the topics are /camera/image_raw, /camera/depth/image_rect, /camera/points, ...
Ctrl-C ends the command. Further parameters and remappings come last: --ros-args -p max_depth:=10.0"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options. Without one, the node's own default applies."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--source",
        type=parse.source,
        help="camera index, /dev/videoN, a video, an image, a folder of images, or a URL (default: 0)",
    )
    parser.add_argument(
        "--model", type=parse.model, help="name of a known model, .onnx file, or a model's folder (default: tiny)"
    )
    parser.add_argument(
        "--record",
        type=parse.existing_file,
        metavar="FILE",
        help="JSON record, for an .onnx without metadata",
    )
    parser.add_argument("--backend", type=parse.backend, help="inference backend (default: auto)")
    parser.add_argument("--precision", type=parse.precision, help="precision of the backend (default: auto)")
    parser.add_argument(
        "--calibration",
        type=parse.source,
        metavar="FILE",
        help="camera_info YAML of the camera: a path, file:// or package://",
    )
    parser.add_argument(
        "--rate", type=parse.positive, metavar="HZ", help="frames per second (default: the rate of the source)"
    )
    parser.add_argument(
        "--loop",
        action=argparse.BooleanOptionalAction,
        help="restart a file at its end (default), or end with it, even without subscribers",
    )
    parser.add_argument("--view", action="store_true", help="show image, depth and cloud on a page for a browser")
    parser.add_argument(
        "--view-host",
        default="127.0.0.1",
        metavar="HOST",
        help="address of that page; 0.0.0.0: for other machines, with a token (default: %(default)s)",
    )
    parser.add_argument(
        "--view-port", type=parse.port, default=8080, metavar="PORT", help="of that page (default: %(default)s)"
    )
    parser.add_argument("--namespace", default="camera", help="namespace of both nodes (default: %(default)s)")
    parser.add_argument(
        "--ros-args",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="...",
        help="arguments for ROS, up to the end of the line",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run both nodes until the source ends or a signal arrives. Return the exit status."""
    require("rclpy", "sensor_msgs", *(["aiohttp"] if arguments.view else []))
    prepare_model(arguments.model or "tiny", arguments.backend or "auto", arguments.record)
    from rclpy.parameter import Parameter

    from depth_anything_ros.ros.camera_depth_nodes import run_camera_and_depth
    from depth_anything_ros.ros.process.console import shorten_log_lines
    from depth_anything_ros.system.package_share import share_directory

    shorten_log_lines()

    def given(**values: object) -> list[Parameter]:
        return [Parameter(name, value=value) for name, value in values.items() if value is not None]

    depth = given(
        model=arguments.model, record=_text(arguments.record), backend=arguments.backend, precision=arguments.precision
    )
    camera = given(
        source=arguments.source, calibration=arguments.calibration, frame_rate=arguments.rate, loop=arguments.loop
    )
    ros_arguments = ["--ros-args", "--params-file", str(share_directory() / "config" / "camera_launch.yaml")]
    return run_camera_and_depth(
        [*ros_arguments, *arguments.ros_args],
        {"namespace": arguments.namespace, "parameter_overrides": camera},
        {"namespace": arguments.namespace, "parameter_overrides": depth},
        {"view_node": partial(_view_node, arguments)} if arguments.view else {},
    )


def _view_node(arguments: argparse.Namespace) -> Node:
    from rclpy.parameter import Parameter

    from depth_anything_ros.ros.view_node.node import ViewNode

    values = {"host": arguments.view_host, "port": arguments.view_port}
    return ViewNode(
        namespace=arguments.namespace,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        cli_args=["--ros-args", "-r", "image:=image_raw"],
    )


def _text(value: object) -> str | None:
    """Return a path as text, which a ROS parameter needs."""
    return None if value is None else str(value)
