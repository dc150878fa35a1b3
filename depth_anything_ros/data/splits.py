"""Which images of a set are to train on and which the papers score, where their paths do not say so.

"test" is what the papers that this package follows score; so it is told from "train" even where a set's owners call it
otherwise.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from depth_anything_ros.data.depth_files import import_for
from depth_anything_ros.data.frame import DataError, read_bytes

TRAIN, VALIDATION, TEST = "train", "val", "test"


class Splits(Protocol):
    """Tells the split of each image of a set."""

    names: tuple[str, ...]
    """The splits that there are."""

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """The split of the image with these fields, "" for none. Raises `DataError` where a list is absent."""


@dataclass(frozen=True)
class OneSplit:
    """All images of the set are in one split."""

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """That one."""
        return (self.name,)

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """That one."""
        return self.name


@dataclass(frozen=True)
class ByList:
    """Images are in "test" where ``test`` holds ``key``, a pattern that an image's fields fill in; else in "train"."""

    key: str
    test: Collection[str]
    names = (TRAIN, TEST)

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """By the image's fields alone."""
        return TEST if self.key.format(**fields) in self.test else TRAIN


@dataclass(frozen=True)
class SceneTable:
    """The owners' table, ``file`` in the set's folder: the split of each ``scene``, in columns of these names."""

    file: str
    scene: str
    split: str
    names = (TRAIN, VALIDATION, TEST)

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """By the image's scene."""
        return _scenes(root / self.file, self.scene, self.split).get(fields["scene"], "")


@lru_cache(maxsize=4)
def _scenes(path: Path, scene: str, split: str) -> dict[str, str]:
    text = _list_beside(path).decode(errors="replace")
    try:
        return {row[scene]: row[split] for row in csv.DictReader(text.splitlines()) if row[split]}
    except KeyError as error:
        raise DataError(f"{path} has no column {error.args[0]!r}") from error


@dataclass(frozen=True)
class SunSplits:
    """SUN RGB-D's own list, of the toolbox that its owners publish beside it."""

    file = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    names = (TRAIN, TEST)

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """By the image's folder, from that of the sensor on."""
        places = [folder / self.file for folder in (root, root.parent)]
        listed = _sun_folders(next((place for place in places if place.exists()), places[0]))
        return listed.get(fields["folder"].removeprefix("SUNRGBD/"), "")


@lru_cache(maxsize=4)
def _sun_folders(path: Path) -> dict[str, str]:
    lists = read_matlab(path, "alltrain", "alltest")
    return {
        str(entry[0]).partition("SUNRGBD/")[2].strip("/"): split
        for split, entries in zip((TRAIN, TEST), lists, strict=True)
        for entry in entries
    }


def read_matlab(path: Path, *names: str) -> list:
    """Arrays of a MATLAB file by their names, flattened. Raises `DataError`, naming the file."""
    read = import_for("scipy.io", path).loadmat
    if not path.exists():
        _list_beside(path)
    try:
        content = read(path)
        return [content[name].ravel() for name in names]
    except Exception as error:  # scipy raises whatever it stumbles over
        raise DataError(f"cannot read {' and '.join(names)} of {path}: {error}") from error


def _list_beside(path: Path) -> bytes:
    """The file. Raises `DataError`, which says what it is for, where it is absent."""
    if not path.exists():
        raise DataError(f"{path} is absent: the owners' list, which tells the splits")
    return read_bytes(path)


EIGEN_TEST_DRIVES = frozenset(
    f"{date}_drive_{drive}"
    for date, drives in {
        "2011_09_26": "0002 0009 0013 0020 0023 0027 0029 0036 0046 0048 0052 0056 0059 0064 0084 0086 0093 0096 0101 "
        "0106 0117",
        "2011_09_28": "0002",
        "2011_09_29": "0071",
        "2011_09_30": "0016 0018 0027",
        "2011_10_03": "0027 0047",
    }.items()
    for drive in drives.split()
)
"""The 28 drives of KITTI from which Eigen et al. (NIPS 2014) took the 697 images that papers score."""
