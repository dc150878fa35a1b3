"""Any camera as a depth sensor on ROS 2: Depth Anything on the robot, and the engine that trains it."""

__version__ = "0.1.0"
