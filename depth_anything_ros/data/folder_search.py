"""Common parts of the sets of user folders: search, and names for unreadable files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.images.folders import PassedOver

log = logging.getLogger(__name__)
EVERYWHERE = "**"
"""Pattern of sets that are searched in the folder and its subfolders."""
UNREADABLE = "#"
"""End of the name that represents the images of an unreadable file."""


def raise_unlistable(error: OSError) -> None:
    """Raise `DataError`: an unreadable folder is not an empty one."""
    raise DataError(f"cannot list {error.filename}: {error.strerror}") from error


def log_skipped(root: Path, passed_over: PassedOver) -> None:
    """Log which files of a folder are skipped, if any.

    Args:
        root: the folder.
        passed_over: the skipped files.
    """
    if str(passed_over):
        log.warning("%s: skipped %s", root, passed_over)


def error_of(attempt: Callable[[Path], object], path: Path) -> str | None:
    """Return the error of opening a file, or None.

    Args:
        attempt: opens the file.
        path: the file.
    """
    try:
        attempt(path)
    except DataError as error:
        return str(error)
    return None
