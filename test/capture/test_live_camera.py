"""A webcam's mode: the requests to its driver, their order, and the messages about the result.

Without a webcam, a capture that follows the rules of OpenCV's V4L2 replaces only `cv2.VideoCapture`.
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
    """A UVC camera behind OpenCV's V4L2: a format resets the size, a size the rate, and both sides are needed."""

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
        """Do nothing."""


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev with one webcam, some of whose devices give no images."""
    monkeypatch.setattr(live_camera, "DEVICES", tmp_path)
    monkeypatch.setattr(Webcam, "opened_with", [])
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    for name in ("video0", "video1"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("pixel_format", ["auto", "mjpeg", "MJPG"])
def test_webcam_mjpeg_is_requested_for_full_rate(devices: Path, pixel_format: str) -> None:
    said: list[str] = []
    camera = LiveCamera("0", said.append, 1280, 720, 30.0, pixel_format)
    assert (camera.mode, said) == ("1280x720 MJPG, 30 Hz", [])
    assert Webcam.opened_with == [(0, cv2.CAP_V4L2)]  # GStreamer would take no FourCC


def test_impossible_rate_of_format_warns(devices: Path) -> None:
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
def test_webcam_mode_differing_from_request_warns(devices, monkeypatch, wishes: tuple, mode: str, missed: str) -> None:
    monkeypatch.setattr(Webcam, "modes", YUYV_ALONE)
    said: list[str] = []
    camera = LiveCamera("0", said.append, *wishes)
    assert camera.mode == mode
    assert len(said) == bool(missed)
    assert all(missed in text and "v4l2-ctl --list-formats-ext" in text for text in said)


def test_reconnected_webcam_gets_request_again(devices: Path) -> None:
    camera = LiveCamera("0", pytest.fail, 1280, 720, 30.0)
    camera.open()
    assert camera.mode == "1280x720 MJPG, 30 Hz"


def test_pixel_format_names_and_codes_are_parsed() -> None:
    assert [four_characters(name) for name in ("auto", "", "mjpeg2rgb", "yuyv", "GRAY", "H264")] == [
        *("", "", "MJPG", "YUYV", "GRAY", "H264")
    ]
    for name in ("bgr", "motion jpeg", "日本語字"):
        with pytest.raises(ValueError, match="must be auto, mjpeg, yuyv, uyvy or a FourCC"):
            four_characters(name)


def test_invalid_pixel_format_raises_for_any_source(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match="pixel_format is 'jpge2000'"):
        open_source(str(tmp_path / "picture.png"), pytest.fail, pixel_format="jpge2000")


def test_missing_webcam_error_lists_present_ones(devices: Path) -> None:
    with pytest.raises(SourceError) as error:
        LiveCamera("7", pytest.fail)
    for part in (
        f"no {devices}/video7",
        f"(present: {devices}/video0, {devices}/video1)",
        "a video or a picture",
        "demo",
    ):
        assert part in str(error.value)


def test_webcam_without_images_error_lists_others(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Webcam, "isOpened", lambda _: False)
    with pytest.raises(SourceError, match=r"camera 1 cannot be opened.*present: .*video0.*a video or a picture"):
        LiveCamera("1", pytest.fail)
    assert Webcam.opened_with[0] == (1, cv2.CAP_V4L2)


def test_video_device_recognizes_webcams() -> None:
    assert [video_device(source) for source in ("0", "/dev/video3", "/dev/null", "3.mp4")] == [0, 3, None, None]
