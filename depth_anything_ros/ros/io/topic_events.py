"""What the middleware tells of who comes to a topic and goes.

Every kind of event of every topic costs each turn of rclpy's executor a few microseconds, and a frame takes two turns.
So a topic asks for those alone that something is done with, not for all that rclpy would log by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks

    TELLS_OF_LISTENERS = True
    """Whether a publisher is told when listeners come and go; not on Humble."""
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

    TELLS_OF_LISTENERS = False


def no_publisher_events() -> PublisherEventCallbacks:
    """For a topic that nobody asks for in another way than it is offered."""
    return PublisherEventCallbacks(use_default_callbacks=False)


def no_subscription_events() -> SubscriptionEventCallbacks:
    """For a topic on which silence is looked into by `topic_advice`, which also says what to do about it."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def listener_events(node: Node, topic: str, on_change: Callable[[], None]) -> PublisherEventCallbacks:
    """Calls ``on_change`` when a listener has come or gone, where `TELLS_OF_LISTENERS`, and warns of one not served.

    Both in the executor's thread.
    """

    def warn(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        node.get_logger().warning(
            f"a listener of {topic} asks for another {policy} than is offered, and gets nothing: change it there, or "
            f"here by qos_overrides.{topic}.publisher.{policy}"
        )

    events = {"matched": lambda _: on_change()} if TELLS_OF_LISTENERS else {}
    return PublisherEventCallbacks(incompatible_qos=warn, use_default_callbacks=False, **events)
