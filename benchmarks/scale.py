"""How well references scale a relative model: structured patterns, with no network and least squares beside it.

Frames come from ../shared/data (7-Scenes red kitchen at 3 and 30 Hz, a RealSense shelf). The settings of the fit were
chosen on the first half of the 3 Hz kitchen; --held-out scores the second half and the other sets. Scores are AbsRel of
all pixels that are not next to a reference; 10 % of the references lie behind an edge, all have 1 % noise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from depth_anything_ros import Estimator
from depth_anything_ros.scale.fit import KINDS, Prior, ScaleFit, fit, log_depth
from depth_anything_ros.scale.references import References, references
from depth_anything_ros.scale.shape import MIN_REFERENCES, LocalField

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("sevenscenes_redkitchen", "sevenscenes_redkitchen_30hz", "realsense_shelf")
PATTERNS = ("laser", "patch", "floor", "rings 4", "rings 8", "rings 16", "random 30", "random 150", "random 500")
COUNT = 150
"""References of a structured pattern."""
INVERSE = KINDS["inverse_affine"]
Method = Callable[[np.ndarray, References], "np.ndarray | None"]


def frames(name: str, chosen: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images, RGB uint8, and depth in meters, NaN where unknown."""
    for color in sorted((DATA / name).glob("*.color.*"))[chosen]:
        depth = cv2.imread(str(color.with_name(f"{color.name.split('.')[0]}.depth.png")), cv2.IMREAD_UNCHANGED)
        z = depth.astype(np.float32)
        z[(depth == 0) | (depth == 65535)] = np.nan
        yield cv2.imread(str(color))[..., ::-1].copy(), z / 1000


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


def measure(depth: np.ndarray, pixels: np.ndarray, rng: np.random.Generator) -> References:
    """Return references with noise, of which a tenth lies behind an edge."""
    farthest = cv2.dilate(np.nan_to_num(depth), np.ones((17, 17)))
    z = depth[pixels[:, 1], pixels[:, 0]].astype(float)
    behind = rng.random(len(z)) < 0.1
    z[behind] = farthest[pixels[behind, 1], pixels[behind, 0]]
    return references(pixels, z * np.exp(0.01 * rng.standard_normal(len(z))), 0.01)


def no_network(output: np.ndarray, known: References) -> np.ndarray:
    """Linear interpolation between the references, and the nearest one outside of them."""
    height, width = output.shape
    rows, columns = np.mgrid[0:height:4, 0:width:4]
    grid = np.stack([columns.ravel(), rows.ravel()], axis=1)
    filled = NearestNDInterpolator(known.pixels, known.depth)(grid)
    try:
        linear = LinearNDInterpolator(known.pixels, known.depth)(grid)
        filled = np.where(np.isfinite(linear), linear, filled)
    except Exception as error:  # QhullError: the references lie on one line
        if "Qhull" not in type(error).__name__:
            raise
    return cv2.resize(filled.reshape(rows.shape).astype(np.float32), (width, height))


def least_squares(output: np.ndarray, known: References) -> np.ndarray:
    """MiDaS's alignment: least squares in inverse depth."""
    x = output[known.pixels[:, 1].astype(int), known.pixels[:, 0].astype(int)]
    a, b = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), 1 / known.depth, rcond=None)[0]
    return 1 / np.clip(a * output + b, 0.1, 10)


def affine(output: np.ndarray, known: References) -> np.ndarray | None:
    """The robust fit with a prior on the shift."""
    found = fit(INVERSE, output, known, Prior())
    return np.exp(log_depth(INVERSE, output, found.log_a, found.b)) if isinstance(found, ScaleFit) else None


def shaped(output: np.ndarray, known: References) -> np.ndarray | None:
    """The robust fit with the local correction."""
    found = fit(INVERSE, output, known, Prior())
    if not isinstance(found, ScaleFit):
        return None
    log_z = log_depth(INVERSE, output, found.log_a, found.b).astype(np.float32)
    chosen = known.take(found.inliers)
    if len(chosen) < MIN_REFERENCES:
        return np.exp(log_z)
    at = log_z[chosen.pixels[:, 1].astype(int), chosen.pixels[:, 0].astype(int)].astype(float)
    field = LocalField(output.shape, chosen.pixels, at, found.residuals[found.inliers])
    correction = field.correction(np.ascontiguousarray(log_z[::4, ::4]))
    return np.exp(log_z + cv2.resize(correction, output.shape[::-1]))


METHODS: dict[str, Method] = {
    "no network": no_network,
    "least squares in 1/Z": least_squares,
    "robust fit": affine,
    "robust fit + local": shaped,
}


def score(depth: np.ndarray | None, truth: np.ndarray, mask: np.ndarray) -> float:
    """AbsRel; NaN for a refusal."""
    return float("nan") if depth is None else float(np.mean(np.abs(depth[mask] - truth[mask]) / truth[mask]))


def run(name: str, chosen: slice, model: str, seed: int) -> dict[str, dict[str, list[float]]]:
    """Score every method on every pattern of a set's frames."""
    estimator = Estimator(model)
    scores: dict[str, dict[str, list[float]]] = {kind: {method: [] for method in METHODS} for kind in PATTERNS}
    for number, (image, truth) in enumerate(frames(name, chosen)):
        output = np.asarray(estimator.estimate(image), np.float32)
        valid = np.isfinite(truth) & (truth > 0.2) & (truth < 10)
        for kind in PATTERNS:
            rng = np.random.default_rng(1000 * seed + number)
            pixels = pattern(kind, valid, rng)
            if len(pixels) < 4:
                continue
            known = measure(truth, pixels, rng)
            mask = valid.copy()
            for u, v in pixels:
                mask[max(0, v - 2) : v + 3, max(0, u - 2) : u + 3] = False
            for method, function in METHODS.items():
                scores[kind][method].append(score(function(output, known), truth, mask))
    return scores


def table(scores: dict[str, dict[str, list[float]]]) -> str:
    """Return the means in Markdown, with the number of refusals in brackets."""
    lines = [f"| references | {' | '.join(METHODS)} |", f"|---|{'---|' * len(METHODS)}"]
    for kind, row in scores.items():
        cells = []
        for values in row.values():
            refused = int(np.isnan(values).sum())
            cells.append(f"{np.nanmean(values):.3f}" + f" ({refused} refused)" * bool(refused))
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cost() -> str:
    """Return the time of one core for 1,000 references at 640x480."""
    rng = np.random.default_rng(0)
    output = cv2.resize((0.2 + rng.random((12, 16))).astype(np.float32), (640, 480))
    pixels = np.stack([rng.integers(0, 640, 1000), rng.integers(0, 480, 1000)], axis=1)
    z = 1 / (0.7 * output[pixels[:, 1], pixels[:, 0]] + 0.05) * np.exp(0.05 * rng.standard_normal(1000))
    known = references(pixels, z)
    seconds: dict[str, list[float]] = {"fit": [], "fit and local correction": []}
    for _ in range(60):
        started = time.thread_time()
        fit(INVERSE, output, known, Prior())
        seconds["fit"].append(time.thread_time() - started)
        started = time.thread_time()
        _correct(output, known)
        seconds["fit and local correction"].append(time.thread_time() - started)
    return ", ".join(f"{name} {1e3 * float(np.median(values)):.2f} ms" for name, values in seconds.items())


def _correct(output: np.ndarray, known: References) -> None:
    """What a frame pays: the correction at a quarter of the resolution, multiplied into the depth."""
    found = fit(INVERSE, output, known, Prior())
    assert isinstance(found, ScaleFit)
    small = np.ascontiguousarray(output[::4, ::4])
    log_z = log_depth(INVERSE, small, found.log_a, found.b).astype(np.float32)
    at = log_depth(INVERSE, found.outputs[found.inliers], found.log_a, found.b)
    chosen = known.take(found.inliers)
    field = LocalField(output.shape, chosen.pixels, at, found.residuals[found.inliers])
    factor = cv2.resize(cv2.exp(field.correction(log_z)), output.shape[::-1])
    cv2.multiply(output, factor, dst=factor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help="model to scale (default: tiny)")
    parser.add_argument("--stride", type=int, default=8, help="use every n-th frame (default: 8)")
    parser.add_argument("--held-out", action="store_true", help="score frames that no setting was chosen on")
    parser.add_argument("--seed", type=int, default=5, help="of noise and patterns (default: 5)")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    print(f"one core, 1,000 references, 640x480: {cost()}\n")
    chosen = {SETS[0]: slice(0, 50, args.stride)}
    if args.held_out:
        chosen = {SETS[0]: slice(50, None, args.stride), SETS[1]: slice(0, None, 4 * args.stride), SETS[2]: slice(None)}
    for name, part in chosen.items():
        print(f"{name}\n\n{table(run(name, part, args.model, args.seed))}\n")


if __name__ == "__main__":
    main()
