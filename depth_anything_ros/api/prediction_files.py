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
from depth_anything_ros.postprocessing.meters import depth_to_millimeters
from depth_anything_ros.system.atomic_file import atomic_path, atomic_write
from depth_anything_ros.system.did_you_mean import did_you_mean
from depth_anything_ros.system.extras import require

THUMBNAIL = 1024
"""Maximum longer side, in pixels, of a notebook's picture."""


def save(prediction: Prediction, path: Path, scale: ScaleLike, camera: CameraLike | None, millimeters: bool) -> Path:
    """Write a prediction, as `Prediction.save`.

    Args:
        prediction: to write.
        path: its extension gives the format.
        scale: as in `Prediction.save`.
        camera: as in `Prediction.save`.
        millimeters: as in `Prediction.save`.

    Raises:
        ValueError: the extension is unknown, or the output needs a camera or a scale.
        OSError: the file cannot be written.
    """
    extension = path.suffix.lower()
    if millimeters and extension != ".png":
        raise ValueError(f"{path}: millimeters are written as 16-bit .png")
    if millimeters:
        write_picture(path, _millimeters(prediction.depth(scale, camera)))
    elif extension in PICTURES:
        write_picture(path, prediction.colored()[..., ::-1])
    elif extension == ".ply":
        prediction.point_cloud(camera, scale).save(path)
    elif extension in ARRAYS:
        is_metric = scale is not None or camera is not None
        ARRAYS[extension](path, prediction.depth(scale, camera) if is_metric else prediction.values, prediction)
    else:
        supported = [*PICTURES, *ARRAYS, ".ply"]
        meant = did_you_mean(extension, supported) or f"; give {', '.join(supported)}"
        raise ValueError(f"{path}: cannot write {extension or 'a file without an extension'}{meant}")
    return path


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Write a picture in the format of its extension.

    Args:
        path: the file; its folder must exist.
        pixels: BGR uint8 (H, W, 3) or gray uint16 (H, W).

    Raises:
        ValueError: the format cannot hold the picture.
        OSError: the file cannot be written.
    """
    try:
        content = _encoded(path.suffix, pixels)
    except cv2.error as error:
        size = "x".join(map(str, pixels.shape[1::-1]))
        raise ValueError(f"{path}: OpenCV cannot write {size} pixels as {path.suffix}; save a .png or .npy") from error
    atomic_write(path, content)


def write_array(path: Path, values: np.ndarray, _: Any = None) -> None:
    """Write a .npy file.

    Args:
        path: the file; its folder must exist.
        values: any array.
    """
    stream = io.BytesIO()
    np.save(stream, values)
    atomic_write(path, stream.getvalue())


def thumbnail(prediction: Prediction) -> bytes:
    """Return the prediction in colors as the bytes of a .png, small enough for a notebook."""
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


def _encoded(extension: str, pixels: np.ndarray) -> bytes:
    """Return the bytes of a picture's file. Raises `cv2.error` if OpenCV cannot encode it."""
    is_done, content = cv2.imencode(extension, pixels)
    if not is_done:
        raise cv2.error(f"{extension} cannot hold the picture")
    return content.tobytes()


PICTURES = (".png", ".jpg", ".jpeg")
"""Extensions of pictures in colors."""
ARRAYS: dict[str, Callable[[Path, np.ndarray, Prediction], None]] = {
    ".npy": write_array,
    ".npz": _write_archive,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".exr": _write_exr,
}
"""Extensions of arrays, with their writers."""
