"""The steps of `names.py`, each in its own process."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from names_data import PER_FOLDER, make_tree
from names_memory import MIB, Row, measured, proportional

from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.sources import block_and_index
from depth_anything_ros.training.input.mixture import Mixture
from depth_anything_ros.training.validation.choice import choose

VALIDATION = 400
DRAWN, APART = 350, 250
"""Samples that each process draws, and their distance: they are in more blocks than a process caches."""


def open_set(kind: str, data: str) -> Callable[[Path, int], list[Row]]:
    """Return a step that opens an unpacked set.

    Args:
        kind: Kind of set, for the title.
        data: name of the data.
    """

    def step(folder: Path, count: int) -> list[Row]:
        rows: list[Row] = []
        with measured(rows, f"open a {kind}"):
            source = SetSource(find_set("list" if data.endswith(".txt") else "folder"), folder / data)
        rows[-1]["names"] = sum(source.blocks)
        source._names.save(folder / f"{data} names")  # so that the training does not search again
        return rows

    return step


def open_shards(folder: Path, count: int) -> list[Row]:
    """Open shards, mix them, draw at step 0 and at a late step, and choose validation images.

    Args:
        folder: Folder of all data.
        count: number of names.
    """
    rows: list[Row] = []
    with measured(rows, "open shards"):
        source = ShardSource(folder / "shards")
    with measured(rows, "order of samples, first and 10⁹th"):
        mixture = Mixture([source], seed=0)
        found = [mixture._order[position] for position in (0, 1, 10**9, 10**9 + 1)]
    assert len(set(found)) == 4
    with measured(rows, f"choose {VALIDATION} validation images"):
        indices = [block_and_index(source, number) for number in choose([source], VALIDATION)[0]]
    assert len(set(indices)) == min(VALIDATION, count)
    rows[0]["names"] = sum(source.blocks)
    return rows


def overlap(folder: Path, count: int) -> list[Row]:
    """Compare shards with validation images.

    Args:
        folder: Folder of all data.
        count: number of names.
    """
    from depth_anything_ros.training.input.overlap import KeptApart, shared_with

    source, validation, rows = ShardSource(folder / "shards"), SetSource(find_set("folder"), folder / "added"), []
    apart = KeptApart()
    apart.add("held out", validation, [(0, index) for index in range(VALIDATION)])
    for what in ("compare shards with validation images", "the same, as in a resumed run"):
        with measured(rows, what):
            shared_with(source, apart, workers=2)
    return rows


def train(data: str) -> Callable[[Path, int], list[Row]]:
    """Return a step that measures the names' memory in all processes of a training, above that of 1000 names."""

    def step(folder: Path, count: int) -> list[Row]:
        processes, workers = (int(os.environ[name]) for name in ("NAMES_PROCESSES", "NAMES_WORKERS"))
        began = time.monotonic()
        small = sum(_in_all(folder, f"small {data}", processes, workers))
        own, of_workers = _in_all(folder, data, processes, workers)
        what = f"train on {data}: {processes} processes, {workers} workers each"
        row = {"what": what, "seconds": time.monotonic() - began, "kept_mib": (own + of_workers - small) / MIB}
        print(f"{what}: {row['kept_mib']:.0f} MiB", file=sys.stderr, flush=True)
        return [row]

    return step


def _in_all(folder: Path, data: str, processes: int, workers: int) -> tuple[int, int]:
    """Return the bytes of all processes, and of all workers."""
    shared = folder / "shared names"
    shared.mkdir()
    if (found := folder / f"{data} names").exists():
        os.link(found, shared / "unlabeled-0")
        (shared / "unlabeled-0.version").write_text("as found")
    script = Path(__file__).with_name("names.py")
    command = [sys.executable, str(script), "--trainer", str(folder / data), "--shared", str(shared)]
    running = [
        subprocess.Popen(
            [*command, "--workers", str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    try:
        pids_of_workers = [json.loads(process.stdout.readline()) for process in running]
        shutil.rmtree(shared, ignore_errors=True)  # as `train` does
        own = sum(proportional(process.pid) for process in running)
        return own, sum(proportional(pid) for pids in pids_of_workers for pid in pids)
    finally:
        for process in running:
            process.communicate("\n")


def trainer(data: Path, shared: Path, workers: int) -> None:
    """Act as one process of a training: open a source, let workers draw samples, print their pids, and wait.

    Args:
        data: the data.
        shared: folder of shared names.
        workers: number of workers.
    """
    is_packed = (data / "manifest.json").exists()
    source = ShardSource(data) if is_packed else SetSource(find_set("folder"), data, 0, shared / "unlabeled-0")
    mixture, pids = Mixture([source], seed=0), []
    for worker in range(workers):
        reading, writing = os.pipe()
        pids.append(os.fork())
        if not pids[-1]:
            for number in range(DRAWN):
                source.sample_name(*mixture._order[worker + APART * number])
            gc.collect()  # copies the pages that it visits from the parent, as happens in every worker eventually
            os.close(writing)
            sys.stdin.read()  # until the end of the step
            os._exit(0)
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
    print(json.dumps(pids), flush=True)
    sys.stdin.readline()


def pack_again(folder: Path, count: int) -> list[Row]:
    """Pack again into complete shards, up to the first check; then pack 1000 more images.

    Args:
        folder: Folder of all data.
        count: number of names.
    """
    import webdataset  # noqa: F401 - not part of the measurement

    from depth_anything_ros.commands.packing import _Workers
    from depth_anything_ros.data.shards import pack

    rows: list[Row] = []
    with _Workers(2) as pool:
        pool.submit(int).result()
        with measured(rows, "plan a second packing: nothing new"):
            shards = pack(find_set("folder"), folder / "tree", folder / "shards", PER_FOLDER, pool, in_flight=8)
            next(shards)
        shards.close()
        make_tree(folder / "tree", PER_FOLDER, count)
        with measured(rows, "pack again with 1000 more: look at all, pack those"):
            shards = list(pack(find_set("folder"), folder / "tree", folder / "shards", PER_FOLDER, pool, in_flight=8))
        assert len(shards) == count // PER_FOLDER + 1
    return rows


def pack_new(folder: Path, count: int) -> list[Row]:
    """Pack a part, and twice as many images: the growth of the packer's memory.

    Args:
        folder: Folder of all data.
        count: number of names.
    """
    from depth_anything_ros.commands.packing import _Workers
    from depth_anything_ros.data.shards import pack

    rows, few = [], min(20_000, count // 2)
    with _Workers(2) as pool:
        pool.submit(int).result()
        for limit in (few, few, 2 * few):
            with measured(rows, f"pack {limit} images"):
                output = folder / f"packed {len(rows)}"
                list(pack(find_set("folder"), folder / "tree", output, PER_FOLDER, pool, limit, 8))
            rows[-1]["names"] = limit
    return rows[1:]  # the first run loads modules


def label(folder: Path, count: int) -> list[Row]:
    """Measure `label` before and after its work, with no, half and all labels done.

    Args:
        folder: Folder of all data.
        count: number of names.
    """
    from depth_anything_ros.pseudo_labels.completion import finish
    from depth_anything_ros.pseudo_labels.folder import Labeling
    from depth_anything_ros.pseudo_labels.report import write_report
    from depth_anything_ros.pseudo_labels.shard_writer import write_note
    from depth_anything_ros.training.settings import TeacherSettings
    from depth_anything_ros.training.teachers.identity import find_teacher

    teacher, rows = find_teacher(TeacherSettings(model="tiny")), []
    done = _labels_of_one(folder, teacher)
    for share in (0, 2, 1):
        labeling = Labeling(folder / "shards", folder / "labels", teacher)
        shards = list(labeling.shards)
        for shard in shards[: len(shards) // share] if share else ():
            if not (labeling.output / shard).exists():
                os.link(done / "shard-000000.tar", labeling.output / shard)
                noted = json.loads((done / "shard-000000.json").read_text())
                write_note(labeling, shard, {**noted, "name": shard})
        labeling = Labeling(folder / "shards", folder / "labels", teacher)
        done_share = {0: "nothing", 2: "half", 1: "all"}[share]
        with measured(rows, f"begin to label, {done_share} done"), labeling.claimed():
            left = labeling.begin()
        rows[-1]["left"] = len(left)
    with measured(rows, "manifest and report of labels"):
        report = write_report(labeling, finish(labeling))
    assert report["labels"] == count, report["labels"]
    return rows


def _labels_of_one(folder: Path, teacher: Any) -> Path:
    """Write labels of one shard: random depth. Return their folder."""
    import numpy as np

    from depth_anything_ros.data.shard_samples import keys_of
    from depth_anything_ros.pseudo_labels.chunks import Part, make_label
    from depth_anything_ros.pseudo_labels.folder import Labeling
    from depth_anything_ros.pseudo_labels.shard_writer import write_shard

    labeling = Labeling(folder / "shards", folder / "labels of one", teacher)
    labeling.begin()
    shard = next(iter(labeling.shards))
    generator = np.random.default_rng(0)
    keys = list(keys_of(labeling.images / shard))
    part = Part(
        shard,
        0,
        [make_label(key, generator.random((32, 32), np.float32) * number) for number, key in enumerate(keys, 1)],
    )
    write_shard(labeling, shard, [part])
    return labeling.output


STEPS: dict[str, Callable[[Path, int], list[Row]]] = {
    "tree": open_set("folder of folders", "tree"),
    "flat": open_set("flat folder", "flat"),
    "list": open_set("list", "list.txt"),
    "train-tree": train("tree"),
    "shards": open_shards,
    "train-shards": train("shards"),
    "overlap": overlap,
    "label": label,
    "pack": pack_new,
    "pack-again": pack_again,
}
