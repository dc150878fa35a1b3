"""Size and rate of models, and the accuracy of sigma, for benchmarks/models.py."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from scale_sigma import errors

from depth_anything_ros import Estimator
from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.breakdown import Honesty, honesty
from depth_anything_ros.runtime.model_files import find_model_files
from depth_anything_ros.scale.references import references
from depth_anything_ros.zoo.seal import safetensors_header

IMAGE = (480, 640)
"""Height and width of the images whose rate is measured."""
ROUNDS = 40
REFERENCES = 150
"""Number of true points that set the scale of an image."""


@dataclass(frozen=True)
class Size:
    """Millions of parameters, and the megabytes of the files that run one input size."""

    parameters: float
    megabytes: float


@dataclass(frozen=True)
class Rate:
    """Where a model runs fastest, the median milliseconds from image to map in the fastest round, and others' load."""

    backend: str
    milliseconds: float
    load: float = 0.0


def size_of(model: str, record: object | None) -> Size:
    """Return the size of a model.

    Args:
        model: its name or path.
        record: Record of an ONNX file without one.
    """
    files = find_model_files(model, record)
    graph = next(iter(files.graphs.values()))
    description = onnx.load(graph, load_external_data=False)
    external = {
        entry.value
        for tensor in description.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    content = [graph, *(graph.parent / name for name in sorted(external))]
    weights = sum(math.prod(tensor.dims) for tensor in description.graph.initializer if _is_number(tensor))
    if files.weights is not None and files.weights.suffix == ".safetensors":
        header, _ = safetensors_header(files.weights)
        weights = sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return Size(weights / 1e6, sum(path.stat().st_size for path in content) / 1e6)


def rate_of(model: str, record: object | None, seconds: float, backend: str = "auto") -> Rate:
    """Return the rate of the best backend and precision for images of a common camera.

    Args:
        model: its name or path.
        record: Record of an ONNX file without one.
        seconds: Seconds to measure.
        backend: "auto" for the fastest.
    """
    estimator = Estimator(model, backend, record=record)
    image = np.random.default_rng(0).integers(0, 256, (*IMAGE, 3), np.uint8)
    estimator.estimate(image)
    rounds, load = [], os.getloadavg()[0]
    for _ in range(ROUNDS):  # other work on the machine slows some of them
        times: list[float] = []
        while len(times) < 3 or sum(times) < seconds / ROUNDS:
            started = time.perf_counter()
            estimator.estimate(image)
            times.append(time.perf_counter() - started)
        rounds.append(statistics.median(times))
    return Rate(f"{estimator.backend_name} {estimator.precision}", 1000 * min(rounds), load)


def honesty_of(estimator: Estimator, frames: Iterator[LabeledImage]) -> Honesty | None:
    """Return the accuracy of sigma, if true points set the scale and the other pixels are scored.

    Args:
        estimator: the model; meters count as depth of unknown scale.
        frames: with true depth.

    Returns:
        The means over all pixels; None if no image has enough of them.
    """
    found = []
    for number, frame in enumerate(frames):
        output = np.asarray(estimator.estimate(frame.image), np.float32)
        if estimator.record.predicts_depth:
            output = 1 / np.maximum(output, np.float32(1e-3))
        rows, columns = np.nonzero(np.isfinite(frame.depth) & (frame.depth > 0))
        if len(rows) <= 2 * REFERENCES:
            continue
        chosen = np.random.default_rng(number).choice(len(rows), REFERENCES, replace=False)
        pixels = np.stack([columns[chosen], rows[chosen]], axis=1)
        known = references(pixels, frame.depth[rows[chosen], columns[chosen]].astype(np.float64), 0.01)
        mask = np.isfinite(frame.depth) & (frame.depth > 0)
        mask[rows[chosen], columns[chosen]] = False
        result = errors(output, known, frame.depth, mask)
        if result is not None:
            found.append(result)
    if not found:
        return None
    error, sigma = np.concatenate(found, axis=1)
    return honesty(np.exp(error), np.ones_like(error), sigma)


def models_in(folder: Path) -> list[Path]:
    """Return the ONNX files of a folder, in order."""
    return sorted(folder.glob("*.onnx")) if folder.is_dir() else []


def _is_number(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)
