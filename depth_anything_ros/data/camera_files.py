"""Intrinsics as sets store them, a file a frame or a drive."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from depth_anything_ros.data.depth_files import SINTEL_TAG, Size
from depth_anything_ros.data.frame import DataError, read_bytes
from depth_anything_ros.data.path_pattern import PathPattern
from depth_anything_ros.geometry.camera import Camera


class NumbersFile:
    """A text file of numbers, separated by commas or white space, four of which are fx, fy, cx and cy.

    Args:
        files: the pattern of the files.
        at: the places of fx, fy, cx, cy among the numbers, from 0 on.
        after: what the line begins with in which they stand; "" for all of the file.
    """

    def __init__(self, files: str, at: tuple[int, int, int, int], after: str = "") -> None:
        self._files, self._at, self._after = PathPattern(files), at, after

    def file(self, fields: Mapping[str, str]) -> str:
        """The file of a frame with these fields, in the set's folder."""
        return self._files.path(fields)

    def __call__(self, root: Path, fields: Mapping[str, str], size: Size) -> Camera:
        """Reads the camera of a frame. Raises `DataError`, naming the file."""
        path = root / self.file(fields)
        text = read_bytes(path).decode(errors="replace")
        if self._after:
            line = re.search(rf"^{re.escape(self._after)}(.*)$", text, re.MULTILINE)
            text = "" if line is None else line[1]
        try:
            numbers = [float(word) for word in re.split(r"[,\s]+", text.strip())]
            return Camera(size[1], size[0], *(numbers[place] for place in self._at))
        except (ValueError, IndexError) as error:
            raise DataError(f"{path} holds no camera: {error}") from error


class SintelCamera:
    """A .cam of Sintel: the float 202021.25, then K and the extrinsics as float64, row by row."""

    def __init__(self, files: str) -> None:
        self._files = PathPattern(files)

    def file(self, fields: Mapping[str, str]) -> str:
        """The file of a frame with these fields, in the set's folder."""
        return self._files.path(fields)

    def __call__(self, root: Path, fields: Mapping[str, str], size: Size) -> Camera:
        """Reads the camera of a frame. Raises `DataError`, naming the file."""
        path = root / self.file(fields)
        content = read_bytes(path)
        if len(content) != 172 or struct.unpack("<f", content[:4])[0] != SINTEL_TAG:
            raise DataError(f"{path} is no .cam of Sintel")
        matrix = np.frombuffer(content[4:76], "<f8").reshape(3, 3)
        try:
            return Camera(size[1], size[0], matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        except ValueError as error:
            raise DataError(f"{path} holds no camera: {error}") from error
