"""Frames with known depth, patterns of references on them, and networks that see them, for benchmarks/scale*.py."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import minimize

from depth_anything_ros import Estimator
from depth_anything_ros.scale.references import References, references

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("sevenscenes_redkitchen", "sevenscenes_redkitchen_30hz", "realsense_shelf")
PATTERNS = ("laser", "patch", "floor", "rings 4", "rings 8", "rings 16", "random 30", "random 150", "random 500")
COUNT = 150
"""References of a structured pattern."""
LIMITS = (0.1, 10.0)
"""Depth of every method is limited to this before it is scored, meters."""
Network = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Makes inverse depth, float32 (H, W), of an image, its true depth and a seed."""


def frames(name: str, chosen: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images, RGB uint8, and depth in meters, NaN where unknown."""
    for color in sorted((DATA / name).glob("*.color.*"))[chosen]:
        depth = cv2.imread(str(color.with_name(f"{color.name.split('.')[0]}.depth.png")), cv2.IMREAD_UNCHANGED)
        z = depth.astype(np.float32)
        z[(depth == 0) | (depth == 65535)] = np.nan
        yield cv2.imread(str(color))[..., ::-1].copy(), z / 1000


def scored(depth: np.ndarray) -> np.ndarray:
    """Return the pixels whose depth counts, bool (H, W)."""
    return np.isfinite(depth) & (depth > 0.2) & (depth < 10)


def pattern(name: str, valid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return pixels (N, 2) of a pattern, on valid pixels."""
    rows, columns = np.nonzero(valid)
    height, width = valid.shape
    kind, _, number = name.partition(" ")
    count = COUNT
    if kind == "laser":
        inside = np.abs(rows - height // 2) <= 1
    elif kind == "patch":
        inside = (np.abs(columns - width / 2) < width / 6) & (np.abs(rows - height / 2) < height / 6)
    elif kind == "floor":
        inside = rows >= 0.7 * height
    elif kind == "rings":
        inside = np.isin(rows, np.linspace(0, height, int(number) + 2)[1:-1].astype(int))
    else:
        inside, count = np.ones(len(rows), bool), int(number)
    index = np.flatnonzero(inside)
    index = rng.choice(index, min(count, len(index)), replace=False)
    return np.stack([columns[index], rows[index]], axis=1)


def away_from(pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the valid pixels that are not next to a reference, bool (H, W)."""
    mask = valid.copy()
    for u, v in pixels:
        mask[max(0, v - 2) : v + 3, max(0, u - 2) : u + 3] = False
    return mask


def measure(depth: np.ndarray, pixels: np.ndarray, rng: np.random.Generator) -> References:
    """Return references with noise, of which a tenth lies behind an edge."""
    farthest = cv2.dilate(np.nan_to_num(depth), np.ones((17, 17)))
    z = depth[pixels[:, 1], pixels[:, 0]].astype(float)
    behind = rng.random(len(z)) < 0.1
    z[behind] = farthest[pixels[behind, 1], pixels[behind, 0]]
    return references(pixels, z * np.exp(0.01 * rng.standard_normal(len(z))), 0.01)


def affine_optimum(output: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the depth of the scale and shift with the least AbsRel over all true depth: no affine fit is better."""
    valid = scored(truth)
    valid[np.arange(len(valid)) % 4 > 0] = False
    valid[:, np.arange(valid.shape[1]) % 4 > 0] = False
    a, b = affine_fit(output[valid].astype(float), truth[valid].astype(float), LIMITS)
    return 1 / np.maximum(a * output + b, 1e-3)


def affine_fit(x: np.ndarray, z: np.ndarray, limits: tuple[float, float]) -> tuple[float, float]:
    """Return the scale and shift of inverse depth with the least AbsRel.

    Args:
        x: float64 (N,), inverse depth up to scale and shift.
        z: float64 (N,), true depth.
        limits: Limits of depth, meters.
    """
    weights = np.sqrt(z)
    start = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1) * weights[:, np.newaxis], weights / z, rcond=None)[0]
    typical = float(np.median(1 / z))
    simplex = np.array([start, start * (1.1, 1.0), (start[0], start[1] + 0.1 * typical)])

    def loss(theta: np.ndarray) -> float:
        depth = 1 / np.clip(theta[0] * x + theta[1], 1 / limits[1], 1 / limits[0])
        return float(np.mean(np.abs(depth - z) / z))

    options = {"initial_simplex": simplex, "xatol": 1e-4 * typical, "fatol": 1e-5, "maxiter": 200}
    a, b = minimize(loss, start, method="Nelder-Mead", options=options).x
    return float(a), float(b)


def bundled(model: str) -> Network:
    """Return the network of a model of the zoo."""
    estimator = Estimator(model)
    return lambda image, truth, seed: np.asarray(estimator.estimate(image), np.float32)


OBJECTS = 25
"""Objects whose depth a degraded network gets wrong, each as a whole."""


def degraded(floor: float) -> Network:
    """Return the true depth with errors like a good network's, of a given size.

    Depth Anything V2-S reaches an AbsRel of 0.053 on NYU at its affine optimum. Its errors are not noise: the layout
    bends slowly over the image, whole objects are too near or too far, depth follows a wrong curve, and edges are
    blurred. This network has all four. Unknown depth is filled from the nearest pixel. Inverse depth is blurred by
    1/200 of the image's width and multiplied by exp(s·e). The error e is the sum of three parts of equal variance: a
    Gaussian field with a length of a quarter of the width; one normal error for each of 25 regions that are close in
    pixels and in ln Z; and ln Z itself, so depth is raised to a power. The size s is chosen for each image, such that
    the affine optimum's AbsRel is ``floor``. The scale is arbitrary, and the output is zero at 5 m to infinity.

    Args:
        floor: AbsRel of the affine optimum.
    """

    def network(image: np.ndarray, truth: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, 17])
        inverse = 1 / _filled(truth)
        width = inverse.shape[1]
        blurred = cv2.GaussianBlur(inverse, (0, 0), width / 200)
        log_inverse = np.log(blurred)
        curve = (log_inverse - log_inverse.mean()) * rng.choice((-1.0, 1.0))
        parts = (_smooth_field(inverse.shape, rng), _objects(log_inverse, rng), curve)
        # Errors stop at edges, so they are made before the blur.
        error = cv2.GaussianBlur(sum(_unit(part) for part in parts), (0, 0), width / 200).astype(np.float32)
        shift = rng.uniform(0.0, 0.2)
        low, high = 0.0, 1.0
        for _ in range(9):
            size = (low + high) / 2
            output = blurred * np.exp(size * error)
            absrel = score(affine_optimum(output, truth), truth, scored(truth))
            low, high = (low, size) if absrel > floor else (size, high)
        return np.asarray(1.5 * (output - shift), np.float32)

    return network


def _filled(truth: np.ndarray) -> np.ndarray:
    """Return depth with the nearest known one where it is unknown."""
    unknown = (~scored(truth)).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    depth_of = np.zeros(labels.max() + 1, np.float32)
    depth_of[labels[unknown == 0]] = truth[unknown == 0]
    return depth_of[labels]


def _smooth_field(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal((shape[0] // 8 + 1, shape[1] // 8 + 1)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), shape[1] / 32, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(smooth, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def _objects(log_inverse: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one normal error for each region: the pixels closest to a random one, in the image and in depth."""
    height, width = log_inverse.shape
    rows, columns = rng.integers(0, height, OBJECTS), rng.integers(0, width, OBJECTS)
    v, u = np.mgrid[0:height, 0:width].astype(np.float32) / width
    distance = [
        (u - column / width) ** 2 + (v - row / width) ** 2 + (log_inverse - log_inverse[row, column]) ** 2
        for row, column in zip(rows, columns, strict=True)
    ]
    return rng.standard_normal(OBJECTS)[np.argmin(distance, axis=0)]


def _unit(part: np.ndarray) -> np.ndarray:
    return (part - part.mean()) / max(float(part.std()), 1e-6)


def score(depth: np.ndarray | None, truth: np.ndarray, mask: np.ndarray) -> float:
    """Return AbsRel; NaN for a refusal."""
    if depth is None:
        return float("nan")
    return float(np.mean(np.abs(np.clip(depth[mask], *LIMITS) - truth[mask]) / truth[mask]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose network, frames and draws."""
    parser.add_argument("--network", default="tiny", help="model to scale, or 'degraded' (default: tiny)")
    parser.add_argument(
        "--floor", type=float, default=0.05, help="affine optimum of 'degraded', AbsRel (default: 0.05)"
    )
    parser.add_argument("--stride", type=int, default=4, help="use every n-th frame of the 3 Hz kitchen (default: 4)")
    parser.add_argument("--held-out", action="store_true", help="use frames that no setting was chosen on")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[5, 6, 7], help="of noise and patterns (default: 5 6 7)"
    )


def network_of(args: argparse.Namespace) -> Network:
    """Return the network of the options."""
    return degraded(args.floor) if args.network == "degraded" else bundled(args.network)


def frames_of(args: argparse.Namespace) -> dict[str, slice]:
    """Return the frames of each set: those that settings were chosen on, or those that none was chosen on."""
    if not args.held_out:
        return {SETS[0]: slice(0, 50, args.stride)}
    return {SETS[0]: slice(50, None, args.stride), SETS[1]: slice(0, None, 4 * args.stride), SETS[2]: slice(None)}


def draws(kind: str, truth: np.ndarray, number: int, seeds: Sequence[int]) -> Iterator[tuple[References, np.ndarray]]:
    """Yield references of a pattern, and the pixels to score; a pattern with too few valid pixels gives none.

    Args:
        kind: one of `PATTERNS`.
        truth: depth in meters, NaN where unknown.
        number: Number of the frame.
        seeds: one draw for each.
    """
    valid = scored(truth)
    for seed in seeds:
        rng = np.random.default_rng(1000 * seed + number)
        pixels = pattern(kind, valid, rng)
        if len(pixels) >= 4:
            yield measure(truth, pixels, rng), away_from(pixels, valid)
