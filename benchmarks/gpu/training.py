"""Training: how fast stages of each size learn, what share of the GPU that is, and whether a killed run goes on."""

from __future__ import annotations

import argparse
import json
import subprocess
import time

import numpy as np
import torch

from benchmarks.gpu.commands import train_tiny
from benchmarks.gpu.machine import DRY_SIDES
from benchmarks.gpu.parts import near, part
from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import StepContext
from benchmarks.train.stages import measure, measured_peak, pack_photographs, stage_of
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.training.distributed.devices import open_fabric
from depth_anything_ros.training.distributed.placement import Placement

IMAGES = {"vits": 96, "vitb": 48, "vitl": 24}
"""Of a step, by encoder."""
STAGES = ("teacher", "student")
RUNS = [(encoder, stage) for encoder in ("vits", "vitl", "vitb") for stage in STAGES]
DRY_RUNS = [("tiny", "teacher")]
ENOUGH = 0.45
"""A share of the measured peak; below it a profile is made."""
STEPS = 8
"""Of a run that is killed and goes on."""


def run(place: StepContext, results: Results) -> None:
    """See the module."""
    place.folder.mkdir(parents=True, exist_ok=True)
    pack_photographs(place.folder)
    precision = "32-true" if place.is_dry else "bf16-mixed"
    dtype = torch.float32 if place.is_dry else torch.bfloat16
    peak = measured_peak(torch.device(place.device), dtype, DRY_SIDES if place.is_dry else ())
    slow = []
    runs = DRY_RUNS if place.is_dry else RUNS
    for encoder, stage in runs:
        with part(results, f"{stage} {encoder}"):
            if _rate(encoder, stage, False, precision, peak, place, results) < ENOUGH:
                slow.append((encoder, stage))
    with part(results, "runs that are left alone, killed, and sharded"):
        _interrupted_and_sharded(place, results)
    for encoder, stage in [] if place.is_dry else runs:
        with part(results, f"{stage} {encoder}, compiled"):
            _rate(encoder, stage, True, precision, peak, place, results)
    for encoder, stage in slow:
        with part(results, f"{stage} {encoder}, profiled"):
            _rate(encoder, stage, False, precision, peak, place, results, profiled=True)


def _rate(
    encoder: str,
    stage: str,
    compiled: bool,
    precision: str,
    peak: float,
    place: StepContext,
    results: Results,
    profiled: bool = False,
) -> float:
    """Measures a stage, or says where the time of its steps goes; the share of the peak that it reaches."""
    name = f"{stage}_{encoder}{'_compiled' if compiled else ''}{'_profiled' if profiled else ''}"
    arguments = argparse.Namespace(
        images=2 if place.is_dry else IMAGES[encoder],
        size=28 if place.is_dry else 518,
        workers=0 if place.is_dry else usable_cores(),
        steps=2 if place.is_dry or profiled else 10,
        precision=precision,
        compile=compiled,
        profile=place.folder / "profiles" if profiled else None,
    )
    configuration = stage_of(stage, encoder, place.folder, arguments)
    fabric = open_fabric(configuration.run, place.device, Placement())
    found = measure(configuration, place.folder / name, fabric, peak, arguments)
    if profiled:
        text = (arguments.profile / f"{stage}_{encoder}.txt").read_text()
        with (place.output / "profiles.txt").open("a") as file:
            file.write(f"==== {stage} {encoder}, {found.utilization:.0%} of the peak\n{text}\n")
        results.note(f"{stage} {encoder} is below {ENOUGH:.0%} of the peak; profiles.txt says where its time goes.")
        return found.utilization
    results.add(
        "Rates, images a second",
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


def _start(place: StepContext, name: str, **settings: object) -> subprocess.Popen:
    """A short teacher stage by the command itself, in the folder of that name. ``settings``: of its ``run``."""
    data = {
        "labeled": [{"shards": str(place.folder / "shards")}],
        "labeled_batch_size": 1 if place.is_dry else 8,
        "sizes": [[28, 28]] if place.is_dry else [[140, 182]],
        "workers": 0 if place.is_dry else 2,
    }
    optimizer = {"steps": STEPS, "warmup_steps": 2}
    return subprocess.Popen(train_tiny(place, name, data=data, optimizer=optimizer, run={"save_every": 2, **settings}))


def _losses(place: StepContext, name: str) -> np.ndarray:
    """(steps,): the loss of each step, by its last entry: a run that goes on repeats some."""
    found = {}
    for line in (place.folder / name / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "loss" in entry:
            found[entry["step"]] = sum(entry["loss"].values())
    return np.array([found[step] for step in sorted(found)])


def _interrupted_and_sharded(place: StepContext, results: Results) -> None:
    """Three runs at once: one is left alone, one killed when it has saved a state and run again, one is sharded."""
    alone, killed, sharded = (
        _start(place, name, **settings)
        for name, settings in (("undisturbed", {}), ("killed", {}), ("sharded", {"strategy": "fsdp"}))
    )
    states, ends = place.folder / "killed" / "states", time.monotonic() + results.seconds_left / 2
    while killed.poll() is None and not list(states.glob("state_*4.pt")) and time.monotonic() < ends:
        time.sleep(0.02)
    saved = sorted(path.name for path in states.glob("state_*.pt"))
    results.check("the run was killed in its middle", killed.poll() is None and saved, f"it had saved {saved}")
    killed.kill()
    killed.wait()
    again = _start(place, "killed")
    alone.wait(timeout=results.seconds_left / 2)
    for process, name, off, title in (
        (again, "killed", 0.02, "a run that was killed learns what it would have learned"),
        (sharded, "sharded", 0.05, "FSDP2 on one device learns what one process learns"),
    ):
        with part(results, title):
            process.wait(timeout=results.seconds_left / 2)
            results.judge(title, _losses(place, name), near(_losses(place, "undisturbed"), off))
