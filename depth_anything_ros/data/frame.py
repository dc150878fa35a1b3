"""One image with its true depth, whatever set it came from, and the errors that reading one can meet."""

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
"""Of images that are no files of their own."""
PICTURE_ENDINGS = ("bmp", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp")
"""What the image of a sample in a shard may end with: one list for who packs, and for who reads."""

_REDUCTIONS = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


class DataError(ValueError):
    """A set is absent, incomplete or damaged; the message names the file and what was expected."""


_OF_THE_FILE = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EINVAL, None),  # a damaged file sends a reader to places that there are not; and what libraries raise
}
"""Numbers of an `OSError` that tell of a file which is absent or damaged; others tell of the disk, or of rights."""


def reraise_disk_error(error: Exception) -> None:
    """Raises `OSError` in place of an error that says nothing of the file: a failing disk, rights that lack."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno not in _OF_THE_FILE:
            raise OSError(cause.errno, str(error)) from error
        cause = cause.__cause__


@dataclass(frozen=True)
class LabeledImage:
    """One image and its true depth, on the same pixels.

    ``image``: RGB uint8 (H, W, 3). ``depth``: float32 (H, W), meters along the optical axis, or up to a factor where
    the set knows no better; NaN where unknown, +Inf for the sky. ``camera``: the intrinsics of both, None where the
    set does not tell. ``name``: the set's name and the file's, for reports.
    """

    name: str
    image: np.ndarray
    depth: np.ndarray
    camera: Camera | None = None

    def __post_init__(self) -> None:
        """Checks that image, depth and camera agree. Raises `DataError`, naming the frame."""
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise DataError(f"{self.name}: image is {self.image.dtype} {self.image.shape}, must be uint8 (H, W, 3)")
        height, width = self.image.shape[:2]
        if self.depth.shape != (height, width):
            raise DataError(f"{self.name}: depth is {self.depth.shape}, its image {(height, width)}")
        if self.camera is not None and (self.camera.height, self.camera.width) != (height, width):
            raise DataError(
                f"{self.name}: camera is {self.camera.width}x{self.camera.height}, its image {width}x{height}"
            )

    @property
    def valid(self) -> np.ndarray:
        """Where depth is known and finite: bool (H, W)."""
        return np.isfinite(self.depth)

    @property
    def known(self) -> np.ndarray:
        """Where inverse depth is known, 0 for the sky: bool (H, W)."""
        return ~np.isnan(self.depth)


def skip_reason(name: str, error: Exception) -> str:
    """What to say of an image that is left out because of this error; a `DataError` says it itself."""
    return str(error) if isinstance(error, DataError) else f"{name} cannot be read: {type(error).__name__}: {error}"


def read_image(path: Path, as_stored: bool = False, input_range: InputRange = AUTO) -> np.ndarray:
    """Reads a picture as RGB uint8 (H, W, 3); see `decode_image`. Raises `DataError` also for a file that is absent."""
    return decode_image(read_bytes(path), str(path), as_stored, input_range=input_range)


def decode_image(
    content: bytes, name: str, as_stored: bool = False, least_side: int = 0, input_range: InputRange = AUTO
) -> np.ndarray:
    """A picture's file as RGB uint8 (H, W, 3); 16 bits by ``input_range``. Raises `DataError`, naming what is none.

    An orientation tag turns it upright, unless it is wanted ``as_stored``: depth and labels lie on the stored pixels.
    With a ``least_side``, a JPEG comes at a half, a quarter or an eighth of its size, as long as neither side falls
    below that, which takes a fraction of the time: what is left out is never computed.
    """
    flags = cv2.IMREAD_IGNORE_ORIENTATION if as_stored else 0
    mapper = IntensityMapper(input_range)
    try:
        bgr_seen_as_rgb = decode_rgb(content, mapper, flags | (_reduction(content, least_side) if least_side else 0))
        image = cv2.cvtColor(bgr_seen_as_rgb[..., ::-1], cv2.COLOR_BGR2RGB)
    except DamagedFileError as error:
        raise DataError(f"{name} is not a picture, or is damaged: {error}") from error
    except (cv2.error, MemoryError) as error:
        raise DataError(f"{name}: memory does not suffice for an image of its size") from error
    warn_of_file(name, mapper.note)
    warn_of_pages(name, pages_of(memoryview(content)))
    return image


def _reduction(content: bytes, least_side: int) -> int:
    """OpenCV's flag for the smallest size of a JPEG that still has ``least_side``."""
    if not content.startswith(b"\xff\xd8"):
        return 0
    try:
        side = min(extent_of_file(memoryview(content)).size)
    except DamagedFileError:  # which decoding will say
        return 0
    for factor, flag in _REDUCTIONS.items():
        if side // factor >= least_side:
            return flag
    return 0


def read_picture(path: Path) -> np.ndarray:
    """Reads a picture as it is stored, of any depth and number of channels. Raises `DataError` as `read_image`."""
    return decode_picture(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises `DataError`, naming it, where there is none."""
    try:
        return read_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except DamagedFileError as error:
        raise DataError(f"cannot read {str(path)!r}: {error}") from error


def decode_picture(content: bytes, name: str, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """A picture's file as it is stored, or as OpenCV's flags say. Raises `DataError`, naming it, where it is none."""
    try:
        return decode_file(content, flags)
    except DamagedFileError as error:
        raise DataError(f"{name} is not a picture, or is damaged: {error}") from error


def as_png(image: np.ndarray) -> bytes:
    """RGB uint8 (H, W, 3) as a PNG file."""
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def as_jpeg(image: np.ndarray) -> bytes:
    """RGB uint8 (H, W, 3) as a JPEG file."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
