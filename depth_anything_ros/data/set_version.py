"""The version of a set that is not packed: a hash of its content, as far as that is cheap."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.zoo.cache import sha256_of

MAX_HASHED_BYTES = 1 << 30
"""Maximum total size of the files to hash their content."""
_REMEMBERED = 10_000
"""Number of files to remember, so that files of several images (archives, calibrations) are hashed once."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
"""Errors of a single file; all others are disk errors."""


def set_version(declared: ImageSet, root: Path, names: Iterable[str]) -> str:
    """Return the number of images, and a hash of names, files and readers.

    The hash covers the content of the files in a set of up to `MAX_HASHED_BYTES` bytes. In a larger set it covers their
    sizes and times, so it changes if the set is copied without its times, or touched. The location of the set has no
    effect.

    Args:
        declared: the set.
        root: its folder.
        names: the images.

    Raises:
        OSError: a disk error.
    """
    reader = os.fsencode(declared.reader_version(root))
    by_times, by_content = hashlib.sha256(reader), hashlib.sha256(reader)
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
    for path in _files(declared, root, names):  # again, because there may be millions of small files
        by_content.update(f"{_content(path)}\n".encode())
    return f"{count} images, content {by_content.hexdigest()[:32]}"


def _files(declared: ImageSet, root: Path, names: Iterable[str]) -> Iterator[str]:
    """Yield the files of the images in order, shared ones once."""
    remembered: set[str] = set()
    for name in names:
        try:
            sources = declared.sources(root, name)
        except Exception:  # reading the image reports the problem
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
    except _ABSENT:  # reading reports it
        return "absent"
