"""Parameters that a node was given and does not have."""

from __future__ import annotations

import difflib

from rclpy.node import Node


def warn_of_unknown(node: Node) -> None:
    """Says in the log which parameters were given that the node has not declared: ROS ignores them without a word."""
    given = getattr(node, "_parameter_overrides", {})  # rclpy tells nobody else
    declared = node.get_parameters_by_prefix("")
    for name in given:
        if name not in declared and not name.startswith("qos_overrides."):
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f"; is {near[0]} meant?" if near else ""
            node.get_logger().warning(f"parameter {name} is none of this node's and is ignored{hint}")
