"""Robust fit of scale and shift to references, with its covariance, or the reason why there is none.

The network's output x becomes depth by ln Z = -ln(a x + b) for inverse depth and ln Z = ln(a x + b) for depth. The fit
is the maximum a posteriori of (ln a, b): residuals in ln Z have a redescending weight, b has a normal prior, and ln a
has one if an earlier state predicts it. Where the references are insufficient, the result falls back to the priors, and
the covariance shows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.scale.fit_problem import Prior, Problem
from depth_anything_ros.scale.kinds import TINY, ScaleKind, common_covariance, log_depth_gradient
from depth_anything_ros.scale.references import References, sample
from depth_anything_ros.scale.robust_statistics import blocks_of, inflation_of, inverse, median, spread_of

MAX_SIGMA = 0.5
"""Largest relative error of the consistent references. Above it, they do not describe the same scene."""
MIN_INLIERS = 0.3
"""Smallest fraction of the references that must agree with the fit."""
PLAUSIBLE = 6.0
"""Standard deviations within which a reference counts for the local correction."""
MAX_DEPTH_SIGMA = 0.4
"""Largest relative error of depth at the references for a valid scale."""
_CONVERGED = 1e-3
_STEPS = 12


@dataclass(frozen=True)
class ScaleFit:
    """A scale on which the references agree.

    Attributes:
        log_a: ln a.
        b: the shift.
        covariance: float64 (2, 2), of (ln a, b), without the common error of the source.
        common_sigma: relative standard deviation of that error.
        prior: the prior, as it was used; see `Problem`.
        information: float64 (2, 2), inverse covariance of (ln a, b) by the references alone.
        block_variance: relative variance of all depths that ``information`` does not include, because of few blocks.
        inliers: bool (N,), the references that agree.
        plausible: bool (N,), these and the ones that may agree, because a network is wrong by more on single objects.
        residuals: float64 (N,), ln Z of each reference minus ln Z of the fit; NaN where the fit has no depth.
        outputs: float64 (N,), the network's output at each reference; NaN outside the map.
        spread: relative standard deviation of the inliers.
        typical: the median of the network's output at the references.
        blocks: number of image blocks with references.
    """

    log_a: float
    b: float
    covariance: np.ndarray
    common_sigma: float
    prior: Prior
    information: np.ndarray
    block_variance: float
    inliers: np.ndarray
    plausible: np.ndarray
    residuals: np.ndarray
    outputs: np.ndarray
    spread: float
    typical: float
    blocks: int

    @property
    def scale(self) -> Scale:
        """The scale that makes a network's output metric."""
        return Scale(math.exp(self.log_a), self.b)


@dataclass(frozen=True)
class Refusal:
    """The reason why references give no scale."""

    reason: str


def fit(kind: ScaleKind, values: np.ndarray, known: References, prior: Prior) -> ScaleFit | Refusal:
    """Fit scale and shift to references.

    Args:
        kind: how the output becomes depth.
        values: float32 (H, W), the network's output.
        known: the references, in pixels of ``values``.
        prior: prior knowledge.

    Returns:
        The fit, or the reason why the references give none.
    """
    return fit_samples(kind, sample(values, known.pixels, kind.sign < 0), values.shape[1], known, prior)


def fit_samples(kind: ScaleKind, x: np.ndarray, width: int, known: References, prior: Prior) -> ScaleFit | Refusal:
    """Do as `fit`, with the output at the references.

    Args:
        kind: how the output becomes depth.
        x: float64 (N,), from `sample`.
        width: Width of the map, pixels.
        known: the references.
        prior: prior knowledge.
    """
    problem = Problem.of(kind, x, known, prior)
    if problem is None:
        return Refusal("no reference is on a pixel with depth")
    start = problem.start()
    if start is None:
        return Refusal("no scale with positive a fits any two references")
    try:
        return _solve(problem, start, known, width)
    except np.linalg.LinAlgError as error:
        return Refusal(f"the references do not determine a scale ({error})")


def _solve(problem: Problem, start: tuple[float, float], known: References, width: int) -> ScaleFit | Refusal:
    """Refine by Gauss-Newton with redescending weights."""
    theta = np.array(start)
    mean = np.array([problem.prior.log_a, problem.prior.b if problem.kind.has_shift else 0.0])
    information, blocks = problem.information(), blocks_of(known.pixels[problem.used], width)
    inflation = 1.0
    r, jacobian, has_depth = problem.linearized(theta)
    for _ in range(_STEPS):
        weighted = jacobian * problem.weights(r)
        data = weighted @ jacobian.T
        hessian = data / inflation + information
        gradient = weighted @ r / inflation + information @ (theta - mean)
        step = inverse(hessian) @ gradient
        step *= min(1.0, 0.7 / max(abs(step[0]), TINY))
        theta = theta - step
        r, jacobian, has_depth = problem.linearized(theta)
        inflation = inflation_of(weighted * r, data + information, blocks)
        if abs(step[0]) < _CONVERGED and abs(step[1]) < _CONVERGED:
            break
    return _judge(problem, theta, r, jacobian, has_depth, data / inflation, information, blocks, known)


def _judge(
    problem: Problem,
    theta: np.ndarray,
    r: np.ndarray,
    jacobian: np.ndarray,
    has_depth: np.ndarray,
    data: np.ndarray,
    prior: np.ndarray,
    blocks: np.ndarray,
    known: References,
) -> ScaleFit | Refusal:
    spread, count = spread_of(r), len(known)
    distance = np.abs(r) / np.sqrt(spread**2 + problem.sigma**2)
    is_inlier = (distance < 3) & has_depth
    fraction = np.count_nonzero(is_inlier) / len(r)
    if spread > min(MAX_SIGMA, known.max_spread):
        return Refusal(f"the references disagree with the image by {100 * spread:.0f} %")
    if fraction < MIN_INLIERS:
        return Refusal(f"only {100 * fraction:.0f} % of {len(r)} references agree")
    supporting = int(np.count_nonzero(np.bincount(blocks[is_inlier & ~problem.is_bound])))
    typical = median(problem.x)
    covariance = np.linalg.inv(data + prior)
    block_variance = _block_variance(problem.kind, covariance, theta, spread, supporting, typical)
    covariance += block_variance * common_covariance(theta[1])
    uncertainty = math.sqrt(median((jacobian * (covariance @ jacobian)).sum(axis=0)))
    if uncertainty > MAX_DEPTH_SIGMA:
        return Refusal(f"the references leave depth uncertain by {100 * uncertainty:.0f} %")
    measures = ~(problem.is_bound & (r <= 0))
    inliers, plausible = np.zeros(count, bool), np.zeros(count, bool)
    residuals, outputs = np.full(count, np.nan), np.full(count, np.nan)
    inliers[problem.used] = is_inlier & measures
    plausible[problem.used] = (distance < PLAUSIBLE) & has_depth & measures
    residuals[problem.used], outputs[problem.used] = r, problem.x
    return ScaleFit(
        float(theta[0]),
        float(theta[1]),
        covariance,
        known.common_sigma,
        problem.prior,
        data,
        block_variance,
        inliers,
        plausible,
        residuals,
        outputs,
        spread,
        typical,
        supporting,
    )


def _block_variance(
    kind: ScaleKind, covariance: np.ndarray, theta: np.ndarray, spread: float, blocks: int, typical: float
) -> float:
    """Return the relative variance to add, so that each image block counts as one independent error at most.

    The residuals within a single block cannot reveal their common error.
    """
    gradient = log_depth_gradient(kind, typical, *theta)
    return max(spread**2 / max(blocks, 1) - float(gradient @ covariance @ gradient), 0.0)
