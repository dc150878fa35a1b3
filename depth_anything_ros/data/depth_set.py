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
    """Reads the intrinsics of a frame from a file."""

    def file(self, fields: Mapping[str, str]) -> str:
        """Return the path of a frame's file in the set's folder."""

    def __call__(self, root: Path, fields: Mapping[str, str], size: tuple[int, int]) -> Camera:
        """Read the camera of a frame.

        Args:
            root: the set's folder.
            fields: the fields of the frame.
            size: (height, width) of the image.
        """


@dataclass(frozen=True)
class Mask:
    """Mask files, pictures or .npy arrays. Depth is valid where the mask is at least ``least``."""

    files: str
    least: int = 1

    @cached_property
    def _files(self) -> PathPattern:
        return PathPattern(self.files)

    def file(self, fields: Fields) -> str:
        """Return the path of a frame's mask in the set's folder."""
        return self._files.path(fields)

    def read(self, root: Path, fields: Fields, size: tuple[int, int]) -> np.ndarray:
        """Read where depth is valid.

        Args:
            root: the set's folder.
            fields: the fields of the frame.
            size: (height, width) of the image.

        Returns:
            bool (H, W).

        Raises:
            DataError: the file is missing, damaged or of another size; the message names it.
        """
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
    """A set of images with depth.

    Attributes:
        depths: the pattern of the depth files, with the fields of ``images``.
        read_depth: reads one depth file.
        masks: masks of valid depth.
        is_metric: whether depth is in meters; otherwise it has an unknown factor per scene.
        camera: fx, fy, cx, cy in pixels for all frames, a reader of them, or None.
        is_complete: whether an image without depth is an error. In other sets some images have no measurement.
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
        """Return the patterns of images and depth."""
        return (self.images, self.depths) if self.depths else (self.images,)

    def names(self, root: Path) -> Iterator[str]:
        """Yield the images that have depth. A warning at the end reports how many have none."""
        images, without_depth = 0, NameSummary()
        for path, has_depth in self._with_depth(root):
            images += 1
            if has_depth:
                yield path
            else:
                without_depth.add(path)
        if 0 < without_depth.count < images:
            _log.warning(
                "%s: left out %d of %d images without depth at %s: %s",
                *(root, without_depth.count, images, self._depths_in_words, without_depth),
            )

    def unpaired(self, root: Path) -> list[str]:
        """Return the images without depth if the set must be complete."""
        if not self.is_complete:
            return []
        return [f"{path} has no depth at {self.depths}" for path, has_depth in self._with_depth(root) if not has_depth]

    def empty_message(self, root: Path) -> str:
        """Return the error message for a folder without samples; it reports missing depth if there are images."""
        images = sum(1 for _ in self._with_depth(root)) if self.depths else 0
        if not images:
            return super().empty_message(root)
        return f"{root} contains {images} images of {self.name}, but none has depth at {self._depths_in_words}"

    @property
    def _depths_in_words(self) -> str:
        """Return the pattern of depth with the user's selection."""
        requested = " and ".join(f"{name} {expression!r}" for name, expression in self.selection.items())
        return f"{self.depths} with {requested}" if requested else self.depths

    def _with_depth(self, root: Path) -> Iterator[tuple[str, bool]]:
        """Yield every image and whether it has depth."""
        for fields in self._find(root):
            yield self._images.path(fields), self._depths.locate(root, fields) is not None

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read an image with its depth.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing, damaged or of another size; the message names it.
        """
        image, fields = self.read_image(root, name), self._fields(name)
        size = image.shape[:2]
        found = self._depths.locate(root, fields)
        if found is None:
            raise DataError(f"{root / name} has no depth at {self.depths}")
        depth = self.read_depth(root / found, size)
        check_shape(root / found, depth, size)
        for mask in self.masks:
            depth = np.where(mask.read(root, fields, size), depth, np.float32(np.nan))
        return LabeledImage(f"{self.name}/{name}", image, depth, self._camera(root, fields, size))

    def parts(self, root: Path, name: str) -> SampleParts:
        """Read the image file and the frame.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        return SampleParts(*self.read_file(root, name), frame=self.read(root, name))

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the files of image, depth, masks and camera.

        Args:
            root: the set's folder.
            name: the image.
        """
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
