"""The camera_info that belongs to an image, in whatever order the two arrive, and when one gets lost."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.ros.io.camera_info_buffer import CAPACITY, MAX_UNMATCHED, CameraInfoBuffer


def info(stamp: int, width: int = 0) -> CameraInfo:
    message = CameraInfo(width=width)
    message.header.stamp.sec = stamp
    return message


def paired() -> CameraInfoBuffer:
    buffer = CameraInfoBuffer()
    buffer.put(info(1))
    assert buffer.match((1, 0)).header.stamp.sec == 1
    return buffer


def test_without_any_there_is_none_at_once():
    assert CameraInfoBuffer().match((1, 0)) is None


def test_the_partner_goes_before_the_latest():
    buffer = CameraInfoBuffer()
    for stamp in (1, 2, 3):
        buffer.put(info(stamp))
    assert buffer.match((2, 0)).header.stamp.sec == 2
    assert buffer.match((9, 0)).header.stamp.sec == 3


@pytest.mark.parametrize("learns", [paired, CameraInfoBuffer], ids=["info first", "image first"])
def test_where_they_come_in_pairs_a_partner_is_awaited_until_it_is_there(learns):
    buffer = learns()
    if learns is CameraInfoBuffer:
        assert not buffer.awaits((1, 0))
        assert buffer.match((1, 0)) is None
        buffer.put(info(1))
    assert buffer.awaits((2, 0))
    buffer.put(info(2, width=7))
    assert not buffer.awaits((2, 0))
    assert buffer.match((2, 0)).width == 7


def test_a_partner_that_got_lost_ends_no_habit():
    buffer = paired()
    assert buffer.match((2, 0)).header.stamp.sec == 1
    assert buffer.awaits((3, 0))
    buffer.put(info(3))
    assert buffer.match((3, 0)).header.stamp.sec == 3


def test_where_none_has_a_partner_none_is_awaited():
    buffer = paired()
    for stamp in range(2, 2 + MAX_UNMATCHED):
        assert buffer.awaits((stamp, 0))
        buffer.match((stamp, 0))
    assert not buffer.awaits((99, 0))
    buffer.clear()
    assert buffer.match((1, 0)) is None


def test_a_latched_camera_info_serves_every_image_and_no_other_is_awaited():
    buffer = CameraInfoBuffer()
    buffer.put(info(0, width=5))
    assert buffer.match((3, 0)).width == 5
    assert not buffer.awaits((4, 0))


@given(st.lists(st.integers(1, 2 * CAPACITY), min_size=1, max_size=4 * CAPACITY))
def test_the_latest_messages_are_kept_whatever_their_stamps(stamps):
    """A short bag that starts again sends the same stamps again."""
    buffer = CameraInfoBuffer()
    for number, stamp in enumerate(stamps):
        buffer.put(info(stamp, width=number))
    for stamp in set(stamps[-CAPACITY:]):
        last = len(stamps) - 1 - stamps[::-1].index(stamp)
        assert buffer.match((stamp, 0)).width == last
    assert len(buffer._by_stamp) <= CAPACITY
