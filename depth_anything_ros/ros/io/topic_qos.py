"""Quality of service of the node's topics: the user's overrides, and the policies that all publishers offer."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import ParameterAlreadyDeclaredException, ParameterException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

AUTOMATIC = "automatic"
"""Value of an override's parameter if the user leaves the policy to the node."""
CHOICES = {"history": HistoryPolicy, "reliability": ReliabilityPolicy, "durability": DurabilityPolicy}
POLICIES = (*CHOICES, "depth")
PREFIX = "qos_overrides."


def qos_overrides(
    node: Node, topic: str, entity: str, default: QoSProfile, automatic: Collection[str] = ()
) -> dict[str, Any]:
    """Declare the parameters ``qos_overrides.TOPIC.ENTITY.POLICY`` and return the policies that they fix.

    Names and values are those of rclpy's `QoSOverridingOptions`. That class has no automatic policies, and reports an
    invalid value only when the topic is created.

    Args:
        node: the node that declares the parameters.
        topic: its resolved name.
        entity: "publisher" or "subscription".
        default: the policies without overrides.
        automatic: policies that the node chooses if they are not overridden; the result omits those.

    Raises:
        ValueError: a value is invalid; the message names the parameter and the choices.
    """
    values: dict[str, Any] = {}
    for policy in POLICIES:
        name = f"{PREFIX}{topic}.{entity}.{policy}"
        given = _declared(node, name, AUTOMATIC if policy in automatic else _text(getattr(default, policy)))
        if given != AUTOMATIC or policy not in automatic:
            values[policy] = _value(name, policy, given)
    return values


def with_policies(profile: QoSProfile, policies: Mapping[str, Any]) -> QoSProfile:
    """Return a copy of the profile with some policies replaced.

    Args:
        profile: the original.
        policies: the new policies by name.
    """
    return QoSProfile(**{policy: getattr(profile, policy) for policy in POLICIES} | dict(policies))


def offered_by_all(publishers: Sequence[TopicEndpointInfo]) -> dict[str, Any]:
    """Return the best reliability and durability that all of at least one publishers offer."""
    profiles = [publisher.qos_profile for publisher in publishers]
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles)
    return {
        "reliability": ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        "durability": DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    }


def declared_overrides(node: Node) -> frozenset[str]:
    """Return the names of the ``qos_overrides`` that the node has declared."""
    return frozenset(f"{PREFIX}{name}" for name in node.get_parameters_by_prefix(PREFIX.rstrip(".")))


def warn_of_unknown_overrides(node: Node, others: Collection[str] = ()) -> None:
    """Log a warning for each given ``qos_overrides`` parameter that no topic declares. Call it after all are declared.

    Args:
        node: the node that was given the parameters.
        others: overrides of other nodes of the process, because ROS passes parameters without a node name to all nodes.
    """
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public access
    known = sorted({*declared_overrides(node), *others})
    for name in given:
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]}?" if near else ""
            node.get_logger().warning(f"parameter {name} matches no topic and policy of this node, ignored{hint}")


def _declared(node: Node, name: str, default: str | int) -> str | int:
    descriptor = ParameterDescriptor(description=f"Default: {default}.", read_only=True)
    try:
        return node.declare_parameter(name, default, descriptor).value
    except ParameterAlreadyDeclaredException:
        return node.get_parameter(name).value
    except ParameterException as error:  # the type differs from that of the default
        raise ValueError(f"{name}: {error}") from error


def _text(value: Any) -> str | int:
    return value if isinstance(value, int) and not hasattr(value, "name") else value.name.lower()


def _value(name: str, policy: str, given: str | int) -> Any:
    if isinstance(given, int):  # the depth
        if given < 1:
            raise ValueError(f"{name} is {given}, must be 1 or more")
        return given
    choices = {choice.name.lower(): choice for choice in CHOICES[policy] if choice.name != "UNKNOWN"}
    if given.lower() not in choices:
        raise ValueError(f"{name} is {given!r}, must be one of {', '.join(choices)}")
    return choices[given.lower()]
