"""`depth_anything_ros view`: a page for browsers that shows the image, depth and cloud of a running depth node."""

from __future__ import annotations

import argparse

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.system.extras import require

EPILOG = """\
The page shows the live image, its depth in meters and the cloud, the state of the scale, rates, latency and the
log. Two clicks measure a distance; typing its true length sets a fixed or nominal scale. Without a browser the node
subscribes to no image. Ctrl-C ends the command.

examples: depth_anything_ros view                                     # with depth_anything_ros camera
          depth_anything_ros view --namespace depth_anything --image /camera/image_rect    # with depth.launch.py
          depth_anything_ros view --host 0.0.0.0                      # for a phone; the address has a token"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--namespace", default="camera", help="namespace of the depth node (default: %(default)s)")
    parser.add_argument("--image", default="image_raw", metavar="TOPIC", help="the images (default: %(default)s)")
    parser.add_argument("--compressed", action="store_true", help="use JPEG or PNG on TOPIC/compressed")
    parser.add_argument("--camera", default="", metavar="NAME", help="name of the camera, if the node has several")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address of the page; 0.0.0.0: for other machines (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=parse.port, default=8080, help="TCP port; 0: any free one (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until a signal arrives. Return the exit status."""
    require("rclpy", "sensor_msgs", "aiohttp")
    from rclpy.exceptions import InvalidTopicNameException
    from rclpy.parameter import Parameter
    from rclpy.validate_topic_name import validate_topic_name

    from depth_anything_ros.ros.process.console import shorten_log_lines
    from depth_anything_ros.ros.process.runner import run_node
    from depth_anything_ros.ros.view_node.node import ViewNode

    shorten_log_lines()
    for option, name in (("--image", arguments.image), ("--camera", arguments.camera)):
        try:
            validate_topic_name(name or "image")
        except InvalidTopicNameException as error:
            raise CommandError(f"{option}: {' '.join(str(error).split())}", 2) from error
    values = {
        "host": arguments.host,
        "port": arguments.port,
        "camera": arguments.camera,
        "image_transport": "compressed" if arguments.compressed else "raw",
    }
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    prefix = f"{arguments.camera}/" if arguments.camera else ""
    suffix = "/compressed" if arguments.compressed else ""
    remapping = ["--ros-args", "-r", f"{prefix}image{suffix}:={arguments.image}{suffix}"]
    return run_node(
        "view_node", lambda: ViewNode(namespace=arguments.namespace, parameter_overrides=overrides), remapping
    )
