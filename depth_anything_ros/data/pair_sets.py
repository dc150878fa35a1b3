"""Sets with pairs of points of which people labeled the nearer one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.file_metadata import stamp_of
from depth_anything_ros.data.frame import DataError, read_bytes, read_image


@dataclass(frozen=True)
class PairedImage:
    """An image with pairs of points.

    Attributes:
        name: names of the set and the file, for reports.
        image: RGB uint8 (H, W, 3).
        nearer: int64 (N, 2), row and column of the nearer point of each pair.
        farther: int64 (N, 2), those of the other point.
    """

    name: str
    image: np.ndarray
    nearer: np.ndarray
    farther: np.ndarray


@dataclass(frozen=True)
class PairSet:
    """Images, and a JSON file with the pairs of each: ``point1``, ``point2`` as [row, column], and ``closer_point``.

    Attributes:
        name: the name of the set in commands.
        title: the full name, with its publication.
        terms: the license or terms of use.
        homepage: the address of the owners' page.
        file: the JSON file in the set's folder.
    """

    name: str
    title: str
    terms: str
    homepage: str
    file: str = "annotations.json"

    def names(self, root: Path) -> Iterator[str]:
        """Yield the images of the file. Raises `DataError`, naming the file, if it is damaged."""
        yield from self._pairs(root)

    def pair_count(self, root: Path) -> int:
        """Return the number of pairs in the file. Raises `DataError`, naming the file, if it is damaged."""
        return sum(len(pairs) for pairs in self._pairs(root).values() if isinstance(pairs, list))

    def empty_message(self, root: Path) -> str:
        """Return the error message for a file without images."""
        return f"{root / self.file} lists no image"

    def unpaired(self, root: Path) -> list[str]:
        """Return nothing: every image of the file has pairs."""
        return []

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the image and the file of pairs.

        Args:
            root: the set's folder.
            name: the image.
        """
        return root / name, root / self.file

    def read(self, root: Path, name: str) -> PairedImage:
        """Read an image and its pairs.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: the image is missing or damaged, or a point is outside; the message names it.
        """
        image = read_image(root / name)
        try:
            pairs = [_pair(pair) for pair in self._pairs(root)[name]]
            points = np.array(pairs, dtype=np.int64).reshape(-1, 2, 2)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{root / self.file}: the pairs of {name} are invalid: {error!r}") from error
        if not len(points) or (points < 0).any() or (points >= image.shape[:2]).any():
            raise DataError(f"{root / self.file}: {name} has no pair, or a point outside the image")
        return PairedImage(f"{self.name}/{name}", image, points[:, 0], points[:, 1])

    def _pairs(self, root: Path) -> dict[str, Any]:
        path = root / self.file
        return _annotations(path, stamp_of(path))


def _pair(pair: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Return the nearer and the farther point."""
    closer = pair["closer_point"]
    if closer not in ("point1", "point2"):
        raise ValueError(f"closer_point is {closer!r}")
    return pair[closer], pair["point2" if closer == "point1" else "point1"]


@lru_cache(maxsize=2)
def _annotations(path: Path, stamp: str) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} does not list pairs by image")
    return content


PAIR_SETS = (
    PairSet(
        name="da2k",
        title="DA-2K (Yang et al., NeurIPS 2024)",
        terms="Apache-2.0, images by their owners",
        homepage="https://huggingface.co/datasets/depth-anything/DA-2K",
    ),
)
"""The sets of pairs that `evaluate` scores."""
