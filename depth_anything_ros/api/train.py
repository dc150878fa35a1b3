"""One stage of training in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.system.extras import require


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """The result of a training stage.

    Attributes:
        checkpoint: the weights with their record, a .safetensors that `Estimator` takes.
        step: the step of the weights.
        scores: on validation images, by name; empty without validation images.
        by_source: the same for each validation source.
        evaluation: the scores on the sources of ``data.evaluation``.
        left_out: number of unreadable validation images.
        evaluation_left_out: number of unreadable images of ``data.evaluation``.
    """

    checkpoint: Path
    step: int
    scores: Mapping[str, float]
    by_source: Mapping[str, Mapping[str, float]]
    evaluation: Mapping[str, Mapping[str, float]]
    left_out: int
    evaluation_left_out: int

    def estimator(self, backend: str = "auto", **options: Any) -> Estimator:
        """Return ``Estimator(checkpoint, backend, ...)``: the trained model, ready to run.

        Args:
            backend: as in `Estimator`.
            options: of `Estimator`.
        """
        return Estimator(self.checkpoint, backend, **options)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.scores.items())
        left_out = self.left_out + self.evaluation_left_out
        summary = f"{self.checkpoint}, step {self.step}, {scores or 'no validation images'}"
        return f"TrainingResult({summary}{f', {left_out} images left out' if left_out else ''})"


def train(
    configuration: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    accelerator: str = "auto",
    devices: int | None = None,
) -> TrainingResult | None:
    """Train one stage to its end, or resume the run of an earlier call in ``output``.

    Ctrl-C and SIGTERM save the state first; the same call then resumes.

    Args:
        configuration: the stage's YAML file (docs/training.md, config/train).
        output: the run's folder; default: runs/NAME.
        changes: settings that override the file's, by dotted names: ``{"run.seed": 1}``.
        accelerator: "auto", "cpu" or "cuda".
        devices: number of GPUs, or of processes on a CPU. Several start this program several times, so guard it with
            ``if __name__ == "__main__":`` and start it from a file.

    Returns:
        The checkpoint and its scores; None in all processes but the first.

    Raises:
        ImportError: a package of the extra `train` is missing.
        ValueError: the configuration is invalid, or something that it names is.
        StoppedError: (a `RuntimeError`) training was asked to stop, and has saved its state.
        RuntimeError: memory ran out, the loss diverged, the state is damaged, or another process failed.
    """
    require("torch", "lightning_fabric", "pydantic")
    from depth_anything_ros.training.run_stage import StageRun, run_stage

    folder = None if output is None else Path(output)
    result = run_stage(StageRun(Path(configuration), folder, changes or {}, accelerator, devices))
    return TrainingResult(**{**result, "checkpoint": Path(result["checkpoint"])}) if result else None
