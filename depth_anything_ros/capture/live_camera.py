"""Open and read a webcam or a network stream through OpenCV."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.images.video_files import quiet_opencv

STREAM_TIMEOUT_MILLISECONDS = 5000
"""Longest time to open a network stream or to read a frame before the camera counts as lost."""
RATE_TOLERANCE = 0.05
"""Fraction by which a driver's rate may fall short of the requested one: 29.97 counts as 30."""
MOST_HERTZ = 1000.0
"""Rates above are a stream's time base, not its rate."""
DEVICES = Path("/dev")
WITHOUT_CAMERA = "or give a video or a picture as source; `depth_anything_ros demo` needs no camera"

_FORMATS = {
    **dict.fromkeys(("mjpeg", "mjpg", "jpeg", "mjpeg2rgb", "raw_mjpeg"), "MJPG"),
    **dict.fromkeys(("yuyv", "yuy2", "yuv422_yuy2", "yuyv2rgb"), "YUYV"),
    **dict.fromkeys(("uyvy", "uyvy2rgb"), "UYVY"),
}
"""FourCC codes by their names in V4L2, ROS and usb_cam."""


class SourceError(RuntimeError):
    """A source cannot be read. The message names the source and the fix."""


def without_password(source: str) -> str:
    """Return a source as logs may show it, without the user and password of a URL."""
    return re.sub(r"(?<=://)[^/@]*@", "", source)


def video_device(source: str) -> int | None:
    """Return the N of /dev/videoN for a number, that path or a link to it (/dev/v4l/by-id/…); None for others."""
    if source.isdecimal():
        return int(source)
    if source.startswith("/dev/"):
        match = re.fullmatch(r"/dev/video(\d+)", str(Path(source).resolve()))
        if match:
            return int(match.group(1))
    return None


def four_characters(pixel_format: str) -> str:
    """Return the FourCC of a pixel format: mjpeg, yuyv, uyvy or a FourCC itself; "" for "auto" and "".

    Raises `ValueError` for any other text.
    """
    if pixel_format in ("", "auto"):
        return ""
    name = _FORMATS.get(pixel_format.lower(), pixel_format)
    if len(name) != 4 or not name.isascii() or not name.isprintable():
        raise ValueError(
            f"pixel_format is {pixel_format!r}, must be auto, mjpeg, yuyv, uyvy or a FourCC of four characters; "
            "`v4l2-ctl --list-formats-ext` lists them, and an empty value keeps the driver's format"
        )
    return name


class LiveCamera:
    """A live camera. Frames arrive at its own pace, and it can disappear and come back.

    Args:
        source: a device number, /dev/videoN or a URL.
        warn: receives a warning if a webcam's driver sets another mode than the requested one.
        width: of a webcam's image in pixels; 0 keeps the driver's.
        height: of a webcam's image in pixels; 0 keeps the driver's.
        rate: frames per second to request from a webcam; 0 keeps the driver's.
        pixel_format: see `four_characters`. "auto" requests Motion JPEG: USB 2 carries 1280x720 at 30 Hz as JPEG,
            but at only 10 Hz uncompressed, which is OpenCV's default.

    Attributes:
        name: the source as logs may show it.
        mode: the mode that a webcam's driver has set, as text; "" for a stream.
        stated_rate: frames per second that the driver or the stream states; 0 if it states none.

    Raises:
        SourceError: the camera cannot be opened.
        ValueError: ``pixel_format`` is invalid.
    """

    def __init__(
        self,
        source: str,
        warn: Callable[[str], None],
        width: int = 0,
        height: int = 0,
        rate: float = 0.0,
        pixel_format: str = "auto",
    ) -> None:
        self.name = without_password(source)
        self.mode, self.stated_rate = "", 0.0
        self._address = source
        self._device = video_device(source)
        self._warn = warn
        self._size, self._rate = (width, height), rate
        self._format = four_characters(pixel_format)
        self._requested_format = "MJPG" if pixel_format == "auto" else self._format
        self._capture: cv2.VideoCapture | None = None
        self.open()

    def open(self) -> None:
        """Open the camera, or reopen it. Raises `SourceError`."""
        self.close()
        with quiet_opencv():
            if self._device is None:
                capture = self._open_stream()
            else:
                capture = self._open_device(self._device)
                self._set_mode(capture)
            rate = capture.get(cv2.CAP_PROP_FPS)
        self.stated_rate = rate if 0 < rate <= MOST_HERTZ else 0.0
        self._capture = capture

    def _open_stream(self) -> cv2.VideoCapture:
        has_timeouts = hasattr(cv2, "CAP_PROP_OPEN_TIMEOUT_MSEC")  # OpenCV 4.5.2; older ones block for 30 seconds
        if has_timeouts and cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends():
            timeouts = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
            settings = [number for name in timeouts for number in (name, STREAM_TIMEOUT_MILLISECONDS)]
            capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, settings)
        else:
            capture = cv2.VideoCapture(self._address)
        if not capture.isOpened():
            raise SourceError(f"stream {self.name} cannot be opened; check the address, the password and the network")
        return capture

    def _open_device(self, index: int) -> cv2.VideoCapture:
        device = DEVICES / f"video{index}"
        present = ", ".join(sorted(str(path) for path in DEVICES.glob("video*"))) or "none"
        if DEVICES.is_dir() and not device.exists():
            raise SourceError(
                f"camera {self.name}: there is no {device} (present: {present}); plug it in, choose another, "
                f"{WITHOUT_CAMERA}"
            )
        if device.exists() and not os.access(device, os.R_OK | os.W_OK):
            raise SourceError(
                f"camera {self.name}: no permission to use {device}; join its group: usermod -aG video USER"
            )
        for backend in (cv2.CAP_V4L2, cv2.CAP_ANY):  # GStreamer takes no FourCC, and CAP_ANY tries it first
            if backend == cv2.CAP_ANY or backend in cv2.videoio_registry.getCameraBackends():
                capture = cv2.VideoCapture(index, backend)
                if capture.isOpened():
                    return capture
        raise SourceError(
            f"camera {self.name} cannot be opened; is another program using it? Some cameras have a second device that "
            f"gives no images (present: {present}); choose another, {WITHOUT_CAMERA}"
        )

    def _set_mode(self, capture: cv2.VideoCapture) -> None:
        """Set format, size and rate, in the order in which no setting resets another."""
        if self._requested_format:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._requested_format))
        sides = (cv2.CAP_PROP_FRAME_WIDTH, self._size[0]), (cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        for setting, value in (*sides, (cv2.CAP_PROP_FPS, self._rate)):
            if value:
                capture.set(setting, value)
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        name = b"".join(bytes([(code >> shift) & 0xFF]) for shift in (0, 8, 16, 24)).decode("latin-1").strip("\0 ")
        size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate_text = f"{rate:g} Hz" if rate > 0 else "unknown rate"
        self.mode = f"{size[0]}x{size[1]} {name or 'of unknown format'}, {rate_text}"
        unmet = self._unmet(name, size, rate)
        if unmet:
            remedy = "request a mode that `v4l2-ctl --list-formats-ext` lists"
            if "MJPG" not in (name, self._requested_format):
                remedy = "set pixel_format to mjpeg, or request a smaller size"
            self._warn(f"camera {self.name}: requested {unmet}, but the driver gives {self.mode}; {remedy}")

    def _unmet(self, name: str, size: tuple[int, int], rate: float) -> str:
        """Return the requests that the driver did not meet, as text. An unreported format or rate counts as met."""
        unmet = []
        if self._format and name and name != self._format:
            unmet.append(self._format)
        if any(requested not in (0, side) for requested, side in zip(self._size, size, strict=True)):
            unmet.append("x".join(str(requested or "any") for requested in self._size))
        if rate > 0 and rate < (1 - RATE_TOLERANCE) * self._rate:
            unmet.append(f"{self._rate:g} Hz")
        return ", ".join(unmet)

    def grab(self) -> bool:
        """Wait for the next frame without decoding it. Return False if the camera is lost."""
        return self._capture is not None and self._capture.grab()

    def retrieve(self) -> np.ndarray | None:
        """Decode the grabbed frame: uint8 BGR (H, W, 3), newly allocated; None if it cannot be decoded."""
        decoded, image = (False, None) if self._capture is None else self._capture.retrieve()
        return image if decoded else None

    def close(self) -> None:
        """Release the camera."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
