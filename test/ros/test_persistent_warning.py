"""When a problem is logged, and when it is logged again."""

from __future__ import annotations

import itertools

from depth_anything_ros.ros.depth_node.persistent_warning import PersistentWarning


def named(causes: PersistentWarning, looks: list[str | None]) -> list[int]:
    return [number for number, cause in enumerate(looks) if causes.should_report(cause)]


def test_lasting_problem_warns_once():
    assert named(PersistentWarning(), ["a", "a", None, "a", "a", "a", "a", "a"]) == [5]
    assert named(PersistentWarning(patience=1), ["a", "a", "b", "b", None]) == [0, 2]


def test_alternating_problems_warn_once_each():
    looks = [*"aaabbb"] * 20
    assert named(PersistentWarning(), looks) == [2, 5]


def test_intermittent_problem_warns_once():
    assert named(PersistentWarning(patience=1), ["a", None] * 1000) == [0]
    assert named(PersistentWarning(), ["a", "a", "a", None] * 1000) == [2]


def test_returning_problem_warns_at_doubled_intervals():
    gaps = [away for away in range(1, 200) for _ in range(3)]
    looks = [look for away in gaps for look in ("a", *[None] * away)]
    times = named(PersistentWarning(patience=1), looks)
    between = [second - first for first, second in itertools.pairwise(times)]
    assert 5 <= len(times) <= 8
    assert all(gap > 2**count for count, gap in enumerate(between, 1))


def test_problem_after_long_absence_warns_again():
    looks = ["a"] * 3 + [None] * 6 + ["a"] * 3 + [None] * 11 + ["a"] * 3 + [None] * 12 + ["a"] * 3
    assert named(PersistentWarning(), looks) == [2, 11, 40]


def test_warnings_are_limited_to_maximum():
    looks = [str(number // 3) for number in range(3000)]
    assert len(named(PersistentWarning(), looks)) == PersistentWarning.MAX_REPORTED
