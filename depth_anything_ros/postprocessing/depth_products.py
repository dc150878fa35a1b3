"""Depth, millimeters, picture and cloud from a network's map. Arrays only: no messages, no node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.images.resizing import resize_image
from depth_anything_ros.postprocessing.flying_pixels import FlyingPixelFilter
from depth_anything_ros.postprocessing.meters import Scale, depth_to_millimeters, limit_depth, output_to_depth
from depth_anything_ros.postprocessing.point_cloud import write_point_cloud
from depth_anything_ros.system.array_pool import ArrayPool
from depth_anything_ros.visualization.colormap import colorize, depth_to_nearness


@dataclass(frozen=True)
class DepthSettings:
    """Settings for the outputs of a frame.

    Args:
        scale_model: the kind of map, one of `zoo.record.SCALES`.
        minimum: limit of depth in meters; depth outside is marked by REP 117.
        maximum: limit of depth in meters.
        scale: makes the map metric; without it there is no depth.
        stride: every ``stride``-th row and column becomes points of the cloud.
        colored: whether the points have the image's colors.
        nearest: further limit of the cloud, meters.
        farthest: further limit of the cloud, meters.
        flying_threshold: for `FlyingPixelFilter`, whose pixels the cloud leaves out; 0 disables it.
        flying_in_depth: whether the depth leaves them out too.
        local_factor: float32 (h, w) of any size, a factor of depth that varies over the image; None for none.
        write_sigma: writes the standard deviation of depth (H, W) into an array (H, W), both in meters.
        max_sigma: largest standard deviation of the cloud's points, as a fraction of depth; 0 for no limit.
    """

    scale_model: str
    minimum: float
    maximum: float
    scale: Scale | None = None
    stride: int = 1
    colored: bool = True
    nearest: float = 0.0
    farthest: float = np.inf
    flying_threshold: float = 0.0
    flying_in_depth: bool = False
    local_factor: np.ndarray | None = None
    write_sigma: Callable[[np.ndarray, np.ndarray], object] | None = None
    max_sigma: float = 0.0


@dataclass(frozen=True)
class DepthBuffers:
    """Buffers for the requested outputs of a frame, at the output's size (H, W); None if not requested.

    ``inverse_depth``, ``depth``, ``sigma`` and ``confidence`` are float32 (H, W), ``millimeters`` uint16 (H, W),
    ``color`` uint8 (H, W, 3) in BGR, ``points`` the cloud's bytes, colored or not as in `DepthSettings`.
    """

    inverse_depth: np.ndarray | None = None
    depth: np.ndarray | None = None
    millimeters: np.ndarray | None = None
    confidence: np.ndarray | None = None
    color: np.ndarray | None = None
    points: np.ndarray | None = None
    sigma: np.ndarray | None = None

    @property
    def needs_depth(self) -> bool:
        """Whether an output in meters is requested."""
        return not all(buffer is None for buffer in (self.depth, self.millimeters, self.points, self.sigma))

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))


class DepthProducts:
    """Derives the requested outputs of a frame from a model's map. For one camera and one thread.

    It reuses its scratch arrays, so that a frame allocates none.
    """

    def __init__(self) -> None:
        self._scratch = ArrayPool()
        self._find_flying = FlyingPixelFilter()
        self._camera: Camera | None = None
        self._rays: tuple[np.ndarray, np.ndarray] | None = None
        self._halves: list[np.ndarray] = []

    def output_buffer(self, outputs: DepthBuffers, size: tuple[int, int], predicts_depth: bool) -> np.ndarray:
        """Return the buffer for the model's map, float32 (H, W): an output's buffer if possible, to save memory.

        Args:
            outputs: the requested outputs.
            size: (H, W) of the outputs.
            predicts_depth: whether the map is depth instead of inverse depth.
        """
        output = outputs.depth if predicts_depth or outputs.inverse_depth is None else outputs.inverse_depth
        return self._scratch.get("map", size, np.float32) if output is None else output

    def derive(
        self,
        values: np.ndarray,
        rgb: np.ndarray,
        camera: Camera | None,
        valid: np.ndarray | None,
        reach: int,
        settings: DepthSettings,
        outputs: DepthBuffers,
    ) -> None:
        """Fill ``outputs`` from the model's map.

        Args:
            values: the map, in the array of `output_buffer`; it is changed.
            rgb: the image, uint8 (h, w, 3) of any strides.
            camera: at the outputs' size; only the cloud needs it.
            valid: bool (H, W), False where the camera saw nothing: NaN there, also in the confidence, which the model
                has filled.
            reach: number of output pixels per network pixel.
            settings: depth, millimeters and cloud need a scale.
            outputs: inverse depth needs a relative model.
        """
        if valid is not None:
            invalid = np.logical_not(valid, out=self._scratch.get("invalid", values.shape, bool))
            np.copyto(values, np.float32(np.nan), where=invalid)
            if outputs.confidence is not None:
                np.copyto(outputs.confidence, np.float32(np.nan), where=invalid)
        if outputs.color is not None:
            self._draw(values, settings.scale_model, outputs.color)
        if not outputs.needs_depth:
            return
        assert settings.scale is not None  # these outputs need one
        depth = outputs.depth
        if depth is None:
            is_kept = outputs.inverse_depth is not None
            depth = self._scratch.get("depth", values.shape, np.float32) if is_kept else values
        output_to_depth(values, settings.scale_model, settings.scale, out=depth)
        if settings.local_factor is not None:
            factor = cv2.resize(settings.local_factor, depth.shape[::-1], interpolation=cv2.INTER_LINEAR)
            np.multiply(depth, factor, out=depth)
        uncertain = self._find_uncertain(depth, settings, outputs)
        flying = None
        if settings.flying_threshold and (outputs.points is not None or settings.flying_in_depth):
            # Before the limits: a floor that leaves the range is no edge.
            flying = self._find_flying(depth, settings.flying_threshold, reach)
        limit_depth(depth, settings.minimum, settings.maximum, out=depth)
        if flying is not None and settings.flying_in_depth:
            np.copyto(depth, np.float32(np.nan), where=flying.view(bool))
        if outputs.millimeters is not None:
            depth_to_millimeters(depth, outputs.millimeters)
        if outputs.points is not None:
            assert camera is not None  # a cloud needs one
            write_point_cloud(
                depth,
                *self._rays_of(camera),
                self._at(rgb, depth.shape) if settings.colored else None,
                outputs.points,
                settings.stride,
                settings.nearest,
                settings.farthest,
                _either(flying, uncertain),
            )

    def _find_uncertain(self, depth: np.ndarray, settings: DepthSettings, outputs: DepthBuffers) -> np.ndarray | None:
        """Fill the standard deviation, and return the points that it excludes, bool (H, W); None for no limit."""
        is_limited = settings.max_sigma > 0 and outputs.points is not None
        if settings.write_sigma is None or (outputs.sigma is None and not is_limited):
            return None
        sigma = outputs.sigma
        if sigma is None:
            sigma = self._scratch.get("sigma", depth.shape, np.float32)
        settings.write_sigma(depth, sigma)
        if not is_limited:
            return None
        limit = np.multiply(
            depth, np.float32(settings.max_sigma), out=self._scratch.get("limit", depth.shape, np.float32)
        )
        return np.greater(sigma, limit, out=self._scratch.get("uncertain", depth.shape, bool))

    def _draw(self, values: np.ndarray, scale_model: str, out: np.ndarray) -> None:
        nearness = values
        if scale_model != "inverse_affine":
            nearness = depth_to_nearness(values, scale_model, self._scratch.get("inverse", values.shape, np.float32))
        colorize(nearness, out=out)
        cv2.cvtColor(out, cv2.COLOR_RGB2BGR, dst=out)

    def _rays_of(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        if self._rays is None or self._camera != camera:
            self._camera, self._rays = camera, camera.rays()
        return self._rays

    def _at(self, rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the image at the outputs' size, uint8 (H, W, 3)."""
        if rgb.shape[:2] == size:
            return rgb
        resized = self._scratch.get("image", (*size, 3))
        resize_image(rgb, resized, self._halves)
        return resized


def _either(flying: np.ndarray | None, uncertain: np.ndarray | None) -> np.ndarray | None:
    """Return the points that one of two masks excludes; the second one is changed."""
    if flying is None or uncertain is None:
        return uncertain if flying is None else flying
    return np.logical_or(flying.view(bool), uncertain, out=uncertain)
