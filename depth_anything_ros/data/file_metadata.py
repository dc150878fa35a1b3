"""Ending, size and stamp of a file, without reading it."""

from __future__ import annotations

from pathlib import Path

from depth_anything_ros.data.retry import is_transient

_ENDINGS = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "dib": "bmp"}


def ending_of(name: str) -> str:
    """Return the ending of a file name, the same for all spellings of a file type."""
    ending = name.rpartition(".")[2].lower()
    return _ENDINGS.get(ending, ending)


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 if it is missing. Raises `OSError` for a disk error."""
    try:
        return path.stat().st_size
    except OSError as error:
        if is_transient(error):
            raise
        return 0


def stamp_of(path: Path) -> str:
    """Return a text that changes with the size or time of a file, "absent" if it is missing."""
    try:
        found = path.stat()
    except OSError as error:
        if is_transient(error):
            raise
        return "absent"
    return f"{found.st_size}:{found.st_mtime_ns}"
