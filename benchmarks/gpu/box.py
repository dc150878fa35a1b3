"""The bundled model: the small teacher continues to learn from rendered scenes in the remaining time."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.gpu.commands import command, train_tiny
from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import StepContext
from depth_anything_ros.system.cpu_cores import usable_cores

STOPPED = 75
"""Exit status of a run that was asked to stop and can be resumed."""
RESERVE = 10.0
"""Seconds at the end to save the last state."""


def run(context: StepContext, results: Results) -> None:
    """Render scenes, train, and save the state. In a dry run, both are tiny."""
    scenes = context.folder / "scenes"
    count, size = (4, (56, 70)) if context.is_dry else (240, (238, 182))
    words = (
        "scenes",
        "--pack",
        scenes,
        "--count",
        count,
        "--size",
        *size,
        "--processes",
        1 if context.is_dry else usable_cores(),
    )
    started = time.monotonic()
    subprocess.run(command(*words), check=True, timeout=max(5.0, 0.6 * results.seconds_left))
    results.add("Scenes", rendered=count, a_second=count / (time.monotonic() - started))
    process = subprocess.Popen(_training(context))
    try:
        status = process.wait(timeout=max(3.0, results.seconds_left - RESERVE))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=RESERVE - 3)
    results.check("training ends or is stopped", status in (0, STOPPED), f"status {status}")
    entries = [json.loads(line) for line in (context.folder / "run/log.jsonl").read_text().splitlines()]
    losses = np.array([[sum(entry["loss"].values())] for entry in entries if "loss" in entry])
    steps = max(entry["step"] for entry in entries)
    results.add("Training", steps=steps, first_loss=float(losses[0, 0]), last_loss=float(losses[-1, 0]))
    results.check("losses are numbers", bool(np.isfinite(losses).all()))
    state = max((context.folder / "run/states").glob("state_*.pt"))
    newest = np.array([int(state.stem.rpartition("_")[2])])
    name = "the last state is that of the last step"
    results.judge(name, newest, lambda step: (step[0] == steps, f"{step[0]}, {steps}"))
    average = torch.load(state, map_location="cpu", weights_only=False)["average"]
    half = {name: value.half().contiguous() for name, value in average.items()}
    save_file(half, context.output / "box_weights.safetensors")
    shutil.copyfile(state, context.output / "box_state.pt")
    results.note(
        f"box_state.pt is the state of step {steps}; the same configuration resumes from it if it is named "
        f"{state.name} among its states. box_weights.safetensors has its averaged weights in half precision."
    )


def _training(context: StepContext) -> list[str]:
    data = {
        "labeled": [{"shards": str(context.folder / "scenes")}],
        "labeled_batch_size": 2 if context.is_dry else 64,
        "sizes": [[28, 42]] if context.is_dry else [[140, 182], [126, 224], [182, 140]],
        "workers": 0 if context.is_dry else usable_cores(),
    }
    optimizer = {"steps": 3 if context.is_dry else 20_000, "warmup_steps": 1, "ema_decay": 0.99}
    settings = {"data": data, "optimizer": optimizer, "network": {"start_decoder": True}, "run": {"save_every": 200}}
    return train_tiny(context, "run", **settings)
