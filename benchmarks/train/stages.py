"""Measures training: images per second, utilization of the device, and the time that it waits for data.

    python benchmarks/train/stages.py [--encoder tiny vits] [--stage teacher student metric] [--size 518] [--images 8]
                                      [--steps 20] [--precision bf16-mixed] [--workers 2] [--accelerator auto]
                                      [--compile] [--profile DIR] [--json FILE]

Each stage runs as in `depth_anything_ros train`, on generated JPEG photographs of 640x480 with depth, packed first.
Three rates are measured: the data alone; a step alone, on a batch in device memory; both together, with the share of
time that steps wait for data. Utilization is the FLOPs of a step per second, relative to the best matrix product in the
same precision on this device. The FLOPs are matrix products and convolutions, forward and backward, including teacher
and frozen encoder (`torch.utils.flop_counter`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.shards import pack
from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.distributed.devices import open_fabric
from depth_anything_ros.training.distributed.placement import Placement
from depth_anything_ros.training.distributed.precision import native_precision
from depth_anything_ros.training.input.batch import Batch
from depth_anything_ros.training.input.batches import open_batches
from depth_anything_ros.training.input.samples import open_data
from depth_anything_ros.training.loop import Training
from depth_anything_ros.training.run.folder import StageFolder
from depth_anything_ros.zoo.encoders import ENCODERS
from depth_anything_ros.zoo.record import ModelRecord

PHOTOGRAPHS = 64
WARM_UP = 3
PEAK_SIDES = (1024, 2048, 4096, 8192)


@dataclass(frozen=True)
class Result:
    """One stage with one encoder; rates are images per second."""

    stage: str
    encoder: str
    size: int
    images: int
    data_alone: float
    step_alone: float
    together: float
    waiting: float
    gigaflops_of_a_step: float
    utilization: float


def main() -> int:
    """Measure, print a table, write JSON."""
    arguments = _arguments()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack_photographs(folder)
        settings = stage_of("teacher", "tiny", folder, arguments).run
        fabric = open_fabric(settings, arguments.accelerator, Placement())
        peak = measured_peak(fabric.device, torch.bfloat16 if "bf16" in arguments.precision else torch.float32)
        print(f"{fabric.device}, {arguments.precision}: matrix products reach {peak / 1e12:.3f} TFLOP/s", flush=True)
        print(HEADING, flush=True)
        for encoder in arguments.encoder:
            for stage in arguments.stage:
                configuration = stage_of(stage, encoder, folder, arguments)
                rows.append(measure(configuration, folder / f"{stage}_{encoder}", fabric, peak, arguments))
                print(_line(rows[-1]), flush=True)
    if arguments.json:
        report = {"device": str(fabric.device), "precision": arguments.precision, "peak_flops": peak}
        report["rows"] = [vars(row) for row in rows]
        atomic_write(arguments.json, json.dumps(report, indent=2).encode())
    return 0


def pack_photographs(folder: Path) -> None:
    """Write images with photographic detail and depth, and pack them into shards."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "depth").mkdir()
    for number in range(PHOTOGRAPHS):
        coarse = generator.integers(0, 256, (24, 32, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image = np.clip(image + generator.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"images/{number:03d}.jpg"), image)
        depth = cv2.resize(generator.uniform(1, 40, (12, 16)).astype(np.float32), (640, 480))
        np.save(folder / f"depth/{number:03d}.npy", depth)
    declared = DepthSet(
        *("photographs", "drawn photographs", "", "", "images/{name}.jpg"),
        depths="depth/{name}.npy",
        read_depth=lambda path, size: np.load(path),
    )
    with ThreadPoolExecutor(2) as pool:
        list(pack(declared, folder, folder / "shards", PHOTOGRAPHS, pool))


def stage_of(stage: str, encoder: str, folder: Path, arguments: argparse.Namespace) -> StageConfiguration:
    """Return the configuration of a stage on the photographs.

    Args:
        stage: its kind.
        encoder: its size.
        folder: Folder of the photographs.
        arguments: the command line.
    """
    source = [{"shards": str(folder / "shards")}]
    unlabeled = {"teacher": 0, "metric": 0, "student": 2 * arguments.images // 3, "distil": arguments.images}[stage]
    data: dict[str, Any] = {"sizes": [[arguments.size, arguments.size]], "workers": arguments.workers}
    for kind, count in (("labeled", arguments.images - unlabeled), ("unlabeled", unlabeled)):
        if count:
            data |= {kind: source, f"{kind}_batch_size": count}
    values = {
        "stage": stage,
        "name": "benchmark",
        "network": {"encoder": encoder, "version": "v2", "max_depth": 80.0 if stage == "metric" else None},
        "data": data,
        "optimizer": {"steps": 10**6},
        "run": {"precision": arguments.precision, "compile": arguments.compile, "save_every": 10**6},
    }
    if unlabeled:
        values["teacher"] = {"model": str(_random_teacher(folder, encoder)), "version": "v2"}
    return StageConfiguration.from_dictionary(values)


def _random_teacher(folder: Path, encoder: str) -> Path:
    """Write a teacher of the student's size, with random weights: its labels do not matter here."""
    path = folder / f"teacher_{encoder}.safetensors"
    if not path.exists():
        record = ModelRecord("teacher", "inverse_depth", "none", encoder=encoder, version="v2")
        save_checkpoint(DepthAnything(encoder, "v2"), record, path)
    return path


def measure(
    configuration: StageConfiguration, folder: Path, fabric: Fabric, peak: float, arguments: argparse.Namespace
) -> Result:
    """Measure one stage: the data alone, the step alone, both.

    Args:
        configuration: Configuration of the stage.
        folder: new folder of the run.
        fabric: Fabric of the device.
        peak: FLOP/s of the best matrix product.
        arguments: the command line.
    """
    folder.mkdir()
    training = Training(configuration, open_data(configuration), StageFolder(folder), fabric)
    images = configuration.data.labeled_batch_size + configuration.data.unlabeled_batch_size
    loader = open_batches(configuration, training.samples, 0)
    batches = iter(loader)
    data_seconds = _seconds(lambda: next(batches), arguments.steps, fabric)
    batch = next(batches).to(fabric.device)
    with FlopCounterMode(display=False) as counter:
        training.train_step(repeat(batch))
    step_seconds = _seconds(lambda: training.train_step(repeat(batch)), arguments.steps, fabric)
    if arguments.profile:
        _profile(training, batch, arguments.profile / f"{configuration.stage}_{configuration.network.encoder}")
    timed = TimedBatches(batches, fabric.device)
    for _ in range(WARM_UP):
        training.train_step(timed)
    timed.waited = 0.0
    together = _seconds(lambda: training.train_step(timed), arguments.steps, fabric, warmup=0)
    return Result(
        configuration.stage,
        configuration.network.encoder,
        arguments.size,
        images,
        images / data_seconds,
        images / step_seconds,
        images / together,
        timed.waited / (together * arguments.steps),
        counter.get_total_flops() / 1e9,
        counter.get_total_flops() / step_seconds / peak,
    )


class TimedBatches:
    """Batches on a device, with the seconds of waiting for them."""

    def __init__(self, batches: Iterator[Batch], device: torch.device) -> None:
        self._batches, self._device = batches, device
        self.waited = 0.0

    def __iter__(self) -> TimedBatches:
        return self

    def __next__(self) -> Batch:
        started = time.perf_counter()
        batch = next(self._batches)
        self.waited += time.perf_counter() - started
        return batch.to(self._device)


def _seconds(call: Any, count: int, fabric: Fabric, warmup: int = WARM_UP) -> float:
    """Return the mean seconds of one call, until the device has finished."""
    for _ in range(warmup):
        call()
    synchronize(fabric.device)
    started = time.perf_counter()
    for _ in range(count):
        call()
    synchronize(fabric.device)
    return (time.perf_counter() - started) / count


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured_peak(device: torch.device, dtype: torch.dtype, sides: Sequence[int] = ()) -> float:
    """Return the best FLOP/s of square matrix products.

    Args:
        device: that computes.
        dtype: Data type of the matrices.
        sides: Sides of the matrices; default: several large ones.
    """
    best = 0.0
    for side in sides or (PEAK_SIDES if device.type == "cuda" else PEAK_SIDES[:2]):
        left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        for _ in range(3):
            left @ right
        synchronize(device)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < 0.5:
            for _ in range(10 if device.type == "cuda" else 1):
                left @ right
                count += 1
            synchronize(device)
        best = max(best, 2 * side**3 * count / (time.perf_counter() - started))
    return best


def _profile(training: Training, batch: Batch, path: Path) -> None:
    """Write the time of a step's operations, as a table and as a trace for Perfetto."""
    path.parent.mkdir(parents=True, exist_ok=True)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
    with profile(activities=activities) as profiled:
        for _ in range(3):
            training.train_step(repeat(batch))
    key = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    atomic_write(path.with_suffix(".txt"), profiled.key_averages().table(sort_by=key, row_limit=40).encode())
    profiled.export_chrome_trace(str(path.with_suffix(".trace.json")))


HEADING = (
    f"{'stage':<9}{'encoder':<9}{'size':>5}{'images':>8}{'data/s':>9}{'step/s':>9}{'both/s':>9}{'waiting':>9}"
    f"{'GFLOP':>9}{'utilized':>10}"
)


def _line(row: Result) -> str:
    rates = f"{row.data_alone:>9.1f}{row.step_alone:>9.1f}{row.together:>9.1f}"
    shares = f"{row.waiting:>9.1%}{row.gigaflops_of_a_step:>9.0f}{row.utilization:>10.1%}"
    return f"{row.stage:<9}{row.encoder:<9}{row.size:>5}{row.images:>8}{rates}{shares}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    encoders, kinds = ["tiny", "vits"], ["teacher", "student", "metric"]
    parser.add_argument("--encoder", nargs="+", choices=list(ENCODERS), default=encoders, help="default: tiny vits")
    stages = [*kinds, "distil"]
    parser.add_argument("--stage", nargs="+", choices=stages, default=kinds, help=f"default: {' '.join(kinds)}")
    parser.add_argument("--size", type=int, default=518, help="side of the crops (default: 518)")
    parser.add_argument("--images", type=int, default=6, help="images per step, of all kinds (default: 6)")
    parser.add_argument("--steps", type=int, default=20, help="number of timed steps (default: 20)")
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed"), help="default: the device's fast one, as in training"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that load data (default: 2)")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--compile", action="store_true", help="compile the network")
    parser.add_argument("--profile", type=Path, metavar="DIR", help="write the times of a step's operations here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    arguments = parser.parse_args()
    arguments.precision = arguments.precision or native_precision(arguments.accelerator).name
    return arguments


if __name__ == "__main__":
    sys.exit(main())
