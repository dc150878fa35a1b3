"""The camera_info that belongs to an image, in whatever order the two arrive, and when one gets lost."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.nodes.camera_info_buffer import KEPT, MOST_ALONE, PATIENCE, CameraInfoBuffer


def info(stamp: int, width: int = 0) -> CameraInfo:
    message = CameraInfo(width=width)
    message.header.stamp.sec = stamp
    return message


def seconds_of(buffer: CameraInfoBuffer, stamp: int) -> float:
    started = time.monotonic()
    buffer.match((stamp, 0))
    return time.monotonic() - started


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
def test_a_partner_that_comes_a_moment_later_is_awaited(learns):
    buffer = learns()
    if learns is CameraInfoBuffer:
        assert buffer.match((1, 0)) is None
        buffer.put(info(1))
    sender = threading.Timer(PATIENCE / 10, lambda: buffer.put(info(2, width=7)))
    sender.start()
    assert buffer.match((2, 0)).width == 7
    sender.join()


def test_a_partner_that_got_lost_is_awaited_no_longer_than_the_patience_and_no_habit_is_lost():
    buffer = paired()
    assert PATIENCE <= seconds_of(buffer, 2) < 20 * PATIENCE
    sender = threading.Timer(PATIENCE / 10, lambda: buffer.put(info(3)))
    sender.start()
    assert buffer.match((3, 0)).header.stamp.sec == 3
    sender.join()


def test_where_none_has_a_partner_nobody_waits():
    buffer = paired()
    for stamp in range(2, 2 + MOST_ALONE):
        buffer.match((stamp, 0))
    assert seconds_of(buffer, 99) < PATIENCE
    buffer.clear()
    assert buffer.match((1, 0)) is None


def test_a_latched_camera_info_serves_every_image_without_waiting():
    buffer = CameraInfoBuffer()
    buffer.put(info(0, width=5))
    assert buffer.match((3, 0)).width == 5
    assert seconds_of(buffer, 4) < PATIENCE


@given(st.lists(st.integers(1, 2 * KEPT), min_size=1, max_size=4 * KEPT))
def test_the_latest_messages_are_kept_whatever_their_stamps(stamps):
    """A short bag that starts again sends the same stamps again."""
    buffer = CameraInfoBuffer()
    for number, stamp in enumerate(stamps):
        buffer.put(info(stamp, width=number))
    for stamp in set(stamps[-KEPT:]):
        last = len(stamps) - 1 - stamps[::-1].index(stamp)
        assert buffer.match((stamp, 0)).width == last
    assert len(buffer._by_stamp) <= KEPT
