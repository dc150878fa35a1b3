"""The outputs of a frame as serialized ROS 2 messages, written with rosbags."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from depth_anything_ros.data.mcap_storage import SerializedMessage
from depth_anything_ros.postprocessing.point_cloud import POINT_STEP, POSITION_STEP, organized_size
from depth_anything_ros.processing.measured_scale import ScaleReport
from depth_anything_ros.processing.outputs import ENCODINGS, SCALE, TOPICS
from depth_anything_ros.processing.recorded_camera import FrameOutputs

_IS_BIG_ENDIAN = sys.byteorder == "big"
_FLOAT32 = 7
"""The datatype of a PointField."""
KINDS = {
    **dict.fromkeys(TOPICS.values(), "sensor_msgs/msg/Image"),
    TOPICS["info"]: "sensor_msgs/msg/CameraInfo",
    TOPICS["points"]: "sensor_msgs/msg/PointCloud2",
    SCALE: "diagnostic_msgs/msg/DiagnosticArray",
}
"""The type of each topic."""
_NOTHING = np.empty(0, np.uint8)
_COUNT = struct.Struct("<I")
_AFTER_CLOUD = 1
"""Bytes of a serialized PointCloud2 after its data: is_dense. An Image ends with its data."""


class MessageWriter:
    """Writes the outputs of frames as messages.

    Args:
        stride: every ``stride``-th row and column becomes points of the cloud.
        colored: whether the points have colors.

    Attributes:
        typestore: of rosbags, with the types of the messages.
    """

    def __init__(self, stride: int, colored: bool) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.typestore = get_typestore(Stores.ROS2_HUMBLE)
        self._stride, self._colored = stride, colored

    def serialized(self, frame: FrameOutputs) -> Iterator[tuple[str, memoryview | SerializedMessage]]:
        """Yield topic and bytes of each message, in the order of the node: the scale, camera_info, the others.

        Images and clouds are not copied: they are valid as long as the frame's buffers.
        """
        types = self.typestore.types
        stamp = types["builtin_interfaces/msg/Time"](frame.header.stamp.sec, frame.header.stamp.nanosec)
        header = types["std_msgs/msg/Header"](stamp, frame.header.frame_id)
        if frame.scale is not None:
            yield self._as_bytes(SCALE, self._scale(header, frame.scale))
        for name, topic in TOPICS.items():
            if name == "info":
                if frame.info is not None:
                    yield self._as_bytes(topic, self._info(header, frame.info))
            elif (filled := getattr(frame.filled, name)) is not None:
                make = self._cloud if name == "points" else self._image
                empty = self._as_bytes(topic, make(header, name, frame.size, filled))[1]
                yield topic, _with_data(empty, filled, _AFTER_CLOUD if name == "points" else 0)

    def _as_bytes(self, topic: str, message: Any) -> tuple[str, memoryview]:
        return topic, self.typestore.serialize_cdr(message, KINDS[topic])

    def _image(self, header: Any, name: str, size: tuple[int, int], pixels: np.ndarray) -> Any:
        """Return a sensor_msgs/Image without data."""
        step = pixels[0].nbytes
        return self.typestore.types["sensor_msgs/msg/Image"](
            header, *size, ENCODINGS[name], _IS_BIG_ENDIAN, step, _NOTHING
        )

    def _cloud(self, header: Any, name: str, size: tuple[int, int], content: np.ndarray) -> Any:
        """Return a sensor_msgs/PointCloud2 without data."""
        rows, columns = organized_size(*size, self._stride)
        step = POINT_STEP if self._colored else POSITION_STEP
        field = self.typestore.types["sensor_msgs/msg/PointField"]
        names = ("x", "y", "z", "rgb")[: step // 4]
        fields = [field(name, 4 * index, _FLOAT32, 1) for index, name in enumerate(names)]
        return self.typestore.types["sensor_msgs/msg/PointCloud2"](
            header, rows, columns, fields, _IS_BIG_ENDIAN, step, columns * step, _NOTHING, False
        )

    def _info(self, header: Any, info: Any) -> Any:
        matrices = [np.asarray(matrix, np.float64) for matrix in (info.d, info.k, info.r, info.p)]
        region = self.typestore.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        return self.typestore.types["sensor_msgs/msg/CameraInfo"](
            header, info.height, info.width, info.distortion_model, *matrices, 0, 0, region
        )

    def _scale(self, header: Any, report: ScaleReport) -> Any:
        types = self.typestore.types
        pairs = [types["diagnostic_msgs/msg/KeyValue"](key, value) for key, value in report.values.items()]
        status = types["diagnostic_msgs/msg/DiagnosticStatus"](int(report.is_warning), "scale", report.text, "", pairs)
        return types["diagnostic_msgs/msg/DiagnosticArray"](header, [status])


def _with_data(empty: memoryview, data: np.ndarray, after: int) -> SerializedMessage:
    """Return a message with its data, from the same message without data.

    CDR writes an array as its length and its content. Bytes and booleans after it need no alignment.

    Args:
        empty: the serialized message, whose array of bytes is empty.
        data: contiguous.
        after: bytes of the message after the array.
    """
    end = len(empty) - after
    head = bytes(empty[: end - _COUNT.size]) + _COUNT.pack(data.nbytes)
    return SerializedMessage(head, data.reshape(-1).view(np.uint8).data, bytes(empty[end:]))


def as_ros2_info(message: Any) -> Any:
    """Return a camera_info of ROS 1, whose matrices have names in capitals, with those of ROS 2; others unchanged."""
    if not hasattr(message, "K"):
        return message
    from rosbags.typesys import Stores, get_typestore

    region, types = message.roi, get_typestore(Stores.ROS2_HUMBLE).types
    window = region.x_offset, region.y_offset, region.height, region.width, region.do_rectify
    return types["sensor_msgs/msg/CameraInfo"](
        message.header,
        *(message.height, message.width, message.distortion_model, message.D, message.K, message.R, message.P),
        *(message.binning_x, message.binning_y),
        types["sensor_msgs/msg/RegionOfInterest"](*window),
    )
