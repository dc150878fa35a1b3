"""The scale of a camera at one time, with its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.scale.kinds import ScaleKind, common_covariance, log_depth_gradient


@dataclass(frozen=True)
class ScaleState:
    """The scale at one time.

    Attributes:
        log_a: ln a.
        b: the shift.
        covariance: float64 (2, 2), of (ln a, b), as far as it averages out over references.
        common_sigma: relative standard deviation of all depths together, which does not.
        typical: an output of the network in the middle of its range.
        time: seconds.
        measured: seconds, when the latest measurement was accepted; -inf before the first one.
        source: the source of that measurement.
    """

    log_a: float
    b: float
    covariance: np.ndarray
    common_sigma: float
    typical: float
    time: float
    measured: float
    source: str

    @property
    def scale(self) -> Scale:
        """The scale that makes a network's output metric."""
        return Scale(math.exp(self.log_a), self.b)

    @property
    def is_measured(self) -> bool:
        """Whether a measurement was ever accepted. Otherwise this is the state of a metric model alone."""
        return math.isfinite(self.measured)

    @property
    def total_covariance(self) -> np.ndarray:
        """Covariance of (ln a, b) with the common error, float64 (2, 2)."""
        return self.covariance + self.common_sigma**2 * common_covariance(self.b)

    def covariance_beside(self, shared: float) -> np.ndarray:
        """Return the covariance of (ln a, b) without an error that a measurement has as well, float64 (2, 2).

        Args:
            shared: relative standard deviation of that error.
        """
        return self.covariance + (self.common_sigma**2 - shared**2) * common_covariance(self.b)

    def sigma(self, kind: ScaleKind) -> float:
        """Return the relative standard deviation of a typical depth."""
        gradient = log_depth_gradient(kind, self.typical, self.log_a, self.b)
        return math.sqrt(float(gradient @ self.total_covariance @ gradient))
