"""Publish a webcam, network stream, video file or still images as `image_raw` and `camera_info`."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import SetParametersResult
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depth_anything_ros.capture.live_camera import LiveCamera
from depth_anything_ros.capture.players import CapturedImage, FilePlayer, LivePlayer
from depth_anything_ros.capture.sources import open_source
from depth_anything_ros.geometry.calibration import Calibration, read_calibration
from depth_anything_ros.geometry.frame_ids import frame_id_problem
from depth_anything_ros.processing.parameter_declarations import DECLARATIONS
from depth_anything_ros.ros.camera_node.parameters import declare_camera_parameters
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.ros.io.topic_qos import (
    declared_overrides,
    qos_overrides,
    warn_of_unknown_overrides,
    with_policies,
)
from depth_anything_ros.ros.process.graph_watch import GraphWatch, call_periodically
from depth_anything_ros.ros.process.runner import run_node
from depth_anything_ros.ros.process.unknown_parameters import reject_unknown

# A reliable publisher matches every subscriber. The queue is short, because an old frame is useless.
PUBLISHER_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_DEPTH_PARAMETERS = [declaration.name for declaration in DECLARATIONS]
SUBSCRIBER_POLL = 0.02
"""Seconds between checks of the number of subscribers, while the node waits for them."""
FLUSH_TIMEOUT = Duration(seconds=2)
"""Maximum time for the last frame of a file to reach its subscribers."""


class CameraNode(Node):
    """Publishes the frames of a source, each `image_raw` with a `camera_info` of the same timestamp and frame.

    A thread captures and publishes; the executor handles only parameters and time. `finished` is done when a file has
    been played to its end. Its result is the part that could not be read, as text, or None. If capture fails, it holds
    the exception.

    Args:
        local_images: also receives each image, for a depth node of the same process, without DDS.
        starts: publish at once; if False, the source is opened, but nothing is published before `start`.
        node_options: further arguments of `rclpy.node.Node`.

    Raises:
        SourceError: the source cannot be opened.
        CalibrationError: the calibration cannot be read.
        ValueError: tf2 rejects the frame_id.
        ParameterException: a parameter is invalid (rclpy).
    """

    def __init__(self, local_images: LocalImages | None = None, starts: bool = True, **node_options: object) -> None:
        super().__init__("camera_node", **node_options)
        self._local_images = local_images
        self.finished = Future()
        self._closed = threading.Event()
        self._player: FilePlayer | LivePlayer | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        call_periodically(self, GraphWatch(self).check)
        self.autostarts = not starts  # read by `run_nodes`, which starts the nodes after all are created
        try:
            self._open()
            if starts:
                self.start()
        except BaseException:
            self.destroy_node()
            raise

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Override rclpy's method, which the parameter services call, to name an unknown parameter in the reason."""
        return reject_unknown(self, parameter_list) or super().set_parameters_atomically(parameter_list)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def _create_publisher(self, message_type: type, topic: str) -> Publisher:
        overrides = qos_overrides(self, self.resolve_topic_name(topic), "publisher", PUBLISHER_QOS)
        return self.create_publisher(message_type, topic, with_policies(PUBLISHER_QOS, overrides))

    def _open(self) -> None:
        others = [] if self._local_images is None else _DEPTH_PARAMETERS
        parameters = self._settings = declare_camera_parameters(self, others)
        fault = frame_id_problem(parameters.frame_id)
        if fault is not None:
            raise ValueError(fault)
        self._calibration = read_calibration(parameters.calibration) if parameters.calibration else None
        if self._calibration is not None and self._calibration.doubt is not None:
            self._warn(f"calibration {parameters.calibration}: {self._calibration.doubt}")
        self._camera_info: CameraInfo | None = None
        self._image_publisher = self._create_publisher(Image, "image_raw")
        self._camera_info_publisher = self._create_publisher(CameraInfo, "camera_info")
        if self._local_images is None:
            warn_of_unknown_overrides(self)
        else:  # the depth node of this process warns about overrides that neither node has
            self._local_images.sender_overrides = declared_overrides(self)
        rate = parameters.frame_rate
        size = parameters.width, parameters.height
        source = open_source(parameters.source, self._warn, *size, rate, parameters.pixel_format)
        if isinstance(source, LiveCamera):
            self._player = LivePlayer(source, self._now, rate, self._warn)
            self.get_logger().info(f"source {source.name}: live{', ' * bool(source.mode)}{source.mode}")
        else:
            self._player = FilePlayer(source, self._now, rate, parameters.loop, self._warn)
            self.get_logger().info(f"source {parameters.source}: {rate or source.rate:g} Hz")

    def _now(self) -> Time:
        return self.get_clock().now().to_msg()

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text)

    def _run(self) -> None:
        """Publish until the source ends or the node is destroyed. This is the capture thread."""
        player = self._player
        assert player is not None  # `_open` comes before `start`
        try:
            if isinstance(player, FilePlayer):
                self._wait_for_subscribers()
            for frame in player:
                self._publish(frame)
            if not self._closed.is_set():
                self._image_publisher.wait_for_all_acked(FLUSH_TIMEOUT)
        except Exception as error:  # passed on through `finished`
            if not self._closed.is_set():
                self.finished.set_exception(error)
        else:
            if not self._closed.is_set():
                self._end()

    def _end(self) -> None:
        """Log that a file has ended, and the part of it that could not be read."""
        problem = self._player.problem if isinstance(self._player, FilePlayer) else None
        if problem is None:
            self.get_logger().info("the source has ended")
        else:
            self.get_logger().error(f"the source has ended, but a part could not be read: {problem}")
        self.finished.set_result(problem)

    def _wait_for_subscribers(self) -> None:
        while self._image_publisher.get_subscription_count() < self._settings.wait_for_subscribers:
            if self._closed.wait(SUBSCRIBER_POLL):
                return

    def _publish(self, frame: CapturedImage) -> None:
        height, width = frame.image.shape[:2]
        if self._camera_info is None or (self._camera_info.width, self._camera_info.height) != (width, height):
            self._camera_info = camera_info_message(self._calibration_for(width, height))
        # Each frame has a new header, because a receiver that takes it by reference keeps it.
        self._camera_info.header = Header(stamp=frame.stamp, frame_id=self._settings.frame_id)
        self._camera_info_publisher.publish(self._camera_info)
        if self._local_images is not None and self._local_images.is_requested:
            self._local_images.send(frame.image, copy.copy(self._camera_info))
        if self._image_publisher.get_subscription_count():
            image = image_message(frame.image)
            image.header = self._camera_info.header
            self._image_publisher.publish(image)

    def _calibration_for(self, width: int, height: int) -> Calibration:
        """Return the calibration at the size of the images: the given one, resized, or an assumed one."""
        given, degrees = self._calibration, self._settings.horizontal_field_of_view
        if given is not None and given.fits(width, height):
            return given.resized(width, height)
        assumption = (
            f"assuming a horizontal field of view of {degrees:g} degrees, so lateral distances are only approximate"
        )
        if given is None:
            self.get_logger().warning(
                f"no calibration given: {assumption}; set the parameter calibration (command camera: --calibration)",
                once=True,
            )
        else:
            self.get_logger().warning(
                f"images are {width}x{height}, but the calibration is for {given.width}x{given.height}, another "
                f"aspect ratio: {assumption}; calibrate at this size"
            )
        return Calibration.from_field_of_view(width, height, degrees)

    def destroy_node(self) -> None:
        """Stop capturing, release the camera and destroy the node."""
        self._closed.set()
        if self._player is not None:
            self._player.close()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)
        super().destroy_node()


def image_message(image: np.ndarray) -> Image:
    """Return a bgr8 message of an image, uint8 (H, W, 3), with an empty header."""
    message = Image(height=image.shape[0], width=image.shape[1], encoding="bgr8", step=3 * image.shape[1])
    message.is_bigendian = sys.byteorder == "big"
    # The only way to fill a message with a single copy on every ROS 2 distribution.
    message.data.frombytes(np.ascontiguousarray(image))
    return message


def camera_info_message(calibration: Calibration) -> CameraInfo:
    """Return the message of a calibration, with an empty header."""
    return CameraInfo(
        height=calibration.height,
        width=calibration.width,
        distortion_model=calibration.distortion_model,
        d=list(calibration.full_distortion),
        k=calibration.camera_matrix.ravel(),
        r=calibration.rectification.ravel(),
        p=calibration.projection.ravel(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until its source ends or a signal arrives. Return the exit status."""
    return run_node("camera_node", CameraNode, arguments)
