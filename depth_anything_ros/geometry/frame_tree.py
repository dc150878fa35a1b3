"""The tree of coordinate frames of a recording, from the messages on /tf and /tf_static."""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from depth_anything_ros.geometry.transform import Transform

MAX_GAP = 0.5
"""Seconds between a requested time and the nearest transform of a moving frame; beyond, the transform is unknown."""
MAX_NAMED = 12
"""Most frames that a message names."""


class FrameTreeError(LookupError):
    """The transform between two frames is unknown. The message says why, and names the fix."""


class FrameTree:
    """Transforms between frames. Those of a moving frame are interpolated."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._static: dict[str, Transform] = {}
        self._moving: dict[str, list[tuple[float, Transform]]] = {}

    def add(self, message: Any, is_static: bool) -> None:
        """Add the transforms of a tf2_msgs/TFMessage. A quaternion of zero length is skipped.

        Args:
            message: the message.
            is_static: whether it is from /tf_static.
        """
        for stamped in message.transforms:
            rotation, translation = stamped.transform.rotation, stamped.transform.translation
            try:
                transform = Transform.from_quaternion(
                    (rotation.x, rotation.y, rotation.z, rotation.w), (translation.x, translation.y, translation.z)
                )
            except ValueError:
                continue
            stamp = stamped.header.stamp
            child = _plain(stamped.child_frame_id)
            self._parents[child] = _plain(stamped.header.frame_id)
            if is_static:
                self._static[child] = transform
            else:
                history = self._moving.setdefault(child, [])
                insort(history, (stamp.sec + 1e-9 * stamp.nanosec, transform), key=lambda item: item[0])

    def transform(self, source: str, target: str, time: float) -> Transform:
        """Return the transform from one frame to another.

        Args:
            source: the frame of the points to transform.
            target: the frame of the transformed points.
            time: seconds.

        Raises:
            FrameTreeError: the frames are not connected, or there is no transform near this time.
        """
        source, target = _plain(source), _plain(target)
        if source == target:
            return Transform.identity()
        ups, downs = list(self._ancestors(source)), list(self._ancestors(target))
        common = next((frame for frame in ups if frame in downs), None)
        if common is None:
            raise FrameTreeError(
                f"TF has no transform from {source or 'a frame without name'} to {target or 'a frame without name'}; "
                f"{self._known()}: record /tf_static and /tf, or give --extrinsics"
            )
        up = self._to_ancestor(ups[: ups.index(common)], time)
        return self._to_ancestor(downs[: downs.index(common)], time).inverse() @ up

    def root_of(self, frame: str) -> str:
        """Return the frame at the top of a frame's tree; the frame itself if it has no parent."""
        return list(self._ancestors(_plain(frame)))[-1]

    def _known(self) -> str:
        """Return which frames there are, in words."""
        return known_frames({*self._parents, *self._parents.values()})

    def _ancestors(self, frame: str) -> Iterator[str]:
        """Yield a frame, its parent and so on; a loop ends."""
        seen: set[str] = set()
        while frame not in seen:
            seen.add(frame)
            yield frame
            if frame not in self._parents:
                return
            frame = self._parents[frame]

    def _to_ancestor(self, frames: list[str], time: float) -> Transform:
        total = Transform.identity()
        for frame in frames:
            total = self._to_parent(frame, time) @ total
        return total

    def _to_parent(self, frame: str, time: float) -> Transform:
        if frame in self._static:
            return self._static[frame]
        history = self._moving[frame]
        place = bisect(history, time, key=lambda item: item[0])
        if 0 < place < len(history) and history[place][0] - history[place - 1][0] <= MAX_GAP:
            return _between(history[place - 1], history[place], time)
        nearest = min(history[max(place - 1, 0) : place + 1], key=lambda item: abs(item[0] - time))
        if abs(nearest[0] - time) > MAX_GAP:
            raise FrameTreeError(
                f"TF has a gap: the nearest transform of {frame} is {abs(nearest[0] - time):.1f} s away; record /tf "
                "during all of the recording, or give --extrinsics"
            )
        return nearest[1]


def missing_link(parents: Mapping[str, str], target: str, source: str) -> tuple[str, str]:
    """Return parent and child of a transform that connects two frames. The child has no parent yet: TF allows only one.

    Args:
        parents: the parent of each frame that has one.
        target: the camera's frame.
        source: the sensor's frame.
    """
    if source not in parents:
        return target, source
    root, passed = target, {target}
    while (parent := parents.get(root)) is not None and parent not in passed:
        root = parent
        passed.add(root)
    return source, root


def known_frames(frames: Collection[str]) -> str:
    """Return which frames TF has, in words for a message.

    Args:
        frames: their names.
    """
    if not frames:
        return "it has no frames"
    shown = sorted(frames)[:MAX_NAMED]
    more = f" and {len(frames) - len(shown)} more" if len(frames) > len(shown) else ""
    return f"it has the frames {', '.join(shown)}{more}"


def _between(before: tuple[float, Transform], after: tuple[float, Transform], time: float) -> Transform:
    """Return the transform at a time, with constant velocities between two."""
    (start, first), (end, second) = before, after
    rotations, translations = (first.inverse() @ second).fraction(np.array([(time - start) / (end - start)]))
    return first @ Transform(rotations[0], translations[0])


def _plain(frame: str) -> str:
    """Return a frame's name without the leading slash of ROS 1."""
    return frame.lstrip("/")
