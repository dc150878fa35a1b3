"""Image messages to RGB pixels as `images.image_messages` has it, and what cv_bridge knows beyond that."""

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
    """As `image_messages.check_image`; an encoding that is not in `ENCODINGS` is left to cv_bridge, where it works."""
    return image_messages.check_image(message, _find_cv_bridge)


class ImageDecoder(image_messages.ImageDecoder):
    """Decodes what is not in `ENCODINGS` through cv_bridge, where that is installed and works."""

    def __init__(self, input_range: InputRange = AUTO) -> None:
        super().__init__(input_range, _find_cv_bridge)


def _find_cv_bridge() -> Other | None:
    return None if _cv_bridge() is None else _through_cv_bridge


@functools.cache
def _cv_bridge() -> Any | None:
    """A CvBridge that was seen to work, or None; tried once.

    One that was compiled for NumPy 1 fails under NumPy 2 when it is imported or when it is first used, with an
    ImportError, an AttributeError or a SystemError, as the releases go.
    """
    try:
        from cv_bridge import CvBridge

        bridge, sample = CvBridge(), Image(height=1, width=1, step=1, encoding="mono8")
        sample.data.frombytes(b"\x07")
        return bridge if bridge.imgmsg_to_cv2(sample, "rgb8").tolist() == [[[7, 7, 7]]] else None
    except Exception:
        return None


def _through_cv_bridge(message: Image) -> np.ndarray:
    """The pixels as RGB, of an encoding that only cv_bridge may understand."""
    bridge = _cv_bridge()
    assert bridge is not None  # else this is not called
    try:
        pixels = bridge.imgmsg_to_cv2(message, "rgb8")
        if pixels.dtype != np.uint8 or pixels.shape != (message.height, message.width, 3):
            raise ValueError(f"made {pixels.dtype} {pixels.shape}")
    except Exception as error:  # a CvBridgeError, but also what NumPy and OpenCV raise
        raise BadImageError(
            "encoding",
            f"cv_bridge cannot convert a {message.width}x{message.height} image of {message.encoding!r} to rgb8 "
            f"({error}); have the camera publish one of {', '.join(ENCODINGS)}",
            message.encoding,
        ) from error
    return pixels
