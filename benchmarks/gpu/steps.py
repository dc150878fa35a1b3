"""The steps, in order of importance, and their context."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.results import Results


@dataclass(frozen=True)
class StepContext:
    """The environment of a step.

    Attributes:
        device: "cuda", or "cpu" in a dry run.
        folder: the step's working folder; those of the other steps are next to it.
        output: the report's folder, for a few small files.
        encoder: a file with initial weights of an encoder, None for random ones.
        scenes: a folder with shards of rendered scenes, in addition to those that are rendered here.
    """

    device: str
    folder: Path
    output: Path
    encoder: Path | None = None
    scenes: Path | None = None

    @property
    def is_dry(self) -> bool:
        """Return whether this is a dry run: everything is small, and the CPU replaces the GPU."""
        return self.device == "cpu"


@dataclass(frozen=True)
class Step:
    """One step. A module of its name in this package has its function `run`.

    ``share``: of the remaining time, relative to the other steps' shares.
    """

    name: str
    title: str
    share: float

    @property
    def run(self) -> Callable[[StepContext, Results], None]:
        """Return its function. The import is late, so that an error in one step affects no other."""
        return importlib.import_module(f"benchmarks.gpu.{self.name}").run


STEPS = (
    Step("machine", "The machine", 0.3),
    Step("tensorrt", "TensorRT", 2.2),
    Step("tests", "The tests marked gpu", 0.6),
    Step("backends", "Backends in turns", 1.4),
    Step("training", "Training", 1.9),
    Step("labeling", "Labeling", 0.9),
    Step("box", "The model in the box", 0.7),
)
