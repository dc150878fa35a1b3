"""Text files that say which depth belongs to which image: TUM's associations, lists of pairs, rgb.txt and depth.txt."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from depth_anything_ros.data.frame import DataError, read_bytes
from depth_anything_ros.data.rgbd_matching import FURTHEST_APART, ROLES, File, by_time, words_of

LISTS = ("associations.txt", "association.txt", "associate.txt", "associated.txt", "assoc.txt", "pairs.txt")
"""Files of these names are taken for lists of pairs."""
STAMPED = ("rgb.txt", "depth.txt")
"""Beside each other they are TUM's: a stamp in seconds and a file a line."""


def read_rows(path: Path) -> list[list[str]]:
    """The words of each line of a text file, separated by tabs, commas or spaces; without comments and empty lines.

    Raises `DataError`, naming a file that cannot be read.
    """
    content = read_bytes(path)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    lines = [line.strip() for line in content.decode(encoding, "surrogateescape").splitlines()]
    rows = []
    for line in lines:
        if line and not line.startswith("#"):
            mark = next((mark for mark in ("\t", ",") if mark in line), None)
            rows.append([word.strip() for word in line.split(mark) if word.strip()])
    return rows


def listed_pairs(root: Path, file: str, endings: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Depth by image, paths under ``root``, as a list has them, and why other lines give none.

    A line holds an image and its depth, in either order where their names tell them apart; what stands beside them,
    such as TUM's stamps, does not count. Paths start at the list or at ``root``. Raises `DataError` where there is no
    pair at all.
    """
    depth_of: dict[str, str] = {}
    refused: list[str] = []
    for number, words in enumerate(read_rows(root / file)):
        named = [word for word in words if word.rpartition(".")[2].lower() in endings]
        if not named and number == 0:  # a heading
            continue
        if len(named) != 2:
            refused.append(f"{' '.join(words)!r} of {file} names {len(named)} files, not an image and its depth")
            continue
        if _is_depth(named[0]) and not _is_depth(named[1]):
            named.reverse()
        image, depth = (_located(root, file, name) for name in named)
        if image is None or depth is None:
            absent = " and ".join(name for name, path in zip(named, (image, depth), strict=True) if path is None)
            refused.append(f"{absent}, which {file} names, is not there")
        else:
            depth_of.setdefault(image, depth)
    if not depth_of:
        raise DataError(f"{root / file} names no image with its depth" + (f": {refused[0]}" if refused else ""))
    return depth_of, refused


def stamped_pairs(root: Path, folder: str) -> tuple[dict[str, str], list[str]]:
    """Depth by image by the stamps of rgb.txt and depth.txt in a folder under ``root``, and what has no partner.

    Raises `DataError` where there is no pair at all.
    """
    refused: list[str] = []
    images, depths = (_stamped(root, os.path.join(folder, name), refused) for name in STAMPED)
    stamps = {**images, **depths}
    files = [[File(path, (), path) for path in side] for side in (images, depths)]
    depth_of = {image.path: depth.path for image, depth in by_time(*files, lambda file: stamps[file.path])}
    if not depth_of:
        raise DataError(f"{root / folder}: no two stamps of {' and '.join(STAMPED)} are within {FURTHEST_APART} s")
    paired = set(depth_of.values())
    refused += [f"{path} has no depth at its time" for path in images if path not in depth_of]
    return depth_of, refused + [f"{path} has no image at its time" for path in depths if path not in paired]


def _stamped(root: Path, file: str, refused: list[str]) -> dict[str, float]:
    """Seconds by file under ``root``; what cannot be used is appended to ``refused``."""
    stamps: dict[str, float] = {}
    for words in read_rows(root / file):
        path = _located(root, file, words[-1])
        try:
            seconds = float(words[0])
        except ValueError:
            path = None
        if path is None:
            refused.append(f"{' '.join(words)!r} of {file} is no stamp and a file that is there")
        else:
            stamps[path] = seconds
    return stamps


def _is_depth(name: str) -> bool:
    return any(ROLES.get(word) == "depth" for word in words_of(name))


def _located(root: Path, file: str, name: str) -> str | None:
    """The path under ``root`` of what a list names, None where there is none. A leading / may stand for the root."""
    name = name.replace("\\", "/")
    for path in (os.path.join(os.path.dirname(file), name), name, name.lstrip("/")):
        if (root / path).is_file():
            return os.path.normpath(path).replace(os.sep, "/")
    return None
