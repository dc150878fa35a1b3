"""The depth node as usually written in Python, for comparison in `node.py`.

Model, scale, limits and topics are the same as in this package's node. ``way`` selects the conversions between messages
and arrays.
"""

from __future__ import annotations

import cv2
import numpy as np
from node_parts import CLOUD, CONVERT, DEPTH, FILL, PUBLISH_CLOUD, PUBLISH_DEPTH, RESIZE, PartTimes
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from depth_anything_ros.runtime.backends.interface import Backend

SCALE_A, SCALE_B, MINIMUM, MAXIMUM = 1.0, 0.05, 0.1, 80.0
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
FIELDS = [
    PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
    for index, name in enumerate(("x", "y", "z", "rgb"))
]
TO_RGB = {"bgr8": cv2.COLOR_BGR2RGB, "bgra8": cv2.COLOR_BGRA2RGB, "mono8": cv2.COLOR_GRAY2RGB}
TO_BGR = {"bgra8": cv2.COLOR_BGRA2BGR, "mono8": cv2.COLOR_GRAY2BGR}
POINT = np.dtype([("x", np.float32), ("y", np.float32), ("z", np.float32), ("rgb", np.float32)])


class UsualNode(Node):
    """Takes an image; publishes its depth and its colored cloud.

    Args:
        backend: the network.
        size: (height, width) of its input.
        parts: collects the time of each step.
        way: "cv_bridge": cv_bridge's Python conversions and `sensor_msgs_py.point_cloud2.create_cloud`; "by hand":
            `tobytes` and the messages' setters; "lists": lists of points and of bytes.
    """

    def __init__(self, backend: Backend, size: tuple[int, int], parts: PartTimes, way: str) -> None:
        super().__init__("usual_node")
        self._backend, self._size, self._parts, self._way = backend, size, parts, way
        self._info: CameraInfo | None = None
        self._depth_publisher = self.create_publisher(Image, "depth/image_rect", 10)
        self._points_publisher = self.create_publisher(PointCloud2, "points", 10)
        self.create_subscription(CameraInfo, "camera_info", self._on_info, qos_profile_sensor_data)
        self.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)

    def _on_info(self, info: CameraInfo) -> None:
        self._info = info

    def _on_image(self, message: Image) -> None:
        if self._info is None:
            return
        parts = self._parts
        with parts.part(CONVERT):
            if self._way == "by hand":
                rgb = cv2.cvtColor(pixels_by_hand(message), TO_RGB[message.encoding])
            else:
                rgb = cv2.cvtColor(imgmsg_to_bgr8(message), cv2.COLOR_BGR2RGB)
        with parts.part(RESIZE):
            inverse_depth = self._infer(rgb)
        with parts.part(DEPTH):
            depth = 1.0 / np.maximum(SCALE_A * inverse_depth + SCALE_B, 1e-6)
            depth[(depth < MINIMUM) | (depth > MAXIMUM)] = np.nan
        with parts.part(FILL):
            depth_message = self._depth_message(depth, message.header)
        with parts.part(PUBLISH_DEPTH):
            self._depth_publisher.publish(depth_message)
        with parts.part(CLOUD):
            points = back_project(depth, rgb, self._info)
        with parts.part(FILL):
            cloud = self._cloud(points, message.header)
        with parts.part(PUBLISH_CLOUD):
            self._points_publisher.publish(cloud)
        parts.frame()

    def _infer(self, rgb: np.ndarray) -> np.ndarray:
        """Preprocess as in the model's own repository, run the network, and resize its map to the image's size."""
        height, width = self._size
        small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC)
        batch = np.ascontiguousarray(((small.astype(np.float32) / 255.0 - MEAN) / STD).transpose(2, 0, 1))[np.newaxis]
        return cv2.resize(self._backend.run(batch)[0], rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)

    def _depth_message(self, depth: np.ndarray, header: Header) -> Image:
        if self._way == "cv_bridge":
            return cv2_to_imgmsg(depth, "32FC1", header)
        message = Image(header=header, height=depth.shape[0], width=depth.shape[1], encoding="32FC1")
        message.step = 4 * depth.shape[1]
        message.data = list(depth.tobytes()) if self._way == "lists" else depth.tobytes()
        return message

    def _cloud(self, points: np.ndarray, header: Header) -> PointCloud2:
        height, width = points.shape
        if self._way == "by hand":
            cloud = PointCloud2(header=header, fields=FIELDS, point_step=POINT.itemsize, is_dense=False)
            cloud.data = points.tobytes()
        else:
            from sensor_msgs_py import point_cloud2  # not installed everywhere

            listed = points.ravel() if self._way == "cv_bridge" else points.ravel().tolist()
            cloud = point_cloud2.create_cloud(header, FIELDS, listed)
        cloud.height, cloud.width, cloud.row_step = height, width, POINT.itemsize * width
        return cloud


def back_project(depth: np.ndarray, rgb: np.ndarray, info: CameraInfo) -> np.ndarray:
    """Return a structured array (H, W) of points, by meshgrid in float64, as many nodes do.

    Args:
        depth: (H, W) in meters.
        rgb: uint8 (H, W, 3).
        info: camera_info of the image.
    """
    height, width = depth.shape
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    points = np.empty((height, width), POINT)
    points["x"] = (u - info.k[2]) * depth / info.k[0]
    points["y"] = (v - info.k[5]) * depth / info.k[4]
    points["z"] = depth
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    points["rgb"] = ((red << 16) | (green << 8) | blue).view(np.float32)
    return points


def pixels_by_hand(message: Image) -> np.ndarray:
    """Return the image without cv_bridge."""
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


def imgmsg_to_bgr8(message: Image) -> np.ndarray:
    """Do as cv_bridge's Python method imgmsg_to_cv2 for 8 bits; its C++ part copies if no conversion is needed."""
    dtype = np.dtype(np.uint8).newbyteorder(">" if message.is_bigendian else "<")
    channels = message.step // message.width
    shape = (message.height, message.width, channels)
    image = np.ascontiguousarray(np.ndarray(shape, dtype, buffer=message.data))
    return image.copy() if message.encoding == "bgr8" else cv2.cvtColor(image, TO_BGR[message.encoding])


def cv2_to_imgmsg(image: np.ndarray, encoding: str, header: Header) -> Image:
    """Do as cv_bridge's Python method of that name, in its newest and fastest form.

    Args:
        image: (H, W) or (H, W, channels).
        encoding: Encoding of the message.
        header: Header of the message.
    """
    message = Image(header=header, height=image.shape[0], width=image.shape[1], encoding=encoding)
    message.data.frombytes(image.tobytes())
    message.step = len(message.data) // message.height
    return message
