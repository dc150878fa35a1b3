"""The metric scale of one camera: it takes measurements of any source, and returns a scale and its error per frame."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.scale.fit import Refusal, ScaleFit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.keyframe import CarriedView, DepthCarrier
from depth_anything_ros.scale.kinds import ScaleKind, log_depth
from depth_anything_ros.scale.measurement_buffer import Convert, Measurement, MeasurementBuffer, clock_problem
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.scale_state import ScaleState
from depth_anything_ros.scale.shape import MIN_REFERENCES, LocalError, LocalField
from depth_anything_ros.scale.tracker import ScaleTracker

STRIDE = 4
"""Pixels of the depth map per pixel of the local correction."""
DISPUTE = 0.1
"""Relative difference between measurements that is reported."""
FADING = 0.3
"""Seconds in which the local correction of an earlier frame fades."""

NOTHING_ARRIVED = "no measurement has arrived"
"""The reason for a missing scale before the first measurement."""
MOTION = "motion"
"""The source whose sensor is the odometry itself. While odometry reports a standing camera, the scale does not age."""


@dataclass(frozen=True)
class FrameScale:
    """The scale of one frame.

    Attributes:
        state: the filter's state; None without any. A metric model has one before the first measurement.
        is_held: whether no measurement was accepted for this frame.
        age: seconds since the latest accepted measurement.
        problem: reason why the latest measurement was not used, or "".
        references: number of references that agreed, in this frame.
        residual: relative standard deviation of the references from the scaled depth.
        factor: float32 (h, w), the local correction as a factor of depth, at a lower resolution; None for none.
        is_carried: whether odometry brought the scale from an earlier frame.
        local_error: the network's error after the local correction; None without a recent measurement.
    """

    state: ScaleState | None
    is_held: bool
    age: float
    problem: str
    references: int = 0
    residual: float = 0.0
    factor: np.ndarray | None = None
    is_carried: bool = False
    local_error: LocalError | None = None

    @property
    def scale(self) -> Scale | None:
        """The scale that makes the frame's output metric."""
        return None if self.state is None else self.state.scale


class MetricScale:
    """An estimator of the scale of each frame of one camera.

    `add` and `discard_waiting` may be called from any thread, all other methods from one.

    Args:
        kind: how the network's output becomes depth.
        prior: prior knowledge without references.
        max_delay: maximum seconds between a measurement and the image that uses it.
        is_local: whether to correct depth locally near the references.
        odometry_sigma: relative standard deviation of the distance that odometry reports.
        rate: see `ScaleTracker`.
    """

    def __init__(
        self,
        kind: ScaleKind,
        prior: Prior,
        max_delay: float = 0.1,
        is_local: bool = True,
        odometry_sigma: float = 0.05,
        rate: float | None = None,
    ) -> None:
        self.kind = kind
        self.tracker = ScaleTracker(kind, prior, rate)
        self.is_local, self.odometry_sigma = is_local, odometry_sigma
        self._measurements = MeasurementBuffer(max_delay)
        self._field: LocalField | None = None
        self._error: LocalError | None = None
        self._carrier = DepthCarrier()
        self._field_time, self._error_time, self._time, self._residual = 0.0, 0.0, -math.inf, 0.0

    def add(self, source: str, time: float, convert: Convert) -> None:
        """Keep a measurement until an image of its time is processed.

        Args:
            source: name of the source.
            time: time of the measurement in seconds.
            convert: converts the measurement to references.
        """
        self._measurements.add(source, time, convert)

    def discard_waiting(self) -> None:
        """Drop the waiting measurements. They may be many large clouds."""
        self._measurements.clear()

    def without_measurement(self, problem: str) -> FrameScale:
        """Return the scale of a frame without a measurement: the scale of a metric model, or none.

        Args:
            problem: reason for the missing measurement.
        """
        return FrameScale(self.tracker.start, True, math.inf, problem)

    def stop_carrying(self) -> None:
        """Drop the depth of earlier frames, so that nothing carries the scale until the next measurement."""
        self._carrier.reset()

    def reset(self) -> None:
        """Drop the scale and all measurements, for example after a time jump."""
        self.tracker.reset()
        self._carrier.reset()
        self._field, self._error, self._time, self._residual = None, None, -math.inf, 0.0
        self.discard_waiting()

    def update(
        self,
        values: np.ndarray,
        camera: Camera,
        time: float,
        pose: Transform | None = None,
        gray: np.ndarray | None = None,
    ) -> FrameScale:
        """Return the scale of a frame, from the measurements that belong to it and the scale so far.

        Between measurements the latest metric depth is carried along by odometry, or by features in the images.

        Args:
            values: float32 (H, W), the network's output.
            camera: its intrinsics, at that size.
            time: seconds, when the image was taken.
            pose: from the camera's optical frame to a fixed frame of the odometry; None without odometry.
            gray: uint8 (H, W), the image; None to do without features.
        """
        if time < self._time - 1.0:
            self.reset()  # a bag starts again
        self._time = time
        self.tracker.predict(time)
        view = CarriedView(camera, time, pose, gray, self.odometry_sigma)
        carry = functools.cache(lambda: self._carry(values, view))  # a frame is tracked once
        used, problem, reason = self._measure(values, camera, time, carry)
        fits = used or carry()
        state = self.tracker.state
        if state is None:
            return FrameScale(None, True, math.inf, problem or reason)
        if fits:
            self._measure_field((values.shape[0], values.shape[1]), state, fits, time)
            self._residual = max(result.spread for _, result in fits)
        if used:  # carried depth contains no information about its error
            self._error = None if self._field is None else self._field.error()
            self._error_time = time
        if used and not problem and self.tracker.dispute > DISPUTE:
            problem = f"measurements disagree by {100 * self.tracker.dispute:.0f} %"
        count = sum(int(result.inliers.sum()) for _, result in used)
        is_fresh = used or (fits and state.source == MOTION and pose is not None)
        if not is_fresh:  # for a standing camera a missing measurement is normal
            problem = problem or reason
        age = 0.0 if is_fresh else max(time - state.measured, 0.0)
        correction = self._shape(values, state, view, is_measured=bool(used))
        factor = None if correction is None else cv2.exp(correction)
        is_carried = bool(fits) and not used
        local_error = None if self._error is None else self._error.faded(_weight(time - self._error_time))
        return FrameScale(state, not used, age, problem, count, self._residual, factor, is_carried, local_error)

    def _measure(
        self, values: np.ndarray, camera: Camera, time: float, carry: Callable[[], object]
    ) -> tuple[list[tuple[References, ScaleFit]], str, str]:
        """Return the measurements used for a frame, the problem, and the reason for a missing measurement by motion."""
        used: list[tuple[References, ScaleFit]] = []
        taken, problem = self._take(time)
        reason = ""
        for source, convert in taken:
            try:
                known = convert(camera, values)
            except (ValueError, LookupError) as error:
                problem = f"{source}: {error}"
                continue
            if isinstance(known, Refusal):
                reason = f"{source}: {known.reason}"
                continue
            if not len(known):
                problem = f"{source}: it sees no surface in the image"
                continue
            result = self.tracker.measure(values, known, carry)
            if isinstance(result, ScaleFit):
                used.append((known, result))
            else:
                problem = f"{source}: {result.reason}"
        return used, problem, reason

    def _carry(self, values: np.ndarray, view: CarriedView) -> list[tuple[References, ScaleFit]]:
        """Predict the scale by the depth of an earlier frame, where the camera's motion is known."""
        known = self._carrier.carry(view)
        if known is None or len(known) < MIN_REFERENCES:
            return []
        fitted = self.tracker.carry(values, known)
        return [] if fitted is None else [(known, fitted)]

    def _take(self, time: float) -> tuple[list[Measurement], str]:
        """Return the measurements of a time, and the problem: a wrong clock, or no measurement of that time."""
        taken, gaps = self._measurements.take(time)
        problem = clock_problem(gaps)
        state = self.tracker.state
        if problem or taken or (state is not None and state.is_measured):
            return taken, problem
        if not gaps:
            return [], NOTHING_ARRIVED
        source, gap = min(gaps.items(), key=lambda item: abs(item[1]))
        return [], (
            f"{source}: the nearest measurement is {abs(gap):.2f} s {'older' if gap > 0 else 'newer'} than the image, "
            f"more than {self._measurements.max_delay:g} s: the clocks differ, or the sensor is late"
        )

    def _measure_field(
        self, size: tuple[int, int], state: ScaleState, used: list[tuple[References, ScaleFit]], time: float
    ) -> None:
        """Fit the local correction to the plausible references; none if they are few."""
        known = [references.take(result.plausible) for references, result in used]
        x = np.concatenate([result.outputs[result.plausible] for _, result in used])
        pixels = np.concatenate([references.pixels for references in known])
        if not self.is_local or len(pixels) < MIN_REFERENCES:
            self._field = None
            return
        fitted = log_depth(self.kind, x, state.log_a, state.b)
        # Residuals of the fit, not of the state: the state's contain the shared error of all references.
        residuals = np.concatenate([result.residuals[result.plausible] for _, result in used])
        self._field, self._field_time = LocalField(size, pixels, fitted, residuals), time

    def _shape(self, values: np.ndarray, state: ScaleState, view: CarriedView, is_measured: bool) -> np.ndarray | None:
        """Return the local correction of ln Z for a frame, and keep its corrected depth for later frames."""
        can_carry = view.pose is not None or view.gray is not None
        if self._field is None and not can_carry:
            return None
        small = np.ascontiguousarray(values[_first(values.shape[0]) :: STRIDE, _first(values.shape[1]) :: STRIDE])
        log_z = log_depth(self.kind, small, state.log_a, state.b).astype(np.float32)
        correction = self._correction(log_z, view.time)
        if can_carry:
            shaped = log_z if correction is None else log_z + correction
            self._carrier.keep(view, shaped, STRIDE, state.sigma(self.kind), is_measured)
        return correction

    def _correction(self, log_z: np.ndarray, time: float) -> np.ndarray | None:
        """Return the latest local correction, fading with its age; None if there is none."""
        if self._field is None or not self.is_local:
            return None
        weight = _weight(time - self._field_time)
        if weight < 0.05:
            self._field = None
            return None
        correction = self._field.correction(log_z)
        return correction if weight == 1.0 else np.float32(weight) * correction


def _weight(age: float) -> float:
    """Return the weight of a local correction after some seconds."""
    return math.exp(-max(age, 0.0) / FADING)


def _first(side: int) -> int:
    """Return the first row or column of the local correction: the middle of its first cell."""
    return min(STRIDE // 2, side - 1)
