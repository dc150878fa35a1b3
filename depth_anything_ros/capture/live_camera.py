"""A webcam or a network stream, through OpenCV: opening it, in the mode that is asked for, and reading it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.images.video_files import quiet_opencv

STREAM_TIMEOUT_MILLISECONDS = 5000
"""How long a network stream may take to open or to give its next frame before it counts as lost."""
RATE_TOLERANCE = 0.05
"""Share by which a driver's rate may be less than what was asked for: 29.97 is as good as 30."""
DEVICES = Path("/dev")
WITHOUT_CAMERA = "or give a video or a picture as source; `depth_anything_ros demo` needs no camera"

_FORMATS = {
    **dict.fromkeys(("mjpeg", "mjpg", "jpeg", "mjpeg2rgb", "raw_mjpeg"), "MJPG"),
    **dict.fromkeys(("yuyv", "yuy2", "yuv422_yuy2", "yuyv2rgb"), "YUYV"),
    **dict.fromkeys(("uyvy", "uyvy2rgb"), "UYVY"),
}
"""FourCCs by their names in V4L2, ROS and usb_cam."""


class SourceError(RuntimeError):
    """A source cannot be read; the message names it and what to do."""


def without_password(source: str) -> str:
    """A source as logs may show it: user and password of a URL left out."""
    return re.sub(r"(?<=://)[^/@]*@", "", source)


def video_device(source: str) -> int | None:
    """The N of /dev/videoN that a number, that path or a link to it (/dev/v4l/by-id/…) means; None for others."""
    if source.isdecimal():
        return int(source)
    if source.startswith("/dev/"):
        match = re.fullmatch(r"/dev/video(\d+)", str(Path(source).resolve()))
        if match:
            return int(match.group(1))
    return None


def four_characters(pixel_format: str) -> str:
    """The FourCC of a pixel format: mjpeg, yuyv, uyvy, or a FourCC itself; "" for "auto" and "", which name none.

    Raises `ValueError`.
    """
    if pixel_format in ("", "auto"):
        return ""
    name = _FORMATS.get(pixel_format.lower(), pixel_format)
    if len(name) != 4 or not name.isascii() or not name.isprintable():
        raise ValueError(
            f"pixel_format is {pixel_format!r}, must be auto, mjpeg, yuyv, uyvy or a FourCC of four characters, as "
            "`v4l2-ctl --list-formats-ext` tells; empty: as the driver has it"
        )
    return name


class LiveCamera:
    """Frames come when they come, and the camera may be lost and come back.

    Args:
        source: a number, /dev/videoN or a URL.
        warn: is told where a webcam's driver gives another mode than is asked for.
        width, height: of a webcam's image in pixels; 0: its own.
        rate: frames per second to ask a webcam for; 0: its own.
        pixel_format: as `four_characters` takes it. With "auto" a webcam is asked for Motion JPEG: USB 2 carries
            1280x720 at 30 Hz in JPEG, but only 10 Hz uncompressed, which OpenCV takes first.

    Attributes:
        name: the source as logs may show it.
        mode: what a webcam's driver has set, in words; "" for a stream.

    Raises `SourceError` or `ValueError`.
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
        self.mode = ""
        self._address = source
        self._device = video_device(source)
        self._warn = warn
        self._size, self._rate = (width, height), rate
        self._format = four_characters(pixel_format)
        self._asked_format = "MJPG" if pixel_format == "auto" else self._format
        self._capture: cv2.VideoCapture | None = None
        self.open()

    def open(self) -> None:
        """Opens the camera, or opens it again. Raises `SourceError`."""
        self.close()
        with quiet_opencv():
            if self._device is None:
                capture = self._open_stream()
            else:
                capture = self._open_device(self._device)
                self._set_mode(capture)
        self._capture = capture

    def _open_stream(self) -> cv2.VideoCapture:
        has_timeouts = hasattr(cv2, "CAP_PROP_OPEN_TIMEOUT_MSEC")  # OpenCV 4.5.2; without, lost means half a minute
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
                f"camera {self.name}: there is no {device} (present: {present}); plug it in, name another, "
                f"{WITHOUT_CAMERA}"
            )
        if device.exists() and not os.access(device, os.R_OK | os.W_OK):
            raise SourceError(
                f"camera {self.name}: no permission to use {device}; join its group: usermod -aG video USER"
            )
        for backend in (cv2.CAP_V4L2, cv2.CAP_ANY):  # GStreamer, which comes first where it is there, takes no FourCC
            if backend == cv2.CAP_ANY or backend in cv2.videoio_registry.getCameraBackends():
                capture = cv2.VideoCapture(index, backend)
                if capture.isOpened():
                    return capture
        raise SourceError(
            f"camera {self.name} cannot be opened; is another program using it? Some cameras have a second device that "
            f"gives no images (present: {present}); name another, {WITHOUT_CAMERA}"
        )

    def _set_mode(self, capture: cv2.VideoCapture) -> None:
        """Asks the driver for format, size and rate, in the order in which one does not undo another."""
        if self._asked_format:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._asked_format))
        wishes = (cv2.CAP_PROP_FRAME_WIDTH, self._size[0]), (cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        for setting, wish in (*wishes, (cv2.CAP_PROP_FPS, self._rate)):
            if wish:
                capture.set(setting, wish)
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        name = b"".join(bytes([(code >> shift) & 0xFF]) for shift in (0, 8, 16, 24)).decode("latin-1").strip("\0 ")
        size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        rate = capture.get(cv2.CAP_PROP_FPS)
        said_rate = f"{rate:g} Hz" if rate > 0 else "unknown rate"
        self.mode = f"{size[0]}x{size[1]} {name or 'of unknown format'}, {said_rate}"
        missed = self._missed(name, size, rate)
        if missed:
            remedy = "ask for what it has, as `v4l2-ctl --list-formats-ext` tells"
            if "MJPG" not in (name, self._asked_format):
                remedy = "set pixel_format to mjpeg, or ask for a smaller size"
            self._warn(f"camera {self.name}: asked for {missed}, but the driver gives {self.mode}; {remedy}")

    def _missed(self, name: str, size: tuple[int, int], rate: float) -> str:
        """What was asked for and is not had, in words. A driver that does not tell its format or rate is believed."""
        missed = []
        if self._format and name and name != self._format:
            missed.append(self._format)
        if any(wish not in (0, side) for wish, side in zip(self._size, size, strict=True)):
            missed.append("x".join(str(wish or "any") for wish in self._size))
        if rate > 0 and rate < (1 - RATE_TOLERANCE) * self._rate:
            missed.append(f"{self._rate:g} Hz")
        return ", ".join(missed)

    def grab(self) -> bool:
        """Waits for the next frame without decoding it; False if the camera is lost."""
        return self._capture is not None and self._capture.grab()

    def retrieve(self) -> np.ndarray | None:
        """The frame that was grabbed, uint8 BGR (H, W, 3), newly allocated; None if it cannot be decoded."""
        decoded, image = (False, None) if self._capture is None else self._capture.retrieve()
        return image if decoded else None

    def close(self) -> None:
        """Lets go of the camera."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
