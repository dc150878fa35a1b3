"""A subscription whose quality of service follows that of the topic's publishers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from depth_anything_ros.ros.io.topic_events import no_subscription_events
from depth_anything_ros.ros.io.topic_qos import offered_by_all, qos_overrides, with_policies


class AdaptiveSubscription:
    """A subscription to one topic that can be opened and closed. Not thread-safe.

    If the middleware rejects a subscription, the reason is logged and `adapt` tries again. Fast DDS does so if the same
    process uses the topic with another type, for example.

    Args:
        node: the node that subscribes.
        message_type: class of the messages.
        topic: the resolved name.
        callback: receives each message, in the executor's thread.
        group: callback group.
        default: quality of service while there is no publisher.
        automatic: policies that follow the publishers: "reliability", "durability".

    Attributes:
        failure: why the middleware rejects the subscription; "" if it does not.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        group: CallbackGroup,
        default: QoSProfile,
        automatic: Collection[str],
    ) -> None:
        self.topic, self.type_name = topic, f"{message_type.__module__.partition('.')[0]}/msg/{message_type.__name__}"
        self._node, self._message_type, self._callback, self._group = node, message_type, callback, group
        self._default, self._automatic = default, frozenset(automatic)
        self._fixed: dict[str, Any] | None = None
        self._profile = default
        self._subscription: Subscription | None = None
        self._is_open = False
        self.failure = ""

    @property
    def profile(self) -> QoSProfile:
        """The quality of service that is requested now, or was requested last."""
        return self._profile

    @property
    def publishers(self) -> list[TopicEndpointInfo]:
        """The topic's publishers, of any message type."""
        return self._node.get_publishers_info_by_topic(self.topic)

    def read_overrides(self) -> None:
        """Read the user's ``qos_overrides``. Raise `ValueError` for an invalid one."""
        self._fixed = qos_overrides(self._node, self.topic, "subscription", self._default, self._automatic)

    def open(self) -> None:
        """Subscribe. Call `read_overrides` first if nobody has."""
        if self._fixed is None:
            self.read_overrides()
        self._is_open, self.failure = True, ""
        self._subscribe()

    def close(self) -> None:
        """End the subscription, if there is one."""
        self._is_open = False
        self._unsubscribe()

    def adapt(self) -> None:
        """Subscribe again if the publishers offer another quality of service than is requested."""
        if not self._is_open or (self._subscription is not None and self._best() == self._profile):
            return
        self._unsubscribe()  # first, because two subscriptions would receive every message twice
        self._subscribe()

    def _subscribe(self) -> None:
        self._profile = self._best()
        try:
            self._subscription = self._node.create_subscription(
                self._message_type,
                self.topic,
                self._callback,
                self._profile,
                callback_group=self._group,
                event_callbacks=no_subscription_events(),
            )
            self.failure = ""
        except RuntimeError as error:  # from rclpy; it must not end the executor
            before, self.failure = self.failure, f"{self.topic} cannot be subscribed to: {error}"
            if not before:
                self._node.get_logger().error(self.failure)

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _best(self) -> QoSProfile:
        """Return the profile to request. If all publishers are gone, keep the one that was requested before."""
        publishers = [publisher for publisher in self.publishers if publisher.topic_type == self.type_name]
        offered = offered_by_all(publishers) if publishers else {}
        follows = {policy: value for policy, value in offered.items() if policy in self._automatic}
        before = {policy: getattr(self._profile, policy) for policy in self._automatic}
        return with_policies(self._default, before | follows | (self._fixed or {}))
