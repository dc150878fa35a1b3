"""Several sources as one, from real shards: each sample once per epoch, damaged ones skipped and named."""

from __future__ import annotations

import logging
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pydantic", reason="training needs the `train` extra")

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.shards import pack
from depth_anything_ros.data.tar_members import tar_members
from depth_anything_ros.training.input.mixture import MAX_DAMAGED, Mixture, open_source
from depth_anything_ros.training.settings import SourceSettings


def write_pictures(folder: Path, first: int, count: int) -> Path:
    """Write images whose every pixel is their number."""
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((2, 3, 3), number, np.uint8))
    return folder


def packed(tmp_path: Path, name: str, first: int, count: int, per_shard: int) -> Path:
    pictures, shards = write_pictures(tmp_path / f"{name}_pictures", first, count), tmp_path / name
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set("folder"), pictures, shards, per_shard, executor))
    return shards


def damage(shards: Path, number: int) -> None:
    """Overwrite an image inside its shard."""
    for shard in shards.glob("*.tar"):
        if place := tar_members(shard).get(f"{number}%2Epng.png"):
            with shard.open("r+b") as file:
                file.seek(place[0])
                file.write(b"x" * place[1])
            return
    raise AssertionError(f"no picture {number}")


def number_of(mixture: Mixture, position: int) -> int:
    return int(mixture.read(position).image[0, 0, 0])


@pytest.fixture
def three(tmp_path) -> list:
    """Images 0 to 9 and 10 to 16 in shards, 17 to 21 in a folder."""
    return [
        open_source(SourceSettings(shards=packed(tmp_path, "one", 0, 10, 4))),
        open_source(SourceSettings(shards=packed(tmp_path, "two", 10, 7, 3))),
        open_source(SourceSettings(set="folder", root=write_pictures(tmp_path / "three", 17, 5))),
    ]


def test_sources_open_as_configured(three, tmp_path):
    assert [type(source) for source in three] == [ShardSource, ShardSource, SetSource]
    assert three[0].blocks == [4, 4, 2]
    limited = open_source(SourceSettings(set="folder", root=tmp_path / "three", limit=2))
    assert limited.blocks == [2]


def test_mixture_gives_each_sample_once_per_epoch(three):
    mixture = Mixture(three, seed=1)
    assert len(mixture) == 22
    epochs = [[number_of(mixture, epoch * 22 + place) for place in range(22)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(22))
    assert epochs[0] != epochs[1] != epochs[2]
    # All blocks are open at once here, and no source is favored.
    assert len({(number >= 10) + (number >= 17) for number in epochs[0][:11]}) == 3


def test_mixture_position_is_computed_directly(three):
    mixture = Mixture(three, seed=1)
    numbers = [number_of(mixture, position) for position in range(40)]
    assert [number_of(Mixture(three, seed=1), position) for position in (39, 0, 21, 22)] == [
        numbers[position] for position in (39, 0, 21, 22)
    ]
    assert [number_of(Mixture(three, seed=2), position) for position in range(22)] != numbers[:22]


def test_damaged_sample_is_replaced_and_logged_once(three, tmp_path, caplog):
    whole = [number_of(Mixture(three, seed=1), position) for position in range(44)]
    damage(tmp_path / "two", 13)
    mixture = Mixture(three, seed=1)
    with caplog.at_level(logging.WARNING):
        numbers = [number_of(mixture, position) for position in range(43)]
    assert numbers == [whole[position + 1] if whole[position] == 13 else whole[position] for position in range(43)]
    assert Counter(numbers)[13] == 0
    (message,) = caplog.messages  # and not again in the next epoch
    assert message.startswith("left out: ")
    assert "two/shard-000001.tar: 13%2Epng.png is not a picture" in message


def test_worker_processes_log_damaged_sample_once(three, tmp_path):
    damage(tmp_path / "two", 13)
    mixture = Mixture(three, seed=1)
    read, write = os.pipe()
    for epoch in range(3):  # as workers do, which are forked
        process = os.fork()
        if not process:
            handler = logging.StreamHandler(os.fdopen(write, "w"))
            logging.getLogger("depth_anything_ros.training.input.mixture").addHandler(handler)
            for place in range(22):
                mixture.read(22 * epoch + place)
            os._exit(0)
        assert os.waitpid(process, 0)[1] == 0
    os.close(write)
    with os.fdopen(read) as said:
        assert said.read().count("13%2Epng.png is not a picture") == 1


def test_damaged_sample_of_folder_is_replaced(three, tmp_path, caplog):
    (tmp_path / "three" / "19.png").unlink()
    numbers = {number_of(Mixture(three, seed=1), position) for position in range(22)}
    assert numbers == set(range(22)) - {19}
    assert any("three/19.png: No such file" in message for message in caplog.messages)


def test_truncated_shard_is_named_and_others_are_read(three, tmp_path, caplog):
    shard = tmp_path / "one" / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    numbers = {number_of(Mixture(three, seed=1), position) for position in range(22)}
    assert numbers == set(range(22)) - {4, 5, 6, 7}
    assert len(caplog.messages) >= 4
    assert all(
        "one/shard-000001.tar" in message and "fetch it or pack it again" in message for message in caplog.messages
    )


def test_twenty_damaged_samples_in_a_row_raise(tmp_path, caplog):
    shards = packed(tmp_path, "all", 0, MAX_DAMAGED + 5, 100)
    order = [number_of(Mixture([ShardSource(shards)], 3), position) for position in range(MAX_DAMAGED + 5)]
    for number in order[2 : MAX_DAMAGED + 1]:  # one fewer than are too many
        damage(shards, number)
    assert number_of(Mixture([ShardSource(shards)], 3), 2) == order[MAX_DAMAGED + 1]
    damage(shards, order[MAX_DAMAGED + 1])
    mixture = Mixture([ShardSource(shards)], 3)
    last = rf"the last one because .*shard-000000\.tar: {order[MAX_DAMAGED + 1]}%2Epng\.png is not a picture"
    with pytest.raises(DataError, match=f"20 samples in a row cannot be read, {last}"):
        mixture.read(2)
    assert number_of(mixture, 1) == order[1]


def test_missing_or_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent does not exist"):
        open_source(SourceSettings(set="folder", root=tmp_path / "absent"))
    with pytest.raises(DataError, match=r"absent has no manifest\.json; .*data pack"):
        open_source(SourceSettings(shards=tmp_path / "absent"))
    with pytest.raises(DataError, match="there is no set 'photographs'; the sets are"):
        open_source(SourceSettings(set="photographs", root=tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty contains no picture: no file ends with "):
        open_source(SourceSettings(set="folder", root=tmp_path / "empty"))
