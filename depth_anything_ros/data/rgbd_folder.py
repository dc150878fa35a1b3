"""A folder of images with depth, opened: its pairs, the unit of depth, and intrinsics for each image."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from depth_anything_ros.data.check import count_and_choose
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.intrinsics_files import Intrinsics, rank_of, read_intrinsics
from depth_anything_ros.data.name_summary import NameSummary
from depth_anything_ros.data.names import NameMap, Names
from depth_anything_ros.data.rgbd_declaration import Declaration, read_declaration
from depth_anything_ros.data.rgbd_layout import Layout, find_layout
from depth_anything_ros.data.rgbd_matching import words_of
from depth_anything_ros.data.stored_depth import NoUnitError, StoredDepth, read_stored
from depth_anything_ros.geometry.camera import Camera, intrinsics_doubt

_log = logging.getLogger(__name__)

_TUM_SCALE = 1 / 5000
_SCALES = {1.0: "1", 0.01: "0.01", 0.001: "0.001", _TUM_SCALE: "1/5000"}
_PLAUSIBLE = 0.03, 100.0
"""Meters between which the median of depth lies, of most cameras."""
_USUAL = 2.0
_SAMPLES = 5
_BESIDE = frozenset(("intrinsic", "intrinsics", "calib", "calibration", "camera", "cam", "info"))
"""Words of folders that hold intrinsics, beside those of images."""


@dataclass(frozen=True)
class Beside:
    """What files beside images tell. ``file``: where the intrinsics stand. ``depth_scale``: meters per unit."""

    intrinsics: Intrinsics | None = None
    file: Path | None = None
    depth_scale: float | None = None


class RgbdFolder:
    """Images with depth in a folder.

    Args:
        root: the folder, which may hold rgbd.yaml, or a file like that.
        declared: what is said beyond that, and goes before it.
        fields: regular expressions that fields of declared patterns must match.

    Raises:
        DataError: it cannot be found out where images and depth lie, or a declared file is absent or damaged.
    """

    def __init__(self, root: Path, declared: Declaration, fields: Mapping[str, str]) -> None:
        self.folder, written = read_declaration(root)
        self.declared = declared.over(written)
        layout = find_layout(self.folder, self.declared, fields)
        pairs, unpaired = NameMap(layout.depth_of), Names(layout.unpaired)  # which every process that reads holds
        self.layout: Layout = replace(layout, depth_of=pairs, unpaired=unpaired)
        self._depth = StoredDepth(
            self.declared.depth_scale, self.declared.depth_key, self.declared.invalid, self.declared.resize_depth
        )
        self._beside: dict[str, Beside] = {}

    def depth_file(self, image: str) -> Path:
        """The file of an image's depth. Raises `DataError` for what is no image of the folder."""
        if image not in self.layout.depth_of:
            raise DataError(f"{self.folder / image} is no image with depth, as {self.layout.description}")
        return self.folder / self.layout.depth_of[image]

    def depth_of(self, image: str, size: tuple[int, int]) -> np.ndarray:
        """Depth of an image of that (height, width), float32 meters, NaN where unknown. Raises `DataError`."""
        return self._reader(image)(self.depth_file(image), size)

    def camera_of(self, image: str, size: tuple[int, int]) -> Camera | None:
        """The camera of an image of that (height, width); None where it is not told, or not for this image."""
        beside = self.beside(image)
        if beside.intrinsics is None:
            return None
        where = beside.file or "the intrinsics"
        try:
            camera = beside.intrinsics.camera(*size)
        except ValueError as error:
            _warn_once(f"{where}: not used for images of {size[1]}x{size[0]}: {error}")
            return None
        if beside.intrinsics.is_distorted:
            _warn_once(f"{where}: the lens distorts; intrinsics hold for rectified images alone")
        if (doubt := intrinsics_doubt(camera)) is not None:
            _warn_once(f"{where}: {doubt}")
        return camera

    def beside(self, image: str) -> Beside:
        """Intrinsics and scale for an image: as declared, else of the nearest folder that has a file of them."""
        told = [self._told_in(str(folder)) for folder in PurePosixPath(image).parents]
        scale = next((one.depth_scale for one in told if one.depth_scale is not None), None)
        if self._declared_camera is not None:
            scale = scale if self._declared_camera.depth_scale is None else self._declared_camera.depth_scale
            return replace(self._declared_camera, depth_scale=scale)
        nearest = next((one for one in told if one.intrinsics is not None), Beside())
        return replace(nearest, depth_scale=scale)

    def describe(self) -> list[str]:
        """What was found out rather than said, and what looks wrong, each in a line.

        Reads the depth of a few images. Raises `NoUnitError` where the unit of none of them is known.
        """
        _, images = count_and_choose(self.layout.depth_of, _SAMPLES)
        medians, kinds, errors = [], {}, []
        for image in images:
            path, reader = self.depth_file(image), self._reader(image)
            try:
                stored = read_stored(path, self.declared.depth_key)
                kinds.setdefault(str(stored.dtype), (reader.unit_of(path, stored.dtype)))
                meters = reader.meters(path)
            except NoUnitError as error:
                errors.append(error)
                continue
            except (DataError, ImportError):  # whoever reads them says so
                continue
            if np.isfinite(meters).any():
                medians.append((float(np.nanmedian(meters)), kinds[str(stored.dtype)]))
        if errors and len(errors) == len(images):
            raise errors[0]
        lines = []
        if self.layout.is_guessed or self.declared.depth_scale is None or self.declared.camera is None:
            units = [f"depth is {kind}, {self._unit_note(unit)}" for kind, unit in kinds.items()]
            lines.append("; ".join([self.layout.description, *units, self._intrinsics_note(images[0])]))
        if medians and (doubt := units_doubt(*sorted(medians)[len(medians) // 2])):
            lines.append(doubt)
        return lines

    def _unit_note(self, unit: float) -> str:
        return f"{unit:g} m per unit" + ("" if self.declared.depth_scale else " (or give --depth-scale)")

    def _intrinsics_note(self, image: str) -> str:
        beside = self.beside(image)
        if beside.intrinsics is None:
            return "no intrinsics"
        return f"intrinsics of {beside.file.relative_to(self.folder)}" if beside.file else "intrinsics as given"

    def _reader(self, image: str) -> StoredDepth:
        scale = self.beside(image).depth_scale
        return replace(self._depth, integer_scale=_TUM_SCALE if scale is None and self.layout.is_tum else scale)

    @cached_property
    def _declared_camera(self) -> Beside | None:
        camera = self.declared.camera
        if camera is None:
            return None
        if not isinstance(camera, str):
            width, height = map(int, camera[4:] or (0, 0))
            return Beside(Intrinsics(*camera[:4], size=(height, width) if width else None))
        path = self.folder / camera
        intrinsics, scale = read_intrinsics(path)
        if intrinsics is None:
            raise DataError(f"{path} holds no intrinsics")
        return Beside(intrinsics, path, scale)

    def _told_in(self, folder: str) -> Beside:
        """What the files of one folder tell, and those of folders in it that are there for that."""
        if folder not in self._beside:
            self._beside[folder] = _told_in(self.folder / folder)
        return self._beside[folder]


def _told_in(folder: Path) -> Beside:
    files = [path for path in _entries(folder) if path.is_file()]
    for inner in _entries(folder):
        if inner.is_dir() and (words := words_of(inner.name)) and set(words) <= _BESIDE:
            files += [path for path in _entries(inner) if path.is_file()]
    ranked = sorted((rank, path) for path in files if (rank := rank_of(path.name)) is not None)
    found: dict[tuple[int, int], list[tuple[Path, Intrinsics]]] = {}
    scales = []
    for rank, path in ranked:
        try:
            intrinsics, scale = read_intrinsics(path)
        except DataError as error:
            _warn_once(f"not used: {error}")
            continue
        if intrinsics is not None:
            found.setdefault(rank, []).append((path, intrinsics))
        if scale is not None:
            scales.append(scale)
    scale = scales[0] if scales else None
    if not found:
        return Beside(depth_scale=scale)
    likeliest = found[min(found)]
    if len({intrinsics for _, intrinsics in likeliest}) > 1:
        names = NameSummary(path.name for path, _ in likeliest)
        _warn_once(f"{folder}: not used: several intrinsics that differ ({names}); give --camera")
        return Beside(depth_scale=scale)
    path, intrinsics = likeliest[0]
    return Beside(intrinsics, path, scale)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}") from error


def units_doubt(median: float, scale: float) -> str | None:
    """What is probably wrong with a median depth in meters that came of this scale; None for nothing."""
    if _PLAUSIBLE[0] <= median <= _PLAUSIBLE[1]:
        return None
    likely = min(_SCALES, key=lambda other: abs(math.log(median / scale * other / _USUAL)))
    return (
        f"the median depth is {median:.3g} m, which looks wrong: with --depth-scale {_SCALES[likely]} (depth_scale in "
        f"rgbd.yaml) it is {median / scale * likely:.3g} m"
    )


@lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    _log.warning(text)
