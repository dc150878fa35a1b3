"""A slow listener of `soak.py`: it sleeps at every cloud, until its standard input ends or it is killed."""

from __future__ import annotations

import sys
import threading
import time

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2

from depth_anything_ros.system.package_share import use_fast_dds_profile


def main() -> int:
    """Subscribe to depth and cloud, and sleep at each cloud for the seconds of the first argument."""
    seconds = float(sys.argv[1])
    use_fast_dds_profile()
    rclpy.init(args=sys.argv[2:])
    node = Node("soak_listener")
    node.create_subscription(Image, "depth/image_rect", lambda _: None, 2)
    node.create_subscription(PointCloud2, "points", lambda _: time.sleep(seconds), 2)

    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not ended.is_set():
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
