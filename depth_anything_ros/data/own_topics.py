"""Topics of a recording that this package wrote: they are neither pictures nor references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAME = "depth_anything"
"""Topics with this in their names are this package's own."""
_DEPTH, _SIGMA = "/depth/image_rect", "/depth/sigma"
_OUTPUTS = (
    *("/depth/camera_info", "/depth/image_raw", "/depth/image_color", _DEPTH, _SIGMA),
    *("/points", "/inverse_depth/image", "/confidence/image"),
)
_IMAGE = "sensor_msgs/msg/Image"


def is_own(topic: str, index: Mapping[str, Any]) -> bool:
    """Return whether this package wrote a topic.

    Args:
        topic: its name.
        index: of the recording, a `TopicIndex` by topic.
    """
    return _NAME in topic or any(topic == space + name for space in _spaces(index) for name in _OUTPUTS)


def stated_topics(index: Mapping[str, Any], frame_id: str) -> tuple[str, str] | None:
    """Return the topics of this package's depth of a camera and of its standard deviation; None without them.

    Args:
        index: of the recording, a `TopicIndex` by topic.
        frame_id: of the camera.
    """
    for space in _spaces(index):
        depth, sigma = space + _DEPTH, space + _SIGMA
        if depth in index and index[depth].kind == _IMAGE and index[sigma].frame_id == frame_id:
            return depth, sigma
    return None


def _spaces(index: Mapping[str, Any]) -> list[str]:
    """Return the namespaces with a standard deviation of depth: no other package publishes that."""
    return [topic.removesuffix(_SIGMA) for topic, one in index.items() if topic.endswith(_SIGMA) and one.kind == _IMAGE]
