"""Scale over time: a filter that predicts, gates, holds and forgets.

The state is (ln a, b) with a covariance. It grows while no reference arrives, and it never promises more than the
references have in common: a source's own scale error does not average out. A measurement that disagrees with the state
is not used at once. The state's covariance grows to include it, and the next one like it is accepted. So the published
scale never moves by more than three of its published standard deviations. A metric model has a scale before any
reference: a = 1, with the error of its meters. Without references the state returns to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from depth_anything_ros.scale.fit import Refusal, ScaleFit, fit, fit_samples
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.fusion import Measurement
from depth_anything_ros.scale.kinds import ScaleKind, log_depth
from depth_anything_ros.scale.references import References, sample
from depth_anything_ros.scale.scale_state import ScaleState

GATE = 9.0
"""Squared distance of a measurement from the state, in standard deviations: the published scale moves by 3 at most."""
RATE = 0.25
"""Standard deviation of the change of ln a in one second without odometry, unless the model's record has its own
(``scale_rate``). This is that of the bundled model in a kitchen. Depth changes by half of it: b changes too."""
METRIC_RATE = 0.1
"""The same for a metric model: its error belongs to the place more than to the image."""
CEILING = 0.45
"""Standard deviation of ln a over a whole scene: it does not drift farther than that."""
SHIFT_RATE = 0.03
"""Standard deviation of the change of b in one second, at `RATE`; 1/meters for inverse depth."""
MIN_SPAN = 0.2
"""Relative range of the network's output below which the references have one distance and do not determine b."""
FROZEN_SIGMA = 1e-3
"""Standard deviation of b in a fit to references at one distance: as good as fixed."""
LINEAR = 0.1
"""Relative change of depth up to which a fit corrects the state in one linear step; beyond, it is fitted again."""
JUMP_SECONDS = 1.0
"""How long a jump of the scale that nothing contradicts remains in the published error."""
DISPUTE_SECONDS = 5.0
"""How long a disagreement between measurements remains in the published error."""


class ScaleTracker:
    """Keeps the scale of one camera.

    Args:
        kind: how the network's output becomes depth.
        prior: prior knowledge without references. If it includes ln a, it is the initial state.
        rate: standard deviation of the change of ln a in one second; None: `RATE`, or `METRIC_RATE` if ``prior`` knows
            ln a.

    Attributes:
        start: the state before the first measurement; None if nothing is known.
        state: None while nothing is known.
        problem: why the latest references gave no measurement; "" if they did.
    """

    def __init__(self, kind: ScaleKind, prior: Prior, rate: float | None = None) -> None:
        self.start = self.state = _state_of(prior)
        self.problem = ""
        self._kind, self._prior = kind, prior
        self._fit_prior = replace(prior, log_a_sigma=math.inf)  # the state knows ln a; a fit must not count that again
        self._rate = (RATE if self.start is None else METRIC_RATE) if rate is None else rate
        self._shift_rate = SHIFT_RATE if rate is None else SHIFT_RATE * rate / RATE
        self._dispute, self._jump = _FadingError(DISPUTE_SECONDS), _FadingError(JUMP_SECONDS)
        self._common_sigmas: dict[str, float] = {}
        self._published: ScaleState | None = None

    def predict(self, time: float) -> ScaleState | None:
        """Move the state to a time, without odometry, and return it.

        Args:
            time: seconds. A time before the state's changes nothing.
        """
        self._published = state = self.state
        if state is None or time <= state.time:
            return state
        # Mean-reverting (Ornstein-Uhlenbeck), so that the errors saturate, and b returns to its usual value.
        seconds, prior = time - state.time, self._prior
        final = min(prior.log_a_sigma, CEILING) ** 2
        decay_a = math.exp(-(self._rate**2) * seconds / final)
        decay_b = math.exp(-(self._shift_rate**2) * seconds / prior.b_sigma**2)
        (aa, ab), (_, bb) = state.covariance
        aa = final - (final - aa) * decay_a
        log_a, common_sigma = state.log_a, state.common_sigma
        if self.start is None:  # ln a stays, so its error never shrinks
            aa = max(aa, state.covariance[0, 0])
        else:
            log_a = prior.log_a + (log_a - prior.log_a) * math.sqrt(decay_a)
            common_sigma *= math.sqrt(decay_a)
        b = state.b
        if self._kind.has_shift:
            b = prior.b + (b - prior.b) * math.sqrt(decay_b)
            bb = max(prior.b_sigma**2 - (prior.b_sigma**2 - bb) * decay_b, bb * decay_b)
            ab *= math.sqrt(decay_a * decay_b)
        covariance = np.array([[aa, ab], [ab, bb]])
        self.state = replace(state, log_a=log_a, b=b, covariance=covariance, common_sigma=common_sigma, time=time)
        return self.state

    def carry(self, values: np.ndarray, carried: References) -> ScaleFit | None:
        """Move the state to the time of an earlier metric depth that odometry has brought to this frame.

        Args:
            values: float32 (H, W), the network's output now.
            carried: the earlier depth as references in this frame. It shares the error of the state that made it: its
                common error is that of all depths.

        Returns:
            The fit; None if the carried depth does not fit. Then the state is as before, and `predict` can move it.
        """
        state = self.state
        if state is None:
            return None
        fitted = fit(self._kind, values, carried, self._fit_prior)
        if isinstance(fitted, Refusal):
            return None
        self.state = replace(
            state,
            log_a=fitted.log_a,
            b=fitted.b,
            covariance=fitted.covariance,
            common_sigma=carried.common_sigma,
            typical=fitted.typical,
            time=carried.time,
        )
        return fitted

    def measure(
        self, values: np.ndarray, known: References, carry: Callable[[], object] | None = None
    ) -> ScaleFit | Refusal:
        """Correct the state by references of the same time.

        Args:
            values: float32 (H, W), the network's output at the state's time.
            known: references in pixels of ``values``.
            carry: moves the state with `carry`, if it can. It is called for a surprising measurement, to decide whether
                the network's scale has changed or the source is wrong.

        Returns:
            The fit that was used, or why the references were not used.
        """
        x, width = sample(values, known.pixels, self._kind.sign < 0), values.shape[1]
        determines_b = self._kind.has_shift and (self.state is None or _determines_b(x[~known.is_bound]))
        measured = fit_samples(self._kind, x, width, known, self._measurement_prior(determines_b))
        if isinstance(measured, Refusal):
            self.problem = measured.reason
            return measured
        state = self.state
        if state is None:
            first = Measurement(self._kind, known, measured, known.common_sigma, determines_b)
            return self._accept(first.alone(), known)
        surprise = self._surprise(measured, known)
        if surprise > 0 and carry is not None:
            carry()
            state = self.state or state
        shared = min(state.common_sigma, known.common_sigma) if state.source == known.source else 0.0
        measurement = Measurement(self._kind, known, measured, shared, determines_b)
        difference = np.array([measured.log_a - state.log_a, measured.b - state.b])
        spread = state.total_covariance + measured.covariance + measurement.own_covariance
        if float(difference @ np.linalg.pinv(spread) @ difference) > GATE:
            return self._dispute_with(state, measured, difference, known)
        joined = measurement.joined(state)
        if self._differ(joined, measured, x):  # too far for a linear step
            prior = self._state_prior(state, shared, determines_b)
            again = fit_samples(self._kind, x, width, known, prior)
            if isinstance(again, Refusal):
                return self._dispute_with(state, measured, difference, known)
            joined = Measurement(self._kind, known, again, shared, determines_b).joined(state)
        if surprise > 0:  # the published error covers the published move
            self._jump.add(surprise / 3, state.time)
        return self._accept(joined, known)

    def _surprise(self, measured: ScaleFit, known: References) -> float:
        """Return by how much a measurement moves a typical depth, relative; 0 if the error published last covers it."""
        last = self._published
        if last is None:
            return 0.0
        move = abs(self._log_depth_of(measured, measured.typical) - self._log_depth_of(last, measured.typical))
        own = math.hypot(known.common_sigma, known.pose_sigma)
        return move if move > 3 * math.hypot(last.sigma(self._kind), own) else 0.0

    def _log_depth_of(self, scale: ScaleFit | ScaleState, x: float) -> float:
        return float(log_depth(self._kind, x, scale.log_a, scale.b))

    def _differ(self, one: ScaleFit, other: ScaleFit, x: np.ndarray) -> bool:
        """Return whether two scales differ by more than `LINEAR` somewhere in the middle of the references."""
        usual = np.array(_usual(x))
        difference = log_depth(self._kind, usual, one.log_a, one.b) - log_depth(self._kind, usual, other.log_a, other.b)
        return bool(np.abs(difference).max() > LINEAR)

    def _common_floor(self, known: References) -> float:
        """Return the relative error that remains if all sources are averaged for ever."""
        self._common_sigmas[known.source] = known.common_sigma
        sigmas = self._common_sigmas.values()
        return 0.0 if not all(sigmas) else sum(sigma**-2 for sigma in sigmas) ** -0.5

    def reset(self) -> None:
        """Forget everything."""
        self.state, self._published, self.problem = self.start, None, ""
        self._dispute, self._jump = _FadingError(DISPUTE_SECONDS), _FadingError(JUMP_SECONDS)
        self._common_sigmas.clear()

    @property
    def dispute(self) -> float:
        """Relative difference between measurements that disagreed lately; it fades."""
        return 0.0 if self.state is None else 2 * self._dispute.at(self.state.time)

    def _measurement_prior(self, determines_b: bool) -> Prior:
        """Return the prior of a measurement. References at one distance cannot change the shift."""
        state = self.state
        if state is None or determines_b or not self._kind.has_shift:
            return self._fit_prior
        return replace(self._fit_prior, b=state.b, b_sigma=FROZEN_SIGMA)

    def _state_prior(self, state: ScaleState, shared: float, determines_b: bool) -> Prior:
        """Return the state as the prior of a fit."""
        covariance = state.covariance_beside(shared)
        log_a_sigma = math.sqrt(covariance[0, 0])
        if not determines_b:
            return Prior(state.log_a, log_a_sigma, state.b, FROZEN_SIGMA)
        b_sigma = math.sqrt(max(covariance[1, 1], 1e-12))
        correlation = min(max(covariance[0, 1] / (log_a_sigma * b_sigma), -0.99), 0.99)
        return Prior(state.log_a, log_a_sigma, state.b, b_sigma, correlation)

    def _accept(self, measured: ScaleFit, known: References) -> ScaleFit:
        time = known.time if self.state is None else max(self.state.time, known.time)
        common_sigma = max(measured.common_sigma, self._common_floor(known))
        self.problem = ""
        self.state = ScaleState(
            log_a=measured.log_a,
            b=measured.b,
            covariance=measured.covariance,
            common_sigma=math.hypot(common_sigma, self._dispute.at(time), self._jump.at(time)),
            typical=measured.typical,
            time=time,
            measured=known.time,
            source=known.source,
        )
        return measured

    def _dispute_with(
        self, state: ScaleState, measured: ScaleFit, difference: np.ndarray, known: References
    ) -> Refusal:
        """Let the state's error include the measurement that disagrees: either may be wrong."""
        ours = self._log_depth_of(state, measured.typical)
        theirs = self._log_depth_of(measured, measured.typical)
        self._dispute.add(abs(ours - theirs) / 2, state.time)
        covariance = state.covariance + np.outer(difference, difference) / 9
        common = math.hypot(state.common_sigma, self._dispute.at(state.time))
        self.state = replace(state, covariance=covariance, common_sigma=common)
        self.problem = f"{known.source} disagrees with the scale so far; waiting for a second measurement"
        return Refusal(self.problem)


def _state_of(prior: Prior) -> ScaleState | None:
    """Return the state before any measurement; None if the prior does not know ln a."""
    if math.isinf(prior.log_a_sigma):
        return None
    covariance = np.diag([prior.log_a_sigma**2, prior.b_sigma**2])
    return ScaleState(prior.log_a, prior.b, covariance, 0.0, 1.0, -math.inf, -math.inf, "")


class _FadingError:
    """A relative error that fades after some seconds; the largest one counts."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._size, self._time = seconds, 0.0, 0.0

    def add(self, size: float, time: float) -> None:
        self._size, self._time = max(self.at(time), size), time

    def at(self, time: float) -> float:
        return self._size * math.exp(-max(time - self._time, 0.0) / self._seconds)


def _determines_b(x: np.ndarray) -> bool:
    """Return whether references with these outputs of the network lie at different distances."""
    low, middle, high = _usual(x)
    return bool(high - low > MIN_SPAN * abs(middle))


def _usual(x: np.ndarray) -> tuple[float, float, float]:
    """Return the 10th, 50th and 90th percentiles of the values; zeros for fewer than three."""
    x = np.sort(x[np.isfinite(x)])  # faster than `np.quantile`
    if len(x) < 3:
        return 0.0, 0.0, 0.0
    return float(x[len(x) // 10]), float(x[len(x) // 2]), float(x[len(x) * 9 // 10])
