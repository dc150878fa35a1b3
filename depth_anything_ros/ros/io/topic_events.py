"""Middleware events of a topic.

Each event type of each topic costs a few microseconds in every cycle of rclpy's executor, and a frame takes three
cycles. A topic therefore requests only the events that it uses, not all those that rclpy would log by default.
"""

from __future__ import annotations

from collections.abc import Callable

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


def subscriber_events(on_change: Callable[[], None]) -> PublisherEventCallbacks:
    """Return callbacks for the subscribers of a topic. `GraphWatch` warns about incompatible ones.

    ``on_change`` is called in the executor's thread when a subscriber comes or goes, if `HAS_MATCHED_EVENTS`.
    """
    events = {"matched": lambda _: on_change()} if HAS_MATCHED_EVENTS else {}
    return PublisherEventCallbacks(use_default_callbacks=False, **events)
