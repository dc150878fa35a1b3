"""Members of archives by name, without unpacking them."""

from __future__ import annotations

import tarfile
from functools import lru_cache
from pathlib import Path

from depth_anything_ros.data.frame import DataError


@lru_cache(maxsize=64)
def tar_members(path: Path) -> dict[str, tuple[int, int]]:
    """Where each file in an archive lies, in order: its first byte and its length. Raises `DataError`, naming it."""
    try:
        with tarfile.open(path) as archive:
            return {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def read_member(path: Path, name: str) -> bytes:
    """A file in an archive. Raises `DataError`, naming both, where it is absent or cut off."""
    place = tar_members(path).get(name)
    if place is None:
        raise DataError(f"{path} has no {name}")
    with path.open("rb") as file:
        file.seek(place[0])
        content = file.read(place[1])
    if len(content) != place[1]:
        raise DataError(f"{path} ends within {name}: fetch it anew")
    return content
