"""Measures how well references scale a relative model: structured patterns, next to no network and least squares.

Frames come from ../shared/data (7-Scenes red kitchen at 3 and 30 Hz, a RealSense shelf). The settings of the fit were
chosen on the first half of the 3 Hz kitchen; --held-out scores the second half and the other sets. Scores are AbsRel of
all pixels that are not next to a reference; 10 % of the references lie behind an edge, all have 1 % noise. The column
"affine optimum" knows the whole true depth: no scale and shift are better.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from scale_frames import (
    PATTERNS,
    Network,
    add_arguments,
    affine_optimum,
    draws,
    frames,
    frames_of,
    network_of,
    score,
)
from scale_methods import INVERSE, METHODS, TRIALS, Method
from scale_picture import write_picture

from depth_anything_ros.scale.fit import ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import log_depth
from depth_anything_ros.scale.references import References, references
from depth_anything_ros.scale.scale_state import ScaleState
from depth_anything_ros.scale.shape import LocalField
from depth_anything_ros.scale.uncertainty import depth_sigma

OPTIMUM = "affine optimum"
Scores = dict[str, dict[str, list[float]]]


def run(
    name: str,
    chosen: slice,
    network: Network,
    seeds: Sequence[int],
    methods: Mapping[str, Method],
    kinds: Sequence[str] = PATTERNS,
) -> Scores:
    """Score every method on every pattern of a set's frames.

    Args:
        name: Name of the set.
        chosen: its frames.
        network: makes inverse depth.
        seeds: Seeds of patterns and noise.
        methods: by the name of the column.
        kinds: patterns of references.
    """
    scores: Scores = {kind: {column: [] for column in (OPTIMUM, *methods)} for kind in kinds}
    for number, (image, truth) in enumerate(frames(name, chosen)):
        output = network(image, truth, number)
        optimum = affine_optimum(output, truth)
        for kind in kinds:
            for known, mask in draws(kind, truth, number, seeds):
                scores[kind][OPTIMUM].append(score(optimum, truth, mask))
                for method, function in methods.items():
                    scores[kind][method].append(score(function(output, known), truth, mask))
    return scores


def table(scores: Scores) -> str:
    """Return the means in Markdown, with the number of refusals in brackets."""
    columns = list(next(iter(scores.values())))
    lines = [f"| references | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
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
    steps: dict[str, Callable[[], object]] = {
        "fit": lambda: fit(INVERSE, output, known, Prior()),
        "fit and local correction": lambda: _correct(output, known, has_sigma=False),
        "the same and sigma": lambda: _correct(output, known, has_sigma=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(60):
        for name, step in steps.items():
            started = time.thread_time()
            step()
            seconds[name].append(time.thread_time() - started)
    return ", ".join(f"{name} {1e3 * float(np.median(values)):.2f} ms" for name, values in seconds.items())


def _correct(output: np.ndarray, known: References, has_sigma: bool) -> None:
    """The cost per frame: the correction at a quarter of the resolution, multiplied into the depth."""
    found = fit(INVERSE, output, known, Prior())
    assert isinstance(found, ScaleFit)
    small = np.ascontiguousarray(output[::4, ::4])
    log_z = log_depth(INVERSE, small, found.log_a, found.b).astype(np.float32)
    at = log_depth(INVERSE, found.outputs[found.plausible], found.log_a, found.b)
    chosen = known.take(found.plausible)
    field = LocalField(output.shape, chosen.pixels, at, found.residuals[found.plausible])
    factor = cv2.resize(cv2.exp(field.correction(log_z)), output.shape[::-1])
    depth = cv2.multiply(output, factor, dst=factor)
    if has_sigma:
        state = ScaleState(found.log_a, found.b, found.covariance, found.common_sigma, found.typical, 0.0, 0.0, "")
        depth_sigma(depth, INVERSE, state, found.spread, factor, field.error())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--trials", action="store_true", help="score the rejected alternatives")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="write the picture of docs/metric.md, and no table"
    )
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    if args.picture:
        write_picture(args.picture, args.network)
        return
    print(f"one core, 1,000 references, 640x480: {cost()}\n")
    network = network_of(args)
    for name, part in frames_of(args).items():
        print(
            f"{name}\n\n{table(run(name, part, network, args.seeds, TRIALS if args.trials else METHODS))}\n", flush=True
        )


if __name__ == "__main__":
    main()
