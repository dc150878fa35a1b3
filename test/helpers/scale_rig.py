"""A camera with sensors beside it, in a room of known depth, for tests of the scale that sensors tell."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from depth_node_graph import Client, floats
from diagnostic_msgs.msg import DiagnosticArray
from encoded_images import image_message
from ros_messages import ideal_camera_info
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, PointField

from depth_anything_ros.geometry.camera import Camera

WIDTH, HEIGHT = 160, 120
CAMERA = Camera(WIDTH, HEIGHT, float(WIDTH), float(WIDTH), (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
"""That of `ideal_camera_info`, but square."""
A, B = 0.5, 0.02
CAMERA_HEIGHT = 0.3
FRAME = "left_eye_optical_frame"
DEPTH = "depth/image_rect"


def room(pitch: float = 0.0) -> np.ndarray:
    """Depth of a floor, two walls at an angle and a box, from a camera that looks down by some degrees."""
    rays = CAMERA.back_project(np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1), np.ones((HEIGHT, WIDTH)))
    angle = math.radians(pitch)
    down = rays @ (0.0, math.cos(angle), math.sin(angle))
    forward = rays @ (0.0, -math.sin(angle), math.cos(angle))
    with np.errstate(divide="ignore"):
        floor = np.where(down > 0, CAMERA_HEIGHT / down, np.inf)
        walls = np.minimum(4.0 / (forward + 0.5 * rays[..., 0]), 3.0 / np.maximum(forward - 0.8 * rays[..., 0], 1e-3))
    depth = np.minimum(floor, walls)
    box = (np.abs(rays[..., 0] - 0.2) < 0.1) & (np.abs(rays[..., 1]) < 0.12)
    return np.where(box, 1.2, depth)


def relative(depth: np.ndarray) -> np.ndarray:
    return ((1 / depth - B) / A).astype(np.float32)


def info() -> CameraInfo:
    message = ideal_camera_info(WIDTH, HEIGHT)
    message.k[4] = message.p[5] = float(WIDTH)
    return message


def optical_from_body() -> list[float]:
    """Extrinsics of a sensor with x forward, y left, z up in the place of the camera."""
    return [0.0, 0.0, 0.0, 0.5, -0.5, 0.5, 0.5]


def cloud_of(points: np.ndarray) -> PointCloud2:
    fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate("xyz")]
    data = points.astype(np.float32).tobytes()
    return PointCloud2(height=1, width=len(points), fields=fields, point_step=12, row_step=12 * len(points), data=data)


def depth_message(depth: np.ndarray, encoding: str) -> Image:
    stored = np.rint(1000 * depth).astype(np.uint16) if encoding == "16UC1" else depth.astype(np.float32)
    return Image(
        height=HEIGHT,
        width=WIDTH,
        encoding=encoding,
        step=stored.strides[0],
        data=np.ascontiguousarray(stored).tobytes(),
    )


class Rig:
    """A camera with sensors beside it: publishes an image, its camera_info and the sensors' messages of one stamp."""

    def __init__(self, client: Client, sensors: dict[str, type], camera_info: CameraInfo | None = None) -> None:
        self.client = client
        self._info = info() if camera_info is None else camera_info
        self._publishers = {topic: client.create_publisher(kind, topic, 5) for topic, kind in sensors.items()}
        self.scales: list[DiagnosticArray] = []
        client.create_subscription(DiagnosticArray, "scale", self.scales.append, 10)
        self.sigmas: list[Image] = []
        client.create_subscription(Image, "depth/sigma", self.sigmas.append, 10)
        client.spin_until(
            lambda: all(publisher.get_subscription_count() for publisher in self._publishers.values()), "the sources"
        )
        self._seconds = 100.0

    def shoot(self, messages: dict[str, object], step: float = 0.05, picture: np.ndarray | None = None) -> Image:
        """Publish one frame; sensors first, as they are not waited for. ``picture``: RGB; black if None."""
        self._seconds += step
        nanoseconds = round(self._seconds * 1e9)
        for topic, message in messages.items():
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, 10**9)
            message.header.frame_id = message.header.frame_id or FRAME
            self._publishers[topic].publish(message)
        self.client.spin_for(lambda: False, 0.03)
        self.client.publish_info(self._info)
        if picture is None:
            picture = np.zeros((self._info.height, self._info.width, 3), np.uint8)
        return self.client.publish_image(image_message(picture, "rgb8"), None, nanoseconds)

    def depth(self, messages: Callable[[], dict[str, object]]) -> np.ndarray:
        """Publish frames until depth comes."""

        def shoot() -> bool:
            self.shoot(messages())
            return self.client.spin_for(lambda: self.client.received[DEPTH], 0.3)

        self.client.spin_until(shoot, "depth")
        return floats(self.client.received[DEPTH][-1])

    def values(self) -> dict[str, str]:
        self.client.spin_until(lambda: self.scales, "the scale")
        return {pair.key: pair.value for pair in self.scales[-1].status[0].values}


def points_of_room(depth: np.ndarray, seed: int = 0, count: int = 600) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = np.stack([rng.integers(0, WIDTH, count), rng.integers(0, HEIGHT, count)], axis=1)
    return CAMERA.back_project(pixels, depth[pixels[:, 1], pixels[:, 0]])


def error(found: np.ndarray, depth: np.ndarray) -> float:
    seen = np.isfinite(found) & np.isfinite(depth)
    return float(np.median(np.abs(found[seen] / depth[seen] - 1)))


def scan_of(depth: np.ndarray) -> LaserScan:
    row = HEIGHT // 2
    x = (np.arange(WIDTH) - CAMERA.cx) / CAMERA.fx
    ranges = depth[row] * np.hypot(1, x)
    angles = np.arctan(-x)[::-1]
    grid = np.linspace(angles[0], angles[-1], 200)
    return LaserScan(
        angle_min=grid[0],
        angle_max=grid[-1],
        angle_increment=grid[1] - grid[0],
        range_min=0.05,
        range_max=20.0,
        ranges=np.interp(grid, angles, ranges[::-1]).astype(np.float32),
    )
