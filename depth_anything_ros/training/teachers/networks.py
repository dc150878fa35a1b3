"""Who labels unlabeled images: a checkpoint, or any network that `predict` can run."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from depth_anything_ros.evaluation.alignment import as_inverse_depth
from depth_anything_ros.model.checkpoints import load_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.training.configuration import TeacherSettings
from depth_anything_ros.training.input.pixels import normalize_pixels
from depth_anything_ros.zoo.record import ModelRecord
from depth_anything_ros.zoo.resolve import resolve


class TorchTeacher(nn.Module):
    """A network of ours that does not learn.

    ``record``: says how its images are normalized; default: as all networks that are trained here.
    """

    def __init__(self, network: DepthAnything, record: ModelRecord | None = None) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.record = record

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """RGB uint8 (N, H, W, 3), sides multiples of 14, to inverse depth float32 (N, H, W)."""
        maps = self.network(normalize_pixels(pixels, self.record)).float()
        return maps if self.network.max_depth is None else 1.0 / maps.clamp(min=1e-3)


class ExportedTeacher(nn.Module):
    """Any network as ONNX with its record, image by image, on the first backend that works here.

    Which one does not depend on a measurement: every process that labels must get the same. On a GPU it is the first
    GPU that this process sees.
    """

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        self.estimator = estimator

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """RGB uint8 (N, H, W, 3) to inverse depth float32 (N, H, W)."""
        output = self.estimator.record.output
        maps = [as_inverse_depth(self.estimator.estimate(image), output) for image in pixels.cpu().numpy()]
        return torch.from_numpy(np.stack(maps).astype(np.float32)).to(pixels.device)


def open_teacher(settings: TeacherSettings, record: ModelRecord | None = None, threads: int | None = None) -> nn.Module:
    """The teacher that a stage names. Raises `ModelError` or `CheckpointError` where it cannot be loaded.

    ``record``: describes it in place of what ``settings`` name. ``threads``: of an `ExportedTeacher` on a CPU; default:
    its backend's choice.
    """
    if record is None and settings.record is not None:
        record = ModelRecord.read(settings.record)
    resolved = resolve(settings.model, described=record is not None)
    if resolved.weights is None:
        return ExportedTeacher(Estimator(settings.model, record=record, threads=threads, measured=False))
    record = record or resolved.record
    return TorchTeacher(load_checkpoint(resolved.weights, settings.version, record=record), record)
