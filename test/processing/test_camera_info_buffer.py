"""Matching camera_info to images, in either order of arrival and with lost messages."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.processing.camera_info_buffer import CAPACITY, MAX_UNMATCHED, CameraInfoBuffer


def info(stamp: int, width: int = 0) -> CameraInfo:
    message = CameraInfo(width=width)
    message.header.stamp.sec = stamp
    return message


def paired() -> CameraInfoBuffer:
    buffer = CameraInfoBuffer()
    buffer.put(info(1))
    assert buffer.match((1, 0)).header.stamp.sec == 1
    return buffer


def test_empty_buffer_matches_none():
    assert CameraInfoBuffer().match((1, 0)) is None


def test_match_prefers_equal_stamp_over_latest():
    buffer = CameraInfoBuffer()
    for stamp in (1, 2, 3):
        buffer.put(info(stamp))
    assert buffer.match((2, 0)).header.stamp.sec == 2
    assert buffer.match((9, 0)).header.stamp.sec == 3


@pytest.mark.parametrize("learns", [paired, CameraInfoBuffer], ids=["info first", "image first"])
def test_paired_camera_info_is_awaited_until_it_arrives(learns):
    buffer = learns()
    if learns is CameraInfoBuffer:
        assert not buffer.awaits((1, 0))
        assert buffer.match((1, 0)) is None
        buffer.put(info(1))
    assert buffer.awaits((2, 0))
    buffer.put(info(2, width=7))
    assert not buffer.awaits((2, 0))
    assert buffer.match((2, 0)).width == 7


def test_one_lost_camera_info_keeps_pairing():
    buffer = paired()
    assert buffer.match((2, 0)).header.stamp.sec == 1
    assert buffer.awaits((3, 0))
    buffer.put(info(3))
    assert buffer.match((3, 0)).header.stamp.sec == 3


def test_unmatched_images_end_pairing():
    buffer = paired()
    for stamp in range(2, 2 + MAX_UNMATCHED):
        assert buffer.awaits((stamp, 0))
        buffer.match((stamp, 0))
    assert not buffer.awaits((99, 0))
    buffer.clear()
    assert buffer.match((1, 0)) is None


def test_latched_camera_info_matches_every_image():
    buffer = CameraInfoBuffer()
    buffer.put(info(0, width=5))
    assert buffer.match((3, 0)).width == 5
    assert not buffer.awaits((4, 0))


@given(st.lists(st.integers(1, 2 * CAPACITY), min_size=1, max_size=4 * CAPACITY))
def test_buffer_keeps_latest_messages_for_any_stamps(stamps):
    """A short bag that starts again sends the same stamps again."""
    buffer = CameraInfoBuffer()
    for number, stamp in enumerate(stamps):
        buffer.put(info(stamp, width=number))
    for stamp in set(stamps[-CAPACITY:]):
        last = len(stamps) - 1 - stamps[::-1].index(stamp)
        assert buffer.match((stamp, 0)).width == last
    assert len(buffer._by_stamp) <= CAPACITY
