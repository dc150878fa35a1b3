"""One image with its true depth, and the errors of reading it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.images.compressed_files import DamagedFileError, extent_of_file
from depth_anything_ros.images.image_files import decode_file, decode_rgb, read_file
from depth_anything_ros.images.intensity import AUTO, InputRange, IntensityMapper, warn_of_file
from depth_anything_ros.images.pages import pages_of, warn_of_pages

JPEG_QUALITY = 95
"""Of images that are not files, such as frames of videos."""
PICTURE_ENDINGS = ("bmp", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp")
"""Endings of an image in a shard. Writers and readers of shards share this list."""

_REDUCTIONS = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


class DataError(ValueError):
    """A set is missing, incomplete or damaged. The message names the file and what was expected."""


_OF_THE_FILE = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EINVAL, None),  # from seeking in damaged files, and from libraries
}
"""`OSError` numbers of a missing or damaged file; all others are errors of the disk or of permissions."""


def reraise_disk_error(error: Exception) -> None:
    """Raise `OSError` if the cause of an error is not the file: a failing disk, missing permissions."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno not in _OF_THE_FILE:
            raise OSError(cause.errno, str(error)) from error
        cause = cause.__cause__


@dataclass(frozen=True)
class LabeledImage:
    """One image and its true depth, on the same pixels.

    Attributes:
        name: names of the set and the file, for reports.
        image: RGB uint8 (H, W, 3).
        depth: float32 (H, W), along the optical axis; NaN is unknown, +Inf is the sky. The unit is meters, or has an
            unknown factor in sets without metric scale.
        camera: the intrinsics of both; None if the set has none.
        time: seconds from any origin, in sets of consecutive frames.
        pose: camera to world, float64 (4, 4), meters, if the set has poses.
        sparse: float32 (H, W), depth of the sparse points that the set gives for completion, NaN elsewhere.
    """

    name: str
    image: np.ndarray
    depth: np.ndarray
    camera: Camera | None = None
    time: float | None = None
    pose: np.ndarray | None = None
    sparse: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that image, depth and camera match. Raises `DataError`, naming the frame."""
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise DataError(f"{self.name}: image is {self.image.dtype} {self.image.shape}, must be uint8 (H, W, 3)")
        height, width = self.image.shape[:2]
        if self.depth.shape != (height, width):
            raise DataError(f"{self.name}: depth is {self.depth.shape}, its image is {(height, width)}")
        if self.camera is not None and (self.camera.height, self.camera.width) != (height, width):
            raise DataError(
                f"{self.name}: camera is {self.camera.width}x{self.camera.height}, its image is {width}x{height}"
            )

    @property
    def valid(self) -> np.ndarray:
        """Return where depth is known and finite: bool (H, W)."""
        return np.isfinite(self.depth)

    @property
    def known(self) -> np.ndarray:
        """Return where inverse depth is known, with 0 for the sky: bool (H, W)."""
        return ~np.isnan(self.depth)


def skip_reason(name: str, error: Exception) -> str:
    """Return the reason for skipping an image.

    Args:
        name: the image.
        error: the error; a `DataError` already names the file.
    """
    return str(error) if isinstance(error, DataError) else f"{name} cannot be read: {type(error).__name__}: {error}"


def read_image(path: Path, as_stored: bool = False, input_range: InputRange = AUTO) -> np.ndarray:
    """Read a picture. See `decode_image`.

    Args:
        path: the file.
        as_stored: whether to ignore the EXIF orientation.
        input_range: the mapping of 16 bits to 8 bits.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        DataError: the file is missing or damaged.
    """
    return decode_image(read_bytes(path), str(path), as_stored, input_range=input_range)


def decode_image(
    content: bytes, name: str, as_stored: bool = False, least_side: int = 0, input_range: InputRange = AUTO
) -> np.ndarray:
    """Decode a picture file.

    Args:
        content: the bytes of the file.
        name: the file in messages.
        as_stored: whether to ignore the EXIF orientation, because depth or labels match the stored pixels.
        least_side: if positive, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as long as both sides have at least
            many pixels. This takes a fraction of the time.
        input_range: the mapping of 16 bits to 8 bits.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        DataError: the file is not a picture, or is damaged or too large for the memory; the message names it.
    """
    flags = cv2.IMREAD_IGNORE_ORIENTATION if as_stored else 0
    mapper = IntensityMapper(input_range)
    try:
        bgr_seen_as_rgb = decode_rgb(content, mapper, flags | (_reduction(content, least_side) if least_side else 0))
        image = cv2.cvtColor(bgr_seen_as_rgb[..., ::-1], cv2.COLOR_BGR2RGB)
    except DamagedFileError as error:
        raise DataError(f"{name} is not a picture, or is damaged: {error}") from error
    except (cv2.error, MemoryError) as error:
        raise DataError(f"{name}: the image is too large for the memory") from error
    warn_of_file(name, mapper.note)
    warn_of_pages(name, pages_of(memoryview(content)))
    return image


def _reduction(content: bytes, least_side: int) -> int:
    """Return OpenCV's flag for the smallest size of a JPEG that still has ``least_side``."""
    if not content.startswith(b"\xff\xd8"):
        return 0
    try:
        side = min(extent_of_file(memoryview(content)).size)
    except DamagedFileError:  # decoding reports it
        return 0
    for factor, flag in _REDUCTIONS.items():
        if side // factor >= least_side:
            return flag
    return 0


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as stored, of any bit depth and number of channels. Raises `DataError` like `read_image`."""
    return decode_picture(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Read a file. Raises `DataError`, naming it, if it is missing."""
    try:
        return read_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except DamagedFileError as error:
        raise DataError(f"cannot read {str(path)!r}: {error}") from error


def decode_picture(content: bytes, name: str, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """Decode a picture file as stored, or with other OpenCV flags.

    Args:
        content: the bytes of the file.
        name: the file in messages.
        flags: OpenCV's flags of `cv2.imdecode`.

    Raises:
        DataError: the file is not a picture, or is damaged; the message names it.
    """
    try:
        return decode_file(content, flags)
    except DamagedFileError as error:
        raise DataError(f"{name} is not a picture, or is damaged: {error}") from error


def as_png(image: np.ndarray) -> bytes:
    """Encode RGB uint8 (H, W, 3) as PNG."""
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def as_jpeg(image: np.ndarray) -> bytes:
    """Encode RGB uint8 (H, W, 3) as JPEG."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
