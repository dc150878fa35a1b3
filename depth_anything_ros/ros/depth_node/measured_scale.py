"""The scale of each frame as the sensors tell it, and its report."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from depth_anything_ros.postprocessing.depth_products import DepthSettings
from depth_anything_ros.ros.depth_node.frame_task import Task
from depth_anything_ros.ros.depth_node.scale_sources import ScaleSources
from depth_anything_ros.scale.fit import KINDS, Prior
from depth_anything_ros.scale.metric_scale import FrameScale, MetricScale
from depth_anything_ros.scale.sensor_messages import seconds_of
from depth_anything_ros.scale.uncertainty import depth_sigma

PRIOR_SHIFT_SIGMA = 0.1
"""1/meters for inverse depth, meters for depth: what is known of the shift before any measurement."""


class MeasuredScale:
    """Scales the frames of one camera by its sensors.

    Args:
        sources: the sensors.
        scale_model: one of `zoo.record.SCALES`.

    Attributes:
        latest: the scale of the latest frame.
    """

    def __init__(self, sources: ScaleSources, scale_model: str) -> None:
        self.latest: FrameScale | None = None
        self._kind = KINDS[scale_model]
        self._sources = sources
        self._metric = MetricScale(self._kind, Prior(b_sigma=PRIOR_SHIFT_SIGMA))
        self._reset_requested = False
        sources.connect(self._metric)

    def settings_for(self, task: Task) -> DepthSettings | None:
        """Return the depth settings of a frame; None if it has no scale, and so no depth. For the worker's thread."""
        parameters, depth = task.settings.parameters, task.settings.depth
        if task.camera is None:
            self.latest = FrameScale(None, True, math.inf, "there is no camera_info")
            return None
        if self._reset_requested:
            self._reset_requested = False
            self._metric.reset()
        self._metric.is_local = parameters.scale_local
        self._sources.begin_frame(task.frame.header, self._kind.sign < 0)
        self.latest = found = self._metric.update(task.values, task.camera, seconds_of(task.frame.header))
        state = found.state
        if state is None or found.age > parameters.scale_hold:
            return None

        def write_sigma(depth: np.ndarray, out: np.ndarray) -> None:
            depth_sigma(depth, self._kind, state, found.residual, out, found.local_error)

        return replace(depth, scale=state.scale, local_factor=found.factor, write_sigma=write_sigma)

    def reset(self) -> None:
        """Forget the scale before the next frame; the next measurement starts again. For any thread."""
        self._reset_requested = True

    def state(self, hold: float) -> str:
        """Return "measured", "held", "lost" or "none", for the latest frame.

        ``hold``: seconds that a scale is held.
        """
        found = self.latest
        if found is None or found.state is None:
            return "none"
        if not found.is_held:
            return "measured"
        return "held" if found.age <= hold else "lost"

    def report(self, header: Header, hold: float) -> DiagnosticArray:
        """Return the message of the topic ``scale`` for the latest frame: the state, and the numbers as values.

        Args:
            header: of the image.
            hold: seconds that a scale is held.
        """
        found, name = self.latest, self.state(hold)
        values = {"state": name}
        if found is not None and found.state is not None:
            values |= {
                "a": f"{math.exp(found.state.log_a):.6g}",
                "b": f"{found.state.b:.6g}",
                "sigma": f"{found.state.sigma(self._kind):.4g}",
                "inliers": str(found.references),
                "residual": f"{found.residual:.4g}",
                "age": f"{found.age:.3f}",
                "source": found.state.source,
            }
        problem = "" if found is None else found.problem
        level = DiagnosticStatus.OK if name in ("measured", "held") and not problem else DiagnosticStatus.WARN
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        status = DiagnosticStatus(level=level, name="scale", message=problem or name, values=pairs)
        return DiagnosticArray(header=header, status=[status])
