"""From image messages, raw or compressed, to RGB pixels."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from depth_anything_ros.nodes.scratch_arrays import ScratchArrays
from depth_anything_ros.runtime.compressed_files import DamagedFileError, size_of_file


class _Samples(NamedTuple):
    """How a pixel is stored that needs no conversion."""

    channels: int
    sample_bytes: int = 1
    blue_first: bool = False


_VIEWED = {
    "rgb8": _Samples(3),
    "bgr8": _Samples(3, blue_first=True),
    "rgba8": _Samples(4),
    "bgra8": _Samples(4, blue_first=True),
    "mono8": _Samples(1),
    "8UC1": _Samples(1),
    "8UC3": _Samples(3, blue_first=True),  # says nothing about its order; OpenCV writes BGR
    "8UC4": _Samples(4, blue_first=True),
    "mono16": _Samples(1, 2),
    "16UC1": _Samples(1, 2),
    "rgb16": _Samples(3, 2),
    "bgr16": _Samples(3, 2, blue_first=True),
    "rgba16": _Samples(4, 2),
    "bgra16": _Samples(4, 2, blue_first=True),
}
_PACKED_YUV = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
_SEMI_PLANAR_YUV = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
_MOSAICS = {  # OpenCV names a pattern by its second row, from the second pixel on
    f"bayer_{pattern}{bits}": conversion
    for bits in (8, 16)
    for pattern, conversion in {
        "rggb": cv2.COLOR_BayerBG2RGB,
        "bggr": cv2.COLOR_BayerRG2RGB,
        "gbrg": cv2.COLOR_BayerGR2RGB,
        "grbg": cv2.COLOR_BayerGB2RGB,
    }.items()
}
_PIXEL_BYTES = {  # how much of a row a pixel takes
    **{encoding: samples.channels * samples.sample_bytes for encoding, samples in _VIEWED.items()},
    **dict.fromkeys(_PACKED_YUV, 2),
    **dict.fromkeys((*_SEMI_PLANAR_YUV, "nv24"), 1),
    **{encoding: 2 if encoding.endswith("16") else 1 for encoding in _MOSAICS},
}
_YUV_TO_RGB = np.float32(  # ITU-R BT.601, Y from 16 to 235, as in OpenCV's conversions of the other YUV encodings
    [
        [1.164383, 0.0, 1.596027, -16 * 1.164383 - 128 * 1.596027],
        [1.164383, -0.391762, -0.812968, -16 * 1.164383 + 128 * (0.391762 + 0.812968)],
        [1.164383, 2.017232, 0.0, -16 * 1.164383 - 128 * 2.017232],
    ]
)

ENCODINGS: tuple[str, ...] = tuple(_PIXEL_BYTES)
"""Image encodings that are understood without cv_bridge, as sensor_msgs/image_encodings.hpp names them."""
MOST_PIXELS = 1 << 26
"""A compressed image may not have more: a file of a few kilobytes can ask for gigabytes. 8192x8192."""


class BadImageError(ValueError):
    """An image message contradicts itself or is of a kind that is not understood; the text names the fix.

    ``cause``, of a word or two, is one of a fixed few: what the message says is in the text. ``fault`` tells apart what
    has one cause and another remedy, such as one encoding from another: by what it is ``about``.
    """

    def __init__(self, cause: str, text: str, about: str = "") -> None:
        super().__init__(text)
        self.cause, self.fault = cause, f"{cause} {about}"


def check_image(message: Image | CompressedImage) -> tuple[int, int] | None:
    """The (height, width) that a message says it has; None for a compressed one, which must be decoded to know.

    No pixel is touched, so that this suits the thread that receives. Raises `BadImageError` where the encoding or
    format is not understood, or where size, step and length of the data contradict each other.
    """
    if isinstance(message, CompressedImage):
        _mosaic_of(message)
        return None
    height, width, step, encoding = message.height, message.width, message.step, message.encoding
    if encoding not in _PIXEL_BYTES and _cv_bridge() is None:
        raise BadImageError(
            "encoding",
            f"image encoding {encoding!r} is not understood; have the camera publish one of {', '.join(ENCODINGS)}",
            encoding,
        )
    if height < 1 or width < 1:
        raise BadImageError("zero size", f"image is {width}x{height}; check the driver's resolution")
    if (encoding in _PACKED_YUV and width % 2) or (encoding in _SEMI_PLANAR_YUV and (width % 2 or height % 2)):
        raise BadImageError(
            "odd size",
            f"image is {width}x{height}, but pixels of {encoding} share their colour in pairs; set an even resolution",
        )
    if encoding in _MOSAICS:
        _check_mosaic_size(height, width)
    row_bytes = width * _PIXEL_BYTES.get(encoding, 0)
    if step < row_bytes:
        raise BadImageError(
            "step",
            f"image step is {step} bytes, but {width} pixels of {encoding} take {row_bytes}; "
            "fix the driver's step or encoding",
        )
    rows = height * 3 // 2 if encoding in _SEMI_PLANAR_YUV else height * 3 if encoding == "nv24" else height
    shortest, longest = step * (rows - 1) + row_bytes, step * rows
    if not shortest <= len(message.data) <= longest:  # some drivers leave out the padding of the last row
        raise BadImageError(
            "data size",
            f"image data is {len(message.data)} bytes, but {rows} rows of step {step} are {longest}; "
            "fix the driver's height, step or data",
        )
    return height, width


class ImageDecoder:
    """Keeps conversion buffers from frame to frame. For one thread."""

    def __init__(self) -> None:
        self._scratch = ScratchArrays()

    def decode(self, message: Image | CompressedImage) -> np.ndarray:
        """The pixels of a message as RGB, uint8 (H, W, 3). Raises `BadImageError`, and nothing else.

        Rgb, bgr, mono and OpenCV's own encodings are viewed in the message's bytes, whatever their depth: strides
        may be negative (BGR), padded (rows, alpha, 16 bits) or zero (mono), and the view may be read-only. YUV and
        Bayer are converted into a buffer that the next call may overwrite.

        Of 16 bits the high byte is taken, in the message's byte order: a camera that leaves its 10 or 12 bits at the
        low end of the word gives a dark image, and is to shift them up or to publish 8 bits. Nothing is stretched,
        since that would make the brightness depend on the frame. YUV is taken as ITU-R BT.601 with Y from 16 to 235.

        JPEG and PNG files are read whatever orientation their EXIF asks for, since a turned image would not fit its
        camera_info, and refused if they are not whole, as far as `size_of_file` can tell. For them OpenCV allocates.

        An encoding that is not in `ENCODINGS` is left to cv_bridge, where that is installed and works.
        """
        if isinstance(message, CompressedImage):
            return self._from_file(message)
        (height, width), encoding, data = check_image(message), message.encoding, message.data
        if encoding in _VIEWED:
            return _view(message, _VIEWED[encoding])
        if encoding in _PACKED_YUV:
            pairs = np.ndarray((height, width, 2), np.uint8, data, strides=(message.step, 2, 1))
            return self._converted(pairs, _PACKED_YUV[encoding], height)
        if encoding in _SEMI_PLANAR_YUV:
            planes = np.ndarray((height * 3 // 2, width), np.uint8, data, strides=(message.step, 1))
            return self._converted(planes, _SEMI_PLANAR_YUV[encoding], height)
        if encoding == "nv24":
            return self._from_nv24(message)
        if encoding in _MOSAICS:
            return self._from_mosaic(message)
        return _through_cv_bridge(message)

    def _converted(self, pixels: np.ndarray, conversion: int, height: int) -> np.ndarray:
        """The result of an OpenCV conversion to RGB."""
        return cv2.cvtColor(pixels, conversion, dst=self._scratch.get("rgb", (height, pixels.shape[1], 3)))

    def _from_nv24(self, message: Image) -> np.ndarray:
        """Rows of Y, then as many of U and V in turn, which take two steps each."""
        height, width, step, data = message.height, message.width, message.step, message.data
        yuv = self._scratch.get("samples", (height, width, 3))
        yuv[..., 0] = np.ndarray((height, width), np.uint8, data, strides=(step, 1))
        yuv[..., 1:] = np.ndarray((height, width, 2), np.uint8, data, offset=height * step, strides=(2 * step, 2, 1))
        return cv2.transform(yuv, _YUV_TO_RGB, dst=self._scratch.get("rgb", (height, width, 3)))

    def _from_mosaic(self, message: Image) -> np.ndarray:
        mosaic = _view(message, _Samples(1, _PIXEL_BYTES[message.encoding]))[..., 0]
        if mosaic.strides[1] != 1:  # OpenCV reads padded rows in place, but not padded pixels
            samples = self._scratch.get("samples", mosaic.shape)
            np.copyto(samples, mosaic)
            mosaic = samples
        return self._converted(mosaic, _MOSAICS[message.encoding], message.height)

    def _from_file(self, message: CompressedImage) -> np.ndarray:
        mosaic = _mosaic_of(message)
        try:
            size = size_of_file(memoryview(message.data))
        except DamagedFileError as error:
            raise _damaged(str(error)) from None
        if size[0] * size[1] > MOST_PIXELS:
            raise BadImageError(
                "compressed size",
                f"compressed image is {size[1]}x{size[0]}, more than {MOST_PIXELS} pixels; lower the resolution",
            )
        colour = cv2.IMREAD_COLOR if mosaic is None else cv2.IMREAD_GRAYSCALE
        try:
            pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), colour | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise _damaged("OpenCV cannot decode it") from error
        if pixels is None or pixels.shape[:2] != size:
            raise _damaged("OpenCV cannot decode it")
        if mosaic is None:
            return pixels[..., ::-1]
        _check_mosaic_size(*size)
        return self._converted(pixels, _MOSAICS[mosaic], size[0])


def _view(message: Image, samples: _Samples) -> np.ndarray:
    """A view of the (high) bytes of a checked message, uint8 (H, W, 3) in RGB order."""
    channels, sample_bytes, blue_first = samples
    pixels = np.ndarray(
        (message.height, message.width, channels),
        np.uint8,
        message.data,
        offset=0 if message.is_bigendian else sample_bytes - 1,
        strides=(message.step, channels * sample_bytes, sample_bytes),
    )
    if channels == 1:
        return np.broadcast_to(pixels, (message.height, message.width, 3))
    return pixels[..., 2::-1] if blue_first else pixels[..., :3]


def _check_mosaic_size(height: int, width: int) -> None:
    """Raises `BadImageError` for a mosaic that has no pixel with neighbours on all sides: OpenCV makes it black."""
    if height < 3 or width < 3:
        raise BadImageError(
            "mosaic size", f"Bayer image is {width}x{height}, must be 3x3 or larger; check the driver's resolution"
        )


def _mosaic_of(message: CompressedImage) -> str | None:
    """The encoding of the mosaic that the file holds, None for pixels; `BadImageError` if it holds neither.

    compressed_image_transport writes what it was given, what it wrote, and what it had converted to, if it had:
    "rgb8; jpeg compressed bgr8", but "bayer_rggb8; png compressed ". Others write "jpeg" alone.
    """
    if "compresseddepth" in message.format.lower():
        raise BadImageError(
            "compressed depth",
            f"compressed image of format {message.format!r} holds depth; remap image to a colour camera's image",
        )
    source, separator, written = message.format.partition(";")
    words = (written if separator else source).lower().split()
    if not words or words[0] not in ("jpeg", "jpg", "png"):
        raise BadImageError(
            "compressed format",
            f"compressed image of format {message.format!r} is not understood; have the camera publish jpeg or png",
            message.format,
        )
    if not len(message.data):
        raise BadImageError("empty data", "compressed image has no data; check the camera's driver")
    return source if source in _MOSAICS and len(words) < 3 else None


def _damaged(how: str) -> BadImageError:
    text = f"compressed image is damaged: {how}; check the camera's driver and the network"
    return BadImageError("compressed data", text, how)


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
    try:
        pixels = _cv_bridge().imgmsg_to_cv2(message, "rgb8")
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
