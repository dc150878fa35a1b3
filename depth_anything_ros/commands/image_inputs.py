"""The input images of a command, and the option for 16-bit images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from depth_anything_ros.commands import CommandError
from depth_anything_ros.images.frame_reader import FileImage, list_sources, read_frames
from depth_anything_ros.images.intensity import AUTO, CHOICES, InputRange


class ReadableFrames:
    """The readable frames of images, folders and videos; unreadable files are reported.

    Attributes:
        failed: number of unreadable images so far.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self._sources = list_sources(inputs)
        self.failed = 0

    def __iter__(self) -> Iterator[FileImage]:
        """Yield the readable frames. Raises `CommandError` at the end if there were none."""
        count = 0
        for frame in read_frames(self._sources):
            if frame.image is not None:
                count += 1
                yield frame
                continue
            self.failed += frame.dropped
            print(f"left out: {frame.source}: {frame.error}", file=sys.stderr)
        if not count:
            raise CommandError(f"none of {len(self._sources)} files can be read, see above")


def add_input_range(parser: argparse.ArgumentParser) -> None:
    """Add the option --input-range."""
    parser.add_argument(
        "--input-range",
        type=_input_range,
        default=AUTO,
        metavar="R",
        help=f"the values of 16-bit images that become black and white: {CHOICES} (default: auto)",
    )


def _input_range(text: str) -> InputRange:
    try:
        return InputRange.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
