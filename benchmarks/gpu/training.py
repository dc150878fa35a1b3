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
from benchmarks.gpu.steps import Place
from benchmarks.train.stages import measure, measured_peak, pack_photographs, stage_of
from depth_anything_ros.cores import usable_cores
from depth_anything_ros.training.devices import open_fabric
from depth_anything_ros.training.placement import Placement

IMAGES = {"vits": 96, "vitb": 48, "vitl": 24}
"""Of a step, by encoder."""
STAGES = ("teacher", "student")
RUNS = [(encoder, stage, compiled) for compiled in (False, True) for encoder in IMAGES for stage in STAGES]
DRY_RUNS = [("tiny", "teacher", False)]
ENOUGH = 0.45
"""A share of the measured peak; below it a profile is made."""
STEPS = 8
"""Of a run that is killed and goes on."""


def run(place: Place, results: Results) -> None:
    """See the module."""
    place.folder.mkdir(parents=True, exist_ok=True)
    pack_photographs(place.folder)
    with part(results, "a run that is killed goes on"):
        _kill_and_resume(place, results)
    with part(results, "FSDP2 on one device"):
        _fsdp(place, results)
    precision = "32-true" if place.is_dry else "bf16-mixed"
    dtype = torch.float32 if place.is_dry else torch.bfloat16
    peak = measured_peak(torch.device(place.device), dtype, DRY_SIDES if place.is_dry else ())
    for encoder, stage, compiled in DRY_RUNS if place.is_dry else RUNS:
        with part(results, f"{stage} {encoder}{', compiled' if compiled else ''}"):
            _rate(encoder, stage, compiled, precision, peak, place, results)


def _rate(
    encoder: str, stage: str, compiled: bool, precision: str, peak: float, place: Place, results: Results
) -> None:
    arguments = argparse.Namespace(
        images=2 if place.is_dry else IMAGES[encoder],
        size=28 if place.is_dry else 518,
        workers=0 if place.is_dry else usable_cores(),
        steps=2 if place.is_dry else 10,
        precision=precision,
        compile=compiled,
        profile=None,
    )
    configuration = stage_of(stage, encoder, place.folder, arguments)
    fabric = open_fabric(configuration.run, place.device, Placement())
    folder = place.folder / f"{stage}_{encoder}{'_compiled' if compiled else ''}"
    found = measure(configuration, folder, fabric, peak, arguments)
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
        utilised=found.utilisation,
    )
    if found.utilisation < ENOUGH and not place.is_dry:
        arguments.profile, arguments.steps = place.folder.parent.parent / "profiles", 1
        measure(configuration, folder.with_name(f"{folder.name}_profiled"), fabric, peak, arguments)
        results.note(
            f"{stage} {encoder} reaches {found.utilisation:.0%} of the peak; profiles/ says where its time goes."
        )


def _start(place: Place, name: str, **settings: object) -> subprocess.Popen:
    """A short teacher stage by the command itself, in the folder of that name. ``settings``: of its ``run``."""
    data = {
        "labelled": [{"shards": str(place.folder / "shards")}],
        "labelled_images": 1 if place.is_dry else 8,
        "sizes": [[28, 28]] if place.is_dry else [[140, 182]],
        "workers": 0 if place.is_dry else 2,
    }
    optimiser = {"steps": STEPS, "warm_up": 2}
    return subprocess.Popen(train_tiny(place, name, data=data, optimiser=optimiser, run={"save_every": 2, **settings}))


def _losses(place: Place, name: str) -> np.ndarray:
    """(steps,): the loss of each step, by its last entry: a run that goes on repeats some."""
    found = {}
    for line in (place.folder / name / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "loss" in entry:
            found[entry["step"]] = sum(entry["loss"].values())
    return np.array([found[step] for step in sorted(found)])


def _kill_and_resume(place: Place, results: Results) -> None:
    """Kills a run when it has saved a state, runs it again, and compares with one that was left alone."""
    _start(place, "undisturbed").wait()
    process = _start(place, "killed")
    states = place.folder / "killed" / "states"
    while process.poll() is None and not list(states.glob("state_*4.pt")):
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
        process.wait()
        results.note(
            f"The run was killed; its states then: {', '.join(sorted(path.name for path in states.iterdir()))}."
        )
    _start(place, "killed").wait()
    expected = near(_losses(place, "undisturbed"), 0.02)
    results.judge("a run that was killed learns what it would have learnt", _losses(place, "killed"), expected)


def _fsdp(place: Place, results: Results) -> None:
    """Sharded weights learn what whole ones learn."""
    _start(place, "sharded", strategy="fsdp").wait()
    expected = near(_losses(place, "undisturbed"), 0.05)
    results.judge("FSDP2 on one device learns what one process learns", _losses(place, "sharded"), expected)
