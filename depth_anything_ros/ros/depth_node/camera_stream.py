"""One camera of the depth node: its input, its outputs, and the settings of its frames."""

from __future__ import annotations

import os
import threading

from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from depth_anything_ros.processing import camera_info_buffer
from depth_anything_ros.processing.camera_info_buffer import Stamp
from depth_anything_ros.processing.frame_settings import choose_settings
from depth_anything_ros.processing.measured_scale import MeasuredScale
from depth_anything_ros.processing.parameters import StreamParameters
from depth_anything_ros.processing.scale_choice import ScaleChoice
from depth_anything_ros.processing.scale_parameters import ScaleMeasuring
from depth_anything_ros.ros.depth_node.frame_processor import FrameProcessor
from depth_anything_ros.ros.depth_node.frame_scheduler import FrameScheduler
from depth_anything_ros.ros.depth_node.frame_statistics import REPLACED, FrameStatistics
from depth_anything_ros.ros.depth_node.outputs import DepthOutputs
from depth_anything_ros.ros.depth_node.scale_sources import ScaleSources, odometry_of
from depth_anything_ros.ros.depth_node.stream_geometry import StreamGeometry
from depth_anything_ros.ros.depth_node.stream_log import StreamLog
from depth_anything_ros.ros.io.image_input import CameraFrame, ImageInput
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.ros.io.transforms import SensorTransforms
from depth_anything_ros.ros.process.middleware import shared_memory_of
from depth_anything_ros.runtime.estimator import Estimator

BUSY = (
    "the model is still processing an earlier image. It may be building an engine for the first one; otherwise use a "
    "smaller input, a faster backend or precision"
)


class CameraStream:
    """Receives one camera's images and hands them to the worker.

    The executor's thread receives; the worker uses `processor`. `set_parameters`, `set_active` and `refresh` may be
    called from any thread at any time, `set_model` and `release` only while the worker is stopped.

    Args:
        node: the node that owns the topics.
        name: the camera's name and prefix of its topics; "" for a single camera.
        parameters: the camera's parameters.
        transport: "raw" or "compressed".
        scheduler: where frames wait for the worker.
        local: the camera node of this process that the images come from, if any.
        measuring: settings for the scale from sensors.
        transforms: where these sensors are.

    Attributes:
        statistics: counts and times of the frames so far.
        parameters: parameters of the next frame.
        input: the subscriptions.
        geometry: the geometry of the latest frame's outputs, and problems with it.
        processor: the steps of a frame before and after the model.
        log: the camera's lines in the node's log.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        parameters: StreamParameters,
        transport: str,
        scheduler: FrameScheduler[CameraFrame],
        local: LocalImages | None,
        measuring: ScaleMeasuring,
        transforms: SensorTransforms,
    ) -> None:
        self.name = name
        self.statistics = FrameStatistics()
        self.log = StreamLog(node.get_logger(), name)
        self._scheduler = scheduler
        prefix = f"{name}/" if name else ""
        self._outputs = DepthOutputs(node, prefix, self.refresh)
        self.input = ImageInput(
            node, prefix, transport, self.statistics, self._enqueue, self._release_frame, self.log.warn_once, local
        )
        topic = None if local else self.input.image_topic.removesuffix("/compressed")
        self.geometry = StreamGeometry(self.input, self.log, topic)
        odometry = odometry_of(measuring, node, prefix, transforms)
        self._scale_sources = ScaleSources(
            node, prefix, measuring.sources, transforms, lambda: self.parameters, odometry
        )
        self._uses_images = measuring.odometry == "images"
        self.processor = FrameProcessor(
            self.input,
            self._outputs,
            self.geometry,
            self.statistics,
            self.log,
            node.get_clock(),
            shared_memory_of(get_rmw_implementation_identifier(), os.environ),
        )
        self._estimator: Estimator | None = None
        self._is_active = False
        self._choosing, self._refreshing = threading.Lock(), threading.Lock()
        self._awaited: Stamp | None = None
        self._jumps = 0
        self.set_parameters(parameters)

    @property
    def scale(self) -> ScaleChoice | None:
        """The scale in use; None without a model."""
        settings = self.processor.settings
        return None if settings is None else settings.scale

    @property
    def lacks_scale(self) -> bool:
        """Whether a requested output needs meters, and there is no scale."""
        scale = self.scale
        if scale is None or scale.gives_depth:
            return False
        return self._outputs.requested(gives_depth=True).names > self._outputs.requested(gives_depth=False).names

    def read_overrides(self) -> None:
        """Read the ``qos_overrides`` of all topics. Raises `ValueError` for invalid ones."""
        self.input.read_overrides()
        self._outputs.read_overrides()

    def set_parameters(self, parameters: StreamParameters) -> None:
        """Apply parameters from the next frame on. A new scale is logged."""
        with self._choosing:
            self.parameters = parameters
            self._choose_settings()
        self.input.max_rate, self.input.max_age = parameters.max_rate, parameters.max_age
        self._scheduler.prioritize(self.name, parameters.priority)
        self.refresh()  # with a new scale, more outputs may be available

    def set_model(self, estimator: Estimator) -> None:
        """Advertise the outputs of this model."""
        self._scale_sources.close()
        self.processor.steps.measured = None
        with self._choosing:
            self._estimator = estimator
            self._choose_settings()
        scale = self.scale
        is_measured = scale is not None and scale.state == "measured"
        if is_measured:
            self.processor.steps.measured = MeasuredScale(
                self._scale_sources.measurements, estimator.record, self._uses_images
            )
        self._outputs.create(estimator.record.predicts_depth, estimator.gives_confidence, is_measured)

    def release(self) -> None:
        """Remove all topics and forget the model."""
        self.set_active(False)
        self._outputs.destroy()
        self._scale_sources.close()
        with self._choosing:
            self._estimator = None
            self.processor.reset()
        self.geometry.reset()

    def reset_scale(self) -> None:
        """Forget the scale that sensors measured; the next measurement starts again."""
        if self.processor.steps.measured is not None:
            self.processor.steps.measured.reset()

    def fix_scale(self) -> tuple[bool, str]:
        """Keep the scale that sensors measure now; returns whether there is one, and a line that says so."""
        measured = self.processor.steps.measured
        if measured is None:
            if self._estimator is None:
                return False, "the node has no model yet: configure it"
            if self._estimator.record.is_metric:
                return False, "the model predicts meters, so there is no scale to keep"
            return False, "there is no sensor for the scale: set the parameters scale.a and scale.b"
        return measured.fix()

    def forget_past(self) -> None:
        """Forget everything that has a time, because time has jumped."""
        self.input.stamps.reset()
        self._scale_sources.reset()
        if self.processor.steps.measured is not None:
            self.processor.steps.measured.forget_past()

    def set_active(self, is_active: bool) -> None:
        """Start or stop receiving images."""
        self._is_active = is_active
        self.refresh()

    def refresh(self) -> None:
        """Subscribe to the camera while active and an output has a subscriber; unsubscribe otherwise."""
        with self._refreshing:  # called by the executor and by transitions; the last state seen must win
            scale = self.scale
            is_requested = self._is_active and scale is not None and bool(self._outputs.requested(scale.gives_depth))
            self._scale_sources.set_open(is_requested)
            self.input.set_open(is_requested)

    def refresh_input(self) -> None:
        """Adapt to what the camera publishes now. Called periodically in the executor's thread."""
        self.input.adapt()
        self.geometry.refresh()
        self._scale_sources.advise()

    def _choose_settings(self) -> None:
        if self._estimator is None:
            return
        names = self._scale_sources.measurements.names
        settings = choose_settings(self.parameters, self._estimator.record, names)
        scale = settings.scale
        if self.scale is None or scale.text != self.scale.text:
            if scale.is_warning:
                self.log.warning(scale.text)
            else:
                self.log.info(scale.text)
        self.processor.settings = settings

    def _enqueue(self, frame: CameraFrame) -> None:
        if self.input.stamps.jumps != self._jumps:  # a recording starts again; only simulated time would tell
            self._jumps = self.input.stamps.jumps
            self._scale_sources.reset()
        waits = frame.info is None and self.input.infos.awaits(frame.stamp)
        self._awaited = frame.stamp if waits else None
        lost = self._scheduler.put(self.name, frame, camera_info_buffer.PATIENCE if waits else 0.0)
        if lost is frame:  # received while the node was deactivated
            self.statistics.ignore()
        elif lost is not None:
            self.statistics.drop(REPLACED, BUSY)

    def _release_frame(self, stamp: Stamp) -> None:
        """Stop holding the latest frame, if it waits for the camera_info with this stamp."""
        if stamp == self._awaited:
            self._scheduler.release(self.name)
