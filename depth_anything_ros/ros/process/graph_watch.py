"""Other nodes that do not work with this one: the same name, publishers on its topics, incompatible subscribers."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from depth_anything_ros.ros.io.topic_advice import endpoints_of_other_nodes, incompatible_subscribers

PERIOD = 1.0
"""Seconds between two checks."""


def call_periodically(node: Node, *checks: Callable[[], None]) -> None:
    """Call functions in the node's executor, once per `PERIOD`.

    Args:
        node: the node that creates the timer.
        checks: the functions; an exception is logged, and the calls continue.
    """

    def run_checks() -> None:
        try:
            for check in checks:
                check()
        except Exception:
            if node.context.ok():  # else rclpy has been shut down in the meantime
                node.get_logger().error(f"the graph could not be checked: {traceback.format_exc()}")

    # A steady clock, because simulated time may stand still.
    node.create_timer(PERIOD, run_checks, clock=Clock(clock_type=ClockType.STEADY_TIME))


class GraphWatch:
    """Warns about other nodes that interfere with this one or cannot receive from it, once while a problem lasts.

    Attributes:
        problems: the present problems, one line each.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.problems: tuple[str, ...] = ()

    def check(self) -> None:
        """Examine the graph. Call it periodically."""
        problems = (*self._same_name(), *self._rivals(), *self._two_cameras(), *self._incompatible(), *self._no_clock())
        for text in problems:
            if text not in self.problems:
                self._node.get_logger().warning(text)
        self.problems = problems

    def _same_name(self) -> list[str]:
        node = self._node
        count = node.get_node_names_and_namespaces().count((node.get_name(), node.get_namespace()))
        if count < 2:
            return []
        return [
            f"the name {node.get_fully_qualified_name()} is used by {count} nodes, so parameters, services and "
            "transitions may reach the wrong one; end the other, or start this one with another namespace "
            "(namespace:=NAME of the launch files). A killed node still counts for some seconds"
        ]

    def _rivals(self) -> list[str]:
        """Return a line for each sensor topic of this node that another node publishes too."""
        node = self._node
        own = Counter(
            publisher.topic_name for publisher in node.publishers if publisher.msg_type.__module__.startswith("sensor")
        )
        problems = []
        for topic, count in sorted(own.items()):
            if node.count_publishers(topic) <= count:
                continue
            others = endpoints_of_other_nodes(node, node.get_publishers_info_by_topic(topic))
            names = sorted({f"{other.node_namespace.rstrip('/')}/{other.node_name}" for other in others})
            if names:
                problems.append(
                    f"{topic} is published by {', '.join(names)} too, so subscribers receive both; start this node "
                    "with another namespace (namespace:=NAME of the launch files)"
                )
        return problems

    def _two_cameras(self) -> list[str]:
        """Return a line for each image topic of this node that several nodes publish."""
        node, problems = self._node, []
        topics = {sub.topic_name for sub in node.subscriptions if sub.msg_type in (Image, CompressedImage)}
        for topic in sorted(topics):
            if node.count_publishers(topic) < 2:
                continue
            publishers = node.get_publishers_info_by_topic(topic)
            names = sorted({f"{one.node_namespace.rstrip('/')}/{one.node_name}" for one in publishers})
            if len(names) > 1:
                problems.append(
                    f"{topic} is published by {' and '.join(names)}, so images of both arrive in turn; end one of "
                    "them, or give it another topic"
                )
        return problems

    def _incompatible(self) -> list[str]:
        return [line for publisher in self._node.publishers for line in incompatible_subscribers(self._node, publisher)]

    def _no_clock(self) -> list[str]:
        if not self._node.get_parameter("use_sim_time").value or self._node.count_publishers("/clock"):
            return []
        return [
            "use_sim_time is true, but nothing publishes /clock, so the node's time stands still: start the simulator, "
            "play the bag with --clock, or set use_sim_time:=false"
        ]
