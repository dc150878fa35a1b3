"""Parameters that a node is given, at start or through a service, and does not have."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter


def warn_of_unknown(node: Node, others: Collection[str] = ()) -> None:
    """Log a warning for each given parameter that the node has not declared. ROS silently ignores them.

    Args:
        node: the node that was given the parameters.
        others: parameters of other nodes of the process; ROS passes parameters without a node name to all nodes.
    """
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public access
    declared = node.get_parameters_by_prefix("")
    for name in given:
        if name not in declared and name not in others and not name.startswith("qos_overrides."):
            hint = _hint(name, declared)
            node.get_logger().warning(f"this node has no parameter {name}, ignored{hint}")


def reject_unknown(node: Node, parameters: Iterable[Parameter]) -> SetParametersResult | None:
    """Return the response to a request that sets an unknown parameter, or None if the node has all of them.

    rclpy's response does not name the parameter.

    Args:
        node: the node whose parameters are set.
        parameters: the new values.
    """
    for parameter in parameters:
        if not node.has_parameter(parameter.name):
            hint = _hint(parameter.name, node.get_parameters_by_prefix(""))
            return SetParametersResult(successful=False, reason=f"this node has no parameter {parameter.name}{hint}")
    return None


def _hint(name: str, declared: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, declared, n=1)
    return f"; did you mean {near[0]}?" if near else ""
