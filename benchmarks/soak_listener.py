"""A listener of `soak.py` that takes its time over every cloud, until its standard input ends or it is killed."""

from __future__ import annotations

import os
import sys
import threading
import time

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2

from depth_anything_ros.share import use_fast_dds_profile


def main() -> int:
    """Listens to depth and cloud, and sleeps the seconds given as first argument over each cloud."""
    seconds = float(sys.argv[1])
    use_fast_dds_profile()
    rclpy.init(args=sys.argv[2:])
    node = Node("soak_listener")
    node.create_subscription(Image, "depth/image_rect", lambda _: None, 2)
    node.create_subscription(PointCloud2, "points", lambda _: time.sleep(seconds), 2)

    def leave() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=leave, daemon=True).start()
    rclpy.spin(node)
    return 0


if __name__ == "__main__":
    sys.exit(main())
