"""Middleware events of a topic: matched and incompatible endpoints.

Each event type of each topic costs a few microseconds in every cycle of rclpy's executor, and a frame takes two cycles.
A topic therefore requests only the events that it uses, not all those that rclpy would log by default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks

    HAS_MATCHED_EVENTS = True
    """Whether a publisher gets an event when subscribers come and go; not on Humble."""
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

    HAS_MATCHED_EVENTS = False


def no_publisher_events() -> PublisherEventCallbacks:
    """Return callbacks for a topic whose subscribers cannot be incompatible."""
    return PublisherEventCallbacks(use_default_callbacks=False)


def no_subscription_events() -> SubscriptionEventCallbacks:
    """Return callbacks for a topic on which `topic_advice` examines silence and names the fix."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def subscriber_events(node: Node, topic: str, on_change: Callable[[], None]) -> PublisherEventCallbacks:
    """Return callbacks for the subscribers of a topic; both run in the executor's thread.

    They warn about a subscriber with incompatible quality of service.

    Args:
        node: the node that publishes.
        topic: the resolved name.
        on_change: called when a subscriber comes or goes, if `HAS_MATCHED_EVENTS`.
    """

    def warn(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        node.get_logger().warning(
            f"a subscriber of {topic} requests an incompatible {policy} and receives nothing: change it there, or "
            f"set qos_overrides.{topic}.publisher.{policy}"
        )

    events = {"matched": lambda _: on_change()} if HAS_MATCHED_EVENTS else {}
    return PublisherEventCallbacks(incompatible_qos=warn, use_default_callbacks=False, **events)
