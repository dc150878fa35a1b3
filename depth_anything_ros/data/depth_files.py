"""How depth lies in files: each format that a set is published in, to meters, NaN where unknown, +Inf for the sky.

A `DepthFile` reads one file into float32 (H, W). Those of sets whose scale is not known give depth up to a factor.
"""

from __future__ import annotations

import importlib
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from depth_anything_ros.data.frame import DataError, read_bytes, read_picture
from depth_anything_ros.system.extras import MissingPackagesError, advice

SINTEL_TAG = 202021.25
"""The float with which files of Sintel begin."""
Size = tuple[int, int]
"""(height, width) in pixels."""
DepthFile = Callable[[Path, Size], np.ndarray]
"""Reads a file into depth, float32 (H, W); given the size of the image, which some formats leave out."""


@dataclass(frozen=True)
class Picture:
    """A 16-bit picture of one channel, depth in a fixed unit."""

    meters_per_unit: float
    invalid: tuple[int, ...] = (0,)
    sky: tuple[int, ...] = ()

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        stored = _one_channel(path, np.uint16)
        depth = stored.astype(np.float32) * np.float32(self.meters_per_unit)
        depth[np.isin(stored, self.invalid)] = np.nan
        depth[np.isin(stored, self.sky)] = np.inf
        return depth


@dataclass(frozen=True)
class RotatedPicture:
    """A 16-bit picture whose samples are rotated left by three bits, as SUN RGB-D has them; 0 is unknown."""

    meters_per_unit: float

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        stored = _one_channel(path, np.uint16)
        turned = (stored >> 3) | (stored << 13)
        return _known(turned.astype(np.float32) * np.float32(self.meters_per_unit), turned > 0)


@dataclass(frozen=True)
class DisparityPicture:
    """A picture of 8 or 16 bits, larger where nearer, on a scale of its own: depth is 1 / value, and 0 is far away."""

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        stored = read_picture(path)
        if stored.ndim != 2:
            raise DataError(f"{path}: disparity is {stored.dtype} {stored.shape}, must be a picture of one channel")
        with np.errstate(divide="ignore"):
            return np.float32(1) / (stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max))


@dataclass(frozen=True)
class PortableFloatMap:
    """A .pfm: float32, rows from below; 0 is unknown."""

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        content = read_bytes(path)
        header = re.match(rb"Pf\s+(\d+)\s+(\d+)\s+(-?\d+\.?\d*(?:[eE][+-]?\d+)?)\s", content)
        if header is None:
            raise DataError(f"{path} is no PFM of one channel")
        width, height, scale = int(header[1]), int(header[2]), float(header[3])
        depth = _floats(path, content[header.end() :], height * width, "<f4" if scale < 0 else ">f4")
        depth = depth.reshape(height, width)[::-1]
        return _known(depth, depth > 0)


@dataclass(frozen=True)
class RawFloats:
    """Bare float32, row by row, of the image's size, as ETH3D has it; infinite is unknown."""

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        depth = _floats(path, read_bytes(path), size[0] * size[1], "<f4").reshape(size)
        return _known(depth, np.isfinite(depth) & (depth > 0))


@dataclass(frozen=True)
class SintelDepth:
    """A .dpt of Sintel: the float 202021.25, width and height as int32, then float32 in meters."""

    sky_from: float = np.inf

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        content = read_bytes(path)
        if len(content) < 12:
            raise DataError(f"{path} is no .dpt: it has {len(content)} bytes")
        tag, width, height = struct.unpack("<fii", content[:12])
        if tag != SINTEL_TAG or width < 1 or height < 1:
            raise DataError(f"{path} is no .dpt: it begins with {tag}, {width}, {height}")
        depth = _floats(path, content[12:], height * width, "<f4").reshape(height, width).copy()
        depth[depth >= self.sky_from] = np.inf
        return _known(depth, depth > 0)


@dataclass(frozen=True)
class NumpyArray:
    """A .npy of floats (H, W) or (H, W, 1) in meters. From ``sky_from`` on it is the sky, 0 is unknown."""

    sky_from: float = np.inf

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        depth = read_array(path).astype(np.float32)
        depth[depth >= self.sky_from] = np.inf
        return _known(depth, depth > 0)


@dataclass(frozen=True)
class Hdf5Array:
    """A dataset of an HDF5 file, in meters or up to a factor; 0 and what is not finite is unknown. Needs h5py.

    A map with values below 0 is refused: MegaDepth keeps the order of surfaces under the same name.
    """

    key: str

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        h5py = import_for("h5py", path)
        try:
            with h5py.File(path, "r") as file:
                depth = np.asarray(file[self.key], np.float32)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:  # a group, text, a damaged chunk
            raise DataError(f"cannot read {self.key!r} of {path}: {error}") from error
        if depth.ndim != 2:
            raise DataError(f"{path}: {self.key!r} is {depth.shape}, must be (H, W)")
        if (depth < 0).any():
            raise DataError(f"{path}: {self.key!r} has values below 0, so it is no depth but the order of surfaces")
        return _known(depth, np.isfinite(depth) & (depth > 0))


@dataclass(frozen=True)
class ExrDisparity:
    """The green or only channel of an OpenEXR file, disparity in pixels: f * B / disparity meters. Needs OpenEXR."""

    focal_times_baseline: float

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        module = import_for("OpenEXR", path)
        try:
            with module.File(str(path), separate_channels=True) as file:
                channels = file.channels()
                disparity = np.array(channels.get("G", next(iter(channels.values()))).pixels, np.float32)
        except (RuntimeError, OSError, ValueError, StopIteration) as error:
            raise DataError(f"cannot read {path}: {error}") from error
        with np.errstate(divide="ignore", invalid="ignore"):
            return _known(np.float32(self.focal_times_baseline) / disparity, disparity > 0)


@dataclass(frozen=True)
class AlongTheRay:
    """Distances from the camera's center, in an image of that focal length (pixels) and a centered principal point.

    Depth is along the axis, and smaller: towards the corners by a fifth and more. As Hypersim has it.
    """

    read_distance: DepthFile
    focal: float

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        """Reads a file. Raises `DataError`, naming it."""
        distance = self.read_distance(path, size)
        height, width = distance.shape
        x = (np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)) / np.float32(self.focal)
        y = (np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2)) / np.float32(self.focal)
        return distance / np.sqrt(x**2 + y[:, np.newaxis] ** 2 + 1)


def read_array(path: Path) -> np.ndarray:
    """A .npy of numbers, (H, W) but for sides of 1, as (H, W). Raises `DataError`, naming it; unpickles nothing."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile, TokenError) as error:  # TokenError: of a damaged header
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path} is an archive of arrays, must be one array")
    return as_map(path, values)


def as_map(path: Path, values: np.ndarray) -> np.ndarray:
    """Numbers (H, W, 1), (1, H, W) and (1, H, W, 1) as (H, W). Raises `DataError` for others, naming the file."""
    shape = values.shape
    if values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.dtype.kind not in "fiub" or not values.size:
        raise DataError(f"{path} holds {values.dtype} {shape}, must be numbers (H, W)")
    return values


def _one_channel(path: Path, dtype: type) -> np.ndarray:
    stored = read_picture(path)
    if stored.dtype != dtype or stored.ndim != 2:
        raise DataError(
            f"{path}: depth is {stored.dtype} {stored.shape}, must be a {8 * np.dtype(dtype).itemsize}-bit picture "
            "of one channel"
        )
    return stored


def _known(depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Depth as float32, NaN where it is not known."""
    return np.where(known, depth, np.float32(np.nan)).astype(np.float32, copy=False)


def _floats(path: Path, content: bytes, count: int, kind: str) -> np.ndarray:
    if len(content) != 4 * count:
        raise DataError(f"{path} holds {len(content)} bytes of depth, {4 * count} belong there; fetch it anew")
    return np.frombuffer(content, kind).astype(np.float32)


def import_for(module: str, path: Path) -> Any:
    """A module that reads a file of this kind. Raises `ImportError`, which says how to install it.

    No `DataError`, for which files would be left out one by one: none of them can be read until it is installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackagesError(f"{path} is read with {module}; {advice(module)}", name=module) from error
