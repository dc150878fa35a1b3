"""Encodings of raw image messages, by their names in sensor_msgs/image_encodings.hpp, and the check of a message."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2


class BadImageError(ValueError):
    """An image message contradicts itself or has an unsupported encoding. The text names the fix.

    Args:
        cause: one or two words from a small fixed set, as key for counts.
        text: the full message.
        about: distinguishes problems of one cause with different fixes, such as two encodings.

    Attributes:
        cause: as given.
        fault: ``cause`` and ``about``, as key for log lines.
    """

    def __init__(self, cause: str, text: str, about: str = "") -> None:
        super().__init__(text)
        self.cause, self.fault = cause, f"{cause} {about}"


class Samples(NamedTuple):
    """The storage of a pixel with all its channels: ``order`` is a key of `pixel_layout.TO_RGB`."""

    order: str
    sample_bytes: int = 1

    @property
    def channels(self) -> int:
        """The number of samples per pixel."""
        return {"gray": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}[self.order]


SAMPLED = {
    "rgb8": Samples("rgb"),
    "bgr8": Samples("bgr"),
    "rgba8": Samples("rgba"),
    "bgra8": Samples("bgra"),
    "mono8": Samples("gray"),
    "8UC1": Samples("gray"),
    "8UC3": Samples("bgr"),  # the name gives no order; OpenCV writes BGR
    "8UC4": Samples("bgra"),
    "mono16": Samples("gray", 2),
    "16UC1": Samples("gray", 2),
    "16UC3": Samples("bgr", 2),
    "16UC4": Samples("bgra", 2),
    "rgb16": Samples("rgb", 2),
    "bgr16": Samples("bgr", 2),
    "rgba16": Samples("rgba", 2),
    "bgra16": Samples("bgra", 2),
}
PACKED_YUV = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
SEMI_PLANAR_YUV = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
MOSAICS = {  # OpenCV names a pattern by its second row, starting at the second pixel
    f"bayer_{pattern}{bits}": conversion
    for bits in (8, 16)
    for pattern, conversion in {
        "rggb": cv2.COLOR_BayerBG2RGB,
        "bggr": cv2.COLOR_BayerRG2RGB,
        "gbrg": cv2.COLOR_BayerGR2RGB,
        "grbg": cv2.COLOR_BayerGB2RGB,
    }.items()
}
PIXEL_BYTES = {  # bytes of a row per pixel
    **{encoding: samples.channels * samples.sample_bytes for encoding, samples in SAMPLED.items()},
    **dict.fromkeys(PACKED_YUV, 2),
    **dict.fromkeys((*SEMI_PLANAR_YUV, "nv24"), 1),
    **{encoding: 2 if encoding.endswith("16") else 1 for encoding in MOSAICS},
}
ENCODINGS: tuple[str, ...] = tuple(PIXEL_BYTES)
"""Image encodings that are supported without cv_bridge."""


def check_raw_image(message: Any, is_known_elsewhere: bool = False) -> tuple[int, int]:
    """Check a sensor_msgs/Image and return its (height, width).

    Args:
        message: a sensor_msgs Image.
        is_known_elsewhere: whether another decoder supports an encoding that is not in `ENCODINGS`.

    Raises:
        BadImageError: see `image_messages.check_image`.
    """
    height, width, step, encoding = message.height, message.width, message.step, message.encoding
    if encoding not in PIXEL_BYTES and not is_known_elsewhere:
        raise BadImageError(
            "encoding",
            f"image encoding {encoding!r} is unsupported; have the camera publish one of {', '.join(ENCODINGS)}",
            encoding,
        )
    if height < 1 or width < 1:
        raise BadImageError("zero size", f"image is {width}x{height}; check the driver's resolution")
    if (encoding in PACKED_YUV and width % 2) or (encoding in SEMI_PLANAR_YUV and (width % 2 or height % 2)):
        raise BadImageError(
            "odd size",
            f"image is {width}x{height}, but {encoding} shares color between pairs of pixels; set an even resolution",
        )
    if encoding in MOSAICS:
        check_mosaic_size(height, width)
    row_bytes = width * PIXEL_BYTES.get(encoding, 0)
    if step < row_bytes:
        raise BadImageError(
            "step",
            f"image step is {step} bytes, but {width} pixels of {encoding} take {row_bytes}; "
            "fix the driver's step or encoding",
        )
    rows = height * 3 // 2 if encoding in SEMI_PLANAR_YUV else height * 3 if encoding == "nv24" else height
    shortest, longest = step * (rows - 1) + row_bytes, step * rows
    if not shortest <= len(message.data) <= longest:  # some drivers omit the padding of the last row
        raise BadImageError(
            "data size",
            f"image data is {len(message.data)} bytes, but {rows} rows of step {step} are {longest}; "
            "fix the driver's height, step or data",
        )
    return height, width


def check_mosaic_size(height: int, width: int) -> None:
    """Raise `BadImageError` for a mosaic smaller than 3x3: no pixel has all neighbors, and OpenCV makes it black.

    Args:
        height: of the image.
        width: of the image.
    """
    if height < 3 or width < 3:
        raise BadImageError(
            "mosaic size", f"Bayer image is {width}x{height}, must be 3x3 or larger; check the driver's resolution"
        )
