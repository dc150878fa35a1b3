"""The scale of each frame from the sensors, and its report."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from depth_anything_ros.images.gray import gray_at
from depth_anything_ros.postprocessing.depth_products import DepthSettings
from depth_anything_ros.processing.scale_measurements import ScaleMeasurements, SourceFrame
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.metric_scale import MOTION, NOTHING_ARRIVED, FrameScale, MetricScale
from depth_anything_ros.scale.sensor_messages import seconds_of
from depth_anything_ros.scale.uncertainty import depth_sigma
from depth_anything_ros.zoo.record import ModelRecord

if TYPE_CHECKING:
    from depth_anything_ros.processing.frame_steps import PreparedFrame

MAX_SIGMA = 0.4
"""Relative standard deviation of a held scale, above which it counts as lost."""
PRIOR_SHIFT_SIGMA = 0.1
"""1/meters for inverse depth, meters for depth: what is known of the shift before any measurement."""
METRIC_SIGMA = 0.25
"""Relative standard deviation of the meters of a metric model, before any measurement."""


@dataclass(frozen=True)
class ScaleReport:
    """The content of the topic ``scale`` for one frame.

    Attributes:
        text: the problem, or else the state.
        is_warning: whether the scale cannot be relied on.
        values: the state and the numbers, as text.
    """

    text: str
    is_warning: bool
    values: dict[str, str]


class MeasuredScale:
    """Scales the frames of one camera by its sensors.

    Args:
        sources: the sensors.
        record: describes the model.
        uses_images: whether features of the images carry the scale along between measurements.

    Attributes:
        latest: the scale of the latest frame.
    """

    def __init__(self, sources: ScaleMeasurements, record: ModelRecord, uses_images: bool) -> None:
        self.latest: FrameScale | None = None
        self._kind, self._is_metric = KINDS[record.scale_model], record.is_metric
        self._sources, self._uses_images = sources, uses_images
        self._metric = MetricScale(self._kind, _prior_of(record), rate=record.scale_rate)
        self._lock = threading.Lock()  # services fix and reset the scale in the middle of a frame
        self._reset_requested = False
        self._fixed: FrameScale | None = None
        sources.connect(self._metric)

    def settings_for(self, frame: PreparedFrame) -> DepthSettings | None:
        """Return the depth settings of a frame; None if it has no scale, and so no depth. For the worker's thread.

        A metric model always has a scale. Without measurements it returns to a = 1, the model's own meters.
        """
        with self._lock:
            is_reset, self._reset_requested = self._reset_requested, False
            fixed = self._fixed
        if is_reset:
            self._metric.reset()
        if fixed is not None:
            return self._settings(frame, fixed)
        found = self._measure(frame)
        with self._lock:
            if not self._reset_requested and self._fixed is None:
                self.latest = found
        state = self._state_of(found, frame.settings.parameters.scale_hold)
        if state == "metric":
            self._metric.stop_carrying()
        if state == "none" or (state == "lost" and frame.settings.parameters.scale_lost == "stop"):
            return None
        return self._settings(frame, found)

    def _measure(self, frame: PreparedFrame) -> FrameScale:
        if frame.camera is None:
            return self._metric.without_measurement("there is no camera_info")
        self._metric.is_local = frame.settings.parameters.scale_local
        header = frame.header
        gray = gray_at(frame.rgb, frame.size) if self._uses_images or MOTION in self._sources.names else None
        pose = self._sources.pose(header)
        self._sources.begin_frame(SourceFrame(header, self._kind.sign < 0, pose, gray))
        images = gray if self._uses_images else None
        found = self._metric.update(frame.values, frame.camera, seconds_of(header), pose, images)
        is_silent = found.problem in ("", NOTHING_ARRIVED)
        return replace(found, problem=(is_silent and self._sources.silence) or found.problem or self._sources.problem)

    def _settings(self, frame: PreparedFrame, found: FrameScale) -> DepthSettings:
        state = found.state
        assert state is not None  # otherwise there is no depth

        def write_sigma(depth: np.ndarray, out: np.ndarray) -> None:
            depth_sigma(depth, self._kind, state, found.residual, out, found.local_error)

        return replace(frame.settings.depth, scale=state.scale, local_factor=found.factor, write_sigma=write_sigma)

    def forget_past(self) -> None:
        """Forget what was measured before the next frame, because time has jumped. A fixed scale stays."""
        with self._lock:
            self._reset_requested, self.latest = True, self._fixed

    def reset(self) -> None:
        """Forget the scale before the next frame, a fixed one too; the next measurement starts again."""
        with self._lock:
            self._reset_requested, self.latest, self._fixed = True, None, None

    def fix(self) -> tuple[bool, str]:
        """Keep the latest scale and its error until `reset`; returns whether there is one, and a line that says so."""
        with self._lock:
            found = self.latest
            if found is None or found.state is None or not found.state.is_measured:
                return False, f"no scale has been measured: {'no frame has come' if found is None else found.problem}"
            # The local correction belongs to its frame.
            self.latest = self._fixed = replace(found, problem="", factor=None, local_error=None, is_carried=False)
        scale = found.state.scale
        return True, f"fixed: a = {scale.a:g}, b = {scale.b:g}, until ~/reset_scale or another model"

    def state(self, hold: float) -> str:
        """Return "measured", "held", "lost", "none", "metric", or "fixed" by `fix`, for the latest frame.

        A metric model is never "lost" or "none", but "metric".
        ``hold``: seconds that a scale is held.
        """
        return "fixed" if self._fixed is not None else self._state_of(self.latest, hold)

    def _state_of(self, found: FrameScale | None, hold: float) -> str:
        if found is None or found.state is None:
            return "metric" if self._is_metric else "none"
        if not found.is_held:
            return "measured"
        if found.age <= hold and found.state.sigma(self._kind) < MAX_SIGMA:
            return "held"
        return "metric" if self._is_metric else "lost"

    def report(self, hold: float) -> ScaleReport:
        """Return the report of the latest frame: the state, and the numbers as values.

        ``hold``: seconds that a scale is held.
        """
        found, name = self.latest, self.state(hold)  # services may change both meanwhile
        values = {"state": name}
        if found is not None and found.state is not None:
            values |= {
                "a": f"{math.exp(found.state.log_a):.6g}",
                "b": f"{found.state.b:.6g}",
                "sigma": f"{found.state.sigma(self._kind):.4g}",
                "inliers": str(found.references),
                "residual": f"{found.residual:.4g}",
                "age": f"{found.age:.3f}",
                "source": found.state.source or "model",
                "carried": str(found.is_carried).lower(),
            }
        problem = "" if found is None else found.problem
        is_warning = name not in ("measured", "held", "fixed") or bool(problem)
        return ScaleReport(problem or name, is_warning, values)


def _prior_of(record: ModelRecord) -> Prior:
    """Return what is known of a model's scale before any measurement."""
    return Prior(log_a_sigma=METRIC_SIGMA if record.is_metric else math.inf, b_sigma=PRIOR_SHIFT_SIGMA)
