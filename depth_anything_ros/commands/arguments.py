"""Values of options, checked as they are parsed: what cannot be right is said before a model is loaded.

Each function is an argparse ``type``. It raises `argparse.ArgumentTypeError` for a text that cannot be read at all, and
the usage is shown; for a value that cannot be right it raises `CommandError`, before which `Parser` puts the option.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import cv2

from depth_anything_ros.commands import CommandError
from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS
from depth_anything_ros.system.did_you_mean import did_you_mean

Value = TypeVar("Value")


def at_least(smallest: int) -> Callable[[str], int]:
    """A whole number of ``smallest`` or more."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
        if value < smallest:
            raise CommandError(f"is {value}, must be at least {smallest}")
        return value

    return parse


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not math.isfinite(value):
        raise CommandError(f"is {text}, must be finite")
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    value = number(text)
    if value <= 0:
        raise CommandError(f"is {value:g}, must be positive")
    return value


def field_of_view(text: str) -> float:
    """Degrees between 0 and 180, both excluded: what a pinhole camera can see."""
    value = number(text)
    if not 0 < value < 180:
        raise CommandError(f"is {value:g} degrees, must lie between 0 and 180")
    return value


def size(text: str) -> tuple[int, int]:
    """Height and width in pixels, "HxW", such as 252x336."""
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 252x336") from error
    if min(height, width) < 1:
        raise CommandError(f"is {text}, both sides must be at least 1")
    return height, width


def backend(text: str) -> str:
    """A backend's name, or "auto"."""
    return _known(text, BACKENDS)


def precision(text: str) -> str:
    """A precision's name, or "auto"."""
    return _known(text, PRECISIONS)


def reads(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Says of an option's type that it names what is read, which no output may replace (`commands.overwriting`)."""
    parse.reads = True
    return parse


@reads
def path(text: str) -> Path:
    """The name of a file or folder; an empty one is refused, which would mean the folder that one happens to be in."""
    if not text:
        raise CommandError("is empty, the name of a file or folder is wanted; is a variable of the shell unset?")
    return Path(text)


@reads
def source(text: str) -> str:
    """What is read: a file, a folder, or the address of something else; it stays as it is given."""
    return text


@reads
def model(text: str) -> str:
    """A known model's name, or the file or folder of one; it stays as it is given."""
    return text


@reads
def existing_file(text: str) -> Path:
    """A file that is there and can be read."""
    named = path(text)
    if not named.exists():
        raise CommandError(f"{text}: there is no such file")
    if named.is_dir():
        raise CommandError(f"{text} is a folder, a file is wanted")
    if not os.access(named, os.R_OK):
        raise CommandError(f"{text}: it may not be read")
    return named


def output_folder(text: str) -> Path:
    """A folder that can be written into, or made."""
    named = path(text)
    if named.exists() and not named.is_dir():
        raise CommandError(f"{text} is a file, a folder is wanted")
    _check_writable(named, named)
    return named


def output_file(text: str) -> Path:
    """A file that can be written, in a folder that is there or can be made."""
    named = path(text)
    if named.is_dir():
        raise CommandError(f"{text} is a folder, the name of a file is wanted")
    _check_writable(named, named.parent)
    return named


def output_picture(text: str) -> Path:
    """A picture that can be written: a file whose ending OpenCV knows; without one it is PNG."""
    named = output_file(text)
    if not cv2.haveImageWriter(f"picture{named.suffix or '.png'}"):
        raise CommandError(f"{text}: no picture can be written with that ending, give .png or .jpg")
    return named


def _check_writable(path: Path, folder: Path) -> None:
    """Raises where the nearest folder that exists, of ``folder`` and those above it, takes no files."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CommandError(f"{path}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CommandError(f"{path}: nothing can be written into {existing}")


def _known(text: str, names: Collection[str]) -> str:
    if text == "auto" or text in names:
        return text
    meant = did_you_mean(text, names) or f", choose one of auto, {', '.join(names)}"
    raise CommandError(f"{text} is unknown{meant}")
