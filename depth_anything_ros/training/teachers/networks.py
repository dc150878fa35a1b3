"""Loaded teachers: a PyTorch checkpoint, or any network that `predict` runs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from depth_anything_ros.evaluation.alignment import as_inverse_depth
from depth_anything_ros.model.checkpoints import load_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.training.input.pixels import normalize_pixels
from depth_anything_ros.training.settings import TeacherSettings
from depth_anything_ros.zoo.record import ModelRecord
from depth_anything_ros.zoo.resolve import resolve


class TorchTeacher(nn.Module):
    """A frozen PyTorch network.

    Args:
        network: the network.
        record: has the normalization of its images; default: the default of records.
    """

    def __init__(self, network: DepthAnything, record: ModelRecord | None = None) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.record = record

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Return inverse depth, float32 (N, H, W), for RGB uint8 (N, H, W, 3) with sides that are multiples of 14."""
        maps = self.network(normalize_pixels(pixels, self.record)).float()
        return maps if self.network.max_depth is None else 1.0 / maps.clamp(min=1e-3)


class ExportedTeacher(nn.Module):
    """A network as ONNX with its record, run image by image on the first backend that works here.

    Backends are not timed: every process that labels must get the same one. On a GPU it is the first GPU that this
    process sees.
    """

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        self.estimator = estimator

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Return inverse depth, float32 (N, H, W), for RGB uint8 (N, H, W, 3)."""
        output = self.estimator.record.output
        maps = [as_inverse_depth(self.estimator.estimate(image), output) for image in pixels.cpu().numpy()]
        return torch.from_numpy(np.stack(maps).astype(np.float32)).to(pixels.device)


def open_teacher(settings: TeacherSettings, record: ModelRecord | None = None, threads: int | None = None) -> nn.Module:
    """Load a teacher.

    Args:
        settings: the teacher.
        record: used instead of the record in ``settings`` or of the model.
        threads: of an `ExportedTeacher` on a CPU; default: its backend's choice.

    Raises:
        ModelError: a graph cannot be loaded.
        CheckpointError: a checkpoint cannot be loaded.
    """
    if record is None and settings.record is not None:
        record = ModelRecord.read(settings.record)
    resolved = resolve(settings.model, described=record is not None)
    if resolved.weights is None:
        return ExportedTeacher(Estimator(settings.model, record=record, threads=threads, measured=False))
    record = record or resolved.record
    return TorchTeacher(load_checkpoint(resolved.weights, settings.version, record=record), record)
