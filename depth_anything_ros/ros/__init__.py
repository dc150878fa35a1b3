"""The ROS 2 nodes: messages, topics, parameters and processes. No depth computation."""

from depth_anything_ros.system.malloc import share_one_arena

share_one_arena()  # must run before rclpy is imported
