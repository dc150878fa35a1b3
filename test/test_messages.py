"""Messages to pixels and cameras, and arrays to messages; without a graph."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from sensor_msgs.msg import CameraInfo, Image, PointField, RegionOfInterest
from std_msgs.msg import Header

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.nodes.conversions import (
    ENCODINGS,
    BadImageError,
    CameraInfoError,
    camera_info_for,
    camera_of,
    rgb_view,
)
from depth_anything_ros.nodes.frame_slot import FrameSlot
from depth_anything_ros.nodes.messages import OutputMessages

CHANNEL_ORDERS = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "8UC3": (2, 1, 0),
    "rgba8": (0, 1, 2, 3),
    "bgra8": (2, 1, 0, 3),
}


def image_message(rgb: np.ndarray, encoding: str, padding: int = 0, whole_last_row: bool = True) -> Image:
    """An Image of these pixels, with so many stray bytes after each row."""
    height, width = rgb.shape[:2]
    if encoding == "mono8":
        rows = rgb[..., 0]
    else:
        rgba = np.concatenate([rgb, np.full((height, width, 1), 77, np.uint8)], axis=2)
        rows = rgba[..., CHANNEL_ORDERS[encoding]].reshape(height, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    data = padded.tobytes()
    message = Image(height=height, width=width, encoding=encoding, step=padded.shape[1])
    message.data.frombytes(data if whole_last_row else data[: len(data) - padding])
    return message


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), padding=st.integers(0, 5), whole_last_row=st.booleans())
def test_every_encoding_reads_as_rgb(encoding, height, width, padding, whole_last_row):
    rgb = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    if encoding == "mono8":
        rgb[...] = rgb[..., :1]
    message = image_message(rgb, encoding, padding, whole_last_row)
    assert np.array_equal(rgb_view(message), rgb)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_pixels_are_viewed_and_not_copied(encoding):
    message = image_message(np.zeros((4, 5, 3), np.uint8), encoding, padding=2)
    view = rgb_view(message)
    np.frombuffer(message.data, np.uint8)[...] = 200
    assert np.all(view == 200)


@pytest.mark.parametrize(
    ("changes", "cause", "complaint"),
    [
        ({"encoding": "yuv422_yuy2"}, "encoding yuv422_yuy2", "not understood; have the camera publish one of rgb8"),
        ({"encoding": ""}, "encoding ", "not understood"),
        ({"height": 0}, "zero size", "5x0"),
        ({"width": 0}, "zero size", "0x4"),
        ({"step": 14}, "step", "step is 14 bytes, but 5 pixels of rgb8 take 15"),
        ({"step": 16}, "data size", "60 bytes, but 4 rows of step 16 are 64"),
        ({"height": 3}, "data size", "60 bytes, but 3 rows of step 15 are 45"),
        ({"height": 2**31, "step": 2**31}, "data size", "60 bytes"),
    ],
)
def test_images_that_contradict_themselves_are_refused(changes, cause, complaint):
    message = image_message(np.zeros((4, 5, 3), np.uint8), "rgb8")
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(BadImageError, match=complaint) as refusal:
        rgb_view(message)
    assert refusal.value.cause == cause


def camera_info(width: int = 640, height: int = 480, **fields: object) -> CameraInfo:
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.0])
    info.header = Header(frame_id="lens")
    info.k = [500.5, 0.0, 321.25, 0.0, 502.5, 239.75, 0.0, 0.0, 1.0]
    info.r = np.eye(3).ravel()
    info.p = [480.0, 0.0, 318.0, -24.0, 0.0, 481.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def test_camera_info_of_the_same_size_goes_through_unchanged():
    info = camera_info()
    assert camera_info_for(info, (480, 640), (480, 640), rectified=True) == info


def test_camera_info_is_scaled_exactly():
    info = camera_info()
    scaled = camera_info_for(info, (480, 640), (120, 320), rectified=True)
    assert (scaled.width, scaled.height) == (320, 120)
    k, p = info.k, info.p
    expected_k = [k[0] / 2, 0, (k[2] + 0.5) / 2 - 0.5, 0, k[4] / 4, (k[5] + 0.5) / 4 - 0.5, 0, 0, 1]
    assert scaled.k == pytest.approx(expected_k)
    expected_p = [p[0] / 2, 0, (p[2] + 0.5) / 2 - 0.5, p[3] / 2, 0, p[5] / 4, (p[6] + 0.5) / 4 - 0.5, 0, 0, 0, 1, 0]
    assert scaled.p == pytest.approx(expected_p)
    assert (scaled.header, scaled.distortion_model, scaled.d.tolist()) == (info.header, "plumb_bob", info.d.tolist())
    assert camera_of(scaled) == Camera(320, 120, *(scaled.p[index] for index in (0, 5, 2, 6)))
    assert info == camera_info()  # the given message is left alone


def test_a_raw_image_has_the_geometry_of_k():
    raw = camera_info_for(camera_info(), (480, 640), (480, 640), rectified=False)
    assert camera_of(raw) == Camera(640, 480, 500.5, 502.5, 321.25, 239.75)
    assert np.array_equal(raw.r, np.eye(3).ravel())


def test_k_stands_in_for_a_p_that_is_not_filled_in():
    info = camera_info_for(camera_info(p=[0.0] * 12), (480, 640), (480, 640), rectified=True)
    assert camera_of(info) == Camera(640, 480, 500.5, 502.5, 321.25, 239.75)


def test_binning_and_region_of_interest_are_applied():
    """Sensor pixels 100 … 499 across, binned by 2: sensor pixel 100.5 lies at the centre of image pixel 0."""
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=400, height=300)
    info = camera_info(roi=roi, binning_x=2, binning_y=3)
    result = camera_info_for(info, (100, 200), (100, 200), rectified=True)
    by_hand = Camera(640, 480, 480.0, 481.0, 318.0, 241.0).cropped(100, 40, 400, 300).resized(200, 100)
    camera = camera_of(result)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(
        (by_hand.fx, by_hand.fy, by_hand.cx, by_hand.cy)
    )
    assert (result.width, result.height, result.binning_x, result.binning_y) == (200, 100, 0, 0)
    assert result.roi == RegionOfInterest()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"k": [0.0] * 9}, "uncalibrated"),
        ({"width": 641}, "for 641x480 pixels, but the image has 640x480"),
        ({"width": 0, "height": 0}, "for 0x0 pixels"),
        ({"binning_x": 2, "binning_y": 2}, "for 320x240 pixels"),
        ({"k": [float("nan")] * 9}, "not finite"),
        ({"p": [500.0, 0.0, float("inf"), 0.0, 0.0, 500.0, *[0.0] * 6]}, "not finite"),
    ],
)
def test_camera_info_that_cannot_serve_the_image_is_refused(fields, complaint):
    with pytest.raises(CameraInfoError, match=complaint):
        camera_info_for(camera_info(**fields), (480, 640), (480, 640), rectified=True)


def test_output_messages_describe_their_bytes():
    messages = OutputMessages(height=5, width=7, stride=2)
    header = Header(frame_id="lens")
    for reusable, encoding, pixel_bytes in (
        (messages.depth, "32FC1", 4),
        (messages.inverse_depth, "32FC1", 4),
        (messages.colour, "bgr8", 3),
    ):
        image = reusable.stamped(header)
        assert (image.header, image.height, image.width, image.encoding) == (header, 5, 7, encoding)
        assert (image.step, len(image.data)) == (7 * pixel_bytes, 5 * 7 * pixel_bytes)
        assert image.is_bigendian == (sys.byteorder == "big")
    messages.depth.pixels[4, 6] = 1.5
    assert np.frombuffer(messages.depth.message.data, np.float32)[-1] == 1.5

    cloud = messages.points.stamped(header)
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (3, 4, 16, 64)
    assert (len(cloud.data), cloud.is_dense, cloud.header) == (3 * 64, False, header)
    assert [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields] == [
        (name, offset, PointField.FLOAT32, 1) for name, offset in (("x", 0), ("y", 4), ("z", 8), ("rgb", 12))
    ]
    assert messages.fit(5, 7, 2)
    assert not messages.fit(5, 7, 1)


def test_the_slot_keeps_the_latest_frame():
    slot: FrameSlot[int] = FrameSlot()
    assert [slot.put(number) for number in (1, 2, 3)] == [False, True, True]
    assert slot.take() == 3
    assert slot.put(4) is False
    slot.close()
    assert slot.take() is None
