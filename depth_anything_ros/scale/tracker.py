"""Scale over time: a filter that predicts, gates, holds and forgets.

The state is (ln a, b) with a covariance. It grows while no reference arrives, and it never promises more than the
references have in common: a source's own scale error does not average out. A measurement that disagrees with the state
is not used at once. The state's covariance grows to include it, and the next one like it is accepted. So the published
scale never moves by more than three of its published standard deviations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.scale.fit import Prior, Refusal, ScaleFit, ScaleKind, fit, log_depth, log_depth_gradient
from depth_anything_ros.scale.references import References

GATE = 13.8
"""Squared distance of a measurement from the state, in standard deviations. 1 in 1000 exceeds it (chi-squared, 2)."""
RATE = 0.25
"""Standard deviation of the change of ln a in one second without odometry, unless the model's record has its own."""
CEILING = 0.45
"""Standard deviation of ln a over a whole scene: it does not drift farther than that."""
SHIFT_RATE = 0.03
"""Standard deviation of the change of b in one second; 1/meters for inverse depth."""
DISPUTE_SECONDS = 5.0
"""How long a disagreement between measurements remains in the published error."""


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
        measured: seconds, when the latest measurement was accepted.
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
    def total_covariance(self) -> np.ndarray:
        """Covariance of (ln a, b) with the common error, float64 (2, 2)."""
        return self.covariance + self.common_sigma**2 * _common(self.b)

    def sigma(self, kind: ScaleKind) -> float:
        """Return the relative standard deviation of a typical depth."""
        gradient = log_depth_gradient(kind, self.typical, self.log_a, self.b)
        return math.sqrt(float(gradient @ self.total_covariance @ gradient))


class ScaleTracker:
    """Keeps the scale of one camera.

    Args:
        kind: how the network's output becomes depth.
        prior: what is known without any reference.
        rate: see `RATE`.

    Attributes:
        state: None before the first measurement.
        problem: why the latest references gave no measurement; "" if they did.
    """

    def __init__(self, kind: ScaleKind, prior: Prior, rate: float = RATE) -> None:
        self.state: ScaleState | None = None
        self.problem = ""
        self._kind, self._prior, self._rate = kind, prior, rate
        self._dispute, self._disputed = 0.0, 0.0

    def predict(self, time: float) -> ScaleState | None:
        """Move the state to a time, without odometry, and return it.

        Args:
            time: seconds. A time before the state's changes nothing.
        """
        state = self.state
        if state is None or time <= state.time:
            return state
        seconds = time - state.time
        # Mean-reverting, so that the standard deviation saturates.
        room = max(0.0, 1 - state.total_covariance[0, 0] / CEILING**2)
        noise = np.diag([room * self._rate**2 * seconds, SHIFT_RATE**2 * seconds if self._kind.has_shift else 0.0])
        self.state = replace(state, covariance=state.covariance + noise, time=time)
        return self.state

    def carry(self, values: np.ndarray, carried: References, time: float, odometry_sigma: float = 0.01) -> bool:
        """Move the state to a time by an earlier metric depth, which odometry has brought to this frame.

        Args:
            values: float32 (H, W), the network's output now.
            carried: the earlier metric depth as references in this frame; see `sensor_points.from_depth_image`.
            time: seconds.
            odometry_sigma: relative error of the distance traveled in between.

        Returns:
            Whether the carried depth fits. If not, the state is as before, and `predict` can still move it.
        """
        state = self.state
        if state is None:
            return False
        fitted = fit(self._kind, values, carried, self._prior)
        if isinstance(fitted, Refusal):
            return False
        # The carried depth shares the error of the state that made it.
        shared = state.sigma(self._kind) ** 2 + odometry_sigma**2 - state.common_sigma**2
        covariance = fitted.covariance + max(shared, 0.0) * _common(fitted.b)
        self.state = replace(
            state, log_a=fitted.log_a, b=fitted.b, covariance=covariance, typical=fitted.typical, time=time
        )
        return True

    def measure(self, values: np.ndarray, known: References) -> ScaleFit | Refusal:
        """Correct the state by references of the same time.

        Args:
            values: float32 (H, W), the network's output at the state's time.
            known: references in pixels of ``values``.

        Returns:
            The fit that was used, or why the references were not used.
        """
        measured = fit(self._kind, values, known, self._measurement_prior(known))
        if isinstance(measured, Refusal):
            self.problem = measured.reason
            return measured
        state = self.state
        if state is None:
            return self._accept(measured, known)
        difference = np.array([measured.log_a - state.log_a, measured.b - state.b])
        spread = state.total_covariance + measured.covariance + known.common_sigma**2 * _common(measured.b)
        if float(difference @ np.linalg.pinv(spread) @ difference) > GATE:
            self._dispute_with(state, measured, difference)
            self.problem = f"{known.source} disagrees with the scale so far; waiting for a second measurement"
            return Refusal(self.problem)
        fused = fit(self._kind, values, known, self._state_prior(state))
        return self._accept(measured if isinstance(fused, Refusal) else fused, known)

    def reset(self) -> None:
        """Forget everything."""
        self.state, self.problem, self._dispute = None, "", 0.0

    def _measurement_prior(self, known: References) -> Prior:
        """Return the prior of a measurement: one or two references cannot tell the shift, so it stays as it is."""
        state = self.state
        if state is None or len(known) > 2 or not self._kind.has_shift:
            return self._prior
        sigma = min(math.sqrt(max(state.covariance[1, 1], 1e-8)), self._prior.b_sigma)
        return replace(self._prior, b=state.b, b_sigma=sigma)

    def _state_prior(self, state: ScaleState) -> Prior:
        covariance = state.covariance + self._dispute_at(state.time) ** 2 * _common(state.b)
        log_a_sigma = math.sqrt(covariance[0, 0])
        b_sigma = math.sqrt(max(covariance[1, 1], 1e-12))
        correlation = min(max(covariance[0, 1] / (log_a_sigma * b_sigma), -0.99), 0.99)
        return Prior(state.log_a, log_a_sigma, state.b, b_sigma, correlation if self._kind.has_shift else 0.0)

    def _accept(self, measured: ScaleFit, known: References) -> ScaleFit:
        time = known.time if self.state is None else max(self.state.time, known.time)
        self.problem = ""
        self.state = ScaleState(
            log_a=measured.log_a,
            b=measured.b,
            covariance=measured.covariance,
            common_sigma=math.hypot(known.common_sigma, self._dispute_at(time)),
            typical=measured.typical,
            time=time,
            measured=known.time,
            source=known.source,
        )
        return measured

    def _dispute_with(self, state: ScaleState, measured: ScaleFit, difference: np.ndarray) -> None:
        """Let the state's error include the measurement that disagrees: either may be wrong."""
        ours = float(log_depth(self._kind, measured.typical, state.log_a, state.b))
        theirs = float(log_depth(self._kind, measured.typical, measured.log_a, measured.b))
        self._dispute, self._disputed = max(self._dispute_at(state.time), abs(ours - theirs) / 2), state.time
        covariance = state.covariance + np.outer(difference, difference) / 9
        common = math.hypot(state.common_sigma, self._dispute)
        self.state = replace(state, covariance=covariance, common_sigma=common)

    def _dispute_at(self, time: float) -> float:
        return self._dispute * math.exp(-max(time - self._disputed, 0.0) / DISPUTE_SECONDS)


def _common(b: float) -> np.ndarray:
    """Return the covariance of (ln a, b) if all depths share a relative error of 1."""
    direction = np.array([1.0, b])
    return np.outer(direction, direction)
