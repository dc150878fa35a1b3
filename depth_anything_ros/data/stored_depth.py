"""Depth of one's own, in any usual kind of file, as stored and in meters."""

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
"""Of files that hold depth whatever their names say; others are pictures."""
INVALID = 65535
"""What is stored where depth is not known, beside 0, negative numbers, NaN and infinity."""
_FARTHEST = 1e6
"""Meters; beyond it stands whatever a renderer writes for nothing."""
_SAME_SHAPE = 0.01
"""Relative difference of width : height up to which depth counts as the image's, resized."""
_KEYS = ("depth", "depths", "depth_map", "depth_gt", "z")
_MILLIMETER = 0.001
_DAMAGED_ARCHIVE = (OSError, ValueError, EOFError, KeyError, RuntimeError, BadZipFile, TokenError, zlib.error)
"""What NumPy and zipfile raise of files that are no .npz, or damaged ones."""


class NoUnitError(DataError):
    """It is not said what stored depth means."""


@dataclass(frozen=True)
class StoredDepth:
    """Reads one file into meters, float32 (H, W), NaN where unknown.

    ``scale``: meters per stored unit, whatever the file; None for that of its format, see `unit_of`. ``key``: the array
    of a .npz, or the channel of an .exr; None where only one can be meant. ``invalid``: more stored values that mean
    unknown. ``resize``: whether depth of another size takes the nearest value for each pixel of the image, else it is
    refused. ``integer_scale``: of integers, where there is no ``scale``.
    """

    scale: float | None = None
    key: str | None = None
    invalid: tuple[float, ...] = ()
    resize: bool = False
    integer_scale: float | None = None

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        """Reads a file for an image of that (height, width). Raises `DataError`, naming it."""
        depth = self.meters(path)
        if depth.shape == size:
            return depth
        sizes = f"{path}: depth is {depth.shape[1]}x{depth.shape[0]}, its image {size[1]}x{size[0]}"
        if abs(depth.shape[1] * size[0] / (depth.shape[0] * size[1]) - 1) > _SAME_SHAPE:
            raise DataError(f"{sizes}, another shape: register depth to the images first")
        if not self.resize:
            raise DataError(
                f"{sizes}; --resize-depth (resize_depth in rgbd.yaml) takes the nearest value for each pixel"
            )
        return cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)

    def meters(self, path: Path) -> np.ndarray:
        """Depth at its own size, float32 (H, W). Raises `DataError`, naming the file."""
        stored = read_stored(path, self.key)
        scale = self.unit_of(path, stored.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            depth = stored.astype(np.float32) * np.float32(scale)
            known = (stored > 0) & (stored != INVALID) & (depth < _FARTHEST)
        if self.invalid:
            known &= ~np.isin(stored, self.invalid)
        return np.where(known, depth, np.float32(np.nan))

    def unit_of(self, path: Path, kind: np.dtype) -> float:
        """Meters per unit of numbers of this kind: floats are meters, integers of 16 bits and more millimeters.

        Raises `NoUnitError` for 8 bits, whose unit nobody can know.
        """
        if self.scale is not None:
            return self.scale
        if kind.kind == "f":
            return 1.0
        if self.integer_scale is not None:
            return self.integer_scale
        if kind.itemsize == 1:
            raise NoUnitError(
                f"{path}: depth of 8 bits has no usual unit; give --depth-scale (depth_scale in rgbd.yaml), meters per "
                "unit"
            )
        return _MILLIMETER


def read_stored(path: Path, key: str | None = None) -> np.ndarray:
    """What a file holds, numbers (H, W) as they are stored. Raises `DataError`, naming it."""
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
    """A picture of one channel, or of several that are alike."""
    stored = read_picture(path)
    if stored.ndim == 3:
        first = stored[..., :1]
        if stored.shape[2] == 4 or not (stored == first).all():
            raise DataError(
                f"{path} is a picture of {stored.shape[2]} channels, colored for the eye: depth needs one channel"
            )
        stored = first[..., 0]
    return stored


def _array_of_archive(path: Path, key: str | None) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):  # a .npy by another name
            arrays = {"the one array": loaded}
        else:
            with loaded as archive:
                names = archive.files
                keys = [key] if key is not None else _candidates(names)
                arrays = {name: archive[name] for name in keys if name in names}
    except _DAMAGED_ARCHIVE as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if len(arrays) != 1:
        held = ", ".join(names) or "nothing"
        raise DataError(f"{path} holds {held}; --depth-key (depth_key in rgbd.yaml) says which is depth")
    return as_map(path, next(iter(arrays.values())))


def _candidates(names: list[str]) -> list[str]:
    """The one that is depth: the only one, or the one of a usual name."""
    return names if len(names) == 1 else [name for name in names if name.lower() in _KEYS]


def _channel(path: Path, key: str | None) -> np.ndarray:
    module = import_for("OpenEXR", path)
    try:
        with module.File(str(path), separate_channels=True) as file:
            channels = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"cannot read {path}, which is damaged or no OpenEXR: {error}") from error
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
            f"{path} has the channels {', '.join(channels)}; --depth-key (depth_key in rgbd.yaml) says which is depth"
        )
    return as_map(path, channels[requested[0]])
