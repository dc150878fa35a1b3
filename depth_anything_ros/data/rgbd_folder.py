"""An opened folder of images with depth: pairs, depth unit, and intrinsics of each image."""

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
"""Meters. The median depth of most cameras is in this range."""
_USUAL = 2.0
_SAMPLES = 5
_CALIBRATION_WORDS = frozenset(("intrinsic", "intrinsics", "calib", "calibration", "camera", "cam", "info"))
"""Words in the names of folders that contain intrinsics, next to the folders of images."""


@dataclass(frozen=True)
class FolderCalibration:
    """The content of the files next to images.

    Attributes:
        intrinsics: the intrinsics, or None.
        file: the file of the intrinsics.
        depth_scale: meters per unit, or None.
    """

    intrinsics: Intrinsics | None = None
    file: Path | None = None
    depth_scale: float | None = None


class RgbdFolder:
    """Images with depth in a folder.

    Args:
        root: the folder, which may contain rgbd.yaml, or a file like it.
        declared: options, with priority over rgbd.yaml.
        fields: regular expressions for the fields of declared patterns.

    Raises:
        DataError: the layout is ambiguous, or a declared file is missing or damaged.
    """

    def __init__(self, root: Path, declared: Declaration, fields: Mapping[str, str]) -> None:
        self.folder, written = read_declaration(root)
        self.declared = declared.over(written)
        layout = find_layout(self.folder, self.declared, fields)
        pairs, unpaired = (
            NameMap(layout.depth_of),
            Names(layout.unpaired),
        )  # compact, because every reading process has a copy
        self.layout: Layout = replace(layout, depth_of=pairs, unpaired=unpaired)
        self._depth = StoredDepth(
            self.declared.depth_scale, self.declared.depth_key, self.declared.invalid, self.declared.resize_depth
        )
        self._calibrations: dict[str, FolderCalibration] = {}

    def depth_file(self, image: str) -> Path:
        """Return the depth file of an image. Raises `DataError` if the folder has no such image."""
        if image not in self.layout.depth_of:
            raise DataError(
                f"{self.folder / image} is not an image with depth; the folder has {self.layout.description}"
            )
        return self.folder / self.layout.depth_of[image]

    def depth_of(self, image: str, size: tuple[int, int]) -> np.ndarray:
        """Read the depth of an image.

        Args:
            image: the image.
            size: its (height, width).

        Returns:
            Meters, float32 (H, W); NaN is unknown.

        Raises:
            DataError: the file is missing, damaged or of another size.
        """
        return self._reader(image)(self.depth_file(image), size)

    def camera_of(self, image: str, size: tuple[int, int]) -> Camera | None:
        """Return the camera of an image, or None if it is unknown or does not fit the image.

        Args:
            image: the image.
            size: its (height, width).
        """
        calibration = self.calibration_of(image)
        if calibration.intrinsics is None:
            return None
        where = calibration.file or "the intrinsics"
        try:
            camera = calibration.intrinsics.camera(*size)
        except ValueError as error:
            _warn_once(f"{where}: not used for images of {size[1]}x{size[0]}: {error}")
            return None
        if calibration.intrinsics.is_distorted:
            _warn_once(f"{where}: the lens distorts; the intrinsics apply only to rectified images")
        if (doubt := intrinsics_doubt(camera)) is not None:
            _warn_once(f"{where}: {doubt}")
        return camera

    def calibration_of(self, image: str) -> FolderCalibration:
        """Return intrinsics and depth scale of an image: the declared ones, else those of the nearest folder."""
        nearest_first = [self._declared_in(str(folder)) for folder in PurePosixPath(image).parents]
        scale = next((one.depth_scale for one in nearest_first if one.depth_scale is not None), None)
        if self._declared_camera is not None:
            scale = scale if self._declared_camera.depth_scale is None else self._declared_camera.depth_scale
            return replace(self._declared_camera, depth_scale=scale)
        nearest = next((one for one in nearest_first if one.intrinsics is not None), FolderCalibration())
        return replace(nearest, depth_scale=scale)

    def describe(self) -> list[str]:
        """Return lines about the automatic choices, and about implausible values.

        It reads the depth of a few images. Raises `NoUnitError` if no unit is known.
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
            except (DataError, ImportError):  # reading reports it
                continue
            if np.isfinite(meters).any():
                medians.append((float(np.nanmedian(meters)), kinds[str(stored.dtype)]))
        if errors and len(errors) == len(images):
            raise errors[0]
        middle = sorted(medians)[len(medians) // 2] if medians else None
        lines = []
        if self.layout.is_guessed or self.declared.depth_scale is None or self.declared.camera is None:
            notes = [f"depth is {kind}, {self._unit_note(unit)}" for kind, unit in kinds.items()]
            notes += [f"median depth {middle[0]:.3g} m"] if middle else []
            lines.append("; ".join([self.layout.description, *notes, self._intrinsics_note(images[0])]))
        if middle and (doubt := units_doubt(*middle)):
            lines.append(doubt)
        return lines

    def _unit_note(self, unit: float) -> str:
        return f"{unit:g} m per unit" + ("" if self.declared.depth_scale else " (or give --depth-scale)")

    def _intrinsics_note(self, image: str) -> str:
        calibration = self.calibration_of(image)
        if calibration.intrinsics is None:
            return "no intrinsics"
        return (
            f"intrinsics of {calibration.file.relative_to(self.folder)}" if calibration.file else "intrinsics as given"
        )

    def _reader(self, image: str) -> StoredDepth:
        scale = self.calibration_of(image).depth_scale
        return replace(self._depth, integer_scale=_TUM_SCALE if scale is None and self.layout.is_tum else scale)

    @cached_property
    def _declared_camera(self) -> FolderCalibration | None:
        camera = self.declared.camera
        if camera is None:
            return None
        if not isinstance(camera, str):
            width, height = map(int, camera[4:] or (0, 0))
            return FolderCalibration(Intrinsics(*camera[:4], size=(height, width) if width else None))
        path = self.folder / camera
        intrinsics, scale = read_intrinsics(path)
        if intrinsics is None:
            raise DataError(f"{path} has no intrinsics")
        return FolderCalibration(intrinsics, path, scale)

    def _declared_in(self, folder: str) -> FolderCalibration:
        """Return the content of the files in a folder and in its folders of intrinsics."""
        if folder not in self._calibrations:
            self._calibrations[folder] = _declared_in(self.folder / folder)
        return self._calibrations[folder]


def _declared_in(folder: Path) -> FolderCalibration:
    files = [path for path in _entries(folder) if path.is_file()]
    for inner in _entries(folder):
        if inner.is_dir() and (words := words_of(inner.name)) and set(words) <= _CALIBRATION_WORDS:
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
        return FolderCalibration(depth_scale=scale)
    likeliest = found[min(found)]
    if len({intrinsics for _, intrinsics in likeliest}) > 1:
        names = NameSummary(path.name for path, _ in likeliest)
        _warn_once(f"{folder}: not used: several different intrinsics ({names}); give --camera")
        return FolderCalibration(depth_scale=scale)
    path, intrinsics = likeliest[0]
    return FolderCalibration(intrinsics, path, scale)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}") from error


def units_doubt(median: float, scale: float) -> str | None:
    """Return a warning if a median depth is implausible, with the likely unit, else None.

    Args:
        median: the median depth, meters.
        scale: the meters per unit that it was read with.
    """
    if _PLAUSIBLE[0] <= median <= _PLAUSIBLE[1]:
        return None
    likely = min(_SCALES, key=lambda other: abs(math.log(median / scale * other / _USUAL)))
    return (
        f"the median depth is {median:.3g} m, which is implausible: with --depth-scale {_SCALES[likely]} (depth_scale "
        f"in rgbd.yaml) it is {median / scale * likely:.3g} m"
    )


@lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    _log.warning(text)
