"""Intrinsics and depth units in files next to the user's own images.

Supported are all calibrations of `geometry.calibration`, JSON and YAML mappings (RealSense, Open3D, nerfstudio,
Replica, ORB-SLAM), and text files of a matrix or of fx, fy, cx and cy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depth_anything_ros.data.frame import DataError, read_bytes
from depth_anything_ros.data.rgbd_declaration import scale_of
from depth_anything_ros.data.rgbd_matching import ROLES, words_of
from depth_anything_ros.geometry.calibration import ASPECT_TOLERANCE, Calibration
from depth_anything_ros.geometry.calibration_formats import CalibrationError
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.rectification import needs_rectification

ENDINGS = (".json", ".yaml", ".yml", ".txt", ".ini", ".xml")
_SCALES = ("depth_scale", "png_depth_scale", "depthmapfactor", "depth_factor", "depth_unit_scale_factor")
_MIN_SCALE = 100
"""A plain "scale" from here on is units per meter, as in Replica's cam_params.json. NeRF scenes have smaller ones."""
_MATRICES = ("k", "camera_matrix", "intrinsic_matrix", "intrinsics", "intrinsic", "cam_k")
_NUMBERS = (("fx", "fl_x", "focal_x"), ("fy", "fl_y", "focal_y"), ("cx", "ppx", "c_x"), ("cy", "ppy", "c_y"))
_SIDES = (("width", "w", "image_width"), ("height", "h", "image_height"))
_COEFFICIENTS = ("coeffs", "d", "dist_coeffs", "distortion", "distortion_coefficients")
_MAX_OFFSET = 0.2
"""Maximum offset of the principal point from the image center, as a share of the image, for an unknown image size."""


@dataclass(frozen=True)
class Intrinsics:
    """Intrinsics in pixels.

    Attributes:
        fx: focal length.
        fy: focal length.
        cx: principal point.
        cy: principal point.
        size: (height, width) of their image; None if unknown.
        is_distorted: whether the lens distorts; the intrinsics then apply only to rectified images.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int] | None = None
    is_distorted: bool = False

    def camera(self, height: int, width: int) -> Camera:
        """Return the camera of an image.

        Args:
            height: of the image, pixels.
            width: of the image, pixels.

        Raises:
            ValueError: the intrinsics do not fit the image; the message gives the reason.
        """
        if self.size is None:
            center = (width - 1) / 2, (height - 1) / 2
            if abs(self.cx - center[0]) > _MAX_OFFSET * width or abs(self.cy - center[1]) > _MAX_OFFSET * height:
                raise ValueError(
                    f"cx {self.cx:g} and cy {self.cy:g} are far from the center of a {width}x{height} image; they seem "
                    "to be for another size: add width and height"
                )
            return Camera(width, height, self.fx, self.fy, self.cx, self.cy)
        camera = Camera(self.size[1], self.size[0], self.fx, self.fy, self.cx, self.cy)
        if abs(width * self.size[0] / (height * self.size[1]) - 1) > ASPECT_TOLERANCE:
            raise ValueError(
                f"they are for {self.size[1]}x{self.size[0]}, but the image is {width}x{height}, another aspect ratio"
            )
        return camera if (height, width) == self.size else camera.resized(width, height)


def rank_of(name: str) -> tuple[int, int] | None:
    """Return how likely a file contains intrinsics of images, from its name. Smaller is likelier, None means no."""
    words, ending = words_of(name.rpartition(".")[0]), "." + name.rpartition(".")[2].lower()
    if ending not in ENDINGS or not words or {"extrinsic", "extrinsics", "pose", "poses", "right", "ir"} & set(words):
        return None
    if {"intrinsic", "intrinsics"} & set(words):
        kind = 0
    elif words in (["scale"], ["depth", "scale"]):
        return 4, 0
    elif "camera" in words and "info" in words:
        kind = 1
    elif {"camera", "cam", "calib", "calibration", "ost", "k"} & set(words):
        kind = 2
    elif words == ["transforms"]:
        kind = 3
    else:
        return None
    roles = [ROLES[word] for word in words if word in ROLES]
    return kind, 2 if "depth" in roles else (0 if roles else 1)


def read_intrinsics(path: Path) -> tuple[Intrinsics | None, float | None]:
    """Read intrinsics and meters per depth unit from a file; each is None if the file does not contain it.

    Raises `DataError`, naming the file, if it contains neither, or several that differ.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        numbers = _only_numbers(text)
        if numbers is not None and len(numbers) == 1 and "scale" in words_of(path.stem):
            return None, _scale(numbers[0])
        if numbers is not None:
            return _of_numbers(numbers), None
        if _is_calibration(text):
            return _of_calibration(text), None
        return _of_mapping(text)
    except DataError:
        raise
    except (CalibrationError, yaml.YAMLError, ValueError) as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error


def _only_numbers(text: str) -> list[float] | None:
    """Return the numbers of a text that contains only numbers, brackets and comments, else None."""
    words = re.sub(r"#.*", "", text).replace("[", " ").replace("]", " ").replace(",", " ").replace(";", " ").split()
    try:
        return [float(word) for word in words] or None
    except ValueError:
        return None


def _of_numbers(numbers: Sequence[float]) -> Intrinsics:
    """Return the intrinsics from fx, fy, cx, cy (and distortion), or from a 3x3, 3x4 or 4x4 matrix by rows."""
    shapes = {9: (3, 3), 12: (3, 4), 16: (4, 4)}
    if len(numbers) in shapes:
        matrix = np.array(numbers, np.float64).reshape(shapes[len(numbers)])[:3, :3]
        for turned in (matrix, matrix.T):  # Open3D writes columns first
            if np.array_equal(turned[2], (0, 0, 1)) and turned[1, 0] == 0:
                return _intrinsics(turned[0, 0], turned[1, 1], turned[0, 2], turned[1, 2])
    if len(numbers) in (4, 8, 9):
        return _intrinsics(*numbers[:4], is_distorted=any(numbers[4:]))
    raise ValueError(f"has {len(numbers)} numbers, must have fx, fy, cx and cy, or a camera matrix")


def _intrinsics(
    fx: float, fy: float, cx: float, cy: float, size: tuple[int, int] | None = None, is_distorted: bool = False
) -> Intrinsics:
    Camera(1, 1, fx, fy, cx, cy)  # raises for invalid values
    return Intrinsics(float(fx), float(fy), float(cx), float(cy), size, is_distorted)


def _is_calibration(text: str) -> bool:
    """Return whether the text is in a format of `geometry.calibration`, which includes the image size."""
    if "[image]" in text or "opencv-matrix" in text or "<opencv_storage>" in text:
        return True
    has_matrix = re.search(r"(camera_matrix|\bk)[\"']?\s*:", text, re.IGNORECASE)
    has_distortion = re.search(r"(distortion_model|distortion_coefficients|distortion_coeffs)[\"']?\s*:", text)
    return bool(has_distortion and (has_matrix or "intrinsics" in text))


def _of_calibration(text: str) -> Intrinsics:
    found = Calibration.from_yaml(text)
    matrix = found.projection  # of rectified images, because depth refers to them
    bends = needs_rectification(found.distortion, np.eye(3), found.distortion_model)
    size = found.height, found.width
    return _intrinsics(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], size, bends)


def _of_mapping(text: str) -> tuple[Intrinsics | None, float | None]:
    values = yaml.safe_load(re.sub(r"^%YAML.*$", "", text, flags=re.MULTILINE))
    if not isinstance(values, dict):
        raise ValueError("has no camera: neither plain numbers nor names with values")
    mappings = list(_mappings(values, ""))
    found = {name: camera for name, mapping in mappings if (camera := _of_names(mapping)) is not None}
    cameras = {name: camera for name, camera in found.items() if _is_of_images(name)} or found
    if len(set(cameras.values())) > 1:
        raise ValueError(f"has several cameras ({', '.join(cameras)}): put the one of the images into a separate file")
    scales = [scale for _, mapping in mappings if (scale := _depth_scale(mapping)) is not None]
    if not cameras and not scales:
        raise ValueError("has neither fx, fy, cx and cy, nor a camera matrix, nor a depth scale")
    return next(iter(cameras.values()), None), scales[0] if scales else None


def _mappings(values: Mapping[Any, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a mapping and those inside it, with names. Keys are lower case and without the prefix "Camera."."""
    yield name, {re.sub(r"^camera\d?\.", "", str(key).lower()): value for key, value in values.items()}
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _mappings(value, f"{name}.{key}" if name else str(key))


def _depth_scale(values: Mapping[str, Any]) -> float | None:
    found = next((values[name] for name in _SCALES if _is_number(values.get(name))), None)
    if found is None and _is_number(values.get("scale")) and float(values["scale"]) >= _MIN_SCALE:
        found = values["scale"]
    return None if found is None else _scale(found)


def _scale(value: Any) -> float:
    try:
        return scale_of(value)
    except DataError as error:
        raise ValueError(f"the depth scale {error}") from error


def _is_of_images(name: str) -> bool:
    return not name or any(ROLES.get(word, "depth") != "depth" for word in words_of(name))


def _of_names(values: Mapping[str, Any]) -> Intrinsics | None:
    """Return the intrinsics of a mapping by their usual names, or None."""
    sides = [next((values[name] for name in names if _is_number(values.get(name))), None) for names in _SIDES]
    size = None if None in sides else (int(float(sides[1])), int(float(sides[0])))
    numbers = [next((values[name] for name in names if _is_number(values.get(name))), None) for names in _NUMBERS]
    coefficients = next((values[name] for name in _COEFFICIENTS if isinstance(values.get(name), list)), None)
    if coefficients is None:
        coefficients = [values.get(f"k{number}", 0) for number in range(1, 7)]
    bends = any(float(number) for number in np.ravel(coefficients) if _is_number(number))
    if None not in numbers:
        return _intrinsics(*map(float, numbers), size, bends)
    for name in _MATRICES:
        value = values.get(name)
        value = value.get("data") if isinstance(value, dict) else value
        flat = np.ravel(value).tolist() if isinstance(value, list) else []
        if len(flat) in (4, 9, 12, 16) and all(map(_is_number, flat)):
            found = _of_numbers([float(number) for number in flat])
            return _intrinsics(found.fx, found.fy, found.cx, found.cy, size, bends)
    return None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        return bool(np.isfinite(float(value)))
    except ValueError:
        return False
