"""A declared set of images on disk, the base of all sets."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from depth_anything_ros.data.file_metadata import ending_of, size_of, stamp_of
from depth_anything_ros.data.frame import DataError, LabeledImage, decode_image, read_bytes, read_image
from depth_anything_ros.data.path_pattern import Fields, PathPattern, check_expression
from depth_anything_ros.data.splits import Splits
from depth_anything_ros.images.intensity import AUTO, InputRange

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleParts:
    """The content of a sample in a shard: the image file, and depth or classes.

    Attributes:
        ending: of the image file, usually "jpg" or "png".
        content: the bytes of the image file.
        frame: image, depth and camera; None in sets without depth.
        labels: the class of each pixel, uint8 (H, W); None in sets without classes.
    """

    ending: str
    content: bytes
    frame: LabeledImage | None = None
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class ImageSet:
    """A set of images without depth or labels.

    A name identifies an image in its set. It is usually the path of the image in the set's folder, ``root``.

    Attributes:
        name: the name of the set in commands.
        title: the full name, with its publication.
        terms: the license or terms of use.
        homepage: the address of the owners' page.
        images: the pattern of the image files in the set's folder, see `PathPattern`.
        fields: regular expressions that limit the fields of ``images``.
        splits: returns the split of an image if its path does not contain it.
        count: the number of images according to the owners; 0 if unknown.
        pitfalls: known mistakes with this dataset.
        input_range: the mapping of 16-bit images to 8 bits, one image at a time.
        selection: the fields that a user selects, see `select`.
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
    """Whether to ignore EXIF orientation, because depth or labels match the stored pixels."""

    @cached_property
    def _images(self) -> PathPattern:
        return PathPattern(self.images, {**self.fields, **self.selection})

    @property
    def split_names(self) -> tuple[str, ...]:
        """Return the splits that ``fields: {split: …}`` can select if the paths of the images do not contain them."""
        return self.splits.names if self.splits is not None else ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """Return the patterns whose fields can be selected."""
        return (self.images,)

    def select(self, fields: Mapping[str, str]) -> ImageSet:
        """Return the subset whose fields match these expressions, such as ``{"split": "train"}``.

        A field is a part of the paths of images or depth. ``splits`` also provides the field "split". Raises
        `DataError` for an unknown field or split and for an invalid regular expression.
        """
        for name, expression in fields.items():
            matches = check_expression(name, expression).fullmatch
            if any(f"{{{name}{end}" in pattern for pattern in self.patterns for end in ("}", "*}")):
                continue
            if name != "split" or not self.split_names:
                patterns = ", its depth files ".join(self.patterns)
                raise DataError(f"{self.name} has no field {name!r}: its images are {patterns}")
            if not any(map(matches, self.split_names)):
                raise DataError(
                    f"{self.name} has no split {expression!r}; its splits are {', '.join(self.split_names)}"
                )
        return replace(self, selection={**self.selection, **fields})

    def names(self, root: Path) -> Iterator[str]:
        """Yield the names of the images in order. The folder is searched during iteration."""
        for fields in self._find(root):
            yield self._images.path(fields)

    def fault(self, root: Path, name: str) -> str | None:
        """Return the reason why an image cannot be read, if it is known without reading it, else None.

        Args:
            root: the set's folder.
            name: one of `names`.
        """
        return None

    def _find(self, root: Path) -> Iterator[Fields]:
        """Yield the fields of each image in the selected splits."""
        for fields in self._images.find(root):
            if self.splits is None or "split" not in self.selection or self.is_selected(self.splits.of(root, fields)):
                yield fields

    def is_selected(self, split: str) -> bool:
        """Return whether the selection contains the images of a split."""
        return re.fullmatch(self.selection.get("split", ".*"), split) is not None

    def origin(self, root: Path) -> str:
        """Return the identity of the folder or file: its own path, with links resolved."""
        return str(root.resolve())

    def empty_message(self, root: Path) -> str:
        """Return the error message for a folder without images, with the pattern that was searched."""
        limits = {**self.fields, **self.selection}
        if limits and any(True for _ in PathPattern(self.images).find(root)):
            requested = ", ".join(f"{name} {expression!r}" for name, expression in limits.items())
            return f"{root}: files match {self.images}, but none has {requested}"
        return f"{root} contains no image of {self.name}; the expected path is {self.images}"

    def file_size(self, root: Path, name: str) -> int | None:
        """Return the size of the content from `read_file`, in bytes.

        Args:
            root: the set's folder.
            name: the image.

        Returns:
            The size; None if it is unknown without reading the image, 0 if the image is missing.
        """
        return size_of(root / name)

    def unpaired(self, root: Path) -> list[str]:
        """Return the files that should belong to a sample and do not, each with the reason. `names` skips them."""
        return []

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Read one image.

        Args:
            root: the set's folder.
            name: the image.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            DataError: the file is missing or damaged; the message names it.
        """
        return read_image(root / name, self.as_stored, self.input_range)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Read the image file without decoding it.

        Args:
            root: the set's folder.
            name: the image.

        Returns:
            The ending, usually "jpg" or "png", and the content.

        Raises:
            DataError: the file is missing.
        """
        return ending_of(name), read_bytes(root / name)

    def parts(self, root: Path, name: str) -> SampleParts:
        """Read everything about one image, and decode it to check that it is readable.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        ending, content = self.read_file(root, name)
        decode_image(content, str(root / name))  # a second read of a video frame would seek again
        return SampleParts(ending, content)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the files that `parts` reads, whether they exist or not.

        Args:
            root: the set's folder.
            name: the image.
        """
        return (root / name,)

    def reader_version(self, root: Path) -> str:
        """Return what affects the content apart from the files, such as the version of a decoder or a declaration."""
        return ""

    def stamp(self, root: Path, name: str) -> str:
        """Return a text that changes when the files of an image change on disk. It reads no file.

        Args:
            root: the set's folder.
            name: the image.
        """
        return " ".join(stamp_of(path) for path in self.sources(root, name))

    def _fields(self, name: str) -> Fields:
        fields = self._images.match(name)
        if fields is None:
            raise DataError(f"{name} is not an image of {self.name}; its images are {self.images}")
        return fields


def readable_names(declared: ImageSet, root: Path, on_fault: Callable[[str], None]) -> Iterator[str]:
    """Yield the names of a set without those that have a known `ImageSet.fault`.

    Args:
        declared: the set.
        root: its folder.
        on_fault: receives each fault.
    """
    for name in declared.names(root):
        fault = declared.fault(root, name)
        if fault is None:
            yield name
        else:
            on_fault(fault)


def check_shape(path: Path, values: np.ndarray, size: tuple[int, int]) -> None:
    """Check that an array has the shape of its image.

    Args:
        path: the file of the array.
        values: the array (H, W).
        size: (height, width) of the image.

    Raises:
        DataError: the shapes differ; the message names the file.
    """
    if values.shape != size:
        raise DataError(f"{path} has the shape {values.shape}, its image has {size}")
