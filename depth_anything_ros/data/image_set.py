"""A set of images on disk, with depth or with labels: a declaration that a reader can check against its owners'."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from depth_anything_ros.data.frame import DataError, LabeledImage, decode_image, read_bytes, read_image
from depth_anything_ros.data.path_pattern import Fields, PathPattern
from depth_anything_ros.data.retry import is_transient
from depth_anything_ros.data.splits import Splits
from depth_anything_ros.images.intensity import AUTO, InputRange

_log = logging.getLogger(__name__)


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
    selection: Mapping[str, str] = field(default_factory=dict)

    as_stored = False
    """Whether images stay as they are stored, whatever an orientation tag says, since other files fit them so."""

    @cached_property
    def _images(self) -> PathPattern:
        return PathPattern(self.images, {**self.fields, **self.selection})

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that ``fields: {split: …}`` can choose, where the images' paths do not say it."""
        return self.splits.names if self.splits is not None else ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns whose fields can be narrowed."""
        return (self.images,)

    def select(self, fields: Mapping[str, str]) -> ImageSet:
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
        return replace(self, selection={**self.selection, **fields})

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
            if self.splits is None or "split" not in self.selection or self.is_selected(self.splits.of(root, fields)):
                yield fields

    def is_selected(self, split: str) -> bool:
        """Whether images of a split belong to the set as it is narrowed."""
        return re.fullmatch(self.selection.get("split", ".*"), split) is not None

    def origin(self, root: Path) -> str:
        """What tells where the images come from: a folder's or file's own path, whatever links lead there."""
        return str(root.resolve())

    def empty_message(self, root: Path) -> str:
        """What to say where `names` gives none: where they were looked for."""
        narrowed = {**self.fields, **self.selection}
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

    def reader_version(self, root: Path) -> str:
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


def readable_names(declared: ImageSet, root: Path, on_fault: Callable[[str], None]) -> Iterator[str]:
    """The names of a set but for those that cannot be read as `ImageSet.fault` knows; ``on_fault`` is told why."""
    for name in declared.names(root):
        fault = declared.fault(root, name)
        if fault is None:
            yield name
        else:
            on_fault(fault)


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
        if is_transient(error):
            raise
        return 0


def _stamp_of_file(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        if is_transient(error):
            raise
        return "absent"
    return f"{found.st_size}:{found.st_mtime_ns}"


def check_shape(path: Path, values: np.ndarray, size: tuple[int, int]) -> None:
    """Raise `DataError`, naming the file, if its values (H, W) do not have the (height, width) of the image."""
    if values.shape != size:
        raise DataError(f"{path} has the shape {values.shape}, its image {size}")
