"""The steps of one camera's frames before and after the model: decode, rectify, scale, derive. Arrays and no ROS.

The depth node (`ros.depth_node.worker`) and the command `bag` both run this code. They differ in where messages come
from, and in where the filled buffers go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.output_geometry import OutputGeometry
from depth_anything_ros.images.image_messages import ImageDecoder
from depth_anything_ros.images.intensity import InputRange
from depth_anything_ros.images.pixel_layout import as_rgb, stored
from depth_anything_ros.postprocessing.depth_products import DepthBuffers, DepthProducts, DepthSettings
from depth_anything_ros.postprocessing.flying_pixels import reach_of
from depth_anything_ros.postprocessing.meters import Scale, focal_gain
from depth_anything_ros.processing.frame_settings import FrameSettings
from depth_anything_ros.processing.measured_scale import MeasuredScale
from depth_anything_ros.system.array_pool import ArrayPool


@dataclass(frozen=True)
class PreparedFrame:
    """A frame that is ready for the model.

    Attributes:
        header: of the image, a std_msgs/Header from rclpy or rosbags.
        rgb: uint8 (h, w, 3), of any strides; rectified if necessary.
        size: (H, W) of the outputs.
        values: float32 (H, W), where the model writes its map.
        camera: intrinsics of the outputs; None without camera_info.
        valid: bool (H, W), False where a rectified image has no pixel; None if all are valid.
        outputs: the buffers to fill.
        settings: the settings of the frame.
    """

    header: Any
    rgb: np.ndarray
    size: tuple[int, int]
    values: np.ndarray
    camera: Camera | None
    valid: np.ndarray | None
    outputs: DepthBuffers
    settings: FrameSettings


class FrameSteps:
    """The steps of one camera. It reuses its buffers, so a frame must be finished before the next but one begins.

    Args:
        new_decoder: returns a decoder of images.

    Attributes:
        measured: the scale by sensors, if there are any.
        focal_gain: the factor that corrected the latest frame's meters for its lens; None if there was no correction.
    """

    def __init__(self, new_decoder: Callable[[], ImageDecoder] = ImageDecoder) -> None:
        self.focal_gain: float | None = None
        self.measured: MeasuredScale | None = None
        self._new_decoder = new_decoder
        self._decoder, self._products = new_decoder(), DepthProducts()
        self._scratch = ArrayPool()

    def reset(self) -> None:
        """Free all buffers and forget the scale."""
        self.focal_gain, self.measured = None, None
        self._decoder = self._new_decoder()
        self.free_buffers()

    def free_buffers(self) -> None:
        """Free the buffers, because the size of the outputs changes."""
        self._products = DepthProducts()
        self._scratch.clear()

    @property
    def note(self) -> str | None:
        """A warning about the 16-bit images so far, or None."""
        return self._decoder.note

    def decode(self, message: Any, input_range: str) -> np.ndarray:
        """Return an image as RGB, uint8 (h, w, 3) of any strides.

        Args:
            message: a sensor_msgs Image or CompressedImage.
            input_range: the parameter of this name.

        Raises:
            BadImageError: the image cannot be decoded.
        """
        self._decoder.set_range(InputRange.of(input_range))
        return self._decoder.decode(message)

    def prepare(
        self,
        header: Any,
        rgb: np.ndarray,
        size: tuple[int, int],
        geometry: OutputGeometry | None,
        outputs: DepthBuffers,
        settings: FrameSettings,
    ) -> PreparedFrame:
        """Make a decoded image ready for the model: rectify it, and choose the buffer of the map.

        Args:
            header: of the image.
            rgb: its pixels.
            size: (H, W) of the outputs.
            geometry: of the outputs; None without camera_info.
            outputs: the buffers to fill.
            settings: of the frame.
        """
        return PreparedFrame(
            header,
            self._rectify(rgb, geometry),
            size,
            self._products.output_buffer(outputs, size, settings.depth.scale_model != "inverse_affine"),
            None if geometry is None else geometry.camera,
            None if geometry is None else geometry.valid,
            outputs,
            settings,
        )

    def _rectify(self, rgb: np.ndarray, geometry: OutputGeometry | None) -> np.ndarray:
        """Return the image without distortion, in the same channel order in memory, which is the fastest."""
        rectifier = None if geometry is None else geometry.rectifier
        if rectifier is None:
            return rgb
        raw, order = stored(rgb)
        rectified = self._scratch.get("rectified", raw.shape)
        rectifier.remap(raw, rectified)
        return as_rgb(rectified, order)

    def scale(self, frame: PreparedFrame, network_size: tuple[int, int]) -> tuple[DepthSettings, DepthBuffers]:
        """Return the frame's depth settings, and the outputs that can be filled: without a scale, none in meters.

        Args:
            frame: the model has written ``frame.values``.
            network_size: (height, width) of the network's input.
        """
        measured, gain = self.measured, self._find_focal_gain(frame, network_size)
        if measured is None:
            if gain is None:
                return frame.settings.depth, frame.outputs
            return replace(frame.settings.depth, scale=Scale(gain, 0.0)), frame.outputs
        if gain is not None:  # sensors correct the meters for this lens
            np.multiply(frame.values, np.float32(gain), out=frame.values)
        if frame.valid is not None:  # the network saw nothing there that sensors could have measured
            np.copyto(frame.values, np.float32(np.nan), where=~frame.valid)
        settings = measured.settings_for(frame)
        if settings is not None:
            return settings, frame.outputs
        without = replace(frame.outputs, depth=None, millimeters=None, points=None, sigma=None)
        return frame.settings.depth, without

    def derive(
        self, frame: PreparedFrame, network_size: tuple[int, int], settings: DepthSettings, outputs: DepthBuffers
    ) -> None:
        """Turn the model's map into depth, images and cloud.

        Args:
            frame: the model has written ``frame.values``.
            network_size: (height, width) of the network's input.
            settings: from `scale`.
            outputs: from `scale`; they are filled.
        """
        reach = reach_of(frame.size, network_size)
        self._products.derive(frame.values, frame.rgb, frame.camera, frame.valid, reach, settings, outputs)

    @property
    def scale_problem(self) -> str:
        """Why sensors give no scale; "" if they do, or if there are none."""
        latest = None if self.measured is None else self.measured.latest
        return "" if latest is None else latest.problem

    def _find_focal_gain(self, frame: PreparedFrame, network_size: tuple[int, int]) -> float | None:
        """Return the factor that corrects a metric model's meters for the camera's lens; None without a correction."""
        reference = frame.settings.scale.reference_focal
        if reference is None or frame.camera is None:
            self.focal_gain = None
        else:
            self.focal_gain = focal_gain(frame.camera, network_size, reference)
        return self.focal_gain
