"""What the sets of one's own have in common: looking through a folder, and names of what cannot be opened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.images.folders import PassedOver

log = logging.getLogger(__name__)
EVERYWHERE = "**"
"""Pattern of sets that are looked for in the whole folder and in those below."""
UNREADABLE = "#"
"""Ends the name that stands for the images of a file which cannot be opened."""


def raise_unlistable(error: OSError) -> None:
    """What cannot be listed is no empty folder."""
    raise DataError(f"cannot list {error.filename}: {error.strerror}") from error


def log_skipped(root: Path, passed_over: PassedOver) -> None:
    """Says in the log what of a folder is passed over, if anything is."""
    if str(passed_over):
        log.warning("%s: passed over %s", root, passed_over)


def error_of(attempt: Callable[[Path], object], path: Path) -> str | None:
    """What a file cannot be opened for, None where it can."""
    try:
        attempt(path)
    except DataError as error:
        return str(error)
    return None
