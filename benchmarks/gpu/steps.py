"""The steps, in order of worth, and what each of them is given."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.results import Results


@dataclass(frozen=True)
class StepContext:
    """Where a step works.

    Attributes:
        device: "cuda", or "cpu" in a dry run.
        folder: the step's own, for what it works with; those of the others lie beside it.
        output: the report's, for the few small files that are worth keeping.
        encoder: a file with an encoder's weights to begin with, None for random ones.
    """

    device: str
    folder: Path
    output: Path
    encoder: Path | None = None

    @property
    def is_dry(self) -> bool:
        """Whether everything is small, and a processor stands in the GPU's place."""
        return self.device == "cpu"


@dataclass(frozen=True)
class Step:
    """One step.

    ``share``: of the time, beside the others' shares. A module of its name in this package has a function `run`.
    """

    name: str
    title: str
    share: float

    @property
    def run(self) -> Callable[[StepContext, Results], None]:
        """What does it; imported here, so that a fault of one step is no other's."""
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
