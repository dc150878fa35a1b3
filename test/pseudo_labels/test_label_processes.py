"""Several processes label one set: equal bytes, resumed runs, full disks, and a GPU for each process."""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("torch", reason="labeling needs the `train` extra")
pytest.importorskip("webdataset", reason="labeling needs the `train` extra")
pytest.importorskip("pydantic", reason="labeling needs the `train` extra")

from labeling_runs import CHUNK, contents, label, start, times
from waiting import limit, wait_while_running

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.own_share import choose_gpu, local_rank_of, own_task
from depth_anything_ros.data.shards import read_manifest
from depth_anything_ros.pseudo_labels.chunks import Part, make_label
from depth_anything_ros.pseudo_labels.folder import Labeling
from depth_anything_ros.pseudo_labels.shard_writer import write_shard
from depth_anything_ros.system.atomic_file import partial_of
from depth_anything_ros.system.process_rank import Task
from depth_anything_ros.training.settings import TeacherSettings
from depth_anything_ros.training.teachers.identity import find_teacher


@pytest.mark.parametrize(
    ("number", "count", "local"),
    [("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")],
)
def test_several_processes_divide_shards(shards, labels, tmp_path, number, count, local):
    """Torchrun, and srun, tell each its number in the environment."""
    environments = [{number: str(rank), count: "2", local: str(rank)} for rank in range(2)]
    processes = [start(shards, tmp_path / "out", **environment) for environment in environments]
    said = [process.communicate(timeout=limit(120))[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "2 shards to label, 20 images" in said[0]
    assert "2 shards to label, 16 images" in said[1]
    assert contents(tmp_path / "out") == contents(labels)


def test_stopped_process_resumes(shards, labels, tmp_path):
    output = tmp_path / "out"
    process = start(shards, output)
    wait_while_running(process, (output / "shard-000000.json").exists, "the first shard of labels")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=limit(120))
    assert process.returncode == 130, said
    assert "stop requested: ending after the current batch; finished shards are kept" in said
    assert not list(output.glob(".*.partial"))
    assert not (output / "manifest.json").exists()
    kept = times(output)["shard-000000.tar"]
    assert label(shards, output) == 0
    assert times(output)["shard-000000.tar"] == kept
    assert contents(output) == contents(labels)


def test_killed_process_resumes(shards, labels, tmp_path):
    output = tmp_path / "out"
    process = start(shards, output)
    wait_while_running(process, (output / "shard-000000.json").exists, "the first shard of labels")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (output / "manifest.json").exists()
    left = partial_of(output / "shard-000003.tar").name.replace(f"-{os.getpid()}-", f"-{process.pid}-")
    (output / left).write_bytes(b"half a shard")
    kept = times(output)["shard-000000.tar"]
    assert label(shards, output) == 0
    assert times(output)["shard-000000.tar"] == kept
    assert contents(output) == contents(labels)


def test_restarted_process_keeps_files_of_others(shards, tmp_path):
    """As number 1 of 1 too, in which case it is to label the same shard."""
    teacher = find_teacher(TeacherSettings(model="tiny"))
    labeling, again = (Labeling(shards, tmp_path, teacher, chunk=CHUNK) for _ in range(2))
    shard = labeling.begin(1, 2)[0]

    def parts() -> Iterator[Part]:
        for chunk in labeling.split(shard):
            if chunk.number == 1:
                assert shard in again.begin()
            yield Part(shard, chunk.number, [make_label(key, np.eye(2, dtype=np.float32)) for key in chunk.keys])

    assert write_shard(labeling, shard, parts()) is None
    assert labeling.is_done(shard)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_reported_and_keeps_finished_shards(shards, labels, tmp_path, capsys):
    output = tmp_path / "out"
    assert label(shards, output, "--limit-shards", "1") == 0
    kept = times(output)["shard-000000.tar"]
    capsys.readouterr()
    with largest_file((labels / "shard-000001.tar").stat().st_size // 2):
        assert label(shards, output) == 1
    said = capsys.readouterr().err
    assert f"labeling into {output} stopped: {output / 'shard-000001.tar'}: File too large" in said
    assert "run the same command to continue from there" in said
    assert not [path for path in output.iterdir() if "partial" in path.name or path.name.startswith("shard-000001")]
    assert label(shards, output) == 0
    assert contents(output) == contents(labels)
    assert times(output)["shard-000000.tar"] == kept


def test_benchmark_times_parts_and_extrapolates(repository, shards, tmp_path):
    spec = importlib.util.spec_from_file_location("labeling_benchmark", repository / "benchmarks/train/labeling.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    requested = {"teacher": "tiny", "size": 56, "device": "cpu", "resolution": "image", "image": (48, 64), "images": 24}
    arguments = argparse.Namespace(**requested)
    own = benchmark.write_shards(tmp_path, 24, (48, 64))
    assert read_manifest(own)["samples"] == 24
    parts = benchmark.time_parts(arguments, own, tmp_path)
    assert list(parts) == ["decode", "network", "encode"]
    assert all(value > 0 for value in parts.values())
    names = ("every core", "half of the cores", "two processes, a half each")
    rates = {
        name: {"images_per_second": rate, "core_seconds_per_image": 0.125}
        for name, rate in zip(names, (10.0, 6.0, 9.0), strict=True)
    }
    report = benchmark.summary(arguments, parts, rates, 2e5)
    assert report["efficiency_of_a_second_process"] == pytest.approx(0.75)
    hours = report["paper"]["hours_by_machines"]
    assert hours["1"] == pytest.approx(62e6 / 10 / 3600)
    assert hours["8"] == pytest.approx(62e6 / (10 * 8 * 0.75) / 3600)
    assert report["paper"]["terabytes"] == pytest.approx(12.4)
    printed = benchmark.as_tables(report)
    for words in (
        "network",
        "two processes, a half each | 9.0 | 125.0",
        "a second process adds 50 % of the first",
        "12.4 TB",
    ):
        assert words in printed


def test_process_number_selects_its_gpu():
    assert own_task({}) == Task()
    found = own_task({"RANK": "3", "WORLD_SIZE": "8"})
    assert (found.rank, found.count) == (3, 8)
    for wrong, words in (
        ({"RANK": "8", "WORLD_SIZE": "8"}, "give RANK from 0 to WORLD_SIZE - 1"),
        ({"RANK": "1"}, "give RANK from 0 to WORLD_SIZE - 1"),
        ({"RANK": "x"}, "RANK is 'x', must be a whole number"),
        ({"WORLD_SIZE": "8"}, "WORLD_SIZE is 8, but RANK is not set: set both, or neither"),
    ):
        with pytest.raises(CommandError, match=words):
            own_task(wrong)
    for environment, device, gpus, visible in (
        ({"LOCAL_RANK": "2"}, "auto", 3, "2"),
        ({"LOCAL_RANK": "2", "CUDA_VISIBLE_DEVICES": "4,6"}, "auto", 0, "4"),  # all are on the CPU
        ({"LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "4,6"}, "cuda", 2, "6"),
        ({"LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "5"}, "cuda", 1, "5"),
        ({"LOCAL_RANK": "1"}, "cpu", 0, ""),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}, "auto", 4, "1"),
        ({}, "auto", 0, None),
    ):
        choose_gpu(environment, local_rank_of(own_task(environment), environment), device, gpus)
        assert environment.get("CUDA_VISIBLE_DEVICES") == visible


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize("shown", [{}, {"CUDA_VISIBLE_DEVICES": "4,6"}])
def test_more_processes_than_gpus_are_rejected(device, shown):
    """It would be the one that labels on the CPU."""
    with pytest.raises(CommandError, match=r"process 2 .* but there are only 2 GPUs.*torchrun --nproc-per-node 2\)"):
        choose_gpu(dict(shown), 2, device, 2)
