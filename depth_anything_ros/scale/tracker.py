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
from depth_anything_ros.scale.fit import (
    Prior,
    Refusal,
    ScaleFit,
    ScaleKind,
    common_covariance,
    fit,
    fit_samples,
    log_depth,
    log_depth_gradient,
    sample,
)
from depth_anything_ros.scale.references import References

GATE = 9.0
"""Squared distance of a measurement from the state, in standard deviations: the published scale moves by 3 at most."""
RATE = 0.25
"""Standard deviation of the change of ln a in one second without odometry, unless the model's record has its own."""
CEILING = 0.45
"""Standard deviation of ln a over a whole scene: it does not drift farther than that."""
SHIFT_RATE = 0.03
"""Standard deviation of the change of b in one second; 1/meters for inverse depth."""
MIN_SPAN = 0.2
"""Relative range of the network's output at the references, below which they tell one distance, and nothing about b."""
FROZEN_SIGMA = 1e-3
"""Standard deviation of b in a fit to references at one distance: as good as fixed."""
LINEAR = 0.1
"""Relative change of depth up to which a fit corrects the state in one linear step; beyond, it is fitted again."""
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
        return self.covariance + self.common_sigma**2 * common_covariance(self.b)

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
        self._common_sigmas: dict[str, float] = {}

    def predict(self, time: float) -> ScaleState | None:
        """Move the state to a time, without odometry, and return it.

        Args:
            time: seconds. A time before the state's changes nothing.
        """
        state = self.state
        if state is None or time <= state.time:
            return state
        # Mean-reverting (Ornstein-Uhlenbeck), so that the errors saturate, and b returns to what is usual.
        seconds, prior = time - state.time, self._prior
        decay_a = math.exp(-(self._rate**2) * seconds / CEILING**2)
        decay_b = math.exp(-(SHIFT_RATE**2) * seconds / prior.b_sigma**2)
        (aa, ab), (_, bb) = state.covariance
        aa = max(CEILING**2 - (CEILING**2 - aa) * decay_a, aa)
        b = state.b
        if self._kind.has_shift:
            b = prior.b + (b - prior.b) * math.sqrt(decay_b)
            bb = max(prior.b_sigma**2 - (prior.b_sigma**2 - bb) * decay_b, bb * decay_b)
            ab *= math.sqrt(decay_a * decay_b)
        self.state = replace(state, b=b, covariance=np.array([[aa, ab], [ab, bb]]), time=time)
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
        fitted = fit(self._kind, values, carried, self._prior)
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

    def measure(self, values: np.ndarray, known: References) -> ScaleFit | Refusal:
        """Correct the state by references of the same time.

        Args:
            values: float32 (H, W), the network's output at the state's time.
            known: references in pixels of ``values``.

        Returns:
            The fit that was used, or why the references were not used.
        """
        x, width = sample(values, known.pixels, self._kind.sign < 0), values.shape[1]
        is_frozen = self._kind.has_shift and self.state is not None and not _tells_shift(x[~known.is_bound])
        measurement_prior = self._measurement_prior(is_frozen)
        measured = fit_samples(self._kind, x, width, known, measurement_prior)
        if isinstance(measured, Refusal):
            self.problem = measured.reason
            return measured
        state = self.state
        if state is None:
            return self._accept(self._first(measured, known), known)
        shared = min(state.common_sigma, known.common_sigma) if state.source == known.source else 0.0
        prior = state.covariance + (state.common_sigma**2 - shared**2) * common_covariance(state.b)
        difference = np.array([measured.log_a - state.log_a, measured.b - state.b])
        spread = prior + measured.covariance + self._own_covariance(measured, known, shared, is_frozen)
        spread += shared**2 * common_covariance(state.b)
        if float(difference @ np.linalg.pinv(spread) @ difference) > GATE:
            return self._dispute_with(state, measured, difference, known)
        fused = self._fuse(state, prior, measured, measurement_prior, known, shared, is_frozen)
        if self._differ(fused, measured, x):  # too far for a linear update
            state_prior = self._state_prior(state, prior, is_frozen)
            again = fit_samples(self._kind, x, width, known, state_prior)
            if isinstance(again, Refusal):
                return self._dispute_with(state, measured, difference, known)
            fused = self._fuse(state, prior, again, state_prior, known, shared, is_frozen)
        if is_frozen:  # nothing was learned about b: its error stays
            fused = replace(fused, covariance=fused.covariance + np.diag([0.0, state.covariance[1, 1]]))
        return self._accept(fused, known)

    def _differ(self, one: ScaleFit, other: ScaleFit, x: np.ndarray) -> bool:
        """Return whether two scales differ by more than `LINEAR` somewhere in the middle of the references."""
        usual = np.array(_usual(x))
        difference = log_depth(self._kind, usual, one.log_a, one.b) - log_depth(self._kind, usual, other.log_a, other.b)
        return bool(np.abs(difference).max() > LINEAR)

    def _first(self, measured: ScaleFit, known: References) -> ScaleFit:
        """Return the first measurement with the errors that all of its depths share."""
        self._common_floor(known)
        own = self._own_covariance(measured, known, known.common_sigma, is_frozen=False)
        own -= measured.block_variance * common_covariance(measured.b)  # it has that
        return replace(measured, covariance=measured.covariance + own)

    def _own_covariance(self, measured: ScaleFit, known: References, shared: float, is_frozen: bool) -> np.ndarray:
        """Return the covariance of (ln a, b) by the errors that all depths of a measurement share, (2, 2).

        ``shared``: relative standard deviation of that part which the state has too. ``is_frozen``: whether all of it
        becomes an error of ln a.
        """
        variance = known.common_sigma**2 - shared**2 + known.pose_sigma**2 + measured.block_variance
        if known.shift_sigma == 0.0:
            return variance * common_covariance(measured.b)
        if self._kind.has_shift and self._kind.sign < 0 and not is_frozen:
            return variance * common_covariance(measured.b) + np.diag([0.0, known.shift_sigma**2])
        variance += (known.shift_sigma * float(np.median(known.depth))) ** 2
        return variance * common_covariance(measured.b)

    def _fuse(
        self,
        state: ScaleState,
        covariance: np.ndarray,
        fitted: ScaleFit,
        fit_prior: Prior,
        known: References,
        shared: float,
        is_frozen: bool,
    ) -> ScaleFit:
        """Return the state, corrected by a fit that is weighted by the errors that all of its references share.

        Its residuals are those that would be left without these errors: they are no error of the network.

        Args:
            state: the state before.
            covariance: of the state (2, 2), without what it shares with the measurement.
            fitted: a fit of the references.
            fit_prior: the prior of that fit.
            known: the references.
            shared: relative standard deviation of the error that both have.
            is_frozen: whether the shift stays as it was.
        """
        own = self._own_covariance(fitted, known, shared, is_frozen)
        before, mean = np.linalg.inv(covariance + np.diag([1e-12, 1e-12])), np.array([state.log_a, state.b])
        information = fitted.information
        if is_frozen or not self._kind.has_shift:  # the references tell ln a alone
            information = np.diag([information[0, 0], 0.0])
            before = np.diag([1 / covariance[0, 0], 1e12])
            own = np.diag([own[0, 0], 0.0])
        # What the references tell without the prior of their fit: an information matrix and vector.
        theta, prior_mean = np.array([fitted.log_a, fitted.b]), np.array([fit_prior.log_a, fit_prior.b])
        prior_information = fit_prior.information
        if is_frozen or not self._kind.has_shift:
            prior_information = np.diag([prior_information[0, 0], 0.0])
        vector = (information + prior_information) @ theta - prior_information @ prior_mean
        ideal = np.linalg.solve(before + information, before @ mean + vector)
        reduced = np.linalg.inv(np.eye(2) + information @ own)
        after = np.linalg.inv(before + reduced @ information)
        log_a, b = after @ (before @ mean + reduced @ vector)
        residuals = np.full(len(known), np.nan)
        seen = np.isfinite(fitted.residuals)
        residuals[seen] = np.log(known.depth[seen]) - log_depth(self._kind, fitted.outputs[seen], *ideal)
        return replace(
            fitted,
            log_a=float(log_a),
            b=float(b),
            covariance=(after + after.T) / 2,
            common_sigma=max(shared, self._common_floor(known)),
            residuals=residuals,
        )

    def _common_floor(self, known: References) -> float:
        """Return the relative error that remains if all sources are averaged for ever."""
        self._common_sigmas[known.source] = known.common_sigma
        sigmas = self._common_sigmas.values()
        return 0.0 if not all(sigmas) else sum(sigma**-2 for sigma in sigmas) ** -0.5

    def reset(self) -> None:
        """Forget everything."""
        self.state, self.problem, self._dispute = None, "", 0.0
        self._common_sigmas.clear()

    @property
    def dispute(self) -> float:
        """Relative difference between measurements that disagreed lately; it fades."""
        return 0.0 if self.state is None else 2 * self._dispute_at(self.state.time)

    def _measurement_prior(self, is_frozen: bool) -> Prior:
        """Return the prior of a measurement. References at one distance cannot tell the shift, so it stays as it is."""
        state = self.state
        if state is None or not is_frozen:
            return self._prior
        return replace(self._prior, b=state.b, b_sigma=FROZEN_SIGMA)

    def _state_prior(self, state: ScaleState, covariance: np.ndarray, is_frozen: bool) -> Prior:
        log_a_sigma = math.sqrt(covariance[0, 0])
        b_sigma = math.sqrt(max(covariance[1, 1], 1e-12))
        correlation = min(max(covariance[0, 1] / (log_a_sigma * b_sigma), -0.99), 0.99)
        if is_frozen:
            return Prior(state.log_a, log_a_sigma, state.b, FROZEN_SIGMA)
        return Prior(state.log_a, log_a_sigma, state.b, b_sigma, correlation if self._kind.has_shift else 0.0)

    def _accept(self, measured: ScaleFit, known: References) -> ScaleFit:
        time = known.time if self.state is None else max(self.state.time, known.time)
        self.problem = ""
        self.state = ScaleState(
            log_a=measured.log_a,
            b=measured.b,
            covariance=measured.covariance,
            common_sigma=math.hypot(measured.common_sigma, self._dispute_at(time)),
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
        ours = float(log_depth(self._kind, measured.typical, state.log_a, state.b))
        theirs = float(log_depth(self._kind, measured.typical, measured.log_a, measured.b))
        self._dispute, self._disputed = max(self._dispute_at(state.time), abs(ours - theirs) / 2), state.time
        covariance = state.covariance + np.outer(difference, difference) / 9
        common = math.hypot(state.common_sigma, self._dispute)
        self.state = replace(state, covariance=covariance, common_sigma=common)
        self.problem = f"{known.source} disagrees with the scale so far; waiting for a second measurement"
        return Refusal(self.problem)

    def _dispute_at(self, time: float) -> float:
        return self._dispute * math.exp(-max(time - self._disputed, 0.0) / DISPUTE_SECONDS)


def _tells_shift(x: np.ndarray) -> bool:
    """Return whether references with these outputs of the network lie at different distances."""
    low, middle, high = _usual(x)
    return bool(high - low > MIN_SPAN * abs(middle))


def _usual(x: np.ndarray) -> tuple[float, float, float]:
    """Return what a tenth, half and nine tenths of the values lie below; zeros for fewer than three."""
    x = np.sort(x[np.isfinite(x)])  # faster than `np.quantile`
    if len(x) < 3:
        return 0.0, 0.0, 0.0
    return float(x[len(x) // 10]), float(x[len(x) // 2]), float(x[len(x) * 9 // 10])
