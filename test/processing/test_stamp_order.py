"""Timestamps of one camera: duplicates and late images are dropped, jumps in time are followed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.processing.stamp_order import MAX_DISORDER, MAX_LATE_IN_A_ROW, StampOrder

SECOND = 10**9
stamps = st.integers(1, 4 * SECOND)


def faults(*sequence: int) -> list[str | None]:
    order = StampOrder()
    return [order.fault(stamp) for stamp in sequence]


def test_increasing_stamps_pass():
    assert faults(1, 2, 3 * SECOND, 90 * SECOND) == [None] * 4


def test_duplicate_stamp_is_dropped():
    assert faults(5, 5, 5, 6, 6) == [None, "duplicate stamp", "duplicate stamp", None, "duplicate stamp"]


def test_late_stamp_and_its_duplicate_are_dropped():
    assert faults(10, 7, 7, 11) == [None, "out of order", "duplicate stamp", None]


def test_zero_stamp_passes_and_leaves_order_unchanged():
    assert faults(0, 0, 10, 0, 0, 9, 0, 11) == [None] * 5 + ["out of order", None, None]


def test_large_jump_back_is_followed_at_once():
    order = StampOrder()
    newest = 100 * SECOND
    assert order.fault(newest) is None
    assert order.fault(newest - MAX_DISORDER) == "out of order"
    assert order.jumps == 0
    assert order.fault(newest - MAX_DISORDER - 1) is None
    assert order.jumps == 1
    assert order.fault(newest - MAX_DISORDER) is None


def test_small_jump_back_is_followed_after_images_in_a_row():
    newest = 100 * SECOND
    late = [newest - SECOND // 2 + number for number in range(MAX_LATE_IN_A_ROW + 2)]
    assert faults(newest, *late) == [None] + ["out of order"] * (MAX_LATE_IN_A_ROW - 1) + [None] * 3


def test_late_images_among_newer_ones_are_no_jump():
    order = StampOrder()
    for number in range(1, 50):
        assert order.fault(10 * number) is None
        assert order.fault(10 * number - 5) == "out of order" or number == 1
    assert order.jumps == 0


def test_any_stamp_passes_after_reset():
    order = StampOrder()
    order.fault(10)
    order.reset()
    assert order.fault(10) is None


@given(st.lists(stamps, max_size=40))
def test_passed_stamps_increase_except_at_jumps(sequence):
    order, last = StampOrder(), 0
    for stamp in sequence:
        jumps = order.jumps
        if order.fault(stamp) is None:
            assert stamp > last or order.jumps == jumps + 1
            last = stamp
        else:
            assert order.jumps == jumps
            assert stamp <= last


@given(st.lists(stamps, max_size=20), stamps)
def test_continuing_camera_passes_after_few_images(history, start):
    """Whatever came before, and wherever it goes on."""
    order = StampOrder()
    for stamp in history:
        order.fault(stamp)
    following = [order.fault(start + number * SECOND // 30) for number in range(MAX_LATE_IN_A_ROW + 2)]
    assert following[-1] is None
