"""Fuse a measurement with the scale so far, each weighted by its error without the part that both share.

A fit treats the errors of its references as independent. This module adds their shared errors (a wrong distance
traveled, a wrong rotation between two views). They are directions of (ln a, b): a relative error of all depths moves
both, and an error of all inverse depths moves b.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from depth_anything_ros.scale.fit import ScaleFit
from depth_anything_ros.scale.kinds import ScaleKind, common_covariance, log_depth
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.scale_state import ScaleState

_TINY, _FIXED = 1e-12, 1e12


@dataclass(frozen=True)
class Measurement:
    """References with their fit.

    Attributes:
        kind: how the network's output becomes depth.
        known: the references.
        fit: their fit.
        shared: relative standard deviation of the error of all depths that the state so far has too.
        determines_b: whether the references determine b. If not, b keeps its value.
    """

    kind: ScaleKind
    known: References
    fit: ScaleFit
    shared: float
    determines_b: bool

    @property
    def own_covariance(self) -> np.ndarray:
        """Covariance of (ln a, b) from the errors that all references share, but not the state, float64 (2, 2)."""
        known = self.known
        variance = known.common_sigma**2 - self.shared**2 + known.pose_sigma**2 + self.fit.block_variance
        shift = np.zeros((2, 2))
        if self.determines_b and self.kind.sign < 0:
            shift[1, 1] = known.shift_sigma**2
        elif known.shift_sigma:
            variance += (known.shift_sigma * float(np.median(known.depth))) ** 2
        return variance * common_covariance(self.fit.b) + shift

    def joined(self, state: ScaleState) -> ScaleFit:
        """Return the fit, corrected by the state so far.

        Its residuals exclude the errors that all references share, because these are not errors of the network.

        Args:
            state: the scale so far.
        """
        information, own = self.fit.information, self.own_covariance
        prior = self.fit.prior
        prior_information = prior.information
        covariance = state.covariance_beside(self.shared)
        before = np.linalg.inv(covariance + _TINY * np.eye(2))
        if not self.determines_b:
            information, prior_information, own = (
                _of_scale_alone(one) for one in (information, prior_information, own)
            )
            before = np.diag([1 / covariance[0, 0], _FIXED])
        mean = np.array([state.log_a, state.b])
        # The references without the prior of their fit, as information matrix and vector.
        found, prior_mean = np.array([self.fit.log_a, self.fit.b]), np.array([prior.log_a, prior.b])
        vector = (information + prior_information) @ found - prior_information @ prior_mean
        ideal = np.linalg.solve(before + information, before @ mean + vector)
        reduction = np.linalg.inv(np.eye(2) + information @ own)
        after = np.linalg.inv(before + reduction @ information)
        log_a, b = after @ (before @ mean + reduction @ vector)
        after = (after + after.T) / 2
        if not self.determines_b:  # the references do not determine b, so its error stays
            after[1, 1] = state.covariance[1, 1]
        return replace(
            self.fit,
            log_a=float(log_a),
            b=float(b),
            covariance=after,
            common_sigma=self.shared,
            residuals=self._residuals(ideal),
        )

    def alone(self) -> ScaleFit:
        """Return the fit with the errors that all references share."""
        # The covariance of the fit already includes the variance of few blocks.
        own = self.own_covariance - self.fit.block_variance * common_covariance(self.fit.b)
        return replace(self.fit, covariance=self.fit.covariance + own)

    def _residuals(self, theta: np.ndarray) -> np.ndarray:
        residuals = np.full(len(self.known), np.nan)
        seen = np.isfinite(self.fit.residuals)
        log_z = log_depth(self.kind, self.fit.outputs[seen], *theta)
        residuals[seen] = np.log(self.known.depth[seen]) - log_z
        return residuals


def _of_scale_alone(matrix: np.ndarray) -> np.ndarray:
    return np.diag([matrix[0, 0], 0.0])
