"""Any camera as a depth sensor on ROS 2: Depth Anything on the robot, and the engine that trains it."""

from depth_anything_ros.privacy import opt_out

__version__ = "0.1.0"

opt_out()
