"""Predictions as files: arrays, pictures, depth in millimeters and point clouds."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_anything_ros.api.cameras import CameraLike
from depth_anything_ros.api.prediction import Prediction
from depth_anything_ros.api.scales import ScaleLike
from depth_anything_ros.postprocessing.scale import depth_to_millimeters
from depth_anything_ros.system.atomic_file import atomic_path, atomic_write
from depth_anything_ros.system.did_you_mean import did_you_mean
from depth_anything_ros.system.extras import require

THUMBNAIL = 1024
"""Longer side, in pixels, of what notebooks are shown at most."""


def save(prediction: Prediction, path: Path, scale: ScaleLike, camera: CameraLike | None, millimeters: bool) -> Path:
    """See `Prediction.save`."""
    ending = path.suffix.lower()
    if millimeters and ending != ".png":
        raise ValueError(f"{path}: millimeters are written as 16-bit .png")
    if millimeters:
        write_picture(path, _millimeters(prediction.depth(scale, camera)))
    elif ending in PICTURES:
        write_picture(path, prediction.colored()[..., ::-1])
    elif ending == ".ply":
        prediction.point_cloud(camera, scale).save(path)
    elif ending in ARRAYS:
        is_asked_for = scale is not None or camera is not None
        ARRAYS[ending](path, prediction.depth(scale, camera) if is_asked_for else prediction.values, prediction)
    else:
        known = [*PICTURES, *ARRAYS, ".ply"]
        meant = did_you_mean(ending, known) or f"; give {', '.join(known)}"
        raise ValueError(f"{path}: cannot write {ending or 'a file without an ending'}{meant}")
    return path


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Writes BGR uint8 (H, W, 3) or gray uint16 (H, W) as its ending says."""
    try:
        content = _encoded(path.suffix, pixels)
    except cv2.error as error:
        size = "x".join(map(str, pixels.shape[1::-1]))
        raise ValueError(f"{path}: OpenCV cannot write {size} pixels as {path.suffix}; save a .png or .npy") from error
    atomic_write(path, content)


def write_array(path: Path, values: np.ndarray, _: Any = None) -> None:
    """Writes a .npy."""
    stream = io.BytesIO()
    np.save(stream, values)
    atomic_write(path, stream.getvalue())


def thumbnail(prediction: Prediction) -> bytes:
    """The prediction in colors as the bytes of a .png, no larger than a notebook shows."""
    picture = prediction.colored()[..., ::-1]
    shrink = THUMBNAIL / max(picture.shape)
    if shrink < 1:
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return _encoded(".png", picture)


def _write_archive(path: Path, values: np.ndarray, prediction: Prediction) -> None:
    arrays: dict[str, Any] = {"values": values, "record": np.array(prediction.record.to_json())}
    if prediction.confidence is not None:
        arrays["confidence"] = prediction.confidence
    if prediction.camera is not None:
        arrays["camera_matrix"] = prediction.camera.matrix
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    atomic_write(path, stream.getvalue())


def _write_tiff(path: Path, values: np.ndarray, _: Prediction) -> None:
    write_picture(path, values)


def _write_exr(path: Path, values: np.ndarray, _: Prediction) -> None:
    require("OpenEXR")
    import OpenEXR

    with atomic_path(path) as partial_path:
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"Y": np.ascontiguousarray(values)}).write(str(partial_path))


def _millimeters(depth: np.ndarray) -> np.ndarray:
    return depth_to_millimeters(depth, np.empty(depth.shape, np.uint16))


def _encoded(ending: str, pixels: np.ndarray) -> bytes:
    """A picture's file. Raises `cv2.error` where OpenCV cannot make it."""
    is_done, content = cv2.imencode(ending, pixels)
    if not is_done:
        raise cv2.error(f"{ending} cannot hold the picture")
    return content.tobytes()


PICTURES = (".png", ".jpg", ".jpeg")
"""Endings of pictures in colors."""
ARRAYS: dict[str, Callable[[Path, np.ndarray, Prediction], None]] = {
    ".npy": write_array,
    ".npz": _write_archive,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".exr": _write_exr,
}
"""Endings of arrays, and what writes them."""
