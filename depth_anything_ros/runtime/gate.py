"""The gate: an engine is used only if it gives the same result as ONNX Runtime in 32 bits on fixed images.

Converted networks can be silently wrong: half precision overflows, a fused layer has a defect, a cached file is stale.
The depth then looks plausible but is wrong. Everything except the reference passes the gate before its first frame.
"""

from __future__ import annotations

import hashlib
import io
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depth_anything_ros.images.image_files import decode_file, read_file
from depth_anything_ros.images.resizing import RESIZING, resize_map
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.zoo.cache import cache_directory
from depth_anything_ros.zoo.record import ModelRecord

if TYPE_CHECKING:
    from depth_anything_ros.runtime.graph import Graph
    from depth_anything_ros.runtime.network import Network

log = logging.getLogger(__name__)

DIGEST_BYTES = 32
IMAGES = Path(__file__).parent / "gate_images"
MIN_SHARE = 0.05
"""Least denominator of relative differences, as a fraction of the map's mean. The sky is 0 and would divide by 0."""


@dataclass(frozen=True)
class Limits:
    """Tolerances of the gate.

    Attributes:
        correlation: least Pearson correlation.
        abs_rel: greatest mean relative difference after the best scale and shift.
        worst: greatest difference of a pixel, without alignment, as a fraction of the reference's range.
    """

    correlation: float
    abs_rel: float
    worst: float


LIMITS = {
    "fp32": Limits(correlation=0.9999, abs_rel=0.002, worst=0.02),
    "mixed": Limits(correlation=0.999, abs_rel=0.01, worst=0.08),
    "fp16": Limits(correlation=0.999, abs_rel=0.01, worst=0.08),
    "bf16": Limits(correlation=0.999, abs_rel=0.01, worst=0.08),
    "int8": Limits(correlation=0.995, abs_rel=0.04, worst=0.25),
}
"""Limits by the precision of an engine."""

RESIZED = Limits(correlation=0.999, abs_rel=0.01, worst=0.1)
"""Limits for a device that resizes images itself, which differ by at most two gray levels."""


@dataclass(frozen=True)
class Verdict:
    """The differences between an engine's map and the reference's; ``fault`` is the reason of a failure, or None."""

    correlation: float
    abs_rel: float
    worst: float
    fault: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the engine passes the gate."""
        return self.fault is None

    def __str__(self) -> str:
        numbers = f"correlation {self.correlation:.6f}, AbsRel {self.abs_rel:.5f}, worst pixel {self.worst:.4f}"
        return numbers if self.fault is None else f"{self.fault} ({numbers})"


def compare(reference: np.ndarray, candidate: np.ndarray, limits: Limits) -> Verdict:
    """Compare a map with its reference. If the reference itself is invalid, no map passes.

    Args:
        reference: float32 (H, W).
        candidate: float32 (H, W).
        limits: tolerances.
    """
    if not _is_usable(reference):
        return Verdict(np.nan, np.nan, np.nan, "the reference is not finite or is constant")
    if candidate.shape != reference.shape:
        return Verdict(np.nan, np.nan, np.nan, f"output has shape {candidate.shape}, must have {reference.shape}")
    invalid = np.count_nonzero(~np.isfinite(candidate))
    if invalid:
        return Verdict(np.nan, np.nan, np.nan, f"{invalid} of {candidate.size} pixels are NaN or infinite")
    expected, actual = (values.astype(np.float64).ravel() for values in (reference, candidate))
    worst = float(np.abs(actual - expected).max() / np.ptp(expected))
    if np.ptp(actual) == 0:
        return Verdict(0.0, np.nan, worst, "the output is constant")
    correlation = float(np.corrcoef(expected, actual)[0, 1])
    slope, shift = np.polyfit(actual, expected, 1)
    scale = np.maximum(np.abs(expected), MIN_SHARE * np.abs(expected).mean())
    abs_rel = float((np.abs(slope * actual + shift - expected) / scale).mean())
    verdict = Verdict(correlation, abs_rel, worst)
    faults = [
        f"{name} {value:.6g} is {side} {limit:g}"
        for name, value, side, limit, bad in (  # the negation also catches NaN
            ("correlation", correlation, "below", limits.correlation, not correlation >= limits.correlation),
            ("AbsRel", abs_rel, "above", limits.abs_rel, not abs_rel <= limits.abs_rel),
            ("worst pixel", worst, "above", limits.worst, not worst <= limits.worst),
        )
        if bad
    ]
    return Verdict(correlation, abs_rel, worst, "; ".join(faults)) if faults else verdict


def _is_usable(reference: np.ndarray) -> bool:
    """Return whether a map is finite and not constant."""
    return bool(np.isfinite(reference).all() and np.ptp(reference) > 0)


@lru_cache(maxsize=1)
def images() -> tuple[np.ndarray, ...]:
    """Return the fixed images, RGB uint8 (H, W, 3): three scenes that this package rendered."""
    decoded = (decode_file(read_file(path), cv2.IMREAD_COLOR) for path in sorted(IMAGES.glob("*.png")))
    return tuple(image[..., ::-1].copy() for image in decoded)


def outputs(network: Network) -> np.ndarray:
    """Return a network's output for the fixed images: float32 (count, height, width)."""
    return np.stack([network(image).copy() for image in images()])


def judge(network: Network, reference: np.ndarray) -> Verdict:
    """Return the worst verdict over the fixed images.

    If the device resizes images, that path is judged too: from BGR viewed as RGB to a map of the image's size. It is
    compared with the same network between the host's resizing, within the limits of `RESIZED`.

    Args:
        network: to judge.
        reference: `outputs` of the reference.

    Raises:
        ModelError: the network failed.
    """
    limits = LIMITS[network.choice.precision]
    pairs = list(zip(reference, images(), strict=True))
    verdicts = [compare(expected, network(image), limits) for expected, image in pairs]
    for image in images() if network.resizes else ():
        size = image.shape[:2]
        expected = resize_map(network(image), size)
        reversed_view = image[..., ::-1].copy()[..., ::-1]
        verdicts.append(compare(expected, network.estimate(reversed_view, size, None), RESIZED))
    return min(verdicts, key=lambda verdict: (verdict.passed, np.nan_to_num(verdict.correlation, nan=-1.0)))


class References:
    """The cache of the reference's outputs, computed once per graph, weights and input size."""

    def __init__(self, cache: Path | None = None) -> None:
        self._folder = (cache or cache_directory()) / "references"

    def path(self, graph: Graph, record: ModelRecord, size: tuple[int, int]) -> Path:
        """Return the path of the outputs for this graph, with the present weights, normalization and resizing.

        Args:
            graph: of the reference.
            record: of the model.
            size: (height, width) of the input.
        """
        key = [record.input, record.output, record.mean, record.std, record.encoder, record.version, record.max_depth]
        if record.confidence is not None:  # it determines which of several outputs is the depth
            key.append(record.confidence)
        digest = hashlib.sha256(f"{graph.sha256} {graph.weights_sha256} {key} {RESIZING}".encode())
        for image in images():
            digest.update(image.tobytes())
        return self._folder / f"{digest.hexdigest()}_{size[0]}x{size[1]}.reference"

    def read(self, graph: Graph, record: ModelRecord, size: tuple[int, int]) -> np.ndarray | None:
        """Return the stored outputs, or None if they are missing or damaged.

        Args:
            graph: of the reference.
            record: of the model.
            size: (height, width) of the input.
        """
        path = self.path(graph, record, size)
        if not path.is_file():
            return None
        content = path.read_bytes()
        digest, array = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(array).digest() != digest:
            log.warning("%s is damaged; computing the reference outputs again", path)
            return None
        return np.load(io.BytesIO(array), allow_pickle=False)

    def write(self, graph: Graph, record: ModelRecord, size: tuple[int, int], reference: np.ndarray) -> None:
        """Store outputs with their SHA-256, since a damaged reference would reject good engines.

        Args:
            graph: of the reference.
            record: of the model.
            size: (height, width) of the input.
            reference: from `outputs`.

        Raises:
            ModelError: the reference is not finite or is constant, so the weights are damaged.
        """
        if not all(map(_is_usable, reference)):
            raise ModelError(
                f"{graph.path}: gives NaN, infinite or constant maps in 32 bits, so its weights are damaged; copy or "
                "export it again"
            )
        array = io.BytesIO()
        np.save(array, reference)
        path = self.path(graph, record, size)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, hashlib.sha256(array.getvalue()).digest() + array.getvalue())
