"""Types of options. They check values during parsing, so that errors appear before a model is loaded.

Each function is an argparse ``type``. It raises `argparse.ArgumentTypeError` for unparsable text, after which argparse
shows the usage. For an invalid value it raises `CommandError`, whose message `Parser` prefixes with the option.

Imports only the standard library, so that `doctor` also parses its options where packages are missing or hang.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from depth_anything_ros.commands import CommandError
from depth_anything_ros.system.did_you_mean import did_you_mean

MAX_PORT = 65535
Value = TypeVar("Value")


def at_least(smallest: int) -> Callable[[str], int]:
    """Return the type of whole numbers of ``smallest`` or more."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
        if value < smallest:
            raise CommandError(f"is {value}, must be at least {smallest}")
        return value

    return parse


def port(text: str) -> int:
    """Parse the number of a TCP port; 0 means any free one."""
    value = at_least(0)(text)
    if value > MAX_PORT:
        raise CommandError(f"is {value}, must be at most {MAX_PORT}")
    return value


def number(text: str) -> float:
    """Parse a finite number."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not math.isfinite(value):
        raise CommandError(f"is {text}, must be finite")
    return value


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    value = number(text)
    if value <= 0:
        raise CommandError(f"is {value:g}, must be positive")
    return value


def field_of_view(text: str) -> float:
    """Parse degrees between 0 and 180, both excluded: the range of a pinhole camera."""
    value = number(text)
    if not 0 < value < 180:
        raise CommandError(f"is {value:g} degrees, must be between 0 and 180")
    return value


def size(text: str) -> tuple[int, int]:
    """Parse height and width in pixels, "HxW", such as 252x336."""
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 252x336") from error
    if min(height, width) < 1:
        raise CommandError(f"is {text}, both sides must be at least 1")
    return height, width


def backend(text: str) -> str:
    """Parse a backend's name, or "auto"."""
    from depth_anything_ros.runtime.backends import BACKENDS

    return _known(text, BACKENDS)


def precision(text: str) -> str:
    """Parse a precision's name, or "auto"."""
    from depth_anything_ros.runtime.backends import PRECISIONS

    return _known(text, PRECISIONS)


def reads(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Mark an option's type as naming an input, which no output may replace (`commands.overwriting`)."""
    parse.reads = True
    return parse


@reads
def path(text: str) -> Path:
    """Parse the name of a file or folder. An empty name, which would mean the current folder, is an error."""
    if not text:
        raise CommandError("is empty, must name a file or folder; is a shell variable unset?")
    return Path(text)


@reads
def source(text: str) -> str:
    """Parse an input: a file, a folder, or another address. The text is not changed."""
    return text


@reads
def model(text: str) -> str:
    """Parse a model: a known name, a file or a folder. The text is not changed."""
    return text


@reads
def existing_file(text: str) -> Path:
    """Parse the name of a readable file."""
    named = path(text)
    if not named.exists():
        raise CommandError(f"{text}: file not found")
    if named.is_dir():
        raise CommandError(f"{text} is a folder, must be a file")
    if not os.access(named, os.R_OK):
        raise CommandError(f"{text}: no permission to read it")
    return named


def output_folder(text: str) -> Path:
    """Parse the name of a folder that is writable or can be created."""
    named = path(text)
    if named.exists() and not named.is_dir():
        raise CommandError(f"{text} is a file, must be a folder")
    _check_writable(named, named)
    return named


def output_file(text: str) -> Path:
    """Parse the name of a writable file, in a folder that exists or can be created."""
    named = path(text)
    if named.is_dir():
        raise CommandError(f"{text} is a folder, must be the name of a file")
    _check_writable(named, named.parent)
    return named


def output_picture(text: str) -> Path:
    """Parse the name of a picture: a writable file with an extension that OpenCV supports, or none for PNG."""
    named = output_file(text)
    import cv2

    if not cv2.haveImageWriter(f"picture{named.suffix or '.png'}"):
        raise CommandError(f"{text}: unsupported picture format, give .png or .jpg")
    return named


def output_bag(text: str) -> Path:
    """Parse the name of a bag to write: a folder, or a file that ends with .mcap."""
    named = path(text)
    _check_writable(named, named.absolute().parent)
    return named


def _check_writable(path: Path, folder: Path) -> None:
    """Check that the nearest existing folder, of ``folder`` and its parents, is writable."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CommandError(f"{path}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CommandError(f"{path}: no permission to write into {existing}")


def _known(text: str, names: Collection[str]) -> str:
    if text == "auto" or text in names:
        return text
    meant = did_you_mean(text, names) or f", choose one of auto, {', '.join(names)}"
    raise CommandError(f"{text} is unknown{meant}")
