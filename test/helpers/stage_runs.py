"""Training stages that take seconds, in this process and in others, and their results."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from waiting import limit, wait_while_running
from warm_process import ForkedProcess, WarmProcess

from depth_anything_ros.cli import main
from depth_anything_ros.training.run.checkpoints import Checkpoints, load_state

REPOSITORY = Path(__file__).resolve().parents[2]
WARM = WarmProcess()
COMMAND = (sys.executable, "-m", "depth_anything_ros")


def configuration(scenes: dict[str, str], stage: str, **changes) -> dict:
    """A stage of few small images. ``changes`` by dotted names, with two underscores for a dot."""
    values = {
        "stage": stage,
        "name": stage,
        "license": "Apache-2.0",
        "network": {"encoder": "tiny", "version": "v2", "start": "tiny"},
        "data": {
            "labeled": [{"shards": scenes["labeled"]}],
            "validation": [{"shards": scenes["validation"]}],
            "validation_images": 4,
            "labeled_batch_size": 2,
            "sizes": [[28, 42]],
            "smallest_crop": 0.7,
            "workers": 0,
        },
        "optimizer": {"steps": 6, "encoder_lr": 2e-5, "decoder_lr": 2e-3, "warmup_steps": 3, "ema_decay": 0.9},
        "run": {"precision": "32-true", "log_every": 1, "save_every": 2, "validate_every": 1000},
    }
    if stage in ("student", "distil"):
        values["data"] |= {"unlabeled": [{"shards": scenes["unlabeled"]}], "unlabeled_batch_size": 4}
        values["teacher"] = {"model": "tiny"}
    if stage == "distil":
        del values["data"]["labeled"], values["data"]["labeled_batch_size"]
    if stage == "metric":
        values["network"] |= {"max_depth": 80.0}
    for name, value in changes.items():
        section, _, setting = name.partition("__")
        values[section] = {**values[section], setting: value} if setting else value
    return values


def learning_configuration(scenes: dict[str, str], stage: str, **changes) -> dict:
    """A stage like `configuration`, with as many and as large images as it takes to learn."""
    values = configuration(scenes, stage, **changes)
    values["data"] |= {"sizes": [[70, 84]], "validation_images": 12}
    if "labeled" in values["data"]:
        values["data"]["labeled_batch_size"] = 4 if "unlabeled" in values["data"] else 8
    if "unlabeled" in values["data"]:
        values["data"]["unlabeled_batch_size"] = 8
    return values


def written(path: Path, values: dict) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def train(tmp_path: Path, values: dict, *arguments: str) -> Path:
    """Run the stage in this process; return its folder."""
    folder = tmp_path / "run"
    file = written(tmp_path / "stage.yaml", values)
    assert main(["train", str(file), "--output", str(folder), "--accelerator", "cpu", *arguments]) == 0
    return folder


def entries(folder: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry[kind] | {"step": entry["step"]} for entry in lines if kind in entry]


def total_loss(entry: dict) -> float:
    return sum(value for name, value in entry.items() if name != "step")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def start(
    file: Path, folder: Path, *words: str, command: Sequence[str] = (), **variables: object
) -> subprocess.Popen | ForkedProcess:
    """Start the stage in its own process, forked from a warm one.

    ``command``: the beginning of the command line of a new process, for example one that starts further processes.
    ``variables``: environment variables of a forked one.
    """
    line = ["train", str(file), "--output", str(folder), "--accelerator", "cpu", *words]
    if not command:
        return WARM.start(line, environment() | {name: str(value) for name, value in variables.items()})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*command, *line], env=environment(), start_new_session=True, **pipes)


def run_to_end(*arguments, **options) -> str:
    process = start(*arguments, **options)
    output, _ = process.communicate(timeout=limit(300))
    assert process.returncode == 0, output
    return output


def wait_for_state(process: subprocess.Popen | ForkedProcess, folder: Path, least: int) -> None:
    """Wait until a state of that step or a later one is on disk."""
    states = Checkpoints(folder / "states", 9)
    wait_while_running(
        process,
        lambda: any(int(path.stem.rpartition("_")[2]) >= least for path in states.paths()),
        f"the state of step {least}",
    )


def equal(one, other) -> bool:
    """Return whether both are bitwise equal."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def last_state(folder: Path) -> dict:
    return load_state(Checkpoints(folder / "states", 9).paths()[-1])
