"""Labeling with Ray gives the labels of one process, without duplicate work."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("torch", reason="labeling needs the `train` extra")
pytest.importorskip("webdataset", reason="labeling needs the `train` extra")
pytest.importorskip("pydantic", reason="labeling needs the `train` extra")

from labeling_runs import BATCH, CHUNK, SIZES, decoded, label, row, times

from depth_anything_ros.data.shard_samples import keys_of
from depth_anything_ros.data.tar_members import read_member
from depth_anything_ros.pseudo_labels.chunks import Part, Problem, make_label, part_to_bytes
from depth_anything_ros.pseudo_labels.folder import Labeling, LabelingError
from depth_anything_ros.training.settings import TeacherSettings
from depth_anything_ros.training.teachers.identity import find_teacher


def test_ray_labels_equal_single_process_labels(shards, labels, tmp_path):
    """What is there already, shards and labeled chunks, is not made again."""
    ray = pytest.importorskip("ray", reason="needs the `ray` extra")
    output = tmp_path / "out"
    assert label(shards, output, "--limit-shards", "2") == 0
    kept = times(output)
    labeling = Labeling(shards, output, find_teacher(TeacherSettings(model="tiny")), "cpu", BATCH, CHUNK)
    first, second = labeling.split("shard-000003.tar")
    marked = make_label(first.keys[0], np.full(SIZES[0], 7, np.float32))
    path = labeling.part(first.shard, first.number)
    path.parent.mkdir(parents=True)
    path.write_bytes(part_to_bytes(Part(first.shard, first.number, [marked])))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        assert label(shards, output, "--ray") == 0
    finally:
        ray.shutdown()
    for name in ("shard-000000.tar", "shard-000001.tar"):
        assert times(output)[name] == kept[name]
    for name in ("shard-000002.tar", "shard-000002.json"):
        assert (output / name).read_bytes() == (labels / name).read_bytes()
    last = output / "shard-000003.tar"
    assert list(keys_of(last)) == [first.keys[0], *second.keys]
    assert (decoded(output, last.name, first.keys[0])[0] == 7).all()
    for key in second.keys:
        theirs = read_member(labels / last.name, f"{key}.depth.png")
        assert read_member(last, f"{key}.depth.png") == theirs
    assert not (output / ".parts").exists()


def test_shard_is_finished_once_for_duplicate_ray_results():
    ray_stream = pytest.importorskip("depth_anything_ros.pseudo_labels.ray_stream", reason="needs the `ray` extra")
    rows = [
        *(row("a", 0, 2), row("b", 0, 2), row("a", 0, 2), row("a", 1, 2), row("a", 0, 2), row("a", 1, 2)),
        *(row("b", 0, 0, "is gone"), row("b", 1, 2), row("b", 0, 0, "is gone"), row("a", 0, 0, "is gone")),
    ]
    seen: list[int] = []
    assert list(ray_stream.finished(rows, ["a", "b"], seen.append)) == [("a", 2), ("b", Problem("b", "is gone"))]
    assert sum(seen) == 3


def test_chunks_of_finished_shards_are_forgotten():
    """A run of millions of them lasts for weeks."""
    ray_stream = pytest.importorskip("depth_anything_ros.pseudo_labels.ray_stream", reason="needs the `ray` extra")
    shards, chunks = [f"{number}" for number in range(200)], 500
    rows = (row(shard, number, chunks) for shard in shards for number in range(chunks))
    tracemalloc.start()
    try:
        assert sum(1 for _ in ray_stream.finished(rows, shards, lambda _: None)) == len(shards)
        assert tracemalloc.get_traced_memory()[1] < 500_000  # of all it would be 8 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("resources", "device", "teachers", "said"),
    [
        ({"CPU": 8}, "cpu", 4, ""),
        ({"CPU": 8, "GPU": 3}, "cuda", 3, ""),
        ({"CPU": 8}, "cuda", None, "no GPU"),
        ({"CPU": 1}, "cpu", None, "1 processors, but needs 2"),
        ({}, "cuda", None, "no GPU"),
    ],
)
def test_number_of_ray_teachers_follows_resources(resources, device, teachers, said, caplog):
    """One that has none yet is waited for, as those that grow from nothing must be; this machine does not grow."""
    ray_stream = pytest.importorskip("depth_anything_ros.pseudo_labels.ray_stream", reason="needs the `ray` extra")
    if said:
        with pytest.raises(LabelingError, match=said):
            ray_stream.most_teachers(resources, device == "cuda", may_grow=False)
    else:
        assert ray_stream.most_teachers(resources, device == "cuda", may_grow=False) == teachers
    assert not caplog.records
    assert ray_stream.most_teachers(resources, device == "cuda", may_grow=True) is None
    assert said in caplog.text
    assert bool(said) == ("waits for machines that join" in caplog.text)


def test_ray_assembles_shard_twice_without_change(shards, labels, tmp_path):
    """The machine was lost between the shard and the answer: its chunks are gone by then."""
    ray_stream = pytest.importorskip("depth_anything_ros.pseudo_labels.ray_stream", reason="needs the `ray` extra")
    output = tmp_path / "out"
    labeling = Labeling(shards, output, find_teacher(TeacherSettings(model="tiny")), "cpu", BATCH, CHUNK)
    assert label(shards, output, "--limit-shards", "1") == 0
    before = times(output)
    assemble = ray_stream._assemble._function
    assert assemble(labeling, "shard-000000.tar", 2) is None
    assert times(output) == before


def test_missing_ray_names_extra(shards, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert label(shards, tmp_path / "out", "--ray") == 1
    assert "pip install '.[ray]'" in capsys.readouterr().err
