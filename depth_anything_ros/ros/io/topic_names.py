"""Names of topics: remapped ones, and the camera_info next to an image."""

from __future__ import annotations

from rclpy.node import Node


def remapped(node: Node, name: str) -> str | None:
    """Return the resolved name of a topic; None if it is not remapped."""
    resolved = node.resolve_topic_name(name)
    return None if resolved == node.resolve_topic_name(name, only_expand=True) else resolved


def info_topic(node: Node, name: str, image_topic: str) -> str:
    """Return the topic of an image's camera_info: its remapping, else next to the image, as in image_transport.

    Args:
        node: the node that subscribes.
        name: name of the camera_info before remapping.
        image_topic: the resolved topic of the raw image.
    """
    return remapped(node, name) or image_topic.rpartition("/")[0] + "/camera_info"
