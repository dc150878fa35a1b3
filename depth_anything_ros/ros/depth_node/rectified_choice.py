"""Whether a camera's images are taken for rectified, and in which words that is said."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_RAW_WORDS = {"raw", "distorted", "unrectified", "unrect", "nonrect"}
_RECTIFIED_WORDS = {"rect", "rectified", "rectify", "undistorted", "undistort", "undist", "dewarped"}
_NEGATIONS = {"not", "non", "un"}
_RAW_NAMES = ("image_mono", "image_color")
"""What image_proc calls images that it has converted but not rectified."""


@dataclass(frozen=True)
class RectifiedChoice:
    """``rectified``: whether P of camera_info, and not K and D, is the image's geometry. ``text`` says why."""

    rectified: bool
    text: str
    is_warning: bool = False


def choose_rectified(setting: bool | None, topic: str | None, distorts: bool) -> RectifiedChoice:
    """What the images of a topic are taken for.

    Args:
        setting: the parameter ``rectified``; None for auto.
        topic: the resolved name of the image topic, without that of its transport; None for the camera node of the
            same process, whose images are raw.
        distorts: whether a raw image of that camera differs from the rectified one.

    With auto a topic is raw or rectified if its name says so. One that says neither is taken for rectified, with a
    warning where that makes a difference.
    """
    if topic is None:
        return RectifiedChoice(bool(setting), f"{'rectified' if setting else 'raw'} images of the camera node")
    called = called_rectified(topic)
    if setting is None and called is not None:
        return RectifiedChoice(called, f"{topic} is taken for {_word(called)}, as its name says")
    taken = True if setting is None else setting
    if setting is None and not distorts:
        return RectifiedChoice(taken, f"{topic} is taken for rectified: its camera_info has no distortion")
    if setting is None:
        return RectifiedChoice(
            taken,
            f"{topic} is called neither raw nor rect, and its camera_info has distortion; it is taken for rectified: "
            "unless it is, depth and cloud are wrong; set rectified to false if it is raw, to true if it is rectified",
            is_warning=True,
        )
    if taken and called is False and distorts:
        return RectifiedChoice(
            taken,
            f"{topic} is called raw, and its camera_info has distortion, but it is taken for rectified: unless it is, "
            "depth and cloud are wrong; set rectified to false, or take the rectified topic",
            is_warning=True,
        )
    if not taken and called and distorts:
        return RectifiedChoice(
            taken,
            f"{topic} is called rectified, but it is taken for raw: unless it is, distortion is taken out twice and "
            "depth and cloud are wrong; set rectified to true or auto",
            is_warning=True,
        )
    return RectifiedChoice(taken, f"{topic} is taken for {_word(taken)}, as the parameter rectified says")


def called_rectified(topic: str) -> bool | None:
    """Whether an image topic's name says rectified (True) or raw (False); None where it says neither, or both.

    The last part of the name counts most, where rect outweighs raw: ``image_rect_raw`` of a RealSense is rectified.
    """
    *namespaces, name = topic.strip("/").split("/")
    own = _said(name)
    if own is None and name in _RAW_NAMES:
        own = False
    around = next((said for part in reversed(namespaces) if (said := _said(part)) is not None), None)
    if own is False and around:
        return None
    return around if own is None else own


def _said(part: str) -> bool | None:
    words = {word.lower() for word in _WORD.findall(part)}
    if words & _RECTIFIED_WORDS:
        return not words & _NEGATIONS
    return False if words & _RAW_WORDS else None


def _word(rectified: bool) -> str:
    return "rectified" if rectified else "raw"
