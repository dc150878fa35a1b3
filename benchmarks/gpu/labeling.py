"""Labeling: images per second of S and L on one GPU, their bottleneck, and the time for 62 million images."""

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


def run(context: StepContext, results: Results) -> None:
    """Measure labeling by each teacher."""
    counts = DRY_COUNTS if context.is_dry else COUNTS
    context.folder.mkdir(parents=True, exist_ok=True)
    shards = write_shards(context.folder, max(counts.values()), (48, 64) if context.is_dry else IMAGE)
    for encoder, count in counts.items():
        with part(results, f"labels by {encoder}"):
            _rate(encoder, count, shards, context, results)


def _rate(encoder: str, count: int, shards: Path, context: StepContext, results: Results) -> None:
    teacher = checkpoint(encoder, context.folder.parent / "models", context.encoder)
    size = 56 if context.is_dry else 518
    arguments = argparse.Namespace(teacher=str(teacher), size=size, device=context.device, resolution="image")
    parts = time_parts(arguments, shards, context.folder, count=1)
    output, report = context.folder / f"labels_{encoder}", context.folder / f"{encoder}.json"
    shards_labeled = max(1, round(8 * count / max(DRY_COUNTS["tiny"], *COUNTS.values())))
    words = ("label", shards, "--teacher", teacher, "--output", output, "--size", size, "--device", context.device)
    done = subprocess.run(command(*words, "--json", report, "--limit-shards", shards_labeled), check=False)
    results.check(f"{encoder} labels", done.returncode == 0, f"status {done.returncode}")
    labeled = json.loads(report.read_text())
    rate = labeled["images"] / labeled["seconds"]
    cores = usable_cores()
    bound = {
        "decoding and encoding": 1e3 * cores / (parts["decode"] + parts["encode"]),
        "network": 1e3 / parts["network"],
    }
    results.add(
        "Labels",
        model=encoder,
        images=labeled["images"],
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
    """Return (height, width) in multiples of 14, of about the image's aspect ratio.

    Args:
        image: (height, width) of the image.
        short: the short side of the result.
    """
    scale = short / min(image)
    return tuple(14 * max(1, round(side * scale / 14)) for side in image)
