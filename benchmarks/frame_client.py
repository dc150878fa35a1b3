"""The client process of `frame.py`: publishes images and receives both outputs, one frame after the other.

It sends a frame when both messages of the previous one have arrived, so that no frame waits or is replaced. It prints
JSON: the round-trip times and the number of lost frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_anything_ros.system.malloc import keep_freed_memory
from depth_anything_ros.system.package_share import use_fast_dds_profile

DISCOVERY_SECONDS = 30.0
LOST_AFTER_SECONDS = 5.0
FIELD_OF_VIEW_FOCAL = 0.9  # focal length in image widths, about 58 degrees


class FrameClient(Node):
    """Sends one image at a time and waits for its depth image and its cloud."""

    def __init__(
        self,
        width: int,
        height: int,
        qos: QoSProfile = qos_profile_sensor_data,
        encoding: str = "bgr8",
        **node_arguments: object,
    ) -> None:
        super().__init__("frame_client", **node_arguments)
        self.image_publisher = self.create_publisher(Image, "image", 5)
        self.info_publisher = self.create_publisher(CameraInfo, "camera_info", 5)
        self.depth_subscription = self.create_subscription(
            Image, "depth/image_rect", lambda message: self._receive("depth", message), qos
        )
        self.points_subscription = self.create_subscription(
            PointCloud2, "points", lambda message: self._receive("points", message), qos
        )
        self._image, self._info = make_messages(width, height, encoding)
        self._awaited: set[str] = set()
        self._stamp = (0, 0)

    def is_connected(self) -> bool:
        """Return whether the depth node subscribes, and publishes both outputs."""
        return (
            self.image_publisher.get_subscription_count() > 0
            and self.info_publisher.get_subscription_count() > 0
            and self.count_publishers("depth/image_rect") > 0
            and self.count_publishers("points") > 0
        )

    def send(self) -> None:
        """Publish the image with a new stamp."""
        stamp = self.get_clock().now().to_msg()
        self._stamp = (stamp.sec, stamp.nanosec)
        self._awaited = {"depth", "points"}
        self._image.header.stamp = self._info.header.stamp = stamp
        self.info_publisher.publish(self._info)
        self.image_publisher.publish(self._image)

    def has_answer(self) -> bool:
        """Return whether both messages of the last image have arrived."""
        return not self._awaited

    def _receive(self, output: str, message: Image | PointCloud2) -> None:
        if (message.header.stamp.sec, message.header.stamp.nanosec) == self._stamp:
            self._awaited.discard(output)


CHANNELS = {"bgr8": 3, "bgra8": 4, "mono8": 1}
"""Supported encodings, with their channels."""


def make_messages(width: int, height: int, encoding: str = "bgr8") -> tuple[Image, CameraInfo]:
    """Return a textured image, and the CameraInfo of a plausible pinhole camera.

    Args:
        width: Width of the image.
        height: Height of the image.
        encoding: a key of `CHANNELS`.
    """
    rows, columns = np.mgrid[:height, :width]
    planes = [rows % 256, columns % 256, (rows + columns) // 8 * 31 % 256, np.full_like(rows, 255)]
    pixels = np.stack(planes[: CHANNELS[encoding]], axis=-1).astype(np.uint8)
    image = Image(height=height, width=width, encoding=encoding, step=CHANNELS[encoding] * width)
    image.header.frame_id = "camera_optical_frame"
    image.data.frombytes(pixels.tobytes())
    focal, center = FIELD_OF_VIEW_FOCAL * width, ((width - 1) / 2, (height - 1) / 2)
    info = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    info.header.frame_id = image.header.frame_id
    info.k = [focal, 0.0, center[0], 0.0, focal, center[1], 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, center[0], 0.0, 0.0, focal, center[1], 0.0, 0.0, 0.0, 1.0, 0.0]
    return image, info


def spin_until(node: Node, condition, seconds: float) -> bool:
    """Spin a node until a condition holds. Return False if it does not hold in time.

    Args:
        node: Node to spin.
        condition: function without arguments.
        seconds: maximum time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        rclpy.spin_once(node, timeout_sec=0.1)
    return True


def main() -> int:
    """Exchange frames, and print the round trips."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--height", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    args, ros_arguments = parser.parse_known_args()
    use_fast_dds_profile()
    keep_freed_memory()
    rclpy.init(args=ros_arguments)
    client = FrameClient(args.width, args.height)
    try:
        if not spin_until(client, client.is_connected, DISCOVERY_SECONDS):
            print(f"the depth node was not found within {DISCOVERY_SECONDS:g} s", file=sys.stderr)
            return 1
        round_trips, lost = [], 0
        for _ in range(args.frames):
            started = time.perf_counter()
            client.send()
            if spin_until(client, client.has_answer, LOST_AFTER_SECONDS):
                round_trips.append(time.perf_counter() - started)
            else:
                lost += 1
        print(json.dumps({"round_trip_seconds": round_trips, "lost": lost}))
        return 0
    finally:
        client.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
