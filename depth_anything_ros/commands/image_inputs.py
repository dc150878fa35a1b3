"""The images that a user names for a command, and how those of 16 bits are read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from depth_anything_ros.commands import CommandError
from depth_anything_ros.images.frame_reader import FileImage, list_sources, read_frames
from depth_anything_ros.images.intensity import AUTO, CHOICES, InputRange


class ReadableFrames:
    """Frames of images, folders and videos, for a command that needs images alone; what cannot be read is named.

    Attributes:
        failed: how many images could not be read so far.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self._sources = list_sources(inputs)
        self.failed = 0

    def __iter__(self) -> Iterator[FileImage]:
        """Those that can be read. Raises `CommandError` in the end where there are none."""
        found = 0
        for frame in read_frames(self._sources):
            if frame.image is not None:
                found += 1
                yield frame
                continue
            self.failed += frame.dropped
            print(f"left out: {frame.source}: {frame.error}", file=sys.stderr)
        if not found:
            raise CommandError(f"not one of {len(self._sources)} files can be read, see above")


def add_input_range(parser: argparse.ArgumentParser) -> None:
    """Declares --input-range."""
    parser.add_argument(
        "--input-range",
        type=_input_range,
        default=AUTO,
        metavar="R",
        help=f"what becomes black and white of 16-bit images: {CHOICES} (default: auto)",
    )


def _input_range(text: str) -> InputRange:
    try:
        return InputRange.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
