"""Why no message arrives on a topic: a wrong name, another type or incompatible quality of service."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA = "camera"
"""What publishes the images."""
POLICIES = {"reliable": "reliability", "transient local": "durability"}
"""The policy by words of `qos_check_compatible`; the others have their own name there."""
MAX_LISTED = 5
"""Maximum number of topics in a suggestion, the most similar first."""


def published_topics(node: Node) -> dict[str, set[str]]:
    """Return the topics that other nodes publish, with their message types."""
    topics: dict[str, set[str]] = {}
    for topic, _ in node.get_topic_names_and_types():
        publishers = endpoints_of_other_nodes(node, node.get_publishers_info_by_topic(topic))
        types = {publisher.topic_type for publisher in publishers}
        if types:
            topics[topic] = types
    return topics


def endpoints_of_other_nodes(node: Node, endpoints: Sequence[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
    """Return the endpoints that do not belong to ``node``."""
    own = node.get_name(), node.get_namespace()
    return [endpoint for endpoint in endpoints if (endpoint.node_name, endpoint.node_namespace) != own]


def incompatible_subscribers(node: Node, publisher: Publisher) -> list[str]:
    """Return a line for each quality-of-service policy that keeps a subscriber from receiving a topic, with the fix.

    Args:
        node: the node that publishes.
        publisher: one of its publishers.
    """
    topic = publisher.topic_name
    if node.count_subscribers(topic) <= publisher.get_subscription_count():
        return []
    lines = set()
    for subscriber in node.get_subscriptions_info_by_topic(topic):
        compatibility, reason = qos_check_compatible(publisher.qos_profile, subscriber.qos_profile)
        if compatibility == QoSCompatibility.ERROR:
            lines |= {_incompatible(node, topic, policy) for policy in _policies_in(reason)}
    return sorted(lines)


def _incompatible(node: Node, topic: str, policy: str) -> str:
    override = f"qos_overrides.{topic}.publisher.{policy}"  # /rosout and others have none
    other = f", or set {override}" if node.has_parameter(override) else ""
    return f"a subscriber of {topic} requests an incompatible {policy} and receives nothing: change it there{other}"


def _policies_in(reason: str) -> list[str]:
    """Return the policies that the text of `qos_check_compatible` is about."""
    words = POLICIES | {name: name for name in ("deadline", "liveliness")}
    return [policy for word, policy in words.items() if word in reason.lower()]


def why_silent(
    argument: str,
    topic: str,
    type_name: str,
    asked: QoSProfile,
    publishers: Sequence[TopicEndpointInfo],
    topics: Mapping[str, set[str]],
    sender: str = CAMERA,
) -> str:
    """Return why no message arrives on a topic, with the fix, in one line.

    Args:
        argument: name of the topic before remapping: "image", "camera_info", "left/image", ….
        topic: the resolved name.
        type_name: the expected message type, such as "sensor_msgs/msg/Image".
        asked: quality of service of the subscription.
        publishers: publishers of the topic, of any type.
        topics: published topics and their types, from `published_topics`.
        sender: what should publish the topic. The parameter image_transport is only for a `CAMERA`.
    """
    matching = [publisher for publisher in publishers if publisher.topic_type == type_name]
    if matching:
        return (
            _mismatch(matching, asked) or f"the {sender} sends nothing, or its messages get lost (docs/middleware.md)"
        )
    other_types = {publisher.topic_type for publisher in publishers}
    if other_types:
        problem = f"it is published as {_short(min(other_types))}, not as {_short(type_name)}"
        switch = _switch(argument, topic, type_name, other_types) if sender == CAMERA else ""
        return f"{problem}: {switch or _remap(argument, type_name, topic, topics, sender)}"
    if sender != CAMERA:
        return _remap(argument, type_name, topic, topics, sender)
    base, suffix = topic.removesuffix("/compressed"), "/compressed"
    if type_name == IMAGE and COMPRESSED in topics.get(topic + suffix, ()):
        return f"only {topic}{suffix} is published: set image_transport:=compressed"
    if type_name == COMPRESSED and base != topic and IMAGE in topics.get(base, ()):
        return f"only {base} is published: set image_transport:=raw"
    if type_name == COMPRESSED and base != topic and COMPRESSED in topics.get(base, ()):
        return f"{base} itself is the compressed image: set {_compressed_at(argument, base)}"
    return _remap(argument, type_name, topic, topics, sender)


def _compressed_at(argument: str, topic: str) -> str:
    """Return the remapping that reads a compressed image from a topic, with or without the conventional suffix."""
    base = topic.removesuffix("/compressed")
    return f"{argument}:={base}" if base != topic else f"{argument}/compressed:={topic}"


def _switch(argument: str, topic: str, type_name: str, other_types: set[str]) -> str:
    """Return the setting that reads the image in its published type; empty if it is no image."""
    if type_name == IMAGE and COMPRESSED in other_types:
        return f"set image_transport:=compressed and {_compressed_at(argument, topic)}"
    if type_name == COMPRESSED and IMAGE in other_types:
        return f"set image_transport:=raw and {argument}:={topic}"
    return ""


def _remap(argument: str, type_name: str, topic: str, topics: Mapping[str, set[str]], sender: str) -> str:
    advice = f"remap {argument} to the {sender}'s topic"
    names = [name for name, types in topics.items() if type_name in types]
    if not names:
        return f"{advice}; no topic has the type {_short(type_name)}: is the {sender} running, with this ROS_DOMAIN_ID?"
    near = difflib.get_close_matches(topic, names, n=MAX_LISTED, cutoff=0.0)
    more = f" and {len(names) - len(near)} more" if len(names) > len(near) else ""
    return f"{advice} ({_short(type_name)} is published on {', '.join(near)}{more})"


def _mismatch(publishers: Sequence[TopicEndpointInfo], asked: QoSProfile) -> str:
    """Return the policy that matches no publisher, with the fix; empty if there is none."""
    profiles = [publisher.qos_profile for publisher in publishers]
    if asked.reliability == ReliabilityPolicy.RELIABLE and all(
        profile.reliability == ReliabilityPolicy.BEST_EFFORT for profile in profiles
    ):
        return "it is offered as best effort, but qos_overrides requests reliable: remove that override"
    if asked.durability == DurabilityPolicy.TRANSIENT_LOCAL and all(
        profile.durability == DurabilityPolicy.VOLATILE for profile in profiles
    ):
        return "it is offered as volatile, but qos_overrides requests transient_local: remove that override"
    return ""


def _short(type_name: str) -> str:
    return type_name.rpartition("/")[2]
