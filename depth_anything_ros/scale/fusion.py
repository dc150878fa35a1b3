"""A measurement joined with the scale so far, each weighted by all of its error that the other does not share.

A fit weighs its references as if their errors were independent. The errors that all of them have (a wrong distance
traveled, a wrong rotation between two views) are added here. They are directions of (ln a, b): a relative error of all
depths moves both, an error of all inverse depths moves b.
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
        tells_shift: whether the references tell b. If not, b stays as it is.
    """

    kind: ScaleKind
    known: References
    fit: ScaleFit
    shared: float
    tells_shift: bool

    @property
    def own_covariance(self) -> np.ndarray:
        """Covariance of (ln a, b) by the errors that all references have, but not the state, float64 (2, 2)."""
        known = self.known
        variance = known.common_sigma**2 - self.shared**2 + known.pose_sigma**2 + self.fit.block_variance
        shift = np.zeros((2, 2))
        if self.tells_shift and self.kind.sign < 0:
            shift[1, 1] = known.shift_sigma**2
        elif known.shift_sigma:
            variance += (known.shift_sigma * float(np.median(known.depth))) ** 2
        return variance * common_covariance(self.fit.b) + shift

    def joined(self, state: ScaleState) -> ScaleFit:
        """Return the fit, corrected by the state so far.

        Its residuals are those that would be left without the errors that all references have: these are no error of
        the network.

        Args:
            state: the scale so far.
        """
        information, own = self.fit.information, self.own_covariance
        prior = self.fit.prior
        prior_information = prior.information
        covariance = state.covariance_beside(self.shared)
        before = np.linalg.inv(covariance + _TINY * np.eye(2))
        if not self.tells_shift:
            information, prior_information, own = (
                _of_scale_alone(one) for one in (information, prior_information, own)
            )
            before = np.diag([1 / covariance[0, 0], _FIXED])
        mean = np.array([state.log_a, state.b])
        # What the references tell without the prior of their fit, as information matrix and vector.
        found, prior_mean = np.array([self.fit.log_a, self.fit.b]), np.array([prior.log_a, prior.b])
        vector = (information + prior_information) @ found - prior_information @ prior_mean
        ideal = np.linalg.solve(before + information, before @ mean + vector)
        reduction = np.linalg.inv(np.eye(2) + information @ own)
        after = np.linalg.inv(before + reduction @ information)
        log_a, b = after @ (before @ mean + reduction @ vector)
        after = (after + after.T) / 2
        if not self.tells_shift:  # nothing was learned about b: its error stays
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
        """Return the fit with the errors that all references have."""
        # The covariance of the fit has that of few blocks already.
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
