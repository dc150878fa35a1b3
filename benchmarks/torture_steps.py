"""The steps that `torture.py` disturbs: pack, label, train and evaluate, each of which takes seconds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

PHOTOGRAPHS, SCENES, VALIDATION, SHARDS, LABELS, RUN = "photographs", "scenes", "validation", "shards", "labels", "run"
STAGE, SCORES = "stage.yaml", "scores.json"
COUNT, SIZE = 10, (126, 168)
"""Number of photographs and of scenes; their height and width."""
STEPS_OF_TRAINING = 6
LIMIT_SECONDS = 300.0


@dataclass(frozen=True)
class Step:
    """One command: its inputs and its output, as names in the working folder, and its words."""

    name: str
    reads: tuple[str, ...]
    leaves: str
    words: tuple[str, ...]
    fingerprint: Callable[[Path], str]

    @property
    def command(self) -> list[str]:
        """Return the whole command, to run in the working folder."""
        return [sys.executable, str(Path(__file__).with_name("torture_child.py")), *self.words]


def steps(data: Path | None) -> list[Step]:
    """Return the steps in order. Evaluation needs ``data``, the folder of evaluation sets."""
    pack = ("data", "pack", "folder", PHOTOGRAPHS, "--output", SHARDS, "--shard", "3", "--processes", "2")
    label = ("label", SHARDS, "--teacher", "tiny", "--output", LABELS, "--size", "126", "--device", "cpu")
    train = ("train", STAGE, "--output", RUN, "--accelerator", "cpu")
    all_steps = [
        Step("pack", (PHOTOGRAPHS,), SHARDS, pack, _of_shards),
        Step("label", (SHARDS,), LABELS, label, _of_shards),
        Step("train", (SCENES, VALIDATION, SHARDS, LABELS, STAGE), RUN, train, _of_run),
    ]
    if data is not None:
        evaluate = ("evaluate", "--data", str(data), "--sets", "tum", "--json", SCORES)
        evaluate += ("--model", f"{RUN}/student.safetensors", "--backend", "torch")
        all_steps.append(Step("evaluate", (RUN,), SCORES, evaluate, _of_scores))
    return all_steps


def prepare(folder: Path) -> None:
    """Create the inputs of the first step and of training."""
    draw = np.random.default_rng(0)
    (folder / PHOTOGRAPHS).mkdir(parents=True)
    for number in range(COUNT):
        coarse = draw.integers(0, 256, (6, 8, 3), np.uint8)
        picture = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / PHOTOGRAPHS / f"{number:02d}.png"), picture)
    for name, seed in ((SCENES, 0), (VALIDATION, 1000)):
        words = ["scenes", "--pack", name, "--count", str(COUNT), "--seed", str(seed), "--shard", "5", "--kind", "room"]
        run_undisturbed([sys.executable, "-m", "depth_anything_ros", *words, "--size", *map(str, SIZE[::-1])], folder)
    (folder / STAGE).write_text(yaml.safe_dump(_stage()))


def _stage() -> dict:
    return {
        "stage": "student",
        "name": "student",
        "license": "Apache-2.0",
        "network": {"encoder": "tiny", "version": "v2", "start": "tiny"},
        "data": {
            "labeled": [{"shards": SCENES}],
            "unlabeled": [{"shards": SHARDS, "labels": LABELS}],
            "validation": [{"shards": VALIDATION}],
            "validation_images": 4,
            "labeled_batch_size": 2,
            "unlabeled_batch_size": 2,
            "sizes": [[70, 84]],
            "workers": 1,
        },
        "optimizer": {"steps": STEPS_OF_TRAINING, "encoder_lr": 2e-5, "decoder_lr": 2e-3, "warmup_steps": 2},
        "run": {"precision": "32-true", "log_every": 1, "save_every": 1, "validate_every": 3},
    }


def environment() -> dict[str, str]:
    """Return the environment of every command: one thread, so that sums are reproducible."""
    repository = str(Path(__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": repository, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run_undisturbed(command: list[str], folder: Path) -> None:
    """Run a command to its end.

    Args:
        command: its words.
        folder: the working folder.

    Raises:
        RuntimeError: the status is not 0; the message has the end of the output.
    """
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: status {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


def hash_of(path: Path) -> str:
    """Hash a file's content, or the names and contents of all files in a folder; "absent" if there is neither."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if not path.is_dir():
        return "absent"
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")):
        digest.update(f"{file.relative_to(path)} {hash_of(file)}\n".encode())
    return digest.hexdigest()


def _of_shards(folder: Path) -> str:
    """Hash the manifest and its shards; additional shards in the folder count too."""
    if not (folder / "manifest.json").is_file():
        return "unfinished"
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = [f"{shard['name']} {shard['sha256']}" for shard in manifest["shards"]]
    present = [f"{path.name} {hash_of(path)}" for path in sorted(folder.glob("*.tar"))]
    return "whole " + hashlib.sha256("\n".join([manifest["version"], *listed, "there", *present]).encode()).hexdigest()


def _of_run(folder: Path) -> str:
    checkpoint = folder / "student.safetensors"
    return f"whole {hash_of(checkpoint)}" if checkpoint.is_file() else "unfinished"


def _of_scores(path: Path) -> str:
    if not path.is_file():
        return "unfinished"
    return f"whole {hashlib.sha256(_without_times(json.loads(path.read_text())).encode()).hexdigest()}"


def _without_times(values: object) -> str:
    """Return the values as text, without times."""
    if isinstance(values, dict):
        names = [name for name in values if "second" not in name and not name.endswith("ms")]
        return json.dumps({name: _without_times(values[name]) for name in names}, sort_keys=True)
    if isinstance(values, list):
        return json.dumps([_without_times(value) for value in values])
    return json.dumps(values)
