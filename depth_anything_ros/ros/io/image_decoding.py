"""Decode image messages to RGB pixels with `images.image_messages`, and with cv_bridge for further encodings."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from depth_anything_ros.images import image_messages
from depth_anything_ros.images.image_messages import ENCODINGS, MAX_PIXELS, BadImageError, Other
from depth_anything_ros.images.intensity import AUTO, InputRange

__all__ = ["ENCODINGS", "MAX_PIXELS", "BadImageError", "ImageDecoder", "check_image"]


def check_image(message: Image | CompressedImage) -> tuple[int, int] | None:
    """Check an image as `image_messages.check_image` does. Other encodings are left to cv_bridge, if that works."""
    return image_messages.check_image(message, _find_cv_bridge)


class ImageDecoder(image_messages.ImageDecoder):
    """Decodes encodings that are not in `ENCODINGS` with cv_bridge, if that is installed and works."""

    def __init__(self, input_range: InputRange = AUTO) -> None:
        super().__init__(input_range, _find_cv_bridge)


def _find_cv_bridge() -> Other | None:
    return None if _cv_bridge() is None else _through_cv_bridge


@functools.cache
def _cv_bridge() -> Any | None:
    """Return a CvBridge that passes a test, or None. The test runs once.

    A cv_bridge compiled for NumPy 1 fails under NumPy 2, at import or at first use. Depending on the release it raises
    ImportError, AttributeError or SystemError.
    """
    try:
        from cv_bridge import CvBridge

        bridge, sample = CvBridge(), Image(height=1, width=1, step=1, encoding="mono8")
        sample.data.frombytes(b"\x07")
        return bridge if bridge.imgmsg_to_cv2(sample, "rgb8").tolist() == [[[7, 7, 7]]] else None
    except Exception:
        return None


def _through_cv_bridge(message: Image) -> np.ndarray:
    """Return the RGB pixels of an image whose encoding only cv_bridge may know."""
    bridge = _cv_bridge()
    assert bridge is not None  # the caller checks
    try:
        pixels = bridge.imgmsg_to_cv2(message, "rgb8")
        if pixels.dtype != np.uint8 or pixels.shape != (message.height, message.width, 3):
            raise ValueError(f"result is {pixels.dtype} {pixels.shape}")
    except Exception as error:  # a CvBridgeError, or an error of NumPy or OpenCV
        raise BadImageError(
            "encoding",
            f"cv_bridge cannot convert a {message.width}x{message.height} image of {message.encoding!r} to rgb8 "
            f"({error}); configure the camera to publish one of {', '.join(ENCODINGS)}",
            message.encoding,
        ) from error
    return pixels
