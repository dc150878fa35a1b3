"""Readers of intrinsics files of datasets."""

from __future__ import annotations

import json
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from depth_anything_ros.data.depth_files import SINTEL_TAG, Size
from depth_anything_ros.data.frame import DataError, read_bytes
from depth_anything_ros.data.path_pattern import PathPattern
from depth_anything_ros.geometry.camera import Camera


class CameraFile(ABC):
    """Reads the camera of a frame from a file of its own or of its set.

    Args:
        files: the pattern of the files.
    """

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
        try:
            return self._parse(path, content, size)
        except DataError:
            raise
        except (ValueError, KeyError, IndexError, TypeError) as error:
            reason = error if isinstance(error, ValueError) else repr(error)
            raise DataError(f"{path} has no valid {self._content}: {reason}") from error

    _content = "camera"
    """What the file has, for the message."""

    @abstractmethod
    def _parse(self, path: Path, content: bytes, size: Size) -> Camera:
        """Return the camera for an image of a size. Raises what invalid content leads to, or a complete `DataError`."""


class NumbersFile(CameraFile):
    """Reads a text file of numbers, separated by commas or white space. Four of them are fx, fy, cx and cy.

    Args:
        files: the pattern of the files.
        at: the indices of fx, fy, cx, cy among the numbers.
        after: the start of the line with the numbers; "" for the whole file.
    """

    def __init__(self, files: str, at: tuple[int, int, int, int], after: str = "") -> None:
        super().__init__(files)
        self._at, self._after = at, after

    def _parse(self, path: Path, content: bytes, size: Size) -> Camera:
        text = content.decode(errors="replace")
        if self._after:
            line = re.search(rf"^{re.escape(self._after)}(.*)$", text, re.MULTILINE)
            text = "" if line is None else line[1]
        numbers = [float(word) for word in re.split(r"[,\s]+", text.strip())]
        return Camera(size[1], size[0], *(numbers[index] for index in self._at))


class SintelCamera(CameraFile):
    """Reads a .cam file of Sintel: the float 202021.25, then K and the extrinsics as float64, row by row."""

    def _parse(self, path: Path, content: bytes, size: Size) -> Camera:
        if len(content) != 172 or struct.unpack("<f", content[:4])[0] != SINTEL_TAG:
            raise DataError(f"{path} is not a .cam file of Sintel")
        matrix = np.frombuffer(content[4:76], "<f8").reshape(3, 3)
        return Camera(size[1], size[0], matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])


class NormalizedCamera(CameraFile):
    """Reads the matrix ``intrinsics`` of a JSON file, in shares of the image's width and height.

    The left and right edges of the image are 0 and 1, so pixel centers are at half pixels.
    """

    _content = "intrinsics"

    def _parse(self, path: Path, content: bytes, size: Size) -> Camera:
        height, width = size
        matrix = np.asarray(json.loads(content)["intrinsics"], np.float64)
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        return Camera(width, height, fx * width, fy * height, cx * width - 0.5, cy * height - 0.5)
