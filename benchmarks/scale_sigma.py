"""Measures the accuracy of depth/sigma: the normalized error of single pixels, and a reliability curve.

Frames, references and networks are the same as in benchmarks/scale.py. The error of ln Z is divided by sigma / Z. Its
mean square should be 1. Of normal errors 38, 68, 95 and 99.7 % lie within 0.5, 1, 2 and 3 sigma. The last columns sort
the pixels by sigma: "sigma: error" is the root mean square of either in each fifth (sigma up to 1). A useful sigma
rises with the error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import cv2
import numpy as np
from scale_frames import PATTERNS, Network, add_arguments, draws, frames, frames_of, network_of
from scale_methods import INVERSE

from depth_anything_ros.scale.fit import ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import log_depth
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.scale_state import ScaleState
from depth_anything_ros.scale.shape import MIN_REFERENCES, LocalField
from depth_anything_ros.scale.uncertainty import depth_sigma

WITHIN = (0.5, 1, 2, 3)
MEDIAN_OF_CHI_SQUARE = 0.455


def errors(output: np.ndarray, known: References, truth: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Return the error of ln Z and its predicted standard deviation, (2, N); None for a refusal.

    Args:
        output: float32 (H, W), inverse depth.
        known: references.
        truth: depth in meters.
        mask: bool (H, W), the pixels to return; every seventh of them is.
    """
    found = fit(INVERSE, output, known, Prior())
    if not isinstance(found, ScaleFit):
        return None
    log_z, local = log_depth(INVERSE, output, found.log_a, found.b).astype(np.float32), None
    chosen = known.take(found.plausible)
    if len(chosen) >= MIN_REFERENCES:
        at = log_depth(INVERSE, found.outputs[found.plausible], found.log_a, found.b)
        field = LocalField(output.shape, chosen.pixels, at, found.residuals[found.plausible])
        correction, local = field.correction(np.ascontiguousarray(log_z[::4, ::4])), field.error()
        log_z += cv2.resize(correction, output.shape[::-1])
    depth = np.exp(np.where(log_z < 7, log_z, np.inf))  # no depth is infinite, as in the node
    state = ScaleState(found.log_a, found.b, found.covariance, found.common_sigma, found.typical, 0.0, 0.0, "")
    sigma = depth_sigma(depth, INVERSE, state, found.spread, local=local)
    mask = mask & np.isfinite(depth)
    return np.stack([np.log(depth[mask] / truth[mask]), sigma[mask] / depth[mask]])[:, ::7]


def row(error: np.ndarray, sigma: np.ndarray) -> str:
    """Return the cells of a table."""
    ratio = np.abs(error / sigma)
    robust = float(np.median(ratio**2)) / MEDIAN_OF_CHI_SQUARE
    cells = [
        f"{np.mean(ratio**2):.2f}",
        f"{robust:.2f}",
        *(f"{100 * np.mean(ratio < limit):.0f} %" for limit in WITHIN),
    ]
    for fifth in np.array_split(np.argsort(sigma), 5):
        cells.append(
            f"{np.sqrt(np.mean(np.minimum(sigma[fifth], 1) ** 2)):.2f}: {np.sqrt(np.mean(error[fifth] ** 2)):.2f}"
        )
    return " | ".join(cells)


def run(name: str, chosen: slice, network: Network, seeds: Sequence[int]) -> str:
    """Return the table of a set in Markdown.

    Args:
        name: Name of the set.
        chosen: its frames.
        network: makes inverse depth.
        seeds: Seeds of patterns and noise.
    """
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in PATTERNS}
    for number, (image, truth) in enumerate(frames(name, chosen)):
        output = network(image, truth, number)
        for kind in PATTERNS:
            for known, mask in draws(kind, truth, number, seeds):
                result = errors(output, known, truth, mask)
                if result is not None:
                    found[kind].append(result)
    limits = " | ".join(f"< {limit} sigma" for limit in WITHIN)
    lines = [
        f"| references | mean square | robust | {limits} | {' | '.join(['sigma: error'] * 5)} |",
        f"|---|{'---|' * 11}",
    ]
    lines += [f"| {kind} | {row(*np.concatenate(found[kind], axis=1))} |" for kind in PATTERNS if found[kind]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    network = network_of(args)
    for name, part in frames_of(args).items():
        print(f"{name}\n\n{run(name, part, network, args.seeds)}\n", flush=True)


if __name__ == "__main__":
    main()
