"""The depth node: camera images in; depth image, its camera_info, coloured cloud and picture out."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_anything_ros.nodes.conversions import BadImageError, CameraInfoError, camera_info_for, camera_of, rgb_view
from depth_anything_ros.nodes.frame_pipeline import DepthSettings, FramePipeline, OutputArrays
from depth_anything_ros.nodes.frame_slot import FrameSlot
from depth_anything_ros.nodes.frame_statistics import FrameStatistics
from depth_anything_ros.nodes.lasting_cause import LastingCause
from depth_anything_ros.nodes.log_bridge import LogBridge
from depth_anything_ros.nodes.messages import OutputMessages
from depth_anything_ros.nodes.parameters import LiveParameters, declare_parameters, refused
from depth_anything_ros.nodes.process import run_node
from depth_anything_ros.runtime.estimator import Estimator, ModelError

# Best effort takes from every publisher, and a late image is worth nothing; a reliable publisher serves everyone.
_INPUT_QOS = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
_OUTPUT_QOS = QoSProfile(depth=2, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


@dataclass(frozen=True)
class _Frame:
    """An image on its way to the worker; ``received`` is in seconds of `time.perf_counter`."""

    header: Header
    rgb: np.ndarray
    received: float


@dataclass(frozen=True)
class _Wanted:
    """Which outputs somebody listens to."""

    inverse_depth: bool
    depth: bool
    colour: bool
    points: bool
    info: bool

    def __bool__(self) -> bool:
        return any(vars(self).values())


class DepthNode(Node):
    """Subscribes ``image`` and ``camera_info``; publishes depth under the image's own stamp and frame.

    One worker thread takes the latest frame; what came in between is dropped and counted. Nothing is computed that
    nobody subscribes to.

    Args:
        estimator: a model that is ready; default: the one that the parameters name.
        node_arguments: as for `rclpy.node.Node`, such as ``namespace`` or ``parameter_overrides``.

    Attributes:
        statistics: counts and times of the frames so far.

    Raises:
        ModelError: the model is absent, damaged or not what its record says.
        ValueError: a parameter is not what it may be.
    """

    def __init__(self, estimator: Estimator | None = None, **node_arguments: Any) -> None:
        super().__init__("depth_node", **node_arguments)
        self.statistics = FrameStatistics()
        self._slot: FrameSlot[_Frame] = FrameSlot()
        self._log_bridge = LogBridge(self.get_logger())
        self._worker = threading.Thread(target=self._work, name="depth", daemon=True)
        try:
            self._start(estimator)
        except BaseException:
            self._log_bridge.detach()
            super().destroy_node()
            raise

    def _start(self, estimator: Estimator | None) -> None:
        """Parameters, model, topics, worker, in this order: nothing is announced that cannot be kept."""
        self._fixed, self._live = declare_parameters(self)
        if estimator is None:
            estimator = Estimator(
                self._fixed.model,
                self._fixed.backend,
                self._fixed.record,
                size=self._fixed.input_size,
                threads=self._fixed.threads,
                precision=self._fixed.precision,
            )
        self.get_logger().info(f"model: {estimator.provenance}")
        self._estimator = estimator
        self._pipeline = FramePipeline(estimator)
        self._scale_text = ""
        self._settings = self._settings_from(self._live)
        self.add_on_set_parameters_callback(self._on_set_parameters)

        self._camera_info: CameraInfo | None = None
        self._camera_trouble = LastingCause()
        self._named: set[str] = set()
        self._messages: OutputMessages | None = None
        self._create_publishers()
        self._create_subscriptions()
        self._worker.start()

    def destroy_node(self) -> None:
        """Ends the worker, says what became of the frames, then destroys the node."""
        self._slot.close()
        self._worker.join()
        if self.context.ok():
            self.get_logger().info(self.statistics.summary())
        self._log_bridge.detach()
        super().destroy_node()

    def _create_publishers(self) -> None:
        def create(message_type: type, topic: str) -> Any:
            overriding = QoSOverridingOptions.with_default_policies()
            return self.create_publisher(message_type, topic, _OUTPUT_QOS, qos_overriding_options=overriding)

        self._depth_publisher = create(Image, "depth/image_rect")
        self._info_publisher = create(CameraInfo, "depth/camera_info")
        self._points_publisher = create(PointCloud2, "points")
        self._colour_publisher = create(Image, "depth/image_color")
        is_relative = not self._estimator.record.is_metric
        self._inverse_depth_publisher = create(Image, "inverse_depth/image") if is_relative else None

    def _create_subscriptions(self) -> None:
        for message_type, topic, callback in (
            (Image, "image", self._on_image),
            (CameraInfo, "camera_info", self._on_camera_info),
        ):
            overriding = QoSOverridingOptions.with_default_policies()
            self.create_subscription(message_type, topic, callback, _INPUT_QOS, qos_overriding_options=overriding)

    # Parameters

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Checks parameters that are being set and has them act from the next frame on."""
        try:
            live = self._live.changed(parameters)
        except ValueError as error:
            return refused(error)
        if live != self._live:
            self._settings, self._live = self._settings_from(live), live
        return SetParametersResult(successful=True)

    def _settings_from(self, live: LiveParameters) -> DepthSettings:
        """What the parameters mean for this model; the log says where its metres come from, anew when that changes."""
        scale, text, is_warning = live.scale_for(self._estimator.record)
        if text == self._scale_text:
            pass
        elif is_warning:
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)
        self._scale_text = text
        return DepthSettings(live.min_depth, live.max_depth, scale, live.points_stride)

    # The executor's thread

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_image(self, message: Image) -> None:
        received = time.perf_counter()
        self.statistics.receive()
        if not self._wanted(self._settings):
            self.statistics.ignore()
            return
        try:
            rgb = rgb_view(message)
        except BadImageError as error:
            self.statistics.drop(error.cause)
            self._warn_once(error.cause, f"frame dropped: {error}")
            return
        if self._slot.put(_Frame(message.header, rgb, received)):
            self.statistics.drop("newer came")

    def _wanted(self, settings: DepthSettings) -> _Wanted:
        """What somebody listens to and the model can give."""

        def has_listener(publisher: Any) -> bool:
            return publisher is not None and publisher.get_subscription_count() > 0

        gives_depth = self._pipeline.gives_depth(settings)
        return _Wanted(
            inverse_depth=has_listener(self._inverse_depth_publisher),
            depth=gives_depth and has_listener(self._depth_publisher),
            colour=has_listener(self._colour_publisher),
            points=gives_depth and has_listener(self._points_publisher),
            info=has_listener(self._info_publisher),
        )

    # The worker's thread

    def _work(self) -> None:
        """Processes the latest frame until the node ends; whatever a frame does wrong, the next one has its chance."""
        while (frame := self._slot.take()) is not None:
            try:
                self._process(frame)
            except ModelError as error:
                self._lose_frame("model failed", str(error))
            except Exception as error:
                if not self.context.ok():  # shut down from outside, in the middle of a frame
                    return
                self._lose_frame("error", f"{error}\n{traceback.format_exc()}")

    def _lose_frame(self, cause: str, text: str) -> None:
        """Counts a frame whose processing failed, and logs each different failure once."""
        self.statistics.drop(cause)
        if text not in self._named:
            self._named.add(text)
            self.get_logger().error(f"frame lost: {text}")

    def _process(self, frame: _Frame) -> None:
        """Computes and publishes what is wanted of a frame."""
        settings = self._settings
        wanted = self._wanted(settings)
        image_size = frame.rgb.shape[:2]
        size = self._fixed.output_size_for(*image_size)
        info = self._output_camera_info(image_size, size)
        messages = self._messages_of(*size, settings.stride)
        outputs = OutputArrays(
            inverse_depth=messages.inverse_depth.pixels if wanted.inverse_depth else None,
            depth=messages.depth.pixels if wanted.depth else None,
            colour=messages.colour.pixels if wanted.colour else None,
            points=messages.points.bytes if wanted.points and info is not None else None,
        )
        needs_model = any(array is not None for array in vars(outputs).values())
        if needs_model:
            camera = None if info is None else camera_of(info)
            model_seconds = self._pipeline.run(frame.rgb, size, camera, settings, outputs)
        self._publish(frame.header, messages, outputs, info if wanted.info else None)
        if needs_model:
            self.statistics.publish(model_seconds, time.perf_counter() - frame.received)
        elif info is None:
            self.statistics.drop("no camera_info")
        else:
            self.statistics.ignore()

    def _publish(
        self, header: Header, messages: OutputMessages, outputs: OutputArrays, info: CameraInfo | None
    ) -> None:
        """Publishes what has been filled; the camera_info first, since consumers pair it with the depth."""
        if info is not None:
            info.header = header
            self._info_publisher.publish(info)
        if outputs.depth is not None:
            self._depth_publisher.publish(messages.depth.stamped(header))
        if outputs.points is not None:
            self._points_publisher.publish(messages.points.stamped(header))
        if outputs.inverse_depth is not None:
            self._inverse_depth_publisher.publish(messages.inverse_depth.stamped(header))
        if outputs.colour is not None:
            self._colour_publisher.publish(messages.colour.stamped(header))

    def _output_camera_info(self, image_size: tuple[int, int], size: tuple[int, int]) -> CameraInfo | None:
        """The outputs' camera_info, None while there is none that fits the image; says why once."""
        info, trouble = None, None
        if self._camera_info is None:
            topic = self.resolve_topic_name("camera_info")
            trouble = f"nothing has come on {topic}; remap camera_info to the camera's topic"
        else:
            try:
                info = camera_info_for(self._camera_info, image_size, size, self._fixed.rectified)
            except CameraInfoError as error:
                trouble = str(error)
        if self._camera_trouble.is_news(trouble):
            self.get_logger().warning(f"no cloud and no depth/camera_info: {trouble}")
        return info

    def _messages_of(self, height: int, width: int, stride: int) -> OutputMessages:
        """The reusable messages of this size."""
        if self._messages is None or not self._messages.fit(height, width, stride):
            self._messages = OutputMessages(height, width, stride)
        return self._messages

    def _warn_once(self, cause: str, text: str) -> None:
        if cause not in self._named:
            self._named.add(cause)
            self.get_logger().warning(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the depth node; returns the process's exit status."""
    return run_node("depth_node", DepthNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
