"""The user's own depth in any common file type, as stored and in meters."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import cv2
import numpy as np

from depth_anything_ros.data.depth_files import PortableFloatMap, Size, as_map, import_for, read_array
from depth_anything_ros.data.frame import DataError, read_picture

ARRAY_ENDINGS = ("npy", "npz", "exr", "pfm")
"""Endings of files that are always depth; other files are pictures."""
INVALID = 65535
"""Stored value for unknown depth, like 0, negative numbers, NaN and infinity."""
_FARTHEST = 1e6
"""Meters. Renderers write larger values where there is nothing."""
_SAME_SHAPE = 0.01
"""Maximum relative difference of the aspect ratios of depth and image to resize depth."""
_KEYS = ("depth", "depths", "depth_map", "depth_gt", "z")
_MILLIMETER = 0.001
_DAMAGED_ARCHIVE = (OSError, ValueError, EOFError, KeyError, RuntimeError, BadZipFile, TokenError, zlib.error)
"""Errors of NumPy and zipfile for a damaged file, or one that is not .npz."""


class NoUnitError(DataError):
    """The unit of stored depth is unknown."""


@dataclass(frozen=True)
class StoredDepth:
    """A reader of one file into meters, float32 (H, W), NaN unknown.

    Attributes:
        scale: meters per stored unit for all files; None for the default of the format, see `unit_of`.
        key: the array in a .npz or the channel in an .exr; None if there is only one candidate.
        invalid: more stored values that mean unknown.
        resize: whether to resize depth of another size to the image by nearest neighbor; otherwise it is an error.
        integer_scale: meters per unit of integers if ``scale`` is None.
    """

    scale: float | None = None
    key: str | None = None
    invalid: tuple[float, ...] = ()
    resize: bool = False
    integer_scale: float | None = None

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        """Read a file.

        Args:
            path: the file.
            size: (height, width) of the image.

        Raises:
            DataError: the file is damaged or of another size; the message names it.
        """
        depth = self.meters(path)
        if depth.shape == size:
            return depth
        sizes = f"{path}: depth is {depth.shape[1]}x{depth.shape[0]}, its image is {size[1]}x{size[0]}"
        if abs(depth.shape[1] * size[0] / (depth.shape[0] * size[1]) - 1) > _SAME_SHAPE:
            raise DataError(f"{sizes}, another aspect ratio: register depth to the images first")
        if not self.resize:
            raise DataError(f"{sizes}; --resize-depth (resize_depth in rgbd.yaml) resizes depth by nearest neighbor")
        return cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)

    def meters(self, path: Path) -> np.ndarray:
        """Read depth at its own size, float32 (H, W). Raises `DataError`, naming the file."""
        stored = read_stored(path, self.key)
        scale = self.unit_of(path, stored.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            depth = stored.astype(np.float32) * np.float32(scale)
            known = (stored > 0) & (stored != INVALID) & (depth < _FARTHEST)
        if self.invalid:
            known &= ~np.isin(stored, self.invalid)
        return np.where(known, depth, np.float32(np.nan))

    def unit_of(self, path: Path, kind: np.dtype) -> float:
        """Return meters per unit. By default floats are meters, and integers of 16 bits or more are millimeters.

        Args:
            path: the file, for the message.
            kind: the type of the stored numbers.

        Raises:
            NoUnitError: the numbers have 8 bits, which have no usual unit.
        """
        if self.scale is not None:
            return self.scale
        if kind.kind == "f":
            return 1.0
        if self.integer_scale is not None:
            return self.integer_scale
        if kind.itemsize == 1:
            raise NoUnitError(
                f"{path}: 8-bit depth has no usual unit; give --depth-scale (depth_scale in rgbd.yaml), meters per unit"
            )
        return _MILLIMETER


def read_stored(path: Path, key: str | None = None) -> np.ndarray:
    """Read the stored numbers of a file, (H, W).

    Args:
        path: the file.
        key: the array in a .npz or the channel in an .exr.

    Raises:
        DataError: the file is damaged or ambiguous; the message names it.
    """
    ending = path.suffix.lower()
    if ending == ".npy":
        return read_array(path)
    if ending == ".npz":
        return _array_of_archive(path, key)
    if ending == ".exr":
        return _channel(path, key)
    if ending == ".pfm":
        return PortableFloatMap()(path, (0, 0))
    return _one_channel(path)


def _one_channel(path: Path) -> np.ndarray:
    """Read a picture of one channel, or of several equal ones."""
    stored = read_picture(path)
    if stored.ndim == 3:
        first = stored[..., :1]
        if stored.shape[2] == 4 or not (stored == first).all():
            raise DataError(
                f"{path} has {stored.shape[2]} channels: it is a colored picture, but depth needs one channel"
            )
        stored = first[..., 0]
    return stored


def _array_of_archive(path: Path, key: str | None) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):  # a .npy file with another ending
            arrays = {"the one array": loaded}
        else:
            with loaded as archive:
                names = archive.files
                keys = [key] if key is not None else _candidates(names)
                arrays = {name: archive[name] for name in keys if name in names}
    except _DAMAGED_ARCHIVE as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if len(arrays) != 1:
        content = ", ".join(names) or "nothing"
        raise DataError(f"{path} contains {content}; choose the depth with --depth-key (depth_key in rgbd.yaml)")
    return as_map(path, next(iter(arrays.values())))


def _candidates(names: list[str]) -> list[str]:
    """Return the only name, or those that usually mean depth."""
    return names if len(names) == 1 else [name for name in names if name.lower() in _KEYS]


def _channel(path: Path, key: str | None) -> np.ndarray:
    module = import_for("OpenEXR", path)
    try:
        with module.File(str(path), separate_channels=True) as file:
            channels = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: it is damaged or not an OpenEXR file: {error}") from error
    if key is not None:
        requested = [key] if key in channels else []
    elif len(channels) == 1:
        requested = list(channels)
    else:
        requested = [name for name in channels if name.lower().rpartition(".")[2] in ("y", *_KEYS)]
        if not requested and len({channels[name].tobytes() for name in channels if name != "A"}) == 1:
            requested = [name for name in channels if name != "A"][:1]  # gray, as renderers write it
    if len(requested) != 1:
        raise DataError(
            f"{path} has the channels {', '.join(channels)}; choose the depth with --depth-key (depth_key in rgbd.yaml)"
        )
    return as_map(path, channels[requested[0]])
