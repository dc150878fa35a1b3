"""Conversion of files, Pillow images and arrays to pixels."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from depth_anything_ros.images.file_kinds import FileKind, kind_of_named_file
from depth_anything_ros.images.frame_reader import read_image
from depth_anything_ros.images.intensity import IntensityMapper
from depth_anything_ros.images.resizing import check_image

if TYPE_CHECKING:
    from PIL.Image import Image

ImageLike = Union[np.ndarray, str, "os.PathLike[str]", "Image"]
"""RGB uint8 (H, W, 3), the path of an image file, or a Pillow image."""


@dataclass(frozen=True)
class Picture:
    """The pixels, RGB uint8 (H, W, 3), their source file, if any, and a name for results."""

    pixels: np.ndarray
    source: Path | None = None
    name: str = "prediction"


def open_image(image: ImageLike) -> Picture:
    """Read an image. Files and Pillow images are rotated upright by their EXIF data.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is damaged or no image, or an array is not RGB uint8 (H, W, 3).
        TypeError: ``image`` is none of `ImageLike`.
    """
    if isinstance(image, np.ndarray):
        check_image(image)
        return Picture(image)
    if isinstance(image, (str, os.PathLike)):
        return _of_file(Path(image))
    if _is_pillow(image):
        return Picture(_of_pillow(image))
    raise TypeError(
        f"image is a {type(image).__name__}; give RGB uint8 (height, width, 3) as a NumPy array, a path, or a Pillow "
        "image"
    )


def _of_file(path: Path) -> Picture:
    if path.is_dir() or (path.is_file() and kind_of_named_file(path) is FileKind.VIDEO):
        raise ValueError(f"{path} is a {'folder' if path.is_dir() else 'video'}, not an image; use Estimator.stream")
    frame = read_image(path)
    if frame.image is None:
        error = ValueError if path.is_file() else FileNotFoundError
        raise error(f"{path}: {frame.error}")
    return Picture(np.ascontiguousarray(frame.image), path, frame.stem)


def _is_pillow(image: object) -> bool:
    module = sys.modules.get("PIL.Image")  # without the import there is no such image
    return module is not None and isinstance(image, module.Image)


def _of_pillow(image: Image) -> np.ndarray:
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return _of_16_bits(np.asarray(image))
    if image.mode in ("I", "F"):  # Pillow would clip them to 0 … 255
        raise ValueError(f"the image has Pillow's mode {image.mode!r}, 32 bits per pixel; convert it to RGB first")
    return np.asarray(image.convert("RGB"))


def _of_16_bits(gray: np.ndarray) -> np.ndarray:
    pixels = np.empty(gray.shape, np.uint8)
    IntensityMapper()(np.ascontiguousarray(gray, np.uint16), pixels)
    return np.repeat(pixels[..., np.newaxis], 3, axis=2)
