"""Sensors give a relative model its scale, over real DDS: every source, the ways it fails, holding and losing it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    Client,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_reports import Reports
from encoded_images import image_message
from known_models import write_constant_model
from ros_messages import ideal_camera_info
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2, PointField, Range
from std_srvs.srv import Trigger

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.ros.depth_node import diagnostics

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

    def __init__(self, client: Client, sensors: dict[str, type]) -> None:
        self.client = client
        self._publishers = {topic: client.create_publisher(kind, topic, 5) for topic, kind in sensors.items()}
        self.scales: list[DiagnosticArray] = []
        client.create_subscription(DiagnosticArray, "scale", self.scales.append, 10)
        self.sigmas: list[Image] = []
        client.create_subscription(Image, "depth/sigma", self.sigmas.append, 10)
        client.spin_until(
            lambda: all(publisher.get_subscription_count() for publisher in self._publishers.values()), "the sources"
        )
        self._seconds = 100.0

    def shoot(self, messages: dict[str, object], step: float = 0.05) -> Image:
        """Publish one frame; sensors first, as they are not waited for."""
        self._seconds += step
        nanoseconds = round(self._seconds * 1e9)
        for topic, message in messages.items():
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, 10**9)
            message.header.frame_id = FRAME
            self._publishers[topic].publish(message)
        self.client.spin_for(lambda: False, 0.03)
        self.client.publish_info(info())
        return self.client.publish_image(
            image_message(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "rgb8"), None, nanoseconds
        )

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


@pytest.mark.parametrize("source", ["point_cloud", "depth_image 32FC1", "depth_image 16UC1", "laser_scan"])
def test_sensor_makes_relative_depth_metric(graph, tmp_path: Path, source: str) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    name, _, encoding = source.partition(" ")
    extrinsics = {"scale__extrinsics": optical_from_body()} if name == "laser_scan" else {}
    _, client = graph(model, (DEPTH,), scale__source=[name], **extrinsics)
    sensors = {
        "point_cloud": {"scale/points": PointCloud2},
        "depth_image": {"scale/depth/image_rect": Image, "scale/depth/camera_info": CameraInfo},
        "laser_scan": {"scale/scan": LaserScan},
    }[name]

    def messages() -> dict[str, object]:
        return {
            "point_cloud": lambda: {"scale/points": cloud_of(points_of_room(depth))},
            "depth_image": lambda: {
                "scale/depth/camera_info": info(),
                "scale/depth/image_rect": depth_message(depth, encoding),
            },
            "laser_scan": lambda: {"scale/scan": scan_of(depth)},
        }[name]()

    rig = Rig(client, sensors)
    assert error(rig.depth(messages), depth) < (0.1 if name == "laser_scan" else 0.02)
    values = rig.values()
    assert (values["state"], values["source"]) == ("measured", name)
    assert float(values["sigma"]) < 0.15
    assert int(values["inliers"]) > 10


@pytest.mark.parametrize("pitch", [-5.0, 0.0, 5.0])
@pytest.mark.parametrize("has_imu", [True, False])
def test_ground_gives_meters_within_three_percent(graph, tmp_path: Path, pitch: float, has_imu: bool) -> None:
    """A wheeled robot's camera 30 cm above the floor; the IMU, or the parameter, tells its pitch."""
    depth = room(pitch)
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    parameters = {} if has_imu else {"scale__camera_pitch": pitch}
    _, client = graph(model, (DEPTH,), scale__source=["ground_plane"], scale__camera_height=CAMERA_HEIGHT, **parameters)
    angle = math.radians(pitch)

    def messages() -> dict[str, object]:
        imu = Imu()
        imu.orientation_covariance[0] = -1.0  # no orientation: the acceleration tells
        imu.linear_acceleration.y = -9.81 * math.cos(angle)
        imu.linear_acceleration.z = -9.81 * math.sin(angle)
        return {"scale/imu": imu} if has_imu else {}

    rig = Rig(client, {"scale/imu": Imu} if has_imu else {})
    found = rig.depth(messages)
    floor = np.isfinite(found) & (np.abs(depth - CAMERA_HEIGHT / floor_descent(angle)) < 1e-6)
    assert floor.sum() > 2000
    assert float(np.median(np.abs(found[floor] / depth[floor] - 1))) < 0.03


def floor_descent(angle: float) -> np.ndarray:
    rays = CAMERA.back_project(np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1), np.ones((HEIGHT, WIDTH)))
    descent = rays @ (0.0, math.cos(angle), math.sin(angle))
    return np.where(descent > 0, descent, np.nan)


def test_range_sensor_gives_the_distance_ahead(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH,), scale__source=["range"], scale__extrinsics=optical_from_body())

    def messages() -> dict[str, object]:
        return {"scale/range": Range(field_of_view=0.4, min_range=0.05, max_range=4.0, range=1.22)}

    found = Rig(client, {"scale/range": Range}).depth(messages)
    center = found[HEIGHT // 2 - 5 : HEIGHT // 2 + 5, WIDTH // 2 + 25 : WIDTH // 2 + 35]
    assert np.median(center) == pytest.approx(1.2, rel=0.06)


def test_node_without_measurement_publishes_no_depth_and_says_why(graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(room()), nominal_scale=[1.0, 0.0])
    node, client = graph(model, (DEPTH, "inverse_depth/image"), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})
    image = rig.shoot({})
    client.wait_for("inverse_depth/image", image)
    assert client.received[DEPTH] == []
    assert rig.values() == {"state": "none"}
    assert rig.scales[-1].status[0].message == "no measurement has arrived"
    bad = cloud_of(points_of_room(room()))
    bad.fields = bad.fields[:2]
    client.wait_for("inverse_depth/image", rig.shoot({"scale/points": bad}))
    client.spin_until(lambda: "no field x, y and z" in rig.scales[-1].status[0].message, "the reason")
    assert node.streams[""].processor.scale_problem


def test_lost_source_is_held_and_then_stops_depth(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH, "inverse_depth/image"), scale__source=["point_cloud"], scale__hold=0.5)
    rig = Rig(client, {"scale/points": PointCloud2})
    rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))})
    sigma = float(rig.values()["sigma"])
    held = rig.shoot({}, step=0.3)
    assert error(floats(client.wait_for(DEPTH, held)), depth) < 0.02
    client.spin_until(lambda: rig.values()["state"] == "held", "the held scale")
    assert float(rig.values()["sigma"]) > sigma
    count = len(client.received[DEPTH])
    client.wait_for("inverse_depth/image", rig.shoot({}, step=0.5))
    client.spin_until(lambda: rig.values()["state"] == "lost", "the lost scale")
    assert len(client.received[DEPTH]) == count
    back = rig.shoot({"scale/points": cloud_of(points_of_room(depth, 1))})
    client.wait_for(DEPTH, back)


def test_sigma_is_published_and_covers_the_error(graph, tmp_path: Path) -> None:
    depth = room()
    rng = np.random.default_rng(0)
    wrong = depth * np.exp(0.05 * cv2.resize(rng.standard_normal((6, 8)), (WIDTH, HEIGHT)))
    model = write_constant_model(tmp_path / "model.onnx", relative(wrong))
    _, client = graph(model, (DEPTH,), scale__source=["point_cloud"], scale__local=False, max_depth=100.0)
    rig = Rig(client, {"scale/points": PointCloud2})
    rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))})
    image = rig.shoot({"scale/points": cloud_of(points_of_room(depth, 2))})
    found = floats(client.wait_for(DEPTH, image))
    client.spin_until(lambda: rig.sigmas and rig.sigmas[-1].header.stamp == image.header.stamp, "the error")
    sigma = floats(rig.sigmas[-1])
    seen = np.isfinite(found)
    assert 0.2 < np.mean(((found - depth)[seen] / sigma[seen]) ** 2) < 2


def test_unknown_source_is_refused_with_the_choices(graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    with pytest.raises(ValueError, match="'lidar' is no source; choose from ground_plane"):
        graph(model, (), scale__source=["lidar"])
    with pytest.raises(ValueError, match="must be x, y, z, qx, qy, qz, qw"):
        graph(model, (), scale__source=["range"], scale__extrinsics=[1.0, 2.0])


def test_diagnostics_warn_while_there_is_no_scale(graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "PERIOD", 0.2)
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    node, client = graph(model, (DEPTH, "inverse_depth/image"), scale__source=["point_cloud"])
    reports, rig = Reports(node, client), Rig(client, {"scale/points": PointCloud2})

    rig.shoot({})
    reports.wait_for("camera", lambda _, values: values.get("scale") == "none")


def test_sources_are_subscribed_only_while_depth_is(graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    _, client = graph(model, (), scale__source=["point_cloud"])
    publisher = client.create_publisher(PointCloud2, "scale/points", 5)
    assert not client.spin_for(publisher.get_subscription_count, 0.5)
    listener = client.listen(DEPTH)
    client.spin_until(publisher.get_subscription_count, "the source")
    client.destroy_subscription(listener)
    client.spin_until(lambda: not publisher.get_subscription_count(), "the end of the source")


def test_subscriber_of_scale_alone_gets_it(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})

    def measured() -> bool:
        rig.shoot({"scale/points": cloud_of(points_of_room(depth))})
        return bool(rig.scales) and rig.values()["state"] == "measured"

    client.spin_until(measured, "the scale")


def test_reset_scale_forgets_what_sensors_told(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    node, client = graph(model, (DEPTH, "inverse_depth/image"), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})
    rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))})
    node._on_reset_scale(Trigger.Request(), Trigger.Response())
    client.wait_for("inverse_depth/image", rig.shoot({}))
    client.spin_until(lambda: rig.values()["state"] == "none", "no scale")
