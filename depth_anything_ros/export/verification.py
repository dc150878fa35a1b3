"""Verify that an exported graph computes the same as the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from depth_anything_ros.export.tracing import ExportError
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.runtime.backends import REFERENCE, load
from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.zoo.record import ModelRecord

TOLERANCE = 1e-4
"""Greatest allowed difference from the network's output, as a fraction of that output's largest value.

Both compute in float32. The order of summation remains, which causes about 1e-6 to 1e-5."""


def verify_graph(path: Path, network: DepthAnything, record: ModelRecord, batch: int = 2) -> float:
    """Run graph and network on the same pseudo-random images and compare their outputs.

    Args:
        path: the graph.
        network: in float32 on the CPU, in evaluation mode.
        record: the graph's; gives its size, mean and standard deviation.
        batch: images per batch; more than one shows that the batch size is free. Each image also runs alone.

    Returns:
        The greatest difference, as a fraction of the largest value.

    Raises:
        ExportError: the difference exceeds `TOLERANCE`, the sizes differ, or the network's output is constant 0 or not
            finite.
    """
    images = _test_images(batch, record.input_size)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (record.mean, record.std))
    with torch.inference_mode():
        expected = network((pixels - mean) / std).numpy()
    backend = load(LoadRequest(REFERENCE, read_graph(path), record, record.input_size))
    alone = np.concatenate([backend.run(image[np.newaxis]).copy() for image in images])
    return max(_difference(path, expected, actual) for actual in (alone, backend.run(images)))


def _difference(path: Path, expected: np.ndarray, actual: np.ndarray) -> float:
    """Return the difference for `verify_graph`. Raises `ExportError`."""
    if actual.shape != expected.shape:
        raise ExportError(f"{path.name}: the graph's output has shape {actual.shape}, the network's {expected.shape}")
    largest = np.abs(expected).max()
    if not np.isfinite(largest) or largest == 0:
        raise ExportError(f"{path.name}: the network's output is {largest} everywhere, so it cannot be verified")
    difference = float(np.abs(actual - expected).max() / largest)
    if not difference <= TOLERANCE:  # also true for NaN
        raise ExportError(
            f"{path.name}: the graph's output differs from the network's by {difference:.1e} of its largest value, "
            f"more than the tolerance of {TOLERANCE:.0e}"
        )
    return difference


def _test_images(batch: int, size: tuple[int, int]) -> np.ndarray:
    """Return images (N, H, W, 3) uint8 with structure at every scale, the same at every call."""
    generator = np.random.default_rng(0)
    height, width = size
    images = np.zeros((batch, height, width, 3))
    for side in (1, 2, 4, 8, 16, 32):
        coarse = generator.random((batch, -(-height // side), -(-width // side), 3))
        images += coarse.repeat(side, axis=1).repeat(side, axis=2)[:, :height, :width]
    images -= images.min()
    return (images * (255 / images.max())).astype(np.uint8)
