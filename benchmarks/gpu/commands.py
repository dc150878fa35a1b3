"""This package's command line, as steps start it: in their own process group, so that it ends with them."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from benchmarks.gpu.steps import StepContext


def command(*words: object) -> list[str]:
    """The words of `depth_anything_ros WORDS`."""
    return [sys.executable, "-m", "depth_anything_ros", *map(str, words)]


def train_tiny(place: StepContext, name: str, **sections: dict[str, Any]) -> list[str]:
    """The command that trains the bundled model's teacher stage in the step's folder ``name``.

    ``sections``: settings beside those that all such runs share.
    """
    values = {
        "stage": "teacher",
        "name": "teacher",
        "network": {"encoder": "tiny", "version": "v2", "start": "tiny"},
        "run": {"precision": "32-true" if place.is_dry else "bf16-mixed", "log_every": 1},
    }
    for section, settings in sections.items():
        values[section] = {**values.get(section, {}), **settings}
    file = place.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(values))
    return command("train", file, "--output", place.folder / name, "--accelerator", place.device)
