"""Sample input for machines without a camera: photographs from the scikit-image package."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.geometry.calibration import Calibration

FOCAL_LENGTH, CENTER_X, CENTER_Y = 994.978, 311.193, 254.877
"""Intrinsics of the left photograph in pixels, from its description in skimage.data.stereo_motorcycle."""
CENTER_SHIFT = 31
"""Offset of the right photograph's principal point: 31.086 pixels to the right."""


@dataclass(frozen=True)
class DemoSource:
    """A source for camera_node. ``calibration`` is the path of its camera_info YAML, None if unknown."""

    source: str
    calibration: str | None
    description: str


def write_motorcycle(folder: Path) -> DemoSource:
    """Write the two photographs of the Middlebury 2014 scene Motorcycle and their calibration into ``folder``.

    D. Scharstein, H. Hirschmueller, Y. Kitajima, G. Krathwohl, N. Nesic, X. Wang and P. Westling: High-resolution
    stereo datasets with subpixel-accurate ground truth, GCPR 2014; its authors ask to be cited. Both are cropped to
    share one calibration, and uncompressed so that reading them does not slow the demo down. Raises
    `FileNotFoundError` if scikit-image, or its photographs, are not installed.
    """
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise FileNotFoundError("the sample photographs are part of scikit-image: install it, or give --source")
    left, right = (_read(Path(package.origin).parent / "data" / f"motorcycle_{side}.png") for side in ("left", "right"))
    height, width = left.shape[0], left.shape[1] - CENTER_SHIFT
    frames = folder / "motorcycle"
    frames.mkdir()
    _write(frames / "left.bmp", left[:, :width])
    _write(frames / "right.bmp", right[:, CENTER_SHIFT:])
    camera_matrix = np.array([[FOCAL_LENGTH, 0.0, CENTER_X], [0.0, FOCAL_LENGTH, CENTER_Y], [0.0, 0.0, 1.0]])
    calibration = folder / "motorcycle.yaml"
    calibration.write_text(Calibration(width, height, camera_matrix, name="motorcycle").to_yaml())
    return DemoSource(
        str(frames),
        str(calibration),
        "two photographs of a motorcycle (Middlebury 2014, Scharstein et al., GCPR 2014; from scikit-image)",
    )


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"the sample photograph {path} is missing: reinstall scikit-image, or give --source")
    return image


def _write(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image):
        raise OSError(f"cannot write {path}")
