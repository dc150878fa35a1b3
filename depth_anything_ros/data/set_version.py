"""What tells one state of a set that is not packed from another: its content, as far as that is cheap to know."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.zoo.cache import sha256_of

MAX_HASHED_BYTES = 1 << 30
"""Bytes of all files together up to which they are read."""
_REMEMBERED = 10_000
"""Files that several images are read from, such as archives and calibrations, count once; so many are remembered."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
"""Errors that tell of one file; others tell of a disk that fails."""


def set_version(declared: ImageSet, root: Path, names: Iterable[str]) -> str:
    """The number of images, and a hash of their names, of the files that they are read from, and of how these are read.

    The hash covers the files' content in a set of up to `MAX_HASHED_BYTES` bytes. In a larger set it covers their
    sizes and times, so the version changes when the set is copied without its times, or touched. The set's location
    does not count. Raises `OSError` if a disk fails.
    """
    reading = os.fsencode(declared.reader_version(root))
    by_times, by_content = hashlib.sha256(reading), hashlib.sha256(reading)
    count, size = 0, 0
    for name in names:
        count += 1
        for digest in (by_times, by_content):
            digest.update(os.fsencode(f"{name}\n"))
    for path in _files(declared, root, names):
        try:
            found = with_retries(os.stat, path)
        except _ABSENT:
            by_times.update(b"absent\n")
            continue
        by_times.update(f"{found.st_size} {found.st_mtime_ns}\n".encode())
        size += found.st_size
    if size > MAX_HASHED_BYTES:
        return f"{count} images, names, sizes and times {by_times.hexdigest()[:32]}"
    for path in _files(declared, root, names):  # anew, since small files may be millions
        by_content.update(f"{_content(path)}\n".encode())
    return f"{count} images, content {by_content.hexdigest()[:32]}"


def _files(declared: ImageSet, root: Path, names: Iterable[str]) -> Iterator[str]:
    """The files behind the images, in their order, those that several share once."""
    remembered: set[str] = set()
    for name in names:
        try:
            sources = declared.sources(root, name)
        except Exception:  # whoever reads the image will say what is amiss
            sources = (root / name,)
        for path in map(str, sources):
            if path not in remembered:
                yield path
                remembered.add(path)
        if len(remembered) > _REMEMBERED:
            remembered.clear()


def _content(path: str) -> str:
    try:
        return with_retries(sha256_of, Path(path))
    except _ABSENT:  # which reading it will tell
        return "absent"
