"""Robust fit of scale and shift to references, with its covariance, or the reason why there is none.

The network's output x becomes depth by ln Z = -ln(a x + b) for inverse depth and ln Z = ln(a x + b) for depth. The fit
is the maximum a posteriori of (ln a, b): residuals in ln Z have a redescending weight, b has a normal prior, and ln a
has one if an earlier state predicts it. What the references cannot tell falls back to the priors, and the covariance
says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.scale.kinds import TINY, ScaleKind, common_covariance, log_depth_gradient
from depth_anything_ros.scale.references import References, sample
from depth_anything_ros.scale.robust_statistics import blocks_of, inflation_of, inverse, median, spread_of

MAX_SIGMA = 0.5
"""Largest relative error of the consistent references; beyond, they do not describe the same scene."""
MIN_INLIERS = 0.3
"""Smallest fraction of the references that must agree with the fit."""
PLAUSIBLE = 6.0
"""Standard deviations within which a reference counts for the local correction."""
MAX_DEPTH_SIGMA = 0.4
"""Largest relative error of depth at the references that is still a measurement of scale."""
SHIFT_SHARE = 0.25
"""Largest prior standard deviation of b, as a share of the typical a x + b: on a road, 0.1/m would be no prior."""
_REDESCENT = 9.0
_CONVERGED = 1e-3
_STEPS = 12
_SAMPLE_POINTS = 160
_DRAWN_PAIRS = np.random.default_rng(0).random((2, 48))
_DRAWN_POINTS = np.random.default_rng(1).random(_SAMPLE_POINTS)
"""Random positions among the references, from 0 to 1: the same in each fit, so the same input gives the same output."""
_BOUNDED = 0.5


@dataclass(frozen=True)
class Prior:
    """What is known before the references: normal distributions of ln a and b.

    Attributes:
        log_a: mean of ln a.
        log_a_sigma: standard deviation of ln a; infinite: nothing is known.
        b: mean of b.
        b_sigma: standard deviation of b, in 1/meters for inverse depth and meters for depth. Without a prior on ln a,
            it is at most `SHIFT_SHARE` of what is typical for the references.
        correlation: between ln a and b.
    """

    log_a: float = 0.0
    log_a_sigma: float = math.inf
    b: float = 0.0
    b_sigma: float = 0.1
    correlation: float = 0.0

    @property
    def information(self) -> np.ndarray:
        """Inverse of the covariance of (ln a, b), float64 (2, 2)."""
        if math.isinf(self.log_a_sigma):
            return np.diag([0.0, self.b_sigma**-2])
        cross = self.correlation * self.log_a_sigma * self.b_sigma
        return np.linalg.inv(np.array([[self.log_a_sigma**2, cross], [cross, self.b_sigma**2]]))


@dataclass(frozen=True)
class ScaleFit:
    """A scale that the references agree on.

    Attributes:
        log_a: ln a.
        b: the shift.
        covariance: float64 (2, 2), of (ln a, b), without the common error of the source.
        common_sigma: relative standard deviation of that error.
        prior: the prior, as it was used: without one on ln a, its b is bounded by `SHIFT_SHARE`.
        information: float64 (2, 2), inverse covariance of (ln a, b) by the references alone.
        block_variance: relative variance of all depths that ``information`` does not know of: that of few blocks.
        inliers: bool (N,), the references that agree.
        plausible: bool (N,), those that also may agree: a network is wrong by more over single objects.
        residuals: float64 (N,), ln Z of each reference less that of the fit; NaN where the fit has no depth.
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
    """Why references give no scale, in words."""

    reason: str


def fit(kind: ScaleKind, values: np.ndarray, known: References, prior: Prior) -> ScaleFit | Refusal:
    """Fit scale and shift to references.

    Args:
        kind: how the output becomes depth.
        values: float32 (H, W), the network's output.
        known: the references, in pixels of ``values``.
        prior: what is known before.

    Returns:
        The fit, or the reason why the references give none.
    """
    return fit_samples(kind, sample(values, known.pixels, kind.sign < 0), values.shape[1], known, prior)


def fit_samples(kind: ScaleKind, x: np.ndarray, width: int, known: References, prior: Prior) -> ScaleFit | Refusal:
    """Do as `fit`, with the output at the references.

    Args:
        kind: how the output becomes depth.
        x: float64 (N,), from `sample`.
        width: of the map, pixels.
        known: the references.
        prior: what is known before.
    """
    problem = _Problem.of(kind, x, known, prior)
    if problem is None:
        return Refusal("no reference lies on a pixel with depth")
    start = problem.start()
    if start is None:
        return Refusal("no scale with positive a fits any two references")
    try:
        return problem.solve(start, known, width)
    except np.linalg.LinAlgError as error:
        return Refusal(f"the references do not determine a scale ({error})")


@dataclass(frozen=True)
class _Problem:
    """The usable references as arrays, each (N,)."""

    kind: ScaleKind
    prior: Prior
    used: np.ndarray
    x: np.ndarray
    log_z: np.ndarray
    sigma: np.ndarray
    is_bound: np.ndarray
    has_bounds: bool

    @staticmethod
    def of(kind: ScaleKind, x: np.ndarray, known: References, prior: Prior) -> _Problem | None:
        used = np.flatnonzero(np.isfinite(x) & ((x > 0) | kind.has_shift))
        if not len(used) or known.is_bound[used].all():
            return None
        log_z = np.log(known.depth[used])
        if math.isinf(prior.log_a_sigma):  # not the state of a filter
            largest = SHIFT_SHARE * math.exp(kind.sign * median(log_z))
            prior = replace(prior, b_sigma=min(prior.b_sigma, largest))
        is_bound = known.is_bound[used]
        return _Problem(kind, prior, used, x[used], log_z, known.sigma[used], is_bound, bool(is_bound.any()))

    def start(self) -> tuple[float, float] | None:
        """Return the candidate with the least bounded cost at some of the references."""
        a, b = self._candidates()
        valid = np.isfinite(a) & np.isfinite(b) & (a > 0)
        if not valid.any():
            return None
        a, b = a[valid], b[valid]
        log_a, count = np.log(a), len(self.x)
        chosen = slice(None) if count <= _SAMPLE_POINTS else (_DRAWN_POINTS * count).astype(np.intp)
        r = np.outer(a.astype(np.float32), self.x[chosen].astype(np.float32))
        r += b.astype(np.float32)[:, np.newaxis]
        np.log(np.maximum(r, np.float32(TINY), out=r), out=r)
        r *= np.float32(-self.kind.sign)
        r += self.log_z[chosen].astype(np.float32)
        if self.has_bounds:  # a lower bound says nothing against a surface beyond it
            r = np.where(self.is_bound[chosen], np.maximum(r, 0), r)
        cost = np.minimum(np.abs(r, out=r), np.float32(_BOUNDED), out=r).mean(axis=1) * min(count, 50)
        best = int(np.argmin(cost + 0.05 * self._prior_cost(log_a, b)))
        return float(log_a[best]), float(b[best])

    def _candidates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a and b of one reference and the prior's b, of two references each, and of the prior."""
        points = np.flatnonzero(~self.is_bound)
        first, second = points[(_DRAWN_PAIRS * len(points)).astype(np.intp)]
        x, w = self.x, np.exp(self.kind.sign * self.log_z)  # w = a x + b at the references
        b_prior = self.prior.b if self.kind.has_shift else 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (w[first] - b_prior) / x[first], np.full(len(first), b_prior)
            if self.kind.has_shift:
                a_two = (w[first] - w[second]) / (x[first] - x[second])
                a, b = np.concatenate([a, a_two]), np.concatenate([b, w[first] - a_two * x[first]])
        if not math.isinf(self.prior.log_a_sigma):
            a, b = np.append(a, math.exp(self.prior.log_a)), np.append(b, b_prior)
        return a, b

    def _prior_cost(self, log_a: np.ndarray, b: np.ndarray) -> np.ndarray:
        information = self._information()
        da, db = log_a - self.prior.log_a, b - self.prior.b
        return information[0, 0] * da**2 + 2 * information[0, 1] * da * db + information[1, 1] * db**2

    def _information(self) -> np.ndarray:
        information = self.prior.information
        if not self.kind.has_shift:
            information = np.diag([information[0, 0], 1e12])
        return information

    def _linearized(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the residuals, their derivatives (2, N) by ln a and b, and where the scale has depth."""
        ax = math.exp(theta[0]) * self.x
        g = ax + theta[1]
        has_depth = g > TINY
        np.maximum(g, TINY, out=g)
        r = self.log_z - self.kind.sign * np.log(g)
        if self.has_bounds:
            r = np.where(self.is_bound, np.maximum(r, 0.0), r)
        inverse = -self.kind.sign * has_depth / g  # without depth there is no derivative
        jacobian = np.empty((2, len(ax)))
        np.multiply(ax, inverse, out=jacobian[0])
        jacobian[1] = inverse if self.kind.has_shift else 0.0
        return r, jacobian, has_depth

    def solve(self, start: tuple[float, float], known: References, width: int) -> ScaleFit | Refusal:
        """Refine by Gauss-Newton with redescending weights."""
        theta = np.array(start)
        mean = np.array([self.prior.log_a, self.prior.b if self.kind.has_shift else 0.0])
        information, blocks = self._information(), blocks_of(known.pixels[self.used], width)
        inflation = 1.0
        r, jacobian, has_depth = self._linearized(theta)
        for _ in range(_STEPS):
            weighted = jacobian * self._weights(r)
            data = weighted @ jacobian.T
            hessian = data / inflation + information
            gradient = weighted @ r / inflation + information @ (theta - mean)
            step = inverse(hessian) @ gradient
            step *= min(1.0, 0.7 / max(abs(step[0]), TINY))
            theta = theta - step
            r, jacobian, has_depth = self._linearized(theta)
            inflation = inflation_of(weighted * r, data + information, blocks)
            if abs(step[0]) < _CONVERGED and abs(step[1]) < _CONVERGED:
                break
        return self._judge(theta, r, jacobian, has_depth, data / inflation, information, blocks, known)

    def _weights(self, r: np.ndarray) -> np.ndarray:
        """Return the weight of each reference, which falls to zero for large residuals."""
        variance = spread_of(r) ** 2 + self.sigma**2
        fall = 1.0 + r * r / (_REDESCENT * variance)
        weights = 1.0 / (variance * fall * fall)
        if self.has_bounds:
            weights[self.is_bound & (r <= 0)] = 0.0
        return weights

    def _judge(
        self,
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
        distance = np.abs(r) / np.sqrt(spread**2 + self.sigma**2)
        is_inlier = (distance < 3) & has_depth
        fraction = np.count_nonzero(is_inlier) / len(r)
        if spread > MAX_SIGMA:
            return Refusal(f"the references disagree with the image by {100 * spread:.0f} %")
        if fraction < MIN_INLIERS:
            return Refusal(f"only {100 * fraction:.0f} % of {len(r)} references agree")
        supporting = int(np.count_nonzero(np.bincount(blocks[is_inlier & ~self.is_bound])))
        typical = median(self.x)
        covariance = np.linalg.inv(data + prior)
        block_variance = self._block_variance(covariance, theta, spread, supporting, typical)
        covariance += block_variance * common_covariance(theta[1])
        uncertainty = math.sqrt(median((jacobian * (covariance @ jacobian)).sum(axis=0)))
        if uncertainty > MAX_DEPTH_SIGMA:
            return Refusal(f"the references leave depth uncertain by {100 * uncertainty:.0f} %")
        measures = ~(self.is_bound & (r <= 0))
        inliers, plausible = np.zeros(count, bool), np.zeros(count, bool)
        residuals, outputs = np.full(count, np.nan), np.full(count, np.nan)
        inliers[self.used] = is_inlier & measures
        plausible[self.used] = (distance < PLAUSIBLE) & has_depth & measures
        residuals[self.used], outputs[self.used] = r, self.x
        return ScaleFit(
            float(theta[0]),
            float(theta[1]),
            covariance,
            known.common_sigma,
            self.prior,
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
        self, covariance: np.ndarray, theta: np.ndarray, spread: float, blocks: int, typical: float
    ) -> float:
        """Return the relative variance that is missing to that of one independent error for each image block.

        The residuals within a single block cannot show an error that they share.
        """
        gradient = log_depth_gradient(self.kind, typical, *theta)
        return max(spread**2 / max(blocks, 1) - float(gradient @ covariance @ gradient), 0.0)
