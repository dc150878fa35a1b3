"""Ways from a network's output and references to metric depth, for benchmarks/scale.py."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from depth_anything_ros.scale.fit import ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS, log_depth
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.shape import MIN_REFERENCES, LocalField

INVERSE = KINDS["inverse_affine"]
Method = Callable[[np.ndarray, References], "np.ndarray | None"]


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
    return 1 / np.maximum(a * output + b, 1e-3)


def robust(output: np.ndarray, known: References) -> np.ndarray | None:
    """The robust fit with a prior on the shift."""
    return _robust(output, known, Prior())


def robust_with_wide_prior(output: np.ndarray, known: References) -> np.ndarray | None:
    """The robust fit with twice the usual standard deviation of the shift: a trial."""
    return _robust(output, known, Prior(b_sigma=0.2))


def _robust(output: np.ndarray, known: References, prior: Prior) -> np.ndarray | None:
    found = fit(INVERSE, output, known, prior)
    return np.exp(log_depth(INVERSE, output, found.log_a, found.b)) if isinstance(found, ScaleFit) else None


def local(output: np.ndarray, known: References) -> np.ndarray | None:
    """The robust fit with the local correction."""
    return _local(output, known, lambda found: found.plausible)


def local_of_inliers(output: np.ndarray, known: References) -> np.ndarray | None:
    """The same with the references within 3 standard deviations of the fit alone: a trial."""
    return _local(output, known, lambda found: found.inliers)


def _local(output: np.ndarray, known: References, choose: Callable[[ScaleFit], np.ndarray]) -> np.ndarray | None:
    found = fit(INVERSE, output, known, Prior())
    if not isinstance(found, ScaleFit):
        return None
    chosen = choose(found)
    log_z = log_depth(INVERSE, output, found.log_a, found.b).astype(np.float32)
    at = log_depth(INVERSE, found.outputs[chosen], found.log_a, found.b)
    return _corrected(log_z, known.take(chosen), at, found.residuals[chosen])


def local_after_curve(output: np.ndarray, known: References) -> np.ndarray | None:
    """The robust fit with a monotone curve of ln Z before the local correction: a trial, not in the package."""
    found = fit(INVERSE, output, known, Prior())
    if not isinstance(found, ScaleFit):
        return None
    curve = _curve(found)
    log_z = curve(log_depth(INVERSE, output, found.log_a, found.b)).astype(np.float32)
    chosen = known.take(found.plausible)
    at = curve(log_depth(INVERSE, found.outputs[found.plausible], found.log_a, found.b))
    return _corrected(log_z, chosen, at, np.log(chosen.depth) - at)


def curve_alone(output: np.ndarray, known: References) -> np.ndarray | None:
    """The robust fit with that curve, and no local correction."""
    found = fit(INVERSE, output, known, Prior())
    if not isinstance(found, ScaleFit):
        return None
    return np.exp(_curve(found)(log_depth(INVERSE, output, found.log_a, found.b)))


def _corrected(log_z: np.ndarray, chosen: References, at: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Return depth with the local correction, if the references suffice for one."""
    if len(chosen) < MIN_REFERENCES:
        return np.exp(log_z)
    field = LocalField(log_z.shape, chosen.pixels, at, residuals)
    correction = field.correction(np.ascontiguousarray(log_z[::4, ::4]))
    return np.exp(log_z + cv2.resize(correction, log_z.shape[::-1]))


def _curve(found: ScaleFit) -> Callable[[np.ndarray], np.ndarray]:
    """Return a monotone, piecewise linear curve of ln Z from 50 inliers on: 5 knots, shrunk to the identity."""
    at = log_depth(INVERSE, found.outputs[found.plausible], found.log_a, found.b)
    if len(at) < 50:
        return lambda log_z: log_z
    low, high = np.quantile(at, (0.02, 0.98))
    knots = low + max(high - low, 0.2) * np.linspace(0, 1, 5)
    basis = np.stack([np.interp(at, knots, unit) for unit in np.eye(5)], axis=1)
    bend = np.diff(np.eye(5), 2, axis=0)
    penalty = 20 * (np.eye(5) + bend.T @ bend)
    change = np.linalg.solve(basis.T @ basis + penalty, basis.T @ found.residuals[found.plausible])
    change = np.maximum.accumulate(knots + change) - knots
    return lambda log_z: log_z + np.interp(log_z, knots, change)


METHODS: dict[str, Method] = {
    "no network": no_network,
    "least squares in 1/Z": least_squares,
    "robust fit": robust,
    "robust fit + local": local,
}
TRIALS: dict[str, Method] = {
    "robust fit": robust,
    "b ± 0.2/m": robust_with_wide_prior,
    "+ curve": curve_alone,
    "+ local": local,
    "+ local of inliers": local_of_inliers,
    "+ curve + local": local_after_curve,
}
"""Rejected alternatives: a wider prior, a monotone curve, and fewer references for the local correction."""
