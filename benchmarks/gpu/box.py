"""The model in the box: the hybrid learns from rendered scenes in the remaining time.

`python -m benchmarks.gpu --only box --minutes 9` gives it a whole call. `--scenes` adds shards that were rendered
before, with meshes, to those that the step renders.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.gpu.commands import command, train_small
from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import StepContext
from depth_anything_ros.system.cpu_cores import usable_cores

STOPPED = 75
"""Exit status of a run that was asked to stop and can be resumed."""
RESERVE = 10.0
"""Seconds at the end to save the last state."""
RENDERING = 0.35
"""Share of the time in which new scenes are rendered."""
SCENES_PER_CORE = 40
"""Scenes per core and pack; a pack that is begun is finished."""


def run(context: StepContext, results: Results) -> None:
    """Render scenes, train, and save the state. In a dry run, both are tiny."""
    process = subprocess.Popen(_training(context, _render(context, results)))
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


def _render(context: StepContext, results: Results) -> list[Path]:
    """Render packs of scenes for a part of the time; return their folders and those given."""
    cores = 1 if context.is_dry else usable_cores()
    count, size = (4, (56, 70)) if context.is_dry else (SCENES_PER_CORE * cores, (448, 336))
    packs: list[Path] = []
    started = time.monotonic()
    until = started + RENDERING * results.seconds_left
    while not packs or (not context.is_dry and time.monotonic() < until):
        pack = context.folder / f"scenes_{len(packs)}"
        seed = 1_000_000 + len(packs) * count
        words = ("--pack", pack, "--count", count, "--seed", seed, "--size", *size, "--processes", cores)
        subprocess.run(command("scenes", *words), check=True, timeout=max(5.0, 0.6 * results.seconds_left))
        packs.append(pack)
    rendered = count * len(packs)
    results.add("Scenes", rendered=rendered, a_second=rendered / (time.monotonic() - started))
    return packs if context.scenes is None else [*packs, context.scenes]


def _training(context: StepContext, packs: list[Path]) -> list[str]:
    data = {
        "labeled": [{"shards": str(pack)} for pack in packs],
        "labeled_batch_size": 2 if context.is_dry else 64,
        "sizes": [[28, 42]] if context.is_dry else [[252, 336], [252, 336], [210, 378], [168, 420], [336, 252]],
        "smallest_crop": 0.6,
        "workers": 0 if context.is_dry else usable_cores(),
    }
    optimizer = {"steps": 3, "warmup_steps": 1, "ema_decay": 0.99}
    if not context.is_dry:
        optimizer = {
            "steps": 8_000,
            "warmup_steps": 200,
            "encoder_lr": 1e-4,
            "decoder_lr": 1e-3,
            "weight_decay": 0.02,
            "betas": [0.9, 0.99],
            "ema_decay": 0.998,
        }
    losses = {"gradient": 1.0, "scale": 0.2, "log": 0.5}
    run = {"save_every": 200}
    return train_small(context, "run", "hybrid", data=data, optimizer=optimizer, losses=losses, run=run)
