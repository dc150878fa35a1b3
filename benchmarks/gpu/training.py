"""Training: the speed of stages of each size, their utilization of the GPU, and the resumption of a killed run."""

from __future__ import annotations

import argparse
import json
import subprocess
import time

import numpy as np
import torch

from benchmarks.gpu.commands import train_small
from benchmarks.gpu.machine import DRY_SIDES
from benchmarks.gpu.parts import near, part
from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import StepContext
from benchmarks.train.stages import measure, measured_peak, pack_photographs, stage_of
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.training.distributed.devices import open_fabric
from depth_anything_ros.training.distributed.placement import Placement

IMAGES = {"vits": 96, "vitb": 48, "vitl": 24}
"""Images per step, by encoder."""
STAGES = ("teacher", "student")
RUNS = [(encoder, stage) for encoder in ("vits", "vitl", "vitb") for stage in STAGES]
DRY_RUNS = [("tiny", "teacher")]
ENOUGH = 0.45
"""Share of the measured peak below which a stage is profiled."""
STEPS = 8
"""Steps of a run that is killed and resumed."""


def run(context: StepContext, results: Results) -> None:
    """Measure the stages, then interrupted and sharded runs."""
    context.folder.mkdir(parents=True, exist_ok=True)
    pack_photographs(context.folder)
    precision = "32-true" if context.is_dry else "bf16-mixed"
    dtype = torch.float32 if context.is_dry else torch.bfloat16
    peak = measured_peak(torch.device(context.device), dtype, DRY_SIDES if context.is_dry else ())
    slow = []
    runs = DRY_RUNS if context.is_dry else RUNS
    for encoder, stage in runs:
        with part(results, f"{stage} {encoder}"):
            if _rate(encoder, stage, False, precision, peak, context, results) < ENOUGH:
                slow.append((encoder, stage))
    with part(results, "undisturbed, killed and sharded runs"):
        _interrupted_and_sharded(context, results)
    for encoder, stage in [] if context.is_dry else runs:
        with part(results, f"{stage} {encoder}, compiled"):
            _rate(encoder, stage, True, precision, peak, context, results)
    for encoder, stage in slow:
        with part(results, f"{stage} {encoder}, profiled"):
            _rate(encoder, stage, False, precision, peak, context, results, profiled=True)


def _rate(
    encoder: str,
    stage: str,
    compiled: bool,
    precision: str,
    peak: float,
    context: StepContext,
    results: Results,
    profiled: bool = False,
) -> float:
    """Measure or profile a stage, and return its share of the peak."""
    name = f"{stage}_{encoder}{'_compiled' if compiled else ''}{'_profiled' if profiled else ''}"
    arguments = argparse.Namespace(
        images=2 if context.is_dry else IMAGES[encoder],
        size=28 if context.is_dry else 518,
        workers=0 if context.is_dry else usable_cores(),
        steps=2 if context.is_dry or profiled else 10,
        precision=precision,
        compile=compiled,
        profile=context.folder / "profiles" if profiled else None,
    )
    configuration = stage_of(stage, encoder, context.folder, arguments)
    fabric = open_fabric(configuration.run, context.device, Placement())
    found = measure(configuration, context.folder / name, fabric, peak, arguments)
    if profiled:
        text = (arguments.profile / f"{stage}_{encoder}.txt").read_text()
        with (context.output / "profiles.txt").open("a") as file:
            file.write(f"==== {stage} {encoder}, {found.utilization:.0%} of the peak\n{text}\n")
        results.note(f"{stage} {encoder} is below {ENOUGH:.0%} of the peak; profiles.txt has the times of its parts.")
        return found.utilization
    results.add(
        "Rates, images per second",
        stage=stage,
        model=encoder,
        compiled="yes" if compiled else "no",
        images=found.images,
        data_from_shards=found.data_alone,
        step_from_memory=found.step_alone,
        together=found.together,
        waiting=found.waiting,
        utilized=found.utilization,
    )
    return found.utilization


def _start(context: StepContext, name: str, **settings: object) -> subprocess.Popen:
    """Start a short teacher stage by the command itself, in the folder ``name``. ``settings``: of its ``run``."""
    data = {
        "labeled": [{"shards": str(context.folder / "shards")}],
        "labeled_batch_size": 1 if context.is_dry else 8,
        "sizes": [[28, 28]] if context.is_dry else [[140, 182]],
        "workers": 0 if context.is_dry else 2,
    }
    optimizer = {"steps": STEPS, "warmup_steps": 2}
    return subprocess.Popen(
        train_small(context, name, data=data, optimizer=optimizer, run={"save_every": 2, **settings})
    )


def _losses(context: StepContext, name: str) -> np.ndarray:
    """Return the loss of each step, (steps,). A resumed run repeats some steps; the last entry counts."""
    losses = {}
    for line in (context.folder / name / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "loss" in entry:
            losses[entry["step"]] = sum(entry["loss"].values())
    return np.array([losses[step] for step in sorted(losses)])


def _interrupted_and_sharded(context: StepContext, results: Results) -> None:
    """Run three stages at once: one undisturbed, one killed after a saved state and restarted, one sharded."""
    alone, killed, sharded = (
        _start(context, name, **settings)
        for name, settings in (("undisturbed", {}), ("killed", {}), ("sharded", {"strategy": "fsdp"}))
    )
    states, ends = context.folder / "killed" / "states", time.monotonic() + results.seconds_left / 2
    while killed.poll() is None and not list(states.glob("state_*4.pt")) and time.monotonic() < ends:
        time.sleep(0.02)
    saved = sorted(path.name for path in states.glob("state_*.pt"))
    results.check("the run was killed before its end", killed.poll() is None and saved, f"it had saved {saved}")
    killed.kill()
    killed.wait()
    again = _start(context, "killed")
    alone.wait(timeout=results.seconds_left / 2)
    for process, name, off, title in (
        (again, "killed", 0.02, "a killed run has the losses of an undisturbed one"),
        (sharded, "sharded", 0.05, "FSDP2 on one device has the losses of one process"),
    ):
        with part(results, title):
            process.wait(timeout=results.seconds_left / 2)
            results.judge(title, _losses(context, name), near(_losses(context, "undisturbed"), off))
