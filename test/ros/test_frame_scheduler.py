"""The scheduler: the latest frame of each camera, no starvation, shares by priority, every drop reported."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.ros.depth_node.frame_scheduler import FrameScheduler

CAMERAS = ("a", "b", "c")


def opened(cameras: tuple[str, ...] = CAMERAS) -> FrameScheduler[int]:
    scheduler: FrameScheduler[int] = FrameScheduler(cameras)
    scheduler.open()
    return scheduler


def test_newer_frame_replaces_waiting_frame():
    scheduler = opened()
    assert scheduler.put("a", 1) is None
    assert scheduler.put("a", 2) == 1
    assert scheduler.put("b", 3) is None
    assert scheduler.take(3) == [("a", 2), ("b", 3)]
    assert scheduler.put("a", 4) is None


def test_closed_scheduler_rejects_frames_and_returns_waiting():
    scheduler = opened()
    scheduler.put("a", 1)
    scheduler.put("c", 2)
    assert scheduler.close() == ["a", "c"]
    assert scheduler.close() == []
    assert scheduler.put("a", 3) == 3
    assert scheduler.take() == []
    scheduler.open()
    scheduler.put("b", 4)
    assert scheduler.take(2) == [("b", 4)]


def test_take_waits_for_frame_or_close():
    scheduler = opened()
    taken: list[list[tuple[str, int]]] = []

    def take() -> None:
        while turns := scheduler.take():
            taken.append(turns)

    worker = threading.Thread(target=take)
    worker.start()
    scheduler.put("a", 1)
    while not taken:
        pass
    scheduler.close()
    worker.join(10.0)
    assert not worker.is_alive()
    assert taken == [[("a", 1)]]


HOURS = 1e4


def test_held_frame_blocks_no_other_camera_until_release():
    scheduler = opened()
    scheduler.put("a", 1, hold=HOURS)
    scheduler.put("b", 2)
    assert scheduler.take(3) == [("b", 2)]
    releaser = threading.Timer(0.05, scheduler.release, ["a"])
    releaser.start()
    assert scheduler.take(3) == [("a", 1)]  # waits, and is woken
    releaser.join()
    scheduler.put("a", 3, hold=HOURS)
    assert scheduler.close() == ["a"]
    assert scheduler.take() == []


def test_hold_expires_and_newer_frames_do_not_extend_it():
    scheduler = opened()
    scheduler.put("a", 1, hold=0.05)
    assert scheduler.put("a", 2, hold=HOURS) == 1
    assert scheduler.take() == [("a", 2)]
    scheduler.put("a", 3, hold=HOURS)
    assert scheduler.put("a", 4) == 3  # awaits nothing itself
    assert scheduler.take() == [("a", 4)]


@given(st.lists(st.one_of(st.sampled_from(CAMERAS), st.integers(1, 3)), max_size=60))
def test_every_frame_is_taken_or_reported_lost_in_order(steps):
    """A letter sends a frame of that camera, a number takes so many."""
    scheduler, taken, lost = opened(), [], []
    sent = 0
    for step in steps:
        if isinstance(step, str):
            sent += 1
            displaced = scheduler.put(step, sent)
            lost += [] if displaced is None else [displaced]
        elif scheduler._waiting():
            turns = scheduler.take(step)
            assert 1 <= len(turns) <= step
            assert len({camera for camera, _ in turns}) == len(turns)
            taken += turns
    while scheduler._waiting():
        taken += scheduler.take(3)
    assert sorted([frame for _, frame in taken] + lost) == list(range(1, sent + 1))
    for camera in CAMERAS:
        own = [frame for name, frame in taken if name == camera]
        assert own == sorted(own)


@given(st.lists(st.integers(1, 100), min_size=3, max_size=3), st.integers(1, 3))
def test_waiting_cameras_get_turns_by_priority(priorities, most):
    scheduler = opened()
    for camera, priority in zip(CAMERAS, priorities, strict=True):
        scheduler.prioritize(camera, priority)
    turns: Counter[str] = Counter()
    total = 3 * sum(priorities)
    for camera in CAMERAS:
        scheduler.put(camera, 0)
    while turns.total() < total:
        for camera, _ in scheduler.take(most):
            turns[camera] += 1
            scheduler.put(camera, 0)
    for camera, priority in zip(CAMERAS, priorities, strict=True):
        # Nobody is more than two of its turns ahead of the one that is due.
        assert turns[camera] == pytest.approx(turns.total() * priority / sum(priorities), abs=2 * len(CAMERAS))
        assert most > 1 or turns[camera] == pytest.approx(total * priority / sum(priorities), abs=len(CAMERAS))


def test_waiting_cameras_of_equal_priority_form_a_batch():
    scheduler = opened()
    for _ in range(20):
        for camera in CAMERAS:
            scheduler.put(camera, 0)
        assert len(scheduler.take(len(CAMERAS))) == len(CAMERAS)


@given(st.lists(st.booleans(), min_size=10, max_size=80), st.integers(1, 100))
def test_rare_camera_waits_for_one_turn_at_most(rarely, priority):
    """Of two cameras, one always waits, whatever its priority; the other sends where told, and has priority too."""
    scheduler = opened(("flood", "rare"))
    scheduler.prioritize("flood", priority)
    waited = 0
    scheduler.put("flood", 0)
    for sends in rarely:
        if sends and "rare" not in scheduler._waiting():
            scheduler.put("rare", 1)
            waited = 0
        ((camera, _),) = scheduler.take()
        if camera == "flood":
            scheduler.put("flood", 0)
            waited += "rare" in scheduler._waiting()
            assert waited <= priority + 1
        else:
            waited = 0


def test_idle_camera_accumulates_no_claim():
    scheduler = opened(("busy", "idle"))
    for _ in range(50):
        scheduler.put("busy", 0)
        scheduler.take()
    order = []
    for camera in ("busy", "idle"):
        scheduler.put(camera, 0)
    for _ in range(20):
        ((camera, _),) = scheduler.take()
        order.append(camera)
        scheduler.put(camera, 0)
    assert abs(order.count("busy") - order.count("idle")) <= 2


@pytest.mark.parametrize("most", [1, 2])
def test_raised_priority_applies_at_once(most):
    scheduler = opened(("first", "second"))
    scheduler.prioritize("first", 100)
    for camera in ("first", "second"):
        scheduler.put(camera, 0)
    for _ in range(20):
        for camera, _ in scheduler.take(most):
            scheduler.put(camera, 0)
    scheduler.prioritize("second", 100)
    turns = Counter()
    for _ in range(20):
        for camera, _ in scheduler.take(most):
            turns[camera] += 1
            scheduler.put(camera, 0)
    assert abs(turns["first"] - turns["second"]) <= 3
