"""Calibration files in the formats of other tools, as the fields of a camera_info YAML.

Supported are: camera_info YAML itself, the output of `ros2 topic echo`, oST (the INI format of camera_calibration),
OpenCV's FileStorage, and Kalibr's camchain of one camera. Other formats are rejected, by name if they are recognized.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import yaml

from depth_anything_ros.geometry.distortion import POLYNOMIAL, is_wide, model_of

Fields = dict[str, Any]

REQUIRED = ("image_width", "image_height", "camera_matrix")
OPTIONAL = ("distortion_coefficients", "distortion_model", "rectification_matrix", "projection_matrix")
_LENS_KEY = re.compile(r"model|type|lens|projection", re.IGNORECASE)
"""Fields that may name the lens in files without ``distortion_model``."""
_CONVERT = f"write a camera_info YAML with {', '.join(REQUIRED + OPTIONAL)}, as camera_calibration does"


class CalibrationError(ValueError):
    """A calibration cannot be used. The message names the file, the field and its valid values."""


def camera_info_fields(text: str) -> Fields:
    """Return the fields `REQUIRED` and, if present, `OPTIONAL` of a calibration in any supported format.

    A matrix is a flat list of numbers or a mapping with the list as ``data``. Raises `CalibrationError`.
    """
    if re.search(r"^\s*\[image\]\s*$", text, re.MULTILINE):
        fields = _from_ost(text)
    elif re.match(r"\s*%YAML:", text) or "!!opencv-matrix" in text or "<opencv_storage>" in text:
        fields = _from_opencv(text)
    else:
        fields = _from_yaml(text)
    missing = [name for name in REQUIRED if name not in fields]
    if missing:
        raise CalibrationError(f"{', '.join(missing)} missing{_made_by(fields)}; {_CONVERT}")
    return fields


def _from_yaml(text: str) -> Fields:
    try:
        values = next(yaml.safe_load_all(text), None)  # a topic's echo may hold several messages: the first counts
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CalibrationError(f"not valid YAML: {' '.join(str(error).split())}; {_CONVERT}") from error
    if not isinstance(values, dict):
        raise CalibrationError("not a mapping of camera_info fields such as image_width and camera_matrix")
    if "camera_matrix" in values:
        return _from_camera_info(values)
    if {"width", "height"} <= values.keys() and not values.keys().isdisjoint({"k", "K"}):
        return _from_topic(values)
    cameras = {name: value for name, value in values.items() if isinstance(value, dict) and "intrinsics" in value}
    if cameras or "intrinsics" in values:
        return _from_kalibr(cameras or {"camera": values})
    _reject_misspelled(values)
    return values


def _from_camera_info(values: Fields) -> Fields:
    _reject_misspelled(values)
    return {**values, "distortion_model": _lens(values)}


def _from_topic(values: Fields) -> Fields:
    """Read a sensor_msgs/CameraInfo as `ros2 topic echo` prints it, or `rostopic echo` with its capital letters."""
    given = values.get("roi")
    roi: Fields = given if isinstance(given, dict) else {}
    whole = {"width": (0, values["width"]), "height": (0, values["height"]), "x_offset": (0,), "y_offset": (0,)}
    has_window = any(roi.get(name, 0) not in allowed for name, allowed in whole.items())
    if has_window or any(values.get(name, 0) not in (0, 1) for name in ("binning_x", "binning_y")):
        raise CalibrationError("a camera_info message with binning or a region of interest; use one of full images")
    names = {"camera_matrix": "k", "distortion_coefficients": "d", "rectification_matrix": "r"}
    fields = {name: values.get(key, values.get(key.upper())) for name, key in names.items()}
    fields["projection_matrix"] = values.get("p", values.get("P"))
    lens = {"distortion_model": str(values.get("distortion_model") or "")}
    return {"image_width": values["width"], "image_height": values["height"], **fields, **lens}


def _from_kalibr(cameras: Mapping[str, Fields]) -> Fields:
    if len(cameras) > 1:
        raise CalibrationError(
            f"a Kalibr camchain of {len(cameras)} cameras ({', '.join(map(str, cameras))}); keep only the camera to "
            "use in the file"
        )
    (name, camera), *_ = cameras.items()
    intrinsics, resolution = camera["intrinsics"], camera.get("resolution")
    if not isinstance(intrinsics, list) or len(intrinsics) != 4:
        raise CalibrationError(
            f"a Kalibr camera with camera_model {camera.get('camera_model')!r} and intrinsics {intrinsics!r}; only "
            "pinhole is supported, with the intrinsics fx, fy, cx and cy: calibrate with --models pinhole-equi or "
            "pinhole-radtan"
        )
    if not isinstance(resolution, list) or len(resolution) != 2:
        raise CalibrationError(f"a Kalibr camera with resolution {resolution!r}, must be [width, height]")
    fx, fy, cx, cy = intrinsics
    return {
        "image_width": resolution[0],
        "image_height": resolution[1],
        "camera_name": name,
        "camera_matrix": [fx, 0, cx, 0, fy, cy, 0, 0, 1],
        "distortion_model": _lens(camera),
        "distortion_coefficients": camera.get("distortion_coeffs", camera.get("distortion_coefficients", [])),
    }


def _from_ost(text: str) -> Fields:
    """Read the INI format of camera_calibration and camera_calibration_parsers."""
    numbers: dict[str, list[float]] = {}
    sections, name = [], ""
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        if line.startswith("["):
            sections.append(line.strip("[]"))
            continue
        try:
            numbers.setdefault(name, []).extend(float(word) for word in line.split())
        except ValueError:
            name = line
    cameras = [section for section in sections if section not in ("image", "externals")]
    if len(cameras) != 1:
        raise CalibrationError(f"an oST file of {len(cameras)} cameras ({', '.join(cameras)}); use one file per camera")
    names = {
        "camera_matrix": "camera matrix",
        "distortion_coefficients": "distortion",
        "rectification_matrix": "rectification",
        "projection_matrix": "projection",
    }
    fields: Fields = {field: numbers[key] for field, key in names.items() if key in numbers}
    for side in ("width", "height"):
        if len(numbers.get(side, ())) == 1 and numbers[side][0].is_integer():
            fields[f"image_{side}"] = int(numbers[side][0])
    return {**fields, "camera_name": cameras[0]}


def _from_opencv(text: str) -> Fields:
    """Read OpenCV's FileStorage, as its calibration sample and many scripts write it."""
    if not re.match(r"\s*(%YAML:|<\?xml)", text):
        text = "%YAML:1.0\n---\n" + re.sub(r"^(%YAML.*|---)\s*$", "", text, flags=re.MULTILINE)
    try:
        storage = cv2.FileStorage(text.lstrip(), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    except (cv2.error, SystemError, UnicodeError) as error:
        raise CalibrationError(f"not a valid OpenCV file: {' '.join(str(error).split())}") from error
    root = storage.root()
    keys = [] if root.empty() or not root.isMap() else list(root.keys())
    by_name = {key.lower(): root.getNode(key) for key in keys}
    fields: Fields = {}
    for field, names in (
        ("camera_matrix", ("camera_matrix", "cameramatrix", "intrinsic_matrix", "k", "m", "mtx")),
        ("distortion_coefficients", ("distortion_coefficients", "distcoeffs", "dist_coeffs", "d", "dist")),
        ("rectification_matrix", ("rectification_matrix",)),
        ("projection_matrix", ("projection_matrix",)),
    ):
        matrix = next((by_name[name].mat() for name in names if name in by_name), None)
        if matrix is not None:
            fields[field] = matrix.ravel().tolist()
    for side in ("width", "height"):
        node = next((by_name[name] for name in (f"image_{side}", side) if name in by_name), None)
        if node is not None and node.isInt():
            fields[f"image_{side}"] = int(node.real())
    if any(name not in fields for name in REQUIRED):
        raise CalibrationError(f"an OpenCV file with {', '.join(keys) or 'nothing'}{_made_by(keys)}; {_CONVERT}")
    lens = {
        name: node.string() if node.isString() else node.real() for name, node in by_name.items() if _is_scalar(node)
    }
    return {**fields, "distortion_model": _lens(lens)}


def _is_scalar(node: cv2.FileNode) -> bool:
    return node.isString() or node.isInt() or node.isReal()


def _made_by(keys: Iterable[str]) -> str:
    """Return the tool that writes files with these keys, in parentheses; "" if unknown."""
    keys = set(map(str, keys))
    if "projection_parameters" in keys:
        return " (the format of camodocal or VINS)"
    return " (the format of ORB-SLAM)" if any(re.match(r"Camera\d?\.f", key) for key in keys) else ""


def _lens(values: Mapping[str, Any]) -> str:
    """Return the name of the distortion model from the fields of a calibration; "" if none names it.

    Raises `CalibrationError` if a field names an unsupported model, or two fields contradict each other.
    """
    names = _lens_names(values)
    models = {}
    for key, name in names.items():
        if is_wide(name):
            raise CalibrationError(f"{key} is {name!r}, which is not supported; calibrate the camera as a fisheye")
        try:
            models[key] = model_of(name)
        except ValueError as error:
            if key == "distortion_model":
                raise CalibrationError(str(error)) from error
            if key == "camera_model" and "distortion_model" not in names:
                raise CalibrationError(f"{error} (from camera_model; set distortion_model)") from error
            # Otherwise it is a product's name, such as camera_model: IMX219, or no lens at all.
    lenses = {key: model for key, model in models.items() if model not in (None, POLYNOMIAL)}
    if len(set(lenses.values())) > 1:
        contradiction = ", but ".join(f"{key} is {names[key]!r}" for key in lenses)
        raise CalibrationError(f"{contradiction}; correct one of them")
    return next((names[key] for key in lenses or models if models[key] is not None), "")


def _lens_names(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that name the lens: ``distortion_model`` and ``camera_model``, or else all candidates."""
    names = {key: str(values[key]) for key in ("distortion_model", "camera_model") if values.get(key)}
    if names:
        return names
    for key, value in values.items():
        if "fisheye" in str(key).lower() and value in (True, 1):
            names[key] = "fisheye"
        elif isinstance(value, str) and value and _LENS_KEY.search(str(key)):
            names[key] = value
    return names


def _reject_misspelled(values: Mapping[str, Any]) -> None:
    """Reject a field whose name resembles a missing one; it would be ignored otherwise."""
    unknown = [key for key in values if isinstance(key, str) and key not in (*REQUIRED, *OPTIONAL)]
    for name in (*REQUIRED, *OPTIONAL):
        near = [] if name in values else _near(name, unknown)
        if near:
            raise CalibrationError(f"{near[0]} is not a camera_info field; rename it to {name} if that is meant")


def _near(name: str, keys: Iterable[str]) -> list[str]:
    aliases = ("d", "dist", "dist_coeffs", "distcoeffs", "distortion", "distortion_coeffs")
    if name == "distortion_coefficients" and (matches := [key for key in keys if key.lower() in aliases]):
        return matches
    return difflib.get_close_matches(name, keys, n=1, cutoff=0.85)
