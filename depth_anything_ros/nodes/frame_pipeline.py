"""One frame's way from pixels to depth, picture and cloud. Knows arrays only: no messages, no node."""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.point_cloud import write_point_cloud
from depth_anything_ros.geometry.scale import Scale, inverse_depth_to_depth, limit_depth
from depth_anything_ros.runtime.colour import colourise
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.preprocessing import resize_image

_NEAREST = 1e-3  # metres; what a metric model puts nearer than this is drawn as if it were there


@dataclass(frozen=True)
class DepthSettings:
    """How a model's output becomes metres. ``scale`` is for relative models; without one they give no depth.

    Depth outside ``minimum`` … ``maximum`` (metres) is marked as REP 117 has it. ``stride``: take every so-manieth row
    and column into the cloud.
    """

    minimum: float
    maximum: float
    scale: Scale | None = None
    stride: int = 1


@dataclass(frozen=True)
class OutputArrays:
    """Where to write what is wanted of a frame, at the output's size (H, W); None for what is not wanted.

    ``inverse_depth`` and ``depth`` float32 (H, W), ``colour`` uint8 (H, W, 3) in BGR, ``points`` the cloud's bytes.
    """

    inverse_depth: np.ndarray | None = None
    depth: np.ndarray | None = None
    colour: np.ndarray | None = None
    points: np.ndarray | None = None


class FramePipeline:
    """Runs the model on one frame after another and derives from its output what is wanted. For one thread.

    Keeps its scratch maps from frame to frame.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self._scratch: dict[str, np.ndarray] = {}

    def gives_depth(self, settings: DepthSettings) -> bool:
        """Whether metres can be had: from a metric model, or by a scale."""
        return self.estimator.record.is_metric or settings.scale is not None

    def run(
        self,
        rgb: np.ndarray,
        size: tuple[int, int],
        camera: Camera | None,
        settings: DepthSettings,
        outputs: OutputArrays,
    ) -> float:
        """Fills ``outputs`` for an image uint8 (h, w, 3) of any strides; returns the seconds spent in the model.

        ``size`` (H, W) is the outputs'. ``camera`` has that size, and is needed for the cloud only. Inverse depth is
        for relative models only, depth and cloud for settings that give depth. Raises `ModelError` when the model
        fails.
        """
        is_metric = self.estimator.record.is_metric
        raw = outputs.depth if is_metric else outputs.inverse_depth
        raw = self._map("raw", size) if raw is None else raw
        started = time.perf_counter()
        self.estimator.estimate(rgb, size=size, out=raw)
        model_seconds = time.perf_counter() - started
        if outputs.colour is not None:
            inverse_depth = 1 / np.maximum(raw, _NEAREST) if is_metric else raw
            cv2.cvtColor(colourise(inverse_depth), cv2.COLOR_RGB2BGR, dst=outputs.colour)
        if outputs.depth is not None or outputs.points is not None:
            depth = self._map("depth", size) if outputs.depth is None else outputs.depth
            if is_metric:
                limit_depth(raw, settings.minimum, settings.maximum, out=depth)
            else:
                inverse_depth_to_depth(raw, settings.scale, settings.minimum, settings.maximum, out=depth)
            if outputs.points is not None:
                colours = rgb if rgb.shape[:2] == size else self._resized(rgb, size)
                write_point_cloud(depth, *camera.rays(), colours, outputs.points, settings.stride)
        return model_seconds

    def _resized(self, rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The image at the outputs' size, uint8 (H, W, 3)."""
        resized = np.empty((*size, 3), np.uint8)
        resize_image(rgb, resized)
        return resized

    def _map(self, name: str, size: tuple[int, int]) -> np.ndarray:
        """A float32 map (H, W) of that name for this frame."""
        if name not in self._scratch or self._scratch[name].shape != size:
            self._scratch[name] = np.empty(size, np.float32)
        return self._scratch[name]
