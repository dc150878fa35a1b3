"""The gate: an engine is used only if it gives, on fixed images, what ONNX Runtime gives in 32 bits.

Converted networks can be silently wrong: half precision overflows, a fused layer has a defect, a cached file is stale.
The depth then looks plausible and is not. Everything but the reference itself passes here before its first frame.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.whole_file import replacing
from depth_anything_ros.zoo.cache import cache_directory

if TYPE_CHECKING:
    from depth_anything_ros.runtime.graph import Graph
    from depth_anything_ros.runtime.network import Network

IMAGES = Path(__file__).parent / "gate_images"
SMALLEST_SHARE = 0.05
"""Relative differences are taken to at least this share of a map's mean: beside the sky's zero all is infinite."""


@dataclass(frozen=True)
class Limits:
    """What an engine may differ by.

    ``correlation`` (Pearson) at least, ``abs_rel`` (mean relative difference after the best scale and shift) and
    ``worst`` (greatest difference of a pixel, no alignment, over the reference's range) at most.
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
"""Limits by the precision that an engine computes in."""

RESIZED = Limits(correlation=0.95, abs_rel=0.1, worst=0.6)
"""Limits for a device that resizes images itself. It averages where the host takes every other pixel, which shows in
fine texture; what they are for is a kernel that gives something else altogether."""


@dataclass(frozen=True)
class Verdict:
    """How far an engine's map is from the reference's, and what is wrong with it, if anything is."""

    correlation: float
    abs_rel: float
    worst: float
    fault: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the engine may be used."""
        return self.fault is None

    def __str__(self) -> str:
        numbers = f"correlation {self.correlation:.6f}, AbsRel {self.abs_rel:.5f}, worst pixel {self.worst:.4f}"
        return numbers if self.fault is None else f"{self.fault} ({numbers})"


def compare(reference: np.ndarray, candidate: np.ndarray, limits: Limits) -> Verdict:
    """Holds one map to its reference; both float32 (H, W). The reference must be finite and not constant."""
    if candidate.shape != reference.shape:
        return Verdict(np.nan, np.nan, np.nan, f"output has shape {candidate.shape}, not {reference.shape}")
    unknown = np.count_nonzero(~np.isfinite(candidate))
    if unknown:
        return Verdict(np.nan, np.nan, np.nan, f"{unknown} of {candidate.size} pixels are NaN or infinite")
    expected, given = (values.astype(np.float64).ravel() for values in (reference, candidate))
    worst = float(np.abs(given - expected).max() / np.ptp(expected))
    if np.ptp(given) == 0:
        return Verdict(0.0, np.nan, worst, "the output is the same everywhere")
    correlation = float(np.corrcoef(expected, given)[0, 1])
    slope, shift = np.polyfit(given, expected, 1)
    scale = np.maximum(np.abs(expected), SMALLEST_SHARE * np.abs(expected).mean())
    abs_rel = float((np.abs(slope * given + shift - expected) / scale).mean())
    verdict = Verdict(correlation, abs_rel, worst)
    faults = [
        f"{name} {value:.6g} is {side} {limit:g}"
        for name, value, side, limit, bad in (
            ("correlation", correlation, "below", limits.correlation, correlation < limits.correlation),
            ("AbsRel", abs_rel, "above", limits.abs_rel, abs_rel > limits.abs_rel),
            ("worst pixel", worst, "above", limits.worst, worst > limits.worst),
        )
        if bad
    ]
    return Verdict(correlation, abs_rel, worst, "; ".join(faults)) if faults else verdict


@lru_cache(maxsize=1)
def images() -> tuple[np.ndarray, ...]:
    """The fixed images, RGB uint8 (H, W, 3): three scenes that this package rendered."""
    return tuple(cv2.imread(str(path))[..., ::-1].copy() for path in sorted(IMAGES.glob("*.png")))


def outputs(network: Network) -> np.ndarray:
    """What a network gives for the fixed images: float32 (count, height, width)."""
    return np.stack([network(image).copy() for image in images()])


def judge(network: Network, reference: np.ndarray) -> Verdict:
    """The worst verdict over the fixed images, ``reference`` being `outputs` of the reference. Raises `ModelError`.

    Where images are resized on the device, that way is judged as well, within the limits of `RESIZED`.
    """
    limits = LIMITS[network.choice.precision]
    pairs = list(zip(reference, images(), strict=True))
    verdicts = [compare(expected, network(image), limits) for expected, image in pairs]
    if network.resizes:
        verdicts += [
            compare(expected, network.estimate(image, network.size, None), RESIZED) for expected, image in pairs
        ]
    return min(verdicts, key=lambda verdict: (verdict.passed, np.nan_to_num(verdict.correlation, nan=-1.0)))


class References:
    """The reference's outputs, kept in the cache: computed once for a graph, its weights and an input size."""

    def __init__(self, cache: Path | None = None) -> None:
        self._folder = (cache or cache_directory()) / "references"

    def path(self, graph: Graph, size: tuple[int, int]) -> Path:
        """Where the outputs for this graph, with the weights it has today, would lie."""
        digest = hashlib.sha256(f"{graph.sha256} {graph.weights_sha256}".encode())
        for image in images():
            digest.update(image.tobytes())
        return self._folder / f"{digest.hexdigest()}_{size[0]}x{size[1]}.npy"

    def read(self, graph: Graph, size: tuple[int, int]) -> np.ndarray | None:
        """The stored outputs, or None if there are none or they are damaged."""
        path = self.path(graph, size)
        if not path.is_file():
            return None
        try:
            stored = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        except (ValueError, EOFError):
            return None
        return stored if stored.shape == (len(images()), *size) else None

    def write(self, graph: Graph, size: tuple[int, int], reference: np.ndarray) -> None:
        """Stores outputs for the next time.

        Raises:
            ModelError: the reference itself is not finite or constant: the weights are damaged.
        """
        if not np.isfinite(reference).all() or not all(np.ptp(values) > 0 for values in reference):
            raise ModelError(f"{graph.path}: gives NaN, infinite or constant maps in 32 bits; its weights are damaged")
        path = self.path(graph, size)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, reference)
