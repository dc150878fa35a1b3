"""The ROS 2 skin: nodes, message packing, parameters. Decides nothing about depth."""

from depth_anything_ros.system.malloc import share_one_arena

share_one_arena()  # here, because it must come before rclpy is imported
