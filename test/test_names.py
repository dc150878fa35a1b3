"""Names of a set: what was put in comes out, in little memory, which processes share."""

from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import pytest

from depth_anything_ros.data.names import BLOCK, Names, once

FOUND = ["", "a.jpg", "b/ö€😀.png", os.fsdecode(b"b/not utf-8 \xff.png"), "b/line\nbreak.jpg", "c.jpg"]


def many(count: int) -> list[str]:
    generator = random.Random(0)
    return [f"n{number // 1000:08d}/n{number // 1000:08d}_{generator.randrange(10**6)}.JPEG" for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_names_come_out_as_they_went_in(tmp_path: Path, count: int) -> None:
    expected = (FOUND + many(count))[:count]
    Names(iter(expected)).save(tmp_path / "names")
    for names in (Names(expected), Names.open(tmp_path / "names")):
        assert len(names) == count
        assert list(names) == expected
        assert [names[index] for index in range(count)] == expected
        assert [names[-1 - index] for index in range(count)] == expected[::-1]
        for beyond in (count, -1 - count):
            with pytest.raises(IndexError, match=f"there are {count} names"):
                names[beyond]


def test_a_name_takes_less_than_its_text() -> None:
    expected = many(100_000)
    tracemalloc.start()
    try:
        names = Names(iter(expected))
        assert tracemalloc.get_traced_memory()[0] < 0.4 * sum(map(len, expected))
        assert tracemalloc.get_traced_memory()[1] < 0.5 * sum(map(len, expected))
    finally:
        tracemalloc.stop()
    assert names[99_999] == expected[-1]


def test_saved_names_stay_when_their_file_is_removed(tmp_path: Path) -> None:
    Names(FOUND).save(tmp_path / "names")
    names = Names.open(tmp_path / "names")
    (tmp_path / "names").unlink()
    assert list(names) == FOUND


def test_processes_of_one_machine_look_through_a_set_once(tmp_path: Path) -> None:
    shared, looks = tmp_path / "shared" / "labelled-0", []

    def look() -> tuple[Names, str]:
        looks.append(1)
        return Names(FOUND), "a version"

    for _ in range(3):
        names, version = once(look, shared)
        assert (list(names), version) == (FOUND, "a version")
    assert len(looks) == 1
    assert list(once(look, None)[0]) == FOUND
    assert len(looks) == 2


def test_where_nothing_can_be_shared_each_looks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    names, _ = once(lambda: (Names(FOUND), ""), tmp_path / "file" / "labelled-0")
    assert list(names) == FOUND
    assert "names of images are not shared with other processes" in caplog.text
