"""Splits of sets whose paths do not contain them: images for training, and images that papers score.

"test" means the images that papers score, also if the owners use another name.
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
    """Returns the split of each image of a set."""

    names: tuple[str, ...]
    """The splits of the set."""

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """Return the split of an image, "" for none.

        Args:
            root: the set's folder.
            fields: the fields of the image.

        Raises:
            DataError: the list of splits is missing.
        """


@dataclass(frozen=True)
class OneSplit:
    """One split for all images of the set."""

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """Return the split."""
        return (self.name,)

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """Return the split.

        Args:
            root: not used.
            fields: not used.
        """
        return self.name


@dataclass(frozen=True)
class ByList:
    """Splits by a list: "test" if ``test`` contains ``key`` with the fields of the image, else "train"."""

    key: str
    test: Collection[str]
    names = (TRAIN, TEST)

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """Return the split from the fields.

        Args:
            root: not used.
            fields: the fields of the image.
        """
        return TEST if self.key.format(**fields) in self.test else TRAIN


@dataclass(frozen=True)
class SceneTable:
    """Splits by the owners' table of scenes.

    Attributes:
        file: the table in the set's folder.
        scene: the column of the scene.
        split: the column of the split.
    """

    file: str
    scene: str
    split: str
    names = (TRAIN, VALIDATION, TEST)

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """Return the split from the scene.

        Args:
            root: the set's folder.
            fields: the fields of the image.

        Raises:
            DataError: the table is missing.
        """
        return _scenes(root / self.file, self.scene, self.split).get(fields["scene"], "")


@lru_cache(maxsize=4)
def _scenes(path: Path, scene: str, split: str) -> dict[str, str]:
    text = _read_list(path).decode(errors="replace")
    try:
        return {row[scene]: row[split] for row in csv.DictReader(text.splitlines()) if row[split]}
    except KeyError as error:
        raise DataError(f"{path} has no column {error.args[0]!r}") from error


@dataclass(frozen=True)
class SunSplits:
    """Splits by the list in the toolbox of SUN RGB-D."""

    file = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    names = (TRAIN, TEST)

    def of(self, root: Path, fields: Mapping[str, str]) -> str:
        """Return the split from the folder of the image, starting at the sensor.

        Args:
            root: the set's folder.
            fields: the fields of the image.

        Raises:
            DataError: the list is missing.
        """
        paths = [folder / self.file for folder in (root, root.parent)]
        listed = _sun_folders(next((path for path in paths if path.exists()), paths[0]))
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
    """Read arrays of a MATLAB file, flattened.

    Args:
        path: the file.
        names: the arrays.

    Raises:
        DataError: the file is missing or has no such array; the message names it.
    """
    read = import_for("scipy.io", path).loadmat
    if not path.exists():
        _read_list(path)
    try:
        content = read(path)
        return [content[name].ravel() for name in names]
    except Exception as error:  # scipy raises errors of any kind
        raise DataError(f"cannot read {' and '.join(names)} of {path}: {error}") from error


def _read_list(path: Path) -> bytes:
    """Read the list of splits. Raises `DataError` with its purpose if it is missing."""
    if not path.exists():
        raise DataError(f"{path} is missing: it is the owners' list of splits")
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
"""The 28 KITTI drives of the 697 images that papers score (Eigen et al., NIPS 2014)."""
