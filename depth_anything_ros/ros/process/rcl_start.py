"""Whether rclpy starts here, for the command `doctor`."""

from __future__ import annotations

import os

import rclpy
from rclpy.context import Context
from rclpy.utilities import get_rmw_implementation_identifier

from depth_anything_ros.ros.process.runner import log_folder_problem


def rmw_identifier() -> str:
    """Return the name of the middleware that rclpy loads. Raises `RuntimeError` if it cannot be loaded."""
    return get_rmw_implementation_identifier()


def start_problem() -> str:
    """Start rclpy, create a node and end both. Return why that fails, as one line; "" if it works."""
    problem = log_folder_problem(os.environ)
    arguments = ["--ros-args", "--disable-external-lib-logs"] if problem else []  # as the package's nodes do
    context = Context()
    try:
        rclpy.init(args=arguments, context=context)
        rclpy.create_node(f"depth_anything_ros_doctor_{os.getpid()}", context=context).destroy_node()
    except Exception as error:  # rclpy's errors have no common base class
        return " ".join(f"{error} {problem}".split())
    finally:
        rclpy.try_shutdown(context=context)
    return ""
