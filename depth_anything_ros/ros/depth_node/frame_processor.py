"""The steps of one camera's frames in the depth node, before and after the network."""

from __future__ import annotations

import time
import traceback

import numpy as np
from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.geometry.output_geometry import OutputGeometry
from depth_anything_ros.postprocessing.depth_products import DepthBuffers, DepthSettings
from depth_anything_ros.processing.frame_settings import FrameSettings
from depth_anything_ros.processing.frame_steps import FrameSteps
from depth_anything_ros.processing.parameters import StreamParameters
from depth_anything_ros.ros.depth_node.frame_statistics import FrameStatistics
from depth_anything_ros.ros.depth_node.frame_task import Task
from depth_anything_ros.ros.depth_node.message_size import large_cloud_advice
from depth_anything_ros.ros.depth_node.outputs import SCALE, DepthOutputs
from depth_anything_ros.ros.depth_node.stream_geometry import UNCORRECTED, StreamGeometry
from depth_anything_ros.ros.depth_node.stream_log import StreamLog
from depth_anything_ros.ros.io.image_decoding import BadImageError, ImageDecoder
from depth_anything_ros.ros.io.image_input import CameraFrame, ImageInput
from depth_anything_ros.ros.io.messages import OutputMessages, scale_message
from depth_anything_ros.system.malloc import give_back_freed_memory

_RANGE_ADVICE = "if that is wrong, set input_range to LOW,HIGH"


class FrameProcessor:
    """The steps of one camera's frames before and after the model. For the worker's thread.

    Args:
        images: the camera's input.
        outputs: the camera's publishers.
        geometry: finds the geometry of a frame's outputs.
        statistics: counts each frame.
        log: the camera's log.
        clock: the node's clock, for the age of a frame.
        shared_memory: bytes of shared memory that the middleware has for a message; None for no limit.

    Attributes:
        settings: settings of the next frame, None without a model. They are replaced as a whole, because the worker may
            be starting a frame.
        steps: the computations, which need no ROS.
    """

    def __init__(
        self,
        images: ImageInput,
        outputs: DepthOutputs,
        geometry: StreamGeometry,
        statistics: FrameStatistics,
        log: StreamLog,
        clock: Clock,
        shared_memory: int | None,
    ) -> None:
        self.settings: FrameSettings | None = None
        self.steps = FrameSteps(ImageDecoder)
        self._images, self._outputs, self._geometry = images, outputs, geometry
        self._statistics, self._log, self._clock = statistics, log, clock
        self._shared_memory = shared_memory
        self._messages: OutputMessages | None = None

    def reset(self) -> None:
        """Free all buffers and forget the settings. Only while the worker is stopped."""
        self.settings, self._messages = None, None
        self.steps.reset()

    def prepare(self, frame: CameraFrame) -> Task | None:
        """Make a frame ready for the model: decode, find the geometry, choose the buffers, rectify.

        Returns None for a frame that does not need the model, or that is dropped. It is counted then.
        """
        settings = self.settings
        assert settings is not None  # the worker is stopped while there is no model
        requested = self._outputs.requested(settings.scale.gives_depth)
        if not requested:
            self._statistics.ignore()
            return None
        try:
            rgb = self._decode(frame, settings.parameters)
        except BadImageError as error:
            self._statistics.drop(error.cause, str(error))
            self._log.warn_once(error.fault, f"frame dropped: {error}")
            return None
        parameters, depth = settings.parameters, settings.depth
        size = parameters.output_size_for(*rgb.shape[:2])
        consequence = "" if settings.scale.reference_focal is None else UNCORRECTED
        geometry = self._geometry.find(
            frame, rgb.shape[:2], size, parameters.rectified, parameters.rectify, consequence
        )
        info = geometry.info if geometry is not None and "info" in requested else None
        messages = self._messages_for(size, depth)
        outputs = self._outputs.arrays(requested, messages, geometry is not None)
        if outputs.points is not None:
            self._warn_of_large_cloud(size, depth.stride, messages)
        if not outputs and SCALE not in requested:
            self._publish_info_alone(frame, messages, outputs, geometry, info)
            return None
        prepared = self.steps.prepare(frame.header, rgb, size, geometry, outputs, settings)
        return Task(frame, prepared, info, messages)

    def finish(self, task: Task, network_size: tuple[int, int], model_seconds: float) -> None:
        """Turn the model's map into depth, images and cloud, and publish them.

        Args:
            task: the frame; the model has written ``task.values``.
            network_size: (height, width) of the network's input.
            model_seconds: how long the model took.
        """
        prepared = task.prepared
        settings, outputs = self.steps.scale(prepared, network_size)
        if self.steps.measured is not None and self._outputs.scale_is_requested:
            report = self.steps.measured.report(prepared.settings.parameters.scale_hold)
            self._outputs.publish_scale(scale_message(task.frame.header, report))
        if prepared.outputs and not outputs:
            self._statistics.drop("no scale", self.steps.scale_problem)
            self._outputs.publish(task.frame.header, task.messages, outputs, task.info)
            return
        self.steps.derive(prepared, network_size, settings, outputs)
        self._outputs.publish(task.frame.header, task.messages, outputs, task.info)
        seconds, nanoseconds = task.frame.stamp
        age = 1e-9 * (self._clock.now().nanoseconds - nanoseconds) - seconds
        has_stamp = (seconds, nanoseconds) != (0, 0)
        total_seconds = time.perf_counter() - task.frame.received
        self._statistics.publish(model_seconds, total_seconds, age if has_stamp else None)

    def drop(self, error: Exception, cause: str) -> None:
        """Count a frame whose processing failed, and log each different error once."""
        self._statistics.drop(cause, " ".join(str(error).split()))
        text = str(error) if cause == "model failed" else f"{error}\n{traceback.format_exc()}"
        self._log.error_once(text, f"frame lost: {text}")

    def _decode(self, frame: CameraFrame, parameters: StreamParameters) -> np.ndarray:
        """Return the image as RGB, uint8 (h, w, 3) of any strides. Raises `BadImageError`."""
        if isinstance(frame.source, np.ndarray):
            return frame.source
        rgb, note = self.steps.decode(frame.source, parameters.input_range), self.steps.note
        if note is not None:
            self._log.warn_once(note.partition(":")[0], f"{self._images.image_topic}: {note}; {_RANGE_ADVICE}")
        return rgb

    def _messages_for(self, size: tuple[int, int], depth: DepthSettings) -> OutputMessages:
        """Return the reusable messages of this size; they are created again only when it changes."""
        shape = (*size, depth.stride, depth.colored)
        if self._messages is None:
            self._messages = OutputMessages(*shape)
        elif not self._messages.fit(*shape):
            self._messages = OutputMessages(*shape)
            self.steps.free_buffers()
            give_back_freed_memory()
        return self._messages

    def _warn_of_large_cloud(self, size: tuple[int, int], stride: int, messages: OutputMessages) -> None:
        advice = large_cloud_advice(size, stride, messages.points.message.point_step, self._shared_memory)
        if advice:
            self._log.warn_once("large cloud", advice)

    def _publish_info_alone(
        self,
        frame: CameraFrame,
        messages: OutputMessages,
        outputs: DepthBuffers,
        geometry: OutputGeometry | None,
        info: CameraInfo | None,
    ) -> None:
        """Publish camera_info for a frame of which nothing else is requested, or can be computed."""
        self._outputs.publish(frame.header, messages, outputs, info)
        if geometry is None:
            self._statistics.drop("no camera_info", self._geometry.problem or "")
        else:
            self._statistics.ignore()
