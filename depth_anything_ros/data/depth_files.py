"""Readers of the depth files of datasets: each published format to meters, NaN unknown, +Inf sky.

A `DepthFile` reads one file into float32 (H, W). In sets without metric scale, depth has an unknown factor.
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
from depth_anything_ros.system.extras import MissingPackagesError, advice, import_problem, is_installed

SINTEL_TAG = 202021.25
"""The first float in files of Sintel."""
Size = tuple[int, int]
"""(height, width) in pixels."""
DepthFile = Callable[[Path, Size], np.ndarray]
"""Reads a file into depth, float32 (H, W). Some formats need the size of the image."""


@dataclass(frozen=True)
class Picture:
    """Reads a 16-bit picture of one channel, depth in a fixed unit.

    Attributes:
        meters_per_unit: the unit.
        invalid: stored values that mean unknown.
        sky: stored values that mean sky.
    """

    meters_per_unit: float
    invalid: tuple[int, ...] = (0,)
    sky: tuple[int, ...] = ()

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        stored = one_channel(path, np.uint16)
        depth = stored.astype(np.float32) * np.float32(self.meters_per_unit)
        depth[np.isin(stored, self.invalid)] = np.nan
        depth[np.isin(stored, self.sky)] = np.inf
        return depth


@dataclass(frozen=True)
class RotatedPicture:
    """Reads a 16-bit picture whose values are rotated left by three bits, as in SUN RGB-D; 0 is unknown."""

    meters_per_unit: float

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        stored = one_channel(path, np.uint16)
        turned = (stored >> 3) | (stored << 13)
        return _known(turned.astype(np.float32) * np.float32(self.meters_per_unit), turned > 0)


@dataclass(frozen=True)
class DisparityPicture:
    """Reads an 8- or 16-bit picture of disparity with unknown scale. Depth is 1 / value; 0 is far away."""

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        stored = read_picture(path)
        if stored.ndim != 2:
            raise DataError(f"{path}: disparity is {stored.dtype} {stored.shape}, must be a picture of one channel")
        with np.errstate(divide="ignore"):
            return np.float32(1) / (stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max))


@dataclass(frozen=True)
class PortableFloatMap:
    """Reads a .pfm file: float32, rows from the bottom; 0 is unknown."""

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        content = read_bytes(path)
        header = re.match(rb"Pf\s+(\d+)\s+(\d+)\s+(-?\d+\.?\d*(?:[eE][+-]?\d+)?)\s", content)
        if header is None:
            raise DataError(f"{path} is not a PFM file of one channel")
        width, height, scale = int(header[1]), int(header[2]), float(header[3])
        depth = _floats(path, content[header.end() :], height * width, "<f4" if scale < 0 else ">f4")
        depth = depth.reshape(height, width)[::-1]
        return _known(depth, depth > 0)


@dataclass(frozen=True)
class RawFloats:
    """Reads bare float32 of the image's size, row by row, as in ETH3D; infinity is unknown."""

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        depth = _floats(path, read_bytes(path), size[0] * size[1], "<f4").reshape(size)
        return _known(depth, np.isfinite(depth) & (depth > 0))


@dataclass(frozen=True)
class SintelDepth:
    """Reads a .dpt file of Sintel: the float 202021.25, width and height as int32, then float32 in meters.

    ``sky_from`` is the depth from which pixels are sky.
    """

    sky_from: float = np.inf

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        content = read_bytes(path)
        if len(content) < 12:
            raise DataError(f"{path} is not a .dpt file: it has {len(content)} bytes")
        tag, width, height = struct.unpack("<fii", content[:12])
        if tag != SINTEL_TAG or width < 1 or height < 1:
            raise DataError(f"{path} is not a .dpt file: it begins with {tag}, {width}, {height}")
        depth = _floats(path, content[12:], height * width, "<f4").reshape(height, width).copy()
        depth[depth >= self.sky_from] = np.inf
        return _known(depth, depth > 0)


@dataclass(frozen=True)
class NumpyArray:
    """Reads a .npy file of floats (H, W) or (H, W, 1) in meters; 0 is unknown.

    ``sky_from`` is the depth from which pixels are sky.
    """

    sky_from: float = np.inf

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        depth = read_array(path).astype(np.float32)
        depth[depth >= self.sky_from] = np.inf
        return _known(depth, depth > 0)


@dataclass(frozen=True)
class Hdf5Array:
    """Reads a dataset of an HDF5 file, in meters or with an unknown factor. Needs h5py.

    Zero and values that are not finite are unknown. A map with negative values is rejected: MegaDepth stores the order
    of surfaces under the same name.
    """

    key: str

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        h5py = import_for("h5py", path)
        try:
            with h5py.File(path, "r") as file:
                depth = np.asarray(file[self.key], np.float32)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:  # a group, text, a damaged chunk
            raise DataError(f"cannot read {self.key!r} of {path}: {error}") from error
        if depth.ndim != 2:
            raise DataError(f"{path}: {self.key!r} is {depth.shape}, must be (H, W)")
        if (depth < 0).any():
            raise DataError(f"{path}: {self.key!r} has negative values: it is the order of surfaces, not depth")
        return _known(depth, np.isfinite(depth) & (depth > 0))


@dataclass(frozen=True)
class ExrDisparity:
    """Reads disparity in pixels from the green or only channel of an OpenEXR file. Needs OpenEXR.

    Depth is ``focal_times_baseline`` / disparity, in meters.
    """

    focal_times_baseline: float

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
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
    """Converts distance from the camera center to depth along the optical axis, as in Hypersim.

    Depth is smaller than distance, towards the corners by a fifth and more. The principal point is the image center.

    Attributes:
        read_distance: reads the distances.
        focal: focal length in pixels.
    """

    read_distance: DepthFile
    focal: float

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        """Read a file. Raises `DataError`, naming it."""
        distance = self.read_distance(path, size)
        height, width = distance.shape
        x = (np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)) / np.float32(self.focal)
        y = (np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2)) / np.float32(self.focal)
        return distance / np.sqrt(x**2 + y[:, np.newaxis] ** 2 + 1)


def read_array(path: Path) -> np.ndarray:
    """Read a .npy file of numbers with shape (H, W), or with extra sides of 1, as (H, W). It unpickles nothing.

    Raises `DataError`, naming the file, for other content.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile, TokenError) as error:  # TokenError: damaged header
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path} is an archive of arrays, must be one array")
    return as_map(path, values)


def as_map(path: Path, values: np.ndarray) -> np.ndarray:
    """Reshape numbers (H, W, 1), (1, H, W) or (1, H, W, 1) to (H, W).

    Args:
        path: the file in messages.
        values: the array.

    Raises:
        DataError: the array has another shape or no numbers; the message names the file.
    """
    shape = values.shape
    if values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.dtype.kind not in "fiub" or not values.size:
        raise DataError(f"{path} contains {values.dtype} {shape}, must be numbers (H, W)")
    return values


def one_channel(path: Path, dtype: type) -> np.ndarray:
    """Read a picture of one channel (H, W).

    Args:
        path: the file.
        dtype: the type of its values.

    Raises:
        DataError: the file is missing, damaged or another picture; the message names it.
    """
    stored = read_picture(path)
    if stored.dtype != dtype or stored.ndim != 2:
        raise DataError(
            f"{path}: depth is {stored.dtype} {stored.shape}, must be a {8 * np.dtype(dtype).itemsize}-bit picture "
            "of one channel"
        )
    return stored


def _known(depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return depth as float32, with NaN where it is unknown."""
    return np.where(known, depth, np.float32(np.nan)).astype(np.float32, copy=False)


def _floats(path: Path, content: bytes, count: int, kind: str) -> np.ndarray:
    if len(content) != 4 * count:
        raise DataError(f"{path} has {len(content)} bytes of depth, must have {4 * count}; fetch it again")
    return np.frombuffer(content, kind).astype(np.float32)


def import_for(module: str, path: Path) -> Any:
    """Import the module that reads a type of file.

    It raises no `DataError`, because that would skip files one by one. Without the module none can be read.

    Args:
        module: the module.
        path: a file of this type, for the message.

    Raises:
        ImportError: the module is not installed; the message says how to install it. Or it is, and does not work.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if is_installed(module):
            raise MissingPackagesError(f"{path} needs {module}: {import_problem(error)}", name=module) from error
        raise MissingPackagesError(f"{path} needs {module}; {advice(module)}", name=module) from error
