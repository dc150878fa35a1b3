"""Images as a network's input."""

from __future__ import annotations

from torch import Tensor

from depth_anything_ros.zoo.record import ModelRecord


def as_floats(pixels: Tensor) -> Tensor:
    """Convert RGB uint8 (N, H, W, 3) to float32 (N, 3, H, W), 0 to 1."""
    return pixels.permute(0, 3, 1, 2).float() / 255.0


def normalize(images: Tensor, record: ModelRecord | None = None) -> Tensor:
    """Normalize images for the encoder.

    Args:
        images: RGB float32 (N, 3, H, W), 0 to 1.
        record: has mean and standard deviation; default: ImageNet's, as in most records.
    """
    described = record or ModelRecord
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (described.mean, described.std))
    return (images - mean) / std


def normalize_pixels(pixels: Tensor, record: ModelRecord | None = None) -> Tensor:
    """Convert and normalize images for the encoder.

    Args:
        pixels: RGB uint8 (N, H, W, 3).
        record: as for `normalize`.

    Returns:
        float32 (N, 3, H, W).
    """
    return normalize(as_floats(pixels), record)
