"""The images that a user names for a command, and how those of 16 bits are read."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from depth_anything_ros.commands import CommandError
from depth_anything_ros.runtime.frame_reader import Frame, list_sources, read_frames
from depth_anything_ros.runtime.intensity import AUTO, CHOICES, InputRange


def readable_frames(inputs: Sequence[str]) -> Iterator[Frame]:
    """Frames of images, folders and videos. Raises `CommandError`, naming the first that cannot be read."""
    for frame in read_frames(list_sources(inputs)):
        if frame.image is None:
            raise CommandError(f"{frame.source}: {frame.error}")
        yield frame


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
