"""A set of images on disk, with depth or with labels: a declaration that a reader can check against its owners'."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from depth_anything_ros.data.depth_files import DepthFile, read_array
from depth_anything_ros.data.frame import DataError, LabeledImage, decode_image, read_bytes, read_image, read_picture
from depth_anything_ros.data.path_pattern import Fields, PathPattern
from depth_anything_ros.data.patience import may_pass
from depth_anything_ros.data.splits import Splits
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.images.intensity import AUTO, InputRange

_log = logging.getLogger(__name__)


class CameraFile(Protocol):
    """Reads a frame's intrinsics from a file beside it."""

    def file(self, fields: Mapping[str, str]) -> str:
        """The file of a frame with these fields, in the set's folder."""

    def __call__(self, root: Path, fields: Mapping[str, str], size: tuple[int, int]) -> Camera:
        """The camera of a frame, given the set's folder and the image's (height, width)."""


IGNORED = 255
"""The label of pixels that belong to no class."""


@dataclass(frozen=True)
class SampleParts:
    """What a sample in a shard is made from: the image's file, and its depth or its classes.

    ``ending``: of the file, "jpg" or "png" as a rule. ``content``: its bytes. ``frame``: image, depth and camera, None
    in sets without depth. ``labels``: the class of each pixel, uint8 (H, W), None in sets without classes.
    """

    ending: str
    content: bytes
    frame: LabeledImage | None = None
    labels: np.ndarray | None = None


class Named:
    """How many things there are, and the names of the first."""

    MAX_NAMED = 20

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.count = 0
        self._names: list[str] = []
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Counts one."""
        self.count += 1
        if len(self._names) < self.MAX_NAMED:
            self._names.append(name)

    def __str__(self) -> str:
        more = self.count - len(self._names)
        return ", ".join(self._names) + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class ImageSet:
    """Images of which nothing else is known.

    ``images``: the pattern of their files inside the set's folder, as `PathPattern` reads it, its fields narrowed by
    ``fields``. ``splits``: tells which images are to train on, where their paths do not. ``count``: how many its owners
    count, 0 where they do not. ``pitfalls``: what has misled others. ``input_range``: what becomes black and white of
    images of 16 bits, each by itself. ``chosen``: what a user has narrowed the set to, see `narrowed`.
    """

    name: str
    title: str
    terms: str
    homepage: str
    images: str
    fields: Mapping[str, str] = field(default_factory=dict)
    splits: Splits | None = None
    count: int = 0
    pitfalls: str = ""
    input_range: InputRange = AUTO
    chosen: Mapping[str, str] = field(default_factory=dict)

    as_stored = False
    """Whether images stay as they are stored, whatever an orientation tag says, since other files fit them so."""

    @cached_property
    def _images(self) -> PathPattern:
        return PathPattern(self.images, {**self.fields, **self.chosen})

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that ``fields: {split: …}`` can choose, where the images' paths do not say it."""
        return self.splits.names if self.splits is not None else ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns whose fields can be narrowed."""
        return (self.images,)

    def narrowed(self, fields: Mapping[str, str]) -> ImageSet:
        """The set of those images alone whose fields match these expressions, such as ``{"split": "train"}``.

        A field is a part of the images' paths, or of what lies beside them; "split" is also what ``splits`` tells.
        Raises `DataError` for a field that the set lacks, a split that it lacks, and what is no regular expression.
        """
        for name, expression in fields.items():
            chooses = check_expression(name, expression).fullmatch
            if any(f"{{{name}{end}" in pattern for pattern in self.patterns for end in ("}", "*}")):
                continue
            if name != "split" or not self.split_names:
                where = ", what lies beside them ".join(self.patterns)
                raise DataError(f"{self.name} has no field {name!r}: its images are {where}")
            if not any(map(chooses, self.split_names)):
                raise DataError(f"{self.name} has no split {expression!r}, only {', '.join(self.split_names)}")
        return replace(self, chosen={**self.chosen, **fields})

    def names(self, root: Path) -> Iterator[str]:
        """The images under the set's own folder, by their paths in it, in order; found while they are asked for."""
        for fields in self._find(root):
            yield self._images.path(fields)

    def fault(self, root: Path, name: str) -> str | None:
        """Why one of `names` cannot be read, where that is known without reading the image; None where it is not."""
        return None

    def _find(self, root: Path) -> Iterator[Fields]:
        """The fields of each image of the splits that are chosen."""
        for fields in self._images.find(root):
            if self.splits is None or "split" not in self.chosen or self.is_chosen(self.splits.of(root, fields)):
                yield fields

    def is_chosen(self, split: str) -> bool:
        """Whether images of a split belong to the set as it is narrowed."""
        return re.fullmatch(self.chosen.get("split", ".*"), split) is not None

    def origin(self, root: Path) -> str:
        """What tells where the images come from: a folder's or file's own path, whatever links lead there."""
        return str(root.resolve())

    def why_empty(self, root: Path) -> str:
        """What to say where `names` gives none: where they were looked for."""
        narrowed = {**self.fields, **self.chosen}
        if narrowed and any(True for _ in PathPattern(self.images).find(root)):
            requested = ", ".join(f"{name} is {expression!r}" for name, expression in narrowed.items())
            return f"{root} holds files at {self.images}, but none of which {requested}"
        return f"{root} holds no image of {self.name}; they lie at {self.images}"

    def file_size(self, root: Path, name: str) -> int | None:
        """Bytes of what `read_file` gives, where that is known without reading it; None where it is not.

        0 for an image that is absent.
        """
        return size_of(root / name)

    def unpaired(self, root: Path) -> list[str]:
        """What lies there and belongs to no sample though it should, each with the reason; `names` passes over it."""
        return []

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3). Raises `DataError`, naming the file that is absent or damaged."""
        return read_image(root / name, self.as_stored, self.input_range)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The image as a file: its ending, "jpg" or "png" as a rule, and its bytes. Raises `DataError`."""
        return ending_of(name), read_bytes(root / name)

    def parts(self, root: Path, name: str) -> SampleParts:
        """All that is known of one image, decoded, so that it can be read. Raises `DataError`, naming what is amiss."""
        ending, content = self.read_file(root, name)
        decode_image(content, str(root / name))  # and not read once more, which of a video would be sought anew
        return SampleParts(ending, content)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The files that `parts` are read from, whether they are there or not."""
        return (root / name,)

    def reading(self, root: Path) -> str:
        """What decides how the files are read, besides them: a decoder's version, say, or what is declared of them."""
        return ""

    def stamp(self, root: Path, name: str) -> str:
        """Something that changes when the image, its depth or its labels are changed on disk; reads none of them."""
        return " ".join(_stamp_of_file(path) for path in self.sources(root, name))

    def _fields(self, name: str) -> Fields:
        fields = self._images.match(name)
        if fields is None:
            raise DataError(f"{name} is no image of {self.name}, whose images are {self.images}")
        return fields


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
        _check_size(path, mask, size)
        return mask >= self.least


@dataclass(frozen=True)
class DepthSet(ImageSet):
    """Images with depth.

    ``depths``: the pattern of the depth files, with the fields of ``images``; ``read_depth`` reads one. ``masks``:
    where depth is to be trusted. ``is_metric``: whether depth is in meters; else it is up to a factor that differs from
    scene to scene. ``camera``: fx, fy, cx, cy in pixels for all frames, or what reads them, or None. ``is_whole``:
    whether an image without depth is a fault, where other sets have images that were never measured.
    """

    depths: str = ""
    read_depth: DepthFile | None = None
    masks: tuple[Mask, ...] = ()
    is_metric: bool = True
    camera: tuple[float, float, float, float] | CameraFile | None = None
    is_whole: bool = False

    as_stored = True

    @cached_property
    def _depths(self) -> PathPattern:
        return PathPattern(self.depths, {**self.fields, **self.chosen})

    @property
    def patterns(self) -> tuple[str, ...]:
        """Those of images and depth."""
        return (self.images, self.depths) if self.depths else (self.images,)

    def names(self, root: Path) -> Iterator[str]:
        """The images that have depth; how many have none, and some of them, is said in the end, as a warning."""
        images, lacking = 0, Named()
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
        if not self.is_whole:
            return []
        return [
            f"{path} has no depth, which would lie at {self.depths}"
            for path, has_depth in self._with_depth(root)
            if not has_depth
        ]

    def why_empty(self, root: Path) -> str:
        """What to say where `names` gives none; that depth lacks, where there are images."""
        images = sum(1 for _ in self._with_depth(root)) if self.depths else 0
        if not images:
            return super().why_empty(root)
        return f"{root} holds {images} images of {self.name} and depth of none; looked for at {self._depths_in_words}"

    @property
    def _depths_in_words(self) -> str:
        """The pattern, and what a user has narrowed it to."""
        requested = " and ".join(f"{name} is {expression!r}" for name, expression in self.chosen.items())
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
        _check_size(root / found, depth, size)
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


@dataclass(frozen=True)
class SegmentationSet(ImageSet):
    """Images with a class for each pixel.

    ``labels``: the pattern of the label pictures; ``classes``: their names, in the order that networks are trained in;
    ``stored``: the stored value of each class; all other values are `IGNORED`.
    """

    labels: str = ""
    classes: tuple[str, ...] = ()
    stored: tuple[int, ...] = ()

    as_stored = True

    @cached_property
    def _labels(self) -> PathPattern:
        return PathPattern(self.labels)

    @cached_property
    def _class_of(self) -> np.ndarray:
        table = np.full(256, IGNORED, np.uint8)
        table[list(self.stored)] = np.arange(len(self.stored))
        return table

    def read(self, root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        """An image and the class of each of its pixels. Raises `DataError`, naming the file that does not fit."""
        image, labels = self.read_image(root, name), self.read_labels(root, name)
        _check_size(root / self._labels.path(self._fields(name)), labels, image.shape[:2])
        return image, labels

    def parts(self, root: Path, name: str) -> SampleParts:
        """The image's file, and the classes."""
        return SampleParts(*self.read_file(root, name), labels=self.read(root, name)[1])

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Image and labels."""
        return root / name, root / self._labels.path(self._fields(name))

    def read_labels(self, root: Path, name: str) -> np.ndarray:
        """The class of each pixel, uint8 (H, W), `IGNORED` for none. Raises `DataError`, naming the file."""
        path = root / self._labels.path(self._fields(name))
        stored = read_picture(path)
        if stored.dtype != np.uint8 or stored.ndim != 2:
            raise DataError(f"{path}: labels are {stored.dtype} {stored.shape}, must be a picture of 8 bits")
        return self._class_of[stored]


def readable_names(declared: ImageSet, root: Path, on_fault: Callable[[str], None]) -> Iterator[str]:
    """The names of a set but for those that cannot be read as `ImageSet.fault` knows; ``on_fault`` is told why."""
    for name in declared.names(root):
        fault = declared.fault(root, name)
        if fault is None:
            yield name
        else:
            on_fault(fault)


def check_classes(name: str, labels: np.ndarray, classes: int) -> None:
    """Raises `DataError`, naming the sample, where its labels, uint8 (H, W), hold a class beyond so many."""
    highest = labels.max(where=labels != IGNORED, initial=0)
    if highest >= classes:
        raise DataError(
            f"{name} has class {highest}, counted from 0, but segmentation.classes is {classes}: give the number of "
            "classes of its set"
        )


def check_expression(name: str, expression: str) -> re.Pattern[str]:
    """The expression that a field is to match. Raises `DataError`, naming the field, where it is none."""
    try:
        return re.compile(expression)
    except re.error as error:
        raise DataError(f"{name}: {expression!r} is no regular expression: {error}") from error


_ENDINGS = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "dib": "bmp"}


def ending_of(name: str) -> str:
    """What a picture's name ends with, one word for each kind of file."""
    ending = name.rpartition(".")[2].lower()
    return _ENDINGS.get(ending, ending)


def size_of(path: Path) -> int:
    """Bytes of a file, 0 where there is none. Raises `OSError` where a disk fails."""
    try:
        return path.stat().st_size
    except OSError as error:
        if may_pass(error):
            raise
        return 0


def _stamp_of_file(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        if may_pass(error):
            raise
        return "absent"
    return f"{found.st_size}:{found.st_mtime_ns}"


def _check_size(path: Path, values: np.ndarray, size: tuple[int, int]) -> None:
    if values.shape != size:
        raise DataError(f"{path} has the shape {values.shape}, its image {size}")
