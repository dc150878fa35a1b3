"""The gate: an engine is used only if it gives, on fixed images, what ONNX Runtime gives in 32 bits.

Converted networks can be silently wrong: half precision overflows, a fused layer has a defect, a cached file is stale.
The depth then looks plausible and is not. Everything but the reference itself passes here before its first frame.
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

RESIZED = Limits(correlation=0.999, abs_rel=0.01, worst=0.1)
"""Limits for a device that resizes images itself, within two gray levels of what it is compared with."""


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
    """Holds one map to its reference; both float32 (H, W). To a reference that is of no use nothing passes."""
    if not _is_usable(reference):
        return Verdict(np.nan, np.nan, np.nan, "the reference is not finite, or the same everywhere")
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
    scale = np.maximum(np.abs(expected), MIN_SHARE * np.abs(expected).mean())
    abs_rel = float((np.abs(slope * given + shift - expected) / scale).mean())
    verdict = Verdict(correlation, abs_rel, worst)
    faults = [
        f"{name} {value:.6g} is {side} {limit:g}"
        for name, value, side, limit, bad in (  # so written that NaN is bad
            ("correlation", correlation, "below", limits.correlation, not correlation >= limits.correlation),
            ("AbsRel", abs_rel, "above", limits.abs_rel, not abs_rel <= limits.abs_rel),
            ("worst pixel", worst, "above", limits.worst, not worst <= limits.worst),
        )
        if bad
    ]
    return Verdict(correlation, abs_rel, worst, "; ".join(faults)) if faults else verdict


def _is_usable(reference: np.ndarray) -> bool:
    """Whether a map can be compared with: finite, and not constant."""
    return bool(np.isfinite(reference).all() and np.ptp(reference) > 0)


@lru_cache(maxsize=1)
def images() -> tuple[np.ndarray, ...]:
    """The fixed images, RGB uint8 (H, W, 3): three scenes that this package rendered."""
    found = (decode_file(read_file(path), cv2.IMREAD_COLOR) for path in sorted(IMAGES.glob("*.png")))
    return tuple(image[..., ::-1].copy() for image in found)


def outputs(network: Network) -> np.ndarray:
    """What a network gives for the fixed images: float32 (count, height, width)."""
    return np.stack([network(image).copy() for image in images()])


def judge(network: Network, reference: np.ndarray) -> Verdict:
    """The worst verdict over the fixed images, ``reference`` being `outputs` of the reference. Raises `ModelError`.

    Where images are resized on the device, that way is judged as well: from BGR seen as RGB to a map of the image's
    size, against the same network between the host's resizing, within the limits of `RESIZED`.
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
    """The reference's outputs, kept in the cache: computed once for a graph, its weights and an input size."""

    def __init__(self, cache: Path | None = None) -> None:
        self._folder = (cache or cache_directory()) / "references"

    def path(self, graph: Graph, record: ModelRecord, size: tuple[int, int]) -> Path:
        """Where the outputs for this graph, with the weights, normalization and resizing of today, would lie."""
        told = [record.input, record.output, record.mean, record.std, record.encoder, record.version, record.max_depth]
        if record.confidence is not None:  # of several outputs it says which one is the depth
            told.append(record.confidence)
        digest = hashlib.sha256(f"{graph.sha256} {graph.weights_sha256} {told} {RESIZING}".encode())
        for image in images():
            digest.update(image.tobytes())
        return self._folder / f"{digest.hexdigest()}_{size[0]}x{size[1]}.reference"

    def read(self, graph: Graph, record: ModelRecord, size: tuple[int, int]) -> np.ndarray | None:
        """The stored outputs, or None if there are none or they are damaged."""
        path = self.path(graph, record, size)
        if not path.is_file():
            return None
        content = path.read_bytes()
        digest, array = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(array).digest() != digest:
            log.warning("%s is damaged; the reference outputs are computed anew", path)
            return None
        return np.load(io.BytesIO(array), allow_pickle=False)

    def write(self, graph: Graph, record: ModelRecord, size: tuple[int, int], reference: np.ndarray) -> None:
        """Stores outputs for the next time, behind their SHA-256: a damaged reference would condemn good engines.

        Raises:
            ModelError: the reference itself is not finite or constant: the weights are damaged.
        """
        if not all(map(_is_usable, reference)):
            raise ModelError(f"{graph.path}: gives NaN, infinite or constant maps in 32 bits; its weights are damaged")
        array = io.BytesIO()
        np.save(array, reference)
        path = self.path(graph, record, size)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, hashlib.sha256(array.getvalue()).digest() + array.getvalue())
