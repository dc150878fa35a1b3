"""The images that a user names for a command that cannot do with fewer than all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from depth_anything_ros.commands import CommandError
from depth_anything_ros.runtime.frame_reader import Frame, list_sources, read_frames


def readable_frames(inputs: Sequence[str]) -> Iterator[Frame]:
    """Frames of images, folders and videos. Raises `CommandError`, naming the first that cannot be read."""
    for frame in read_frames(list_sources(inputs)):
        if frame.image is None:
            raise CommandError(f"{frame.source}: {frame.error}")
        yield frame
