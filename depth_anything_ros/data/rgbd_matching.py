"""Pairing of images and depth: by name, by number, by time."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

ROLES = {
    **dict.fromkeys(("rgb", "rgbs", "color", "colors", "colour", "colours", "col"), "rgb"),
    **dict.fromkeys(("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"), "image"),
    "left": "left",
    **dict.fromkeys(("depth", "depths", "depthmap", "depthmaps"), "depth"),
}
"""The role of a file by a word in its name."""
MAX_TIME_DIFFERENCE = 0.02
"""Maximum seconds between an image and its depth, as in TUM's tool."""
_DECIMAL_STAMP = re.compile(r"\d+\.\d+")
_WHOLE_STAMP = re.compile(r"(?<!\d)(\d{13}|\d{16}|\d{19})(?!\d)")


@dataclass(frozen=True, slots=True)  # a folder may have millions
class File:
    """A file of the set.

    Attributes:
        path: its path.
        where: the folders that identify it among files of its kind.
        stem: its name without ending, or the fields of the pattern that found it.
    """

    path: str
    where: tuple[str, ...]
    stem: str | tuple[tuple[str, str], ...]


Pair = tuple[File, File]
Key = Callable[[File], Hashable]
Stamp = Callable[[File], "float | None"]


def words_of(text: str) -> list[str]:
    """Return the words in a name, in lower case."""
    return re.findall(r"[^\W\d_]+", text.lower())


def match(images: Sequence[File], depths: Sequence[File], how: str | None = None) -> tuple[str, list[Pair]]:
    """Pair images and depth.

    Args:
        images: the images.
        depths: the depth files.
        how: "name" (without words such as color and depth), "number" or "time"; None for whichever pairs most.

    Returns:
        The way of pairing, and the pairs in the order of the images.
    """
    found: list[tuple[str, list[Pair]]] = []
    for name, pairs in _ways(images, depths):
        if how in (None, name):
            found.append((name, pairs))
            if len(pairs) == min(len(images), len(depths)):
                break
    return max(found, key=lambda way: len(way[1]))  # the first of equals


def _ways(images: Sequence[File], depths: Sequence[File]) -> Iterator[tuple[str, list[Pair]]]:
    yield "name", _by_key(images, depths, lambda file: file.stem)
    yield "name", _by_key(images, depths, _words)
    yield "number", _by_key(images, depths, _numbers)
    yield "time", by_time(images, depths, _stamp)


def _words(file: File) -> Hashable:
    """Return words and numbers of the stem without role words; empty for rgb.png and depth.png."""
    if not isinstance(file.stem, str):
        return None
    parts = re.findall(r"\d+|[^\W\d_]+", file.stem.lower())
    return tuple(part for part in parts if part not in ROLES)


def _numbers(file: File) -> Hashable:
    if not isinstance(file.stem, str):
        return None
    return tuple(int(digits) for digits in re.findall(r"\d+", file.stem)) or None


def _stamp(file: File) -> float | None:
    """Return seconds if the stem is a time with a decimal point, or contains ms, µs or ns since 1970."""
    if not isinstance(file.stem, str):
        return None
    if _DECIMAL_STAMP.fullmatch(file.stem):
        return float(file.stem)
    whole = _WHOLE_STAMP.search(file.stem)
    return None if whole is None else int(whole[1]) / 10 ** (len(whole[1]) - 10)


def _by_key(images: Sequence[File], depths: Sequence[File], key: Key) -> list[Pair]:
    """Return the pairs with a unique common key; None is no key."""
    group = _group(images, depths)
    of_images, of_depths = ([(group(file), key(file)) for file in files] for files in (images, depths))
    images_with, depths_with = Counter(of_images), Counter(of_depths)
    depth_of = dict(zip(of_depths, depths, strict=True))
    return [
        (image, depth_of[found])
        for found, image in zip(of_images, images, strict=True)
        if found[1] is not None and images_with[found] == depths_with[found] == 1
    ]


def _group(images: Sequence[File], depths: Sequence[File]) -> Key:
    """Return the key of folders that must agree: none if images and depth have one folder each."""
    is_one_each = all(len({file.where for file in files}) <= 1 for files in (images, depths))
    return (lambda file: ()) if is_one_each else (lambda file: file.where)


def by_time(images: Sequence[File], depths: Sequence[File], stamp: Stamp) -> list[Pair]:
    """Pair files at most `MAX_TIME_DIFFERENCE` apart, the nearest first, each file once.

    Args:
        images: the images.
        depths: the depth files.
        stamp: returns the seconds of a file, or None.
    """
    group = _group(images, depths)
    stamps: dict[Hashable, list[tuple[float, int]]] = {}
    for number, depth in enumerate(depths):
        if (seconds := stamp(depth)) is not None:
            stamps.setdefault(group(depth), []).append((seconds, number))
    for entries in stamps.values():
        entries.sort()
    near = []
    for number, image in enumerate(images):
        seconds = stamp(image)
        entries = [] if seconds is None else stamps.get(group(image), [])
        for other, depth in entries[bisect_left(entries, ((seconds or 0) - MAX_TIME_DIFFERENCE, -1)) :]:
            if other > seconds + MAX_TIME_DIFFERENCE:
                break
            near.append((abs(seconds - other), number, depth))
    depth_of: dict[int, int] = {}
    taken: set[int] = set()
    for _, image, depth in sorted(near):
        if image not in depth_of and depth not in taken:
            depth_of[image] = depth
            taken.add(depth)
    return [(images[image], depths[depth_of[image]]) for image in sorted(depth_of)]
