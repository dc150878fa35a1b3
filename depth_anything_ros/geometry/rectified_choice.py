"""Decides whether a camera's images count as rectified, and explains why."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_RAW_WORDS = {"raw", "distorted", "unrectified", "unrect", "nonrect"}
_RECTIFIED_WORDS = {"rect", "rectified", "rectify", "undistorted", "undistort", "undist", "dewarped"}
_NEGATIONS = {"not", "non", "un"}
_RAW_NAMES = ("image_mono", "image_color")
"""Names that image_proc gives to images that it has converted but not rectified."""


@dataclass(frozen=True)
class RectifiedChoice:
    """Whether images count as rectified.

    Attributes:
        rectified: True: P of camera_info holds the intrinsics; False: K and D do.
        text: the reason, in one line.
        is_warning: whether the choice is doubtful.
    """

    rectified: bool
    text: str
    is_warning: bool = False


def choose_rectified(setting: bool | None, topic: str | None, distorts: bool) -> RectifiedChoice:
    """Decide whether the images of a topic count as rectified.

    With auto, the topic name decides. If it says neither raw nor rectified, the images count as rectified, with a
    warning if the lens distorts.

    Args:
        setting: the parameter ``rectified``; None for auto.
        topic: resolved name of the image topic, without its transport; None for a camera node in the same process,
            whose images are raw.
        distorts: whether a raw image of that camera differs from the rectified one.
    """
    if topic is None:
        return RectifiedChoice(bool(setting), f"{'rectified' if setting else 'raw'} images of the camera node")
    called = called_rectified(topic)
    if setting is None and called is not None:
        return RectifiedChoice(called, f"{topic} counts as {_word(called)}, because of its name")
    taken = True if setting is None else setting
    if setting is None and not distorts:
        return RectifiedChoice(taken, f"{topic} counts as rectified: its camera_info has no distortion")
    if setting is None:
        return RectifiedChoice(
            taken,
            f"{topic} has neither raw nor rect in its name, and its camera_info has distortion. It counts as "
            "rectified; if it is raw, depth and cloud are wrong. Set rectified to false if raw, otherwise to true",
            is_warning=True,
        )
    if taken and called is False and distorts:
        return RectifiedChoice(
            taken,
            f"{topic} is raw by its name, and its camera_info has distortion, but rectified is true. If it is raw, "
            "depth and cloud are wrong: set rectified to false, or use the rectified topic",
            is_warning=True,
        )
    if not taken and called and distorts:
        return RectifiedChoice(
            taken,
            f"{topic} is rectified by its name, but rectified is false. If it is rectified, it is undistorted twice, "
            "and depth and cloud are wrong: set rectified to true or auto",
            is_warning=True,
        )
    return RectifiedChoice(taken, f"{topic} counts as {_word(taken)}, because of the parameter rectified")


def called_rectified(topic: str) -> bool | None:
    """Return whether a topic's name says rectified (True) or raw (False); None if it says neither, or both.

    The last part of the name counts most. There rect outweighs raw: a RealSense's ``image_rect_raw`` is rectified.
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
