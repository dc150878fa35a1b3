"""A set of images with depth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from depth_anything_ros.data.depth_files import DepthFile, read_array
from depth_anything_ros.data.frame import DataError, LabeledImage, read_picture
from depth_anything_ros.data.image_set import ImageSet, SampleParts, check_shape
from depth_anything_ros.data.name_summary import NameSummary
from depth_anything_ros.data.path_pattern import Fields, PathPattern
from depth_anything_ros.geometry.camera import Camera

_log = logging.getLogger(__name__)


class CameraFile(Protocol):
    """Reads a frame's intrinsics from a file beside it."""

    def file(self, fields: Mapping[str, str]) -> str:
        """The file of a frame with these fields, in the set's folder."""

    def __call__(self, root: Path, fields: Mapping[str, str], size: tuple[int, int]) -> Camera:
        """The camera of a frame, given the set's folder and the image's (height, width)."""


@dataclass(frozen=True)
class Mask:
    """Pictures, or .npy arrays, whose pixels say whether depth is to be trusted: from ``least`` on it is."""

    files: str
    least: int = 1

    @cached_property
    def _files(self) -> PathPattern:
        return PathPattern(self.files)

    def file(self, fields: Fields) -> str:
        """The file of a frame, in the set's folder."""
        return self._files.path(fields)

    def read(self, root: Path, fields: Fields, size: tuple[int, int]) -> np.ndarray:
        """Where depth is to be trusted, bool (H, W). Raises `DataError`, naming the file."""
        path = root / self.file(fields)
        if path.suffix == ".npy":
            mask = read_array(path)
        else:
            mask = read_picture(path)
            mask = mask if mask.ndim == 2 else mask[..., 0]
        check_shape(path, mask, size)
        return mask >= self.least


@dataclass(frozen=True)
class DepthSet(ImageSet):
    """Images with depth.

    ``depths``: the pattern of the depth files, with the fields of ``images``; ``read_depth`` reads one. ``masks``:
    where depth is to be trusted. ``is_metric``: whether depth is in meters; else it is up to a factor that differs from
    scene to scene. ``camera``: fx, fy, cx, cy in pixels for all frames, or what reads them, or None. ``is_complete``:
    whether an image without depth is a fault, where other sets have images that were never measured.
    """

    depths: str = ""
    read_depth: DepthFile | None = None
    masks: tuple[Mask, ...] = ()
    is_metric: bool = True
    camera: tuple[float, float, float, float] | CameraFile | None = None
    is_complete: bool = False

    as_stored = True

    @cached_property
    def _depths(self) -> PathPattern:
        return PathPattern(self.depths, {**self.fields, **self.selection})

    @property
    def patterns(self) -> tuple[str, ...]:
        """Those of images and depth."""
        return (self.images, self.depths) if self.depths else (self.images,)

    def names(self, root: Path) -> Iterator[str]:
        """The images that have depth; how many have none, and some of them, is said in the end, as a warning."""
        images, lacking = 0, NameSummary()
        for path, has_depth in self._with_depth(root):
            images += 1
            if has_depth:
                yield path
            else:
                lacking.add(path)
        if 0 < lacking.count < images:
            _log.warning(
                "%s: left out %d of %d images, which lack depth at %s: %s",
                *(root, lacking.count, images, self._depths_in_words, lacking),
            )

    def unpaired(self, root: Path) -> list[str]:
        """Images without depth, in a set that is to be whole."""
        if not self.is_complete:
            return []
        return [
            f"{path} has no depth, which would lie at {self.depths}"
            for path, has_depth in self._with_depth(root)
            if not has_depth
        ]

    def empty_message(self, root: Path) -> str:
        """What to say where `names` gives none; that depth lacks, where there are images."""
        images = sum(1 for _ in self._with_depth(root)) if self.depths else 0
        if not images:
            return super().empty_message(root)
        return f"{root} holds {images} images of {self.name} and depth of none; looked for at {self._depths_in_words}"

    @property
    def _depths_in_words(self) -> str:
        """The pattern, and what a user has narrowed it to."""
        requested = " and ".join(f"{name} is {expression!r}" for name, expression in self.selection.items())
        return f"{self.depths}, where {requested}" if requested else self.depths

    def _with_depth(self, root: Path) -> Iterator[tuple[str, bool]]:
        """Every image, and whether it has depth."""
        for fields in self._find(root):
            yield self._images.path(fields), self._depths.locate(root, fields) is not None

    def read(self, root: Path, name: str) -> LabeledImage:
        """An image with its depth. Raises `DataError`, naming the file that is absent, damaged or does not fit."""
        image, fields = self.read_image(root, name), self._fields(name)
        size = image.shape[:2]
        found = self._depths.locate(root, fields)
        if found is None:
            raise DataError(f"{root / name} has no depth, which would lie at {self.depths}")
        depth = self.read_depth(root / found, size)
        check_shape(root / found, depth, size)
        for mask in self.masks:
            depth = np.where(mask.read(root, fields, size), depth, np.float32(np.nan))
        return LabeledImage(f"{self.name}/{name}", image, depth, self._camera(root, fields, size))

    def parts(self, root: Path, name: str) -> SampleParts:
        """The image's file, and the frame."""
        return SampleParts(*self.read_file(root, name), frame=self.read(root, name))

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Image, depth, masks, and the camera's file where there is one."""
        fields = self._fields(name)
        found = self._depths.locate(root, fields)
        files = [] if found is None else [found]
        files += [mask.file(fields) for mask in self.masks]
        if callable(self.camera):
            files.append(self.camera.file(fields))
        return (root / name, *(root / file for file in files))

    def _camera(self, root: Path, fields: Fields, size: tuple[int, int]) -> Camera | None:
        if self.camera is None:
            return None
        if callable(self.camera):
            return self.camera(root, fields, size)
        return Camera(size[1], size[0], *self.camera)
