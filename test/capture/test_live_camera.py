"""A webcam's mode: what is asked of its driver, in which order, and what is said of what it gives.

Where there is no webcam, a capture that follows the rules of OpenCV's V4L2 stands in for `cv2.VideoCapture` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from depth_anything_ros.capture import live_camera
from depth_anything_ros.capture.live_camera import LiveCamera, SourceError, four_characters, video_device
from depth_anything_ros.capture.sources import open_source

USB2 = {
    "YUYV": {(640, 480): 30.0, (1280, 720): 10.0},
    "MJPG": {(640, 480): 30.0, (1280, 720): 30.0},
}
YUYV_ALONE = {"YUYV": USB2["YUYV"]}


class Webcam:
    """A UVC camera behind OpenCV's V4L2: a format resets the size, a size the rate, and sides count only in pairs."""

    modes = USB2
    opened_with: ClassVar[list[tuple]] = []

    def __init__(self, *arguments: int) -> None:
        type(self).opened_with.append(arguments)
        self._format, self._sides, self._size, self._rate = "YUYV", {}, (640, 480), 30.0

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def set(self, setting: int, value: float) -> bool:
        if setting == cv2.CAP_PROP_FOURCC:
            name = int(value).to_bytes(4, "little").decode()
            self._format = name if name in self.modes else "YUYV"
            self._size, self._rate, self._sides = (640, 480), 30.0, {}
        elif setting in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT):
            self._sides[setting] = int(value)
            if len(self._sides) == 2:
                size = self._sides.pop(cv2.CAP_PROP_FRAME_WIDTH), self._sides.pop(cv2.CAP_PROP_FRAME_HEIGHT)
                self._size = size if size in self.modes[self._format] else (640, 480)
                self._rate = self.modes[self._format][self._size]
        elif setting == cv2.CAP_PROP_FPS:
            self._rate = min(value, self.modes[self._format][self._size])
        return True

    def get(self, setting: int) -> float:
        return {
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(self._format.encode(), "little")),
            cv2.CAP_PROP_FRAME_WIDTH: float(self._size[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(self._size[1]),
            cv2.CAP_PROP_FPS: self._rate,
        }[setting]

    def release(self) -> None:
        """Holds nothing."""


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev with one webcam, of which some devices give no images."""
    monkeypatch.setattr(live_camera, "DEVICES", tmp_path)
    monkeypatch.setattr(Webcam, "opened_with", [])
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    for name in ("video0", "video1"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("pixel_format", ["auto", "mjpeg", "MJPG"])
def test_motion_jpeg_is_asked_for_so_that_the_rate_is_had(devices: Path, pixel_format: str) -> None:
    said: list[str] = []
    camera = LiveCamera("0", said.append, 1280, 720, 30.0, pixel_format)
    assert (camera.mode, said) == ("1280x720 MJPG, 30 Hz", [])
    assert Webcam.opened_with == [(0, cv2.CAP_V4L2)]  # GStreamer would take no FourCC


def test_a_rate_that_the_format_cannot_have_is_warned_of(devices: Path) -> None:
    said: list[str] = []
    camera = LiveCamera("0", said.append, 1280, 720, 30.0, "yuyv")
    assert camera.mode == "1280x720 YUYV, 10 Hz"
    assert said == [
        "camera 0: requested 30 Hz, but the driver gives 1280x720 YUYV, 10 Hz; set pixel_format to mjpeg, or request a "
        "smaller size"
    ]


@pytest.mark.parametrize(
    ("wishes", "mode", "missed"),
    [
        ((640, 480, 30.0, "auto"), "640x480 YUYV, 30 Hz", ""),
        ((0, 0, 0.0, "auto"), "640x480 YUYV, 30 Hz", ""),
        ((640, 480, 15.0, ""), "640x480 YUYV, 15 Hz", ""),
        ((640, 480, 30.0, "mjpeg"), "640x480 YUYV, 30 Hz", "requested MJPG, but"),
        ((1280, 720, 30.0, "auto"), "1280x720 YUYV, 10 Hz", "requested 30 Hz, but"),
        ((1920, 1080, 0.0, "auto"), "640x480 YUYV, 30 Hz", "requested 1920x1080, but"),
    ],
)
def test_what_a_webcam_without_jpeg_gives_is_said(devices, monkeypatch, wishes: tuple, mode: str, missed: str) -> None:
    monkeypatch.setattr(Webcam, "modes", YUYV_ALONE)
    said: list[str] = []
    camera = LiveCamera("0", said.append, *wishes)
    assert camera.mode == mode
    assert len(said) == bool(missed)
    assert all(missed in text and "v4l2-ctl --list-formats-ext" in text for text in said)


def test_a_webcam_that_comes_back_is_asked_again(devices: Path) -> None:
    camera = LiveCamera("0", pytest.fail, 1280, 720, 30.0)
    camera.open()
    assert camera.mode == "1280x720 MJPG, 30 Hz"


def test_pixel_formats_have_names_or_are_codes() -> None:
    assert [four_characters(name) for name in ("auto", "", "mjpeg2rgb", "yuyv", "GRAY", "H264")] == [
        *("", "", "MJPG", "YUYV", "GRAY", "H264")
    ]
    for name in ("bgr", "motion jpeg", "日本語字"):
        with pytest.raises(ValueError, match="must be auto, mjpeg, yuyv, uyvy or a FourCC"):
            four_characters(name)


def test_a_wrong_pixel_format_is_refused_of_any_source(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match="pixel_format is 'jpge2000'"):
        open_source(str(tmp_path / "picture.png"), pytest.fail, pixel_format="jpge2000")


def test_a_webcam_that_is_not_there_is_named_with_those_that_are_and_with_what_needs_none(devices: Path) -> None:
    with pytest.raises(SourceError) as error:
        LiveCamera("7", pytest.fail)
    for part in (
        f"no {devices}/video7",
        f"(present: {devices}/video0, {devices}/video1)",
        "a video or a picture",
        "demo",
    ):
        assert part in str(error.value)


def test_a_device_without_images_is_named_with_the_others(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Webcam, "isOpened", lambda _: False)
    with pytest.raises(SourceError, match=r"camera 1 cannot be opened.*present: .*video0.*a video or a picture"):
        LiveCamera("1", pytest.fail)
    assert Webcam.opened_with[0] == (1, cv2.CAP_V4L2)


def test_which_sources_are_webcams() -> None:
    assert [video_device(source) for source in ("0", "/dev/video3", "/dev/null", "3.mp4")] == [0, 3, None, None]
