"""Labeling: images a second of S and L on one GPU, what bounds them, and what 62 million images would take."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

from benchmarks.gpu.commands import command
from benchmarks.gpu.models import checkpoint
from benchmarks.gpu.parts import correlated, part
from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import StepContext
from benchmarks.train.labeling import PAPER, time_parts, write_shards
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.sources import read_numbered
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.cpu_cores import usable_cores

COUNTS = {"vits": 1504, "vitl": 376}
DRY_COUNTS = {"tiny": 16}
IMAGE = (375, 500)


def run(place: StepContext, results: Results) -> None:
    """See the module."""
    counts = DRY_COUNTS if place.is_dry else COUNTS
    place.folder.mkdir(parents=True, exist_ok=True)
    shards = write_shards(place.folder, max(counts.values()), (48, 64) if place.is_dry else IMAGE)
    for encoder, count in counts.items():
        with part(results, f"labels by {encoder}"):
            _rate(encoder, count, shards, place, results)


def _rate(encoder: str, count: int, shards: Path, place: StepContext, results: Results) -> None:
    teacher = checkpoint(encoder, place.folder.parent / "models", place.encoder)
    size = 56 if place.is_dry else 518
    arguments = argparse.Namespace(teacher=str(teacher), size=size, device=place.device, resolution="image")
    parts = time_parts(arguments, shards, place.folder, count=1)
    output, told = place.folder / f"labels_{encoder}", place.folder / f"{encoder}.json"
    shards_labeled = max(1, round(8 * count / max(DRY_COUNTS["tiny"], *COUNTS.values())))
    words = ("label", shards, "--teacher", teacher, "--output", output, "--size", size, "--device", place.device)
    done = subprocess.run(command(*words, "--json", told, "--limit-shards", shards_labeled), check=False)
    results.check(f"{encoder} labels", done.returncode == 0, f"status {done.returncode}")
    found = json.loads(told.read_text())
    rate = found["images"] / found["seconds"]
    cores = usable_cores()
    bound = {
        "decoding and encoding": 1e3 * cores / (parts["decode"] + parts["encode"]),
        "network": 1e3 / parts["network"],
    }
    results.add(
        "Labels",
        model=encoder,
        images=found["images"],
        images_a_second=rate,
        **{f"{name}, ms": value for name, value in parts.items()},
        bounded_by=min(bound, key=bound.get),
        at_most=min(bound.values()),
        days_for_62_million=PAPER / rate / 86400,
    )
    sample = read_numbered(ShardSource(shards, output), 0)
    expected = Estimator(teacher, "torch", size=teacher_size(sample.image.shape[:2], size), gated=False)
    judged = correlated(expected.estimate(sample.image), 0.98)
    results.judge(f"labels of {encoder} are the teacher's maps", sample.inverse_depth, judged)


def teacher_size(image: tuple[int, int], short: int) -> tuple[int, int]:
    """(height, width) in multiples of 14 of about the image's proportions, with this short side."""
    scale = short / min(image)
    return tuple(14 * max(1, round(side * scale / 14)) for side in image)
