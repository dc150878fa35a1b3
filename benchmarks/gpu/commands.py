"""This package's command line for steps: in the step's process group, so that it ends with the step."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from benchmarks.gpu.steps import StepContext


def command(*words: object) -> list[str]:
    """Return the command `depth_anything_ros WORDS`."""
    return [sys.executable, "-m", "depth_anything_ros", *map(str, words)]


def train_small(context: StepContext, name: str, encoder: str = "tiny", **sections: dict[str, Any]) -> list[str]:
    """Return the command that trains a small network from the bundled model's encoder, as a teacher.

    Args:
        context: Context of the step.
        name: Name of the run's folder in the step's folder.
        encoder: "tiny" or "hybrid".
        sections: settings in addition to the common ones.
    """
    values = {
        "stage": "teacher",
        "name": "teacher",
        "network": {"encoder": encoder, "version": "v2", "start": "tiny"},
        "run": {"precision": "32-true" if context.is_dry else "bf16-mixed", "log_every": 1},
    }
    for section, settings in sections.items():
        values[section] = {**values.get(section, {}), **settings}
    file = context.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(values))
    return command("train", file, "--output", context.folder / name, "--accelerator", context.device)
