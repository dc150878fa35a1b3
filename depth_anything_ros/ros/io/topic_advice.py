"""Why nothing comes on a topic: a wrong name, another type, or a quality of service that does not match."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
MAX_LISTED = 5
"""Topics that are proposed at most, the most similar first."""


def published_topics(node: Node) -> dict[str, set[str]]:
    """The topics of the graph that another node publishes, and the types that they are published as."""
    found: dict[str, set[str]] = {}
    for topic, _ in node.get_topic_names_and_types():
        types = {publisher.topic_type for publisher in others_of(node, node.get_publishers_info_by_topic(topic))}
        if types:
            found[topic] = types
    return found


def others_of(node: Node, endpoints: Sequence[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
    """Those endpoints that are of other nodes."""
    own = node.get_name(), node.get_namespace()
    return [endpoint for endpoint in endpoints if (endpoint.node_name, endpoint.node_namespace) != own]


def why_silent(
    argument: str,
    topic: str,
    type_name: str,
    asked: QoSProfile,
    publishers: Sequence[TopicEndpointInfo],
    topics: Mapping[str, set[str]],
) -> str:
    """Why no message comes on a topic, and what to do about it, in a line.

    Args:
        argument: the name that the topic has before remapping: "image", "camera_info", "left/image", ….
        topic: the resolved name.
        type_name: the type that is awaited, such as "sensor_msgs/msg/Image".
        asked: the subscription's quality of service.
        publishers: those of the topic, of whatever type.
        topics: what is published, by name, and its types: `published_topics`.
    """
    matching = [publisher for publisher in publishers if publisher.topic_type == type_name]
    if matching:
        return _mismatch(matching, asked) or "the camera is silent, or what it sends gets lost (docs/middleware.md)"
    other = {publisher.topic_type for publisher in publishers}
    kind = _short(type_name)
    if other:
        found = f"it is published as {_short(min(other))}, not as {kind}"
        return f"{found}: {_switch(argument, topic, type_name, other) or _remap(argument, type_name, topic, topics)}"
    base, suffix = topic.removesuffix("/compressed"), "/compressed"
    if type_name == IMAGE and COMPRESSED in topics.get(topic + suffix, ()):
        return f"only {topic}{suffix} is published: set image_transport:=compressed"
    if type_name == COMPRESSED and base != topic and IMAGE in topics.get(base, ()):
        return f"only {base} is published: set image_transport:=raw"
    if type_name == COMPRESSED and base != topic and COMPRESSED in topics.get(base, ()):
        return f"{base} is the compressed image itself: set {_compressed_at(argument, base)}"
    return _remap(argument, type_name, topic, topics)


def _compressed_at(argument: str, topic: str) -> str:
    """The remapping that has a compressed image taken from a topic, whether it is named by the convention or not."""
    base = topic.removesuffix("/compressed")
    return f"{argument}:={base}" if base != topic else f"{argument}/compressed:={topic}"


def _switch(argument: str, topic: str, type_name: str, other: set[str]) -> str:
    """How to take the image as it is published, if it is an image at all."""
    if type_name == IMAGE and COMPRESSED in other:
        return f"set image_transport:=compressed and {_compressed_at(argument, topic)}"
    if type_name == COMPRESSED and IMAGE in other:
        return f"set image_transport:=raw and {argument}:={topic}"
    return ""


def _remap(argument: str, type_name: str, topic: str, topics: Mapping[str, set[str]]) -> str:
    advice = f"remap {argument} to the camera's topic"
    names = [name for name, types in topics.items() if type_name in types]
    if not names:
        return f"{advice}; nothing is published as {_short(type_name)}: does the camera run, in the same ROS_DOMAIN_ID?"
    near = difflib.get_close_matches(topic, names, n=MAX_LISTED, cutoff=0.0)
    more = f" and {len(names) - len(near)} more" if len(names) > len(near) else ""
    return f"{advice} ({_short(type_name)} is published on {', '.join(near)}{more})"


def _mismatch(publishers: Sequence[TopicEndpointInfo], asked: QoSProfile) -> str:
    """Which policy keeps every publisher from matching, if one does."""
    profiles = [publisher.qos_profile for publisher in publishers]
    if asked.reliability == ReliabilityPolicy.RELIABLE and all(
        profile.reliability == ReliabilityPolicy.BEST_EFFORT for profile in profiles
    ):
        return "it is offered best effort and qos_overrides asks for reliable: take that override out"
    if asked.durability == DurabilityPolicy.TRANSIENT_LOCAL and all(
        profile.durability == DurabilityPolicy.VOLATILE for profile in profiles
    ):
        return "it is offered volatile and qos_overrides asks for transient_local: take that override out"
    return ""


def _short(type_name: str) -> str:
    return type_name.rpartition("/")[2]
