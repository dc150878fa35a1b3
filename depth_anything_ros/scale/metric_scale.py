"""The metric scale of one camera: measurements of any source in, a scale and its error for each frame out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.scale.fit import Prior, Refusal, ScaleFit, ScaleKind, log_depth
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.shape import MIN_REFERENCES, LocalField
from depth_anything_ros.scale.tracker import ScaleState, ScaleTracker

WAITING = 8
"""Measurements of one source that wait for an image of their time."""
STRIDE = 4
"""Pixels of the depth map to one of the local correction."""

Convert = Callable[[Camera, np.ndarray], References]
"""Turns a measurement into references for a camera and a network's output. Raises `ValueError` or `LookupError`."""


@dataclass(frozen=True)
class FrameScale:
    """The scale of one frame.

    Attributes:
        state: the filter's state; None if no measurement was ever accepted.
        is_held: whether no measurement was accepted for this frame.
        age: seconds since the latest accepted measurement.
        problem: why the latest measurement was not used; "" if it was.
        references: number of references that agreed, in this frame.
        residual: relative standard deviation of the references from the scaled depth.
        factor: float32 (h, w), the local correction as a factor of depth, at a lower resolution; None for none.
    """

    state: ScaleState | None
    is_held: bool
    age: float
    problem: str
    references: int = 0
    residual: float = 0.0
    factor: np.ndarray | None = None

    @property
    def scale(self) -> Scale | None:
        """The scale that makes the frame's output metric."""
        return None if self.state is None else self.state.scale


class MetricScale:
    """Finds the scale of each frame of one camera. `add` may be called from any thread, all else from one.

    Args:
        kind: how the network's output becomes depth.
        prior: what is known without references.
        max_delay: seconds between a measurement and the image that it is used for.
        is_local: whether to correct depth locally where the references support it.
    """

    def __init__(self, kind: ScaleKind, prior: Prior, max_delay: float = 0.1, is_local: bool = True) -> None:
        self.kind = kind
        self.tracker = ScaleTracker(kind, prior)
        self._max_delay, self.is_local = max_delay, is_local
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[float, Convert]]] = {}

    def add(self, source: str, time: float, convert: Convert) -> None:
        """Keep a measurement until an image of its time comes.

        Args:
            source: the source's name.
            time: seconds, when it was measured.
            convert: makes references of it.
        """
        with self._lock:
            self._waiting.setdefault(source, deque(maxlen=WAITING)).append((time, convert))

    def reset(self) -> None:
        """Forget the scale and all measurements, for instance because time has jumped."""
        self.tracker.reset()
        with self._lock:
            self._waiting.clear()

    def update(self, values: np.ndarray, camera: Camera, time: float) -> FrameScale:
        """Return the scale of a frame, from the measurements that belong to it and the scale so far.

        Args:
            values: float32 (H, W), the network's output.
            camera: its intrinsics, at that size.
            time: seconds, when the image was taken.
        """
        if self.tracker.state is not None and time < self.tracker.state.time - 1.0:
            self.reset()  # a bag starts again
        self.tracker.predict(time)
        used: list[tuple[References, ScaleFit]] = []
        problem = "no measurement has arrived" if self.tracker.state is None else ""
        for source, convert in self._take(time):
            try:
                known = convert(camera, values)
            except (ValueError, LookupError) as error:
                problem = f"{source}: {error}"
                continue
            result = self.tracker.measure(values, known) if len(known) else Refusal(f"{known.source} sees no surface")
            if isinstance(result, ScaleFit):
                used.append((known, result))
            else:
                problem = f"{known.source}: {result.reason}"
        state = self.tracker.state
        if state is None:
            return FrameScale(None, True, float("inf"), problem)
        if not used:
            return FrameScale(state, True, max(time - state.measured, 0.0), problem)
        count = sum(int(result.inliers.sum()) for _, result in used)
        residual = used[-1][1].spread
        factor = self._local_factor(values, state, used) if self.is_local else None
        return FrameScale(state, False, 0.0, problem, count, residual, factor)

    def _take(self, time: float) -> list[tuple[str, Convert]]:
        """Remove and return the measurement of each source that is closest to a time, if it is close enough."""
        taken = []
        with self._lock:
            for source, waiting in self._waiting.items():
                close = [item for item in waiting if abs(item[0] - time) <= self._max_delay]
                if not close:
                    continue
                best = min(close, key=lambda item: abs(item[0] - time))
                taken.append((source, best[1]))
                while waiting and waiting[0][0] <= best[0]:
                    waiting.popleft()
        return taken

    def _local_factor(
        self, values: np.ndarray, state: ScaleState, used: list[tuple[References, ScaleFit]]
    ) -> np.ndarray | None:
        """Return the local correction from the references that agree; None if they are few."""
        known = [(references.take(result.inliers), result) for references, result in used]
        pixels = np.concatenate([references.pixels for references, _ in known])
        if len(pixels) < MIN_REFERENCES:
            return None
        measured = np.concatenate([np.log(references.depth) for references, _ in known])
        fitted = np.concatenate([result.log_depth_at[result.inliers] for _, result in known])
        field = LocalField((values.shape[0], values.shape[1]), pixels, fitted, measured - fitted)
        small = np.ascontiguousarray(values[::STRIDE, ::STRIDE])
        log_z = log_depth(self.kind, small, state.log_a, state.b).astype(np.float32)
        return cv2.exp(field.correction(log_z))
