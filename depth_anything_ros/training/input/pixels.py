"""Images as a network takes them."""

from __future__ import annotations

from torch import Tensor

from depth_anything_ros.zoo.record import ModelRecord


def as_floats(pixels: Tensor) -> Tensor:
    """RGB uint8 (N, H, W, 3) to float32 (N, 3, H, W), 0 to 1."""
    return pixels.permute(0, 3, 1, 2).float() / 255.0


def normalize(images: Tensor, record: ModelRecord | None = None) -> Tensor:
    """RGB float32 (N, 3, H, W), 0 to 1, to the encoder's input, as ``record`` has it; default: as any by default."""
    described = record or ModelRecord
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (described.mean, described.std))
    return (images - mean) / std


def normalize_pixels(pixels: Tensor, record: ModelRecord | None = None) -> Tensor:
    """RGB uint8 (N, H, W, 3) to the encoder's input, float32 (N, 3, H, W); ``record`` as in `normalize`."""
    return normalize(as_floats(pixels), record)
