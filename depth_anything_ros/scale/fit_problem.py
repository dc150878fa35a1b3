"""The references of a fit as arrays, the priors, and the start of the fit.

A fit starts at the best of several candidates, each from one or two references. So a third of correct references is
enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from depth_anything_ros.scale.kinds import TINY, ScaleKind
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.robust_statistics import median, spread_of

SHIFT_SHARE = 0.25
"""Largest prior standard deviation of b, as a share of the typical a x + b. On a road, 0.1/m would have no effect."""
_REDESCENT = 9.0
_SAMPLE_POINTS = 160
_DRAWN_PAIRS = np.random.default_rng(0).random((2, 48))
_DRAWN_POINTS = np.random.default_rng(1).random(_SAMPLE_POINTS)
"""Random positions among the references, from 0 to 1: the same in each fit, so the same input gives the same output."""
_BOUNDED = 0.5


@dataclass(frozen=True)
class Prior:
    """Prior knowledge: normal distributions of ln a and b.

    Attributes:
        log_a: mean of ln a.
        log_a_sigma: standard deviation of ln a; infinite: nothing is known.
        b: mean of b.
        b_sigma: standard deviation of b, in 1/meters for inverse depth and meters for depth. Without a prior on ln a,
            it is at most `SHIFT_SHARE` of the typical value for the references.
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
class Problem:
    """The usable references as arrays.

    Attributes:
        kind: how the network's output becomes depth.
        prior: the prior, as it is used: without one on ln a, its b is bounded by `SHIFT_SHARE`.
        used: int (N,), their indices among the references.
        x: float64 (N,), the network's output.
        log_z: float64 (N,), ln of their depth.
        sigma: float64 (N,), its standard deviation.
        is_bound: bool (N,), whether the depth is only a lower bound.
        has_bounds: whether any is.
    """

    kind: ScaleKind
    prior: Prior
    used: np.ndarray
    x: np.ndarray
    log_z: np.ndarray
    sigma: np.ndarray
    is_bound: np.ndarray
    has_bounds: bool

    @staticmethod
    def of(kind: ScaleKind, x: np.ndarray, known: References, prior: Prior) -> Problem | None:
        """Return the usable references; None without one that has a depth."""
        used = np.flatnonzero(np.isfinite(x) & ((x > 0) | kind.has_shift))
        if not len(used) or known.is_bound[used].all():
            return None
        log_z = np.log(known.depth[used])
        if math.isinf(prior.log_a_sigma):  # not the state of a filter
            largest = SHIFT_SHARE * math.exp(kind.sign * median(log_z))
            prior = replace(prior, b_sigma=min(prior.b_sigma, largest))
        is_bound = known.is_bound[used]
        return Problem(kind, prior, used, x[used], log_z, known.sigma[used], is_bound, bool(is_bound.any()))

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
        if self.has_bounds:  # a lower bound does not contradict a surface beyond it
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
        information = self.information()
        da, db = log_a - self.prior.log_a, b - self.prior.b
        return information[0, 0] * da**2 + 2 * information[0, 1] * da * db + information[1, 1] * db**2

    def information(self) -> np.ndarray:
        """Return the inverse covariance of (ln a, b) by the prior, float64 (2, 2)."""
        information = self.prior.information
        if not self.kind.has_shift:
            information = np.diag([information[0, 0], 1e12])
        return information

    def linearized(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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

    def weights(self, r: np.ndarray) -> np.ndarray:
        """Return the weight of each reference, which falls to zero for large residuals."""
        variance = spread_of(r) ** 2 + self.sigma**2
        fall = 1.0 + r * r / (_REDESCENT * variance)
        weights = 1.0 / (variance * fall * fall)
        if self.has_bounds:
            weights[self.is_bound & (r <= 0)] = 0.0
        return weights
