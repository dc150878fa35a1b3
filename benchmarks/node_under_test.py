"""One node under test of `node.py`, in its own process: runs until its standard input ends, then prints JSON.

The JSON holds the processor seconds of every frame, by part; see `node_parts`.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading

import constant_backend
import numpy as np
import rclpy
from node_parts import CLOUD, CONVERT, DEPTH, FLYING, PUBLISH_CLOUD, PUBLISH_DEPTH, RESIZE, PartTimes, TimedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from usual_node import SCALE_A, SCALE_B, UsualNode

from depth_anything_ros.postprocessing import depth_products
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.io.messages import OutputMessages
from depth_anything_ros.ros.process.runner import prepare_process
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.package_share import FAST_DDS_PROFILE_VARIABLES as PROFILES
from depth_anything_ros.system.package_share import use_fast_dds_profile

NODES = {
    "ours": "this package's node with its defaults",
    "ours, unfiltered": "the same without its filter of flying pixels, which no other node has",
    "usual": "cv_bridge, meshgrid, create_cloud",
    "usual, bare": "the same with Fast DDS's defaults, without this package's profile",
    "by hand": "frombuffer, meshgrid, message.data = array.tobytes()",
    "by hand, checked": "the same with messages that check their fields, as on Humble",
    "lists": "cv_bridge, meshgrid, lists of points and bytes",
    "nothing": "takes the image, publishes prepared messages: no node in rclpy takes less",
}
"""The implementation of each node, by name."""
WAYS = {"usual": "cv_bridge", "usual, bare": "cv_bridge", "by hand, checked": "by hand"}
"""The ``way`` of `UsualNode`, if it differs from the node's name."""
ENVIRONMENTS = {"by hand, checked": {"ROS_PYTHON_CHECK_FIELDS": "1"}, "usual, bare": dict.fromkeys(PROFILES, "")}
"""Further environment variables of a node's process; empty ones are removed."""
NEEDS_SENSOR_MSGS_PY = ("usual", "usual, bare", "lists")
SLOW = ("by hand, checked", "lists")
"""The nodes that take a second per frame."""


def ours(parts: PartTimes, flying_threshold: float) -> Node:
    """Return this package's node, with a timer at each of its parts.

    Args:
        parts: collects the times.
        flying_threshold: parameter of the node.
    """
    parameters = {"scale.a": SCALE_A, "scale.b": SCALE_B, "flying_pixels.threshold": flying_threshold}
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    estimator = Estimator("tiny", constant_backend.NAME, gated=False)
    node = DepthNode(estimator, parameter_overrides=overrides)
    node.start()
    stream = node.streams[""]
    processor, outputs = stream.processor, stream._outputs
    estimator.estimate = parts.timed(RESIZE, estimator.estimate)
    processor.steps._decoder.decode = parts.timed(CONVERT, processor.steps._decoder.decode)
    depth_products.output_to_depth = parts.timed(DEPTH, depth_products.output_to_depth)
    depth_products.limit_depth = parts.timed(DEPTH, depth_products.limit_depth)
    processor.steps._products._find_flying = parts.timed(FLYING, processor.steps._products._find_flying)
    depth_products.write_point_cloud = parts.timed(CLOUD, depth_products.write_point_cloud)
    for name, part in (("depth", PUBLISH_DEPTH), ("points", PUBLISH_CLOUD)):
        publisher = outputs._publishers[name]
        publisher.publish = parts.timed(part, publisher.publish)
    finish = processor.finish

    def finish_frame(*arguments: object) -> None:
        finish(*arguments)
        parts.frame()

    processor.finish = finish_frame
    return node


def usual(parts: PartTimes, way: str, image_size: tuple[int, int]) -> Node:
    """Return the depth node in its usual form.

    Args:
        parts: collects the times.
        way: Way of `UsualNode`.
        image_size: (height, width).
    """
    size = Estimator("tiny", constant_backend.NAME, gated=False).input_size_for(*image_size)
    return UsualNode(constant_backend.ConstantBackend(size), size, parts, way)


class NothingNode(Node):
    """Answers every image with the same depth and the same cloud."""

    def __init__(self, parts: PartTimes) -> None:
        super().__init__("nothing_node")
        self._parts, self._messages = parts, OutputMessages(0, 0, 1)
        self._answers = {
            "depth": (PUBLISH_DEPTH, self.create_publisher(Image, "depth/image_rect", 2)),
            "points": (PUBLISH_CLOUD, self.create_publisher(PointCloud2, "points", 2)),
        }
        self.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)
        self.create_subscription(CameraInfo, "camera_info", lambda _: None, qos_profile_sensor_data)

    def _on_image(self, message: Image) -> None:
        if not self._messages.fit(message.height, message.width, 1):
            self._messages = OutputMessages(message.height, message.width, 1)
            np.copyto(self._messages.depth.pixels, 1)
        for name, (part, publisher) in self._answers.items():
            answer = getattr(self._messages, name).stamped(message.header)
            with self._parts.part(part):
                publisher.publish(answer)
        self._parts.frame()


def make(name: str, parts: PartTimes, image_size: tuple[int, int]) -> Node:
    """Return a node.

    Args:
        name: a key of `NODES`.
        parts: collects the times.
        image_size: (height, width).
    """
    if name == "ours":
        return ours(parts, 0.05)
    if name == "ours, unfiltered":
        return ours(parts, 0.0)
    if name == "nothing":
        return NothingNode(parts)
    return usual(parts, WAYS.get(name, name), image_size)


def main() -> int:
    """Run one node."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=list(NODES))
    parser.add_argument("--width", type=int, default=640, help="of the image (default: %(default)s)")
    parser.add_argument("--height", type=int, default=480, help="of the image (default: %(default)s)")
    args, ros_arguments = parser.parse_known_args()
    if args.name != "usual, bare":
        use_fast_dds_profile()
    if args.name.startswith("ours") or args.name == "nothing":
        prepare_process()
    rclpy.init(args=ros_arguments)
    constant_backend.register()
    parts = PartTimes()
    node = make(args.name, parts, (args.height, args.width))
    executor = TimedExecutor(parts)
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    sys.stdin.read()
    executor.shutdown()
    spinning.join()
    print(json.dumps(parts.seconds))
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
