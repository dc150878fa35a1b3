"""Parameters that a node was given, or is to set, and does not have."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter


def warn_of_unknown(node: Node, others: Collection[str] = ()) -> None:
    """Says in the log which parameters were given that the node has not declared: ROS ignores them without a word.

    ``others``: parameters of other nodes of the process, which are given every parameter that names no node.
    """
    given = getattr(node, "_parameter_overrides", {})  # rclpy tells nobody else
    declared = node.get_parameters_by_prefix("")
    for name in given:
        if name not in declared and name not in others and not name.startswith("qos_overrides."):
            hint = _hint(name, declared)
            node.get_logger().warning(f"parameter {name} is none of this node's and is ignored{hint}")


def refusal_of_unknown(node: Node, parameters: Iterable[Parameter]) -> SetParametersResult | None:
    """The answer to parameters of which one is none of the node's, with its name, which rclpy's answer lacks.

    None where all are the node's.
    """
    for parameter in parameters:
        if not node.has_parameter(parameter.name):
            hint = _hint(parameter.name, node.get_parameters_by_prefix(""))
            return SetParametersResult(successful=False, reason=f"{parameter.name} is no parameter of this node{hint}")
    return None


def _hint(name: str, declared: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, declared, n=1)
    return f"; is {near[0]} meant?" if near else ""
