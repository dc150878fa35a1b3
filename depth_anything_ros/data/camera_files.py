"""Readers of intrinsics files of datasets."""

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
    """Reads a text file of numbers, separated by commas or white space. Four of them are fx, fy, cx and cy.

    Args:
        files: the pattern of the files.
        at: the indices of fx, fy, cx, cy among the numbers.
        after: the start of the line with the numbers; "" for the whole file.
    """

    def __init__(self, files: str, at: tuple[int, int, int, int], after: str = "") -> None:
        self._files, self._at, self._after = PathPattern(files), at, after

    def file(self, fields: Mapping[str, str]) -> str:
        """Return the path of a frame's file in the set's folder."""
        return self._files.path(fields)

    def __call__(self, root: Path, fields: Mapping[str, str], size: Size) -> Camera:
        """Read the camera of a frame.

        Args:
            root: the set's folder.
            fields: the fields of the frame.
            size: (height, width) of the image.

        Raises:
            DataError: the file is missing or invalid; the message names it.
        """
        path = root / self.file(fields)
        text = read_bytes(path).decode(errors="replace")
        if self._after:
            line = re.search(rf"^{re.escape(self._after)}(.*)$", text, re.MULTILINE)
            text = "" if line is None else line[1]
        try:
            numbers = [float(word) for word in re.split(r"[,\s]+", text.strip())]
            return Camera(size[1], size[0], *(numbers[index] for index in self._at))
        except (ValueError, IndexError) as error:
            raise DataError(f"{path} has no valid camera: {error}") from error


class SintelCamera:
    """Reads a .cam file of Sintel: the float 202021.25, then K and the extrinsics as float64, row by row."""

    def __init__(self, files: str) -> None:
        self._files = PathPattern(files)

    def file(self, fields: Mapping[str, str]) -> str:
        """Return the path of a frame's file in the set's folder."""
        return self._files.path(fields)

    def __call__(self, root: Path, fields: Mapping[str, str], size: Size) -> Camera:
        """Read the camera of a frame.

        Args:
            root: the set's folder.
            fields: the fields of the frame.
            size: (height, width) of the image.

        Raises:
            DataError: the file is missing or invalid; the message names it.
        """
        path = root / self.file(fields)
        content = read_bytes(path)
        if len(content) != 172 or struct.unpack("<f", content[:4])[0] != SINTEL_TAG:
            raise DataError(f"{path} is not a .cam file of Sintel")
        matrix = np.frombuffer(content[4:76], "<f8").reshape(3, 3)
        try:
            return Camera(size[1], size[0], matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        except ValueError as error:
            raise DataError(f"{path} has no valid camera: {error}") from error
