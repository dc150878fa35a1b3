"""Other nodes that get in this one's way: of the same name, or publishing on its topics."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from depth_anything_ros.ros.io.topic_advice import others_of

PERIOD = 1.0
"""Seconds between two looks."""


def look_periodically(node: Node, *looks: Callable[[], None]) -> None:
    """Has the node's executor call these once a `PERIOD`; what one raises goes to the log and ends nothing."""

    def look() -> None:
        try:
            for one in looks:
                one()
        except Exception:
            if node.context.ok():  # else shut down from outside meanwhile
                node.get_logger().error(f"the graph could not be looked at: {traceback.format_exc()}")

    # Steady: simulated time may stand still.
    node.create_timer(PERIOD, look, clock=Clock(clock_type=ClockType.STEADY_TIME))


class GraphWatch:
    """Names in the log, once while it lasts, what other nodes get in the way of this one.

    Attributes:
        troubles: what there is of it now, a line each.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.troubles: tuple[str, ...] = ()

    def look(self) -> None:
        """To be called every so often."""
        troubles = (*self._same_name(), *self._rivals())
        for text in troubles:
            if text not in self.troubles:
                self._node.get_logger().warning(text)
        self.troubles = troubles

    def _same_name(self) -> list[str]:
        node = self._node
        count = node.get_node_names_and_namespaces().count((node.get_name(), node.get_namespace()))
        if count < 2:
            return []
        return [
            f"the name {node.get_fully_qualified_name()} is taken: {count} nodes have it, and parameters, services and "
            "transitions may reach the wrong one; end the other, or start this one with another namespace "
            "(namespace:=NAME of the launch files). One that was killed counts for some seconds more"
        ]

    def _rivals(self) -> list[str]:
        """Other nodes' publishers on the topics that this node publishes its sensors' data on."""
        node = self._node
        own = Counter(
            publisher.topic_name for publisher in node.publishers if publisher.msg_type.__module__.startswith("sensor")
        )
        troubles = []
        for topic, count in sorted(own.items()):
            if node.count_publishers(topic) <= count:
                continue
            others = others_of(node, node.get_publishers_info_by_topic(topic))
            names = sorted({f"{other.node_namespace.rstrip('/')}/{other.node_name}" for other in others})
            if names:
                troubles.append(
                    f"{topic} is published by {', '.join(names)} too, and listeners get both; start this node with "
                    "another namespace (namespace:=NAME of the launch files)"
                )
        return troubles
