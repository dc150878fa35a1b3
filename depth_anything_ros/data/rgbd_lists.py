"""Text files that pair images with depth: TUM associations, lists of pairs, rgb.txt and depth.txt."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from depth_anything_ros.data.frame import DataError, read_bytes
from depth_anything_ros.data.rgbd_matching import MAX_TIME_DIFFERENCE, ROLES, File, by_time, words_of

LISTS = ("associations.txt", "association.txt", "associate.txt", "associated.txt", "assoc.txt", "pairs.txt")
"""Files with these names are lists of pairs."""
STAMPED = ("rgb.txt", "depth.txt")
"""Both together are TUM's lists: a stamp in seconds and a file per line."""


def read_rows(path: Path) -> list[list[str]]:
    """Read the words of each line, separated by tabs, commas or spaces; skip comments and empty lines.

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
    """Read the pairs of a list.

    A line contains an image and its depth; if their names show which is which, the order is free. Other words, such as
    TUM's stamps, are ignored. Paths are relative to the list or to ``root``.

    Args:
        root: the folder.
        file: the list, in the folder.
        endings: the endings of images and depth.

    Returns:
        Depth by image, as paths in the folder, and the reasons why other lines are no pairs.

    Raises:
        DataError: there is no pair.
    """
    depth_of: dict[str, str] = {}
    rejected: list[str] = []
    for number, words in enumerate(read_rows(root / file)):
        named = [word for word in words if word.rpartition(".")[2].lower() in endings]
        if not named and number == 0:  # a header
            continue
        if len(named) != 2:
            rejected.append(f"{' '.join(words)!r} in {file} lists {len(named)} files, must be an image and its depth")
            continue
        if _is_depth(named[0]) and not _is_depth(named[1]):
            named.reverse()
        image, depth = (_located(root, file, name) for name in named)
        if image is None or depth is None:
            absent = " and ".join(name for name, path in zip(named, (image, depth), strict=True) if path is None)
            rejected.append(f"{absent}, listed in {file}, is missing")
        else:
            depth_of.setdefault(image, depth)
    if not depth_of:
        raise DataError(
            f"{root / file} lists no image with its depth; each line needs both, or the name of an image"
            + (f": {rejected[0]}" if rejected else "")
        )
    return depth_of, rejected


def listed_names(root: Path, file: str) -> list[str]:
    """Return the names of a list that has one word in every line, such as a split file; [] for any other list.

    Raises `DataError` if the file cannot be read.
    """
    rows = read_rows(root / file)
    if any(len(words) != 1 for words in rows):
        return []
    return [os.path.normpath(word.replace("\\", "/")).lstrip("/") for (word,) in rows]


def select_images(names: Collection[str], images: Iterable[str], file: str) -> tuple[list[str], list[str]]:
    """Return the images that a list names, and the reasons why other names are no image.

    Args:
        names: paths of images or the last parts of these, with or without the ending: ``kitchen/0001`` is
            ``rgb/kitchen/0001.png``.
        images: the images of the folder.
        file: the list, for the reasons.
    """
    fitting: dict[str, list[str]] = {name: [] for name in names}
    for image in images:
        for whole in (image, image.rpartition(".")[0]):
            parts = whole.split("/")
            for first in range(len(parts)):
                if (name := "/".join(parts[first:])) in fitting:
                    fitting[name].append(image)
    chosen = [found[0] for found in fitting.values() if len(found) == 1]
    rejected = [f"{name}, listed in {file}, is no image with depth" for name, found in fitting.items() if not found]
    for name, found in fitting.items():
        if len(found) > 1:
            rejected.append(f"{name}, listed in {file}, is {' and '.join(found[:2])}: list it with its folder")
    return list(dict.fromkeys(chosen)), rejected


def stamped_pairs(root: Path, folder: str) -> tuple[dict[str, str], list[str]]:
    """Pair images and depth by the stamps of rgb.txt and depth.txt.

    Args:
        root: the folder.
        folder: the folder of both lists, in ``root``.

    Returns:
        Depth by image, as paths in ``root``, and the files without a partner.

    Raises:
        DataError: there is no pair.
    """
    rejected: list[str] = []
    images, depths = (_stamped(root, os.path.join(folder, name), rejected) for name in STAMPED)
    stamps = {**images, **depths}
    files = [[File(path, (), path) for path in side] for side in (images, depths)]
    depth_of = {image.path: depth.path for image, depth in by_time(*files, lambda file: stamps[file.path])}
    if not depth_of:
        raise DataError(f"{root / folder}: no two stamps of {' and '.join(STAMPED)} are within {MAX_TIME_DIFFERENCE} s")
    paired = set(depth_of.values())
    rejected += [f"{path} has no depth at its time" for path in images if path not in depth_of]
    return depth_of, rejected + [f"{path} has no image at its time" for path in depths if path not in paired]


def _stamped(root: Path, file: str, rejected: list[str]) -> dict[str, float]:
    """Return seconds by file; append unusable lines to ``rejected``."""
    stamps: dict[str, float] = {}
    for words in read_rows(root / file):
        path = _located(root, file, words[-1])
        try:
            seconds = float(words[0])
        except ValueError:
            path = None
        if path is None:
            rejected.append(f"{' '.join(words)!r} in {file} is not a stamp with an existing file")
        else:
            stamps[path] = seconds
    return stamps


def _is_depth(name: str) -> bool:
    return any(ROLES.get(word) == "depth" for word in words_of(name))


def _located(root: Path, file: str, name: str) -> str | None:
    """Return the path in ``root`` of a listed file, or None. A leading "/" may mean ``root``."""
    name = name.replace("\\", "/")
    for path in (os.path.join(os.path.dirname(file), name), name, name.lstrip("/")):
        if (root / path).is_file():
            return os.path.normpath(path).replace(os.sep, "/")
    return None
