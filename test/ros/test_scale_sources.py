"""Sensors give a relative model its scale, over real DDS: every source, the ways it fails, holding and losing it."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    WARN,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    node_of_another_participant,  # noqa: F401 - the fixture `other_participant`
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_reports import Reports
from known_models import write_constant_model
from rclpy.parameter import Parameter
from scale_rig import (
    CAMERA,
    CAMERA_HEIGHT,
    DEPTH,
    FRAME,
    HEIGHT,
    WIDTH,
    A,
    B,
    Rig,
    cloud_of,
    depth_message,
    error,
    info,
    optical_from_body,
    points_of_room,
    relative,
    room,
    scan_of,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, LaserScan, PointCloud2, Range
from std_srvs.srv import Trigger

from depth_anything_ros.ros.depth_node import diagnostics
from depth_anything_ros.ros.io.topic_advice import published_topics


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
    topic = client.resolve_topic_name("scale/points")
    assert rig.scales[-1].status[0].message.startswith(f"point_cloud: no message on {topic}")
    bad = cloud_of(points_of_room(room()))
    bad.fields = bad.fields[:2]
    client.wait_for("inverse_depth/image", rig.shoot({"scale/points": bad}))
    client.spin_until(lambda: "no field x, y and z" in rig.scales[-1].status[0].message, "the reason")
    assert node.streams[""].processor.steps.scale_problem


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


def test_error_of_a_held_scale_grows_at_the_rate_of_the_record(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth), scale_rate=0.02)
    parameters = {"scale__odometry": "none", "scale__hold": 5.0}
    _, client = graph(model, (DEPTH,), scale__source=["point_cloud"], **parameters)
    rig = Rig(client, {"scale/points": PointCloud2})
    rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))})
    before = float(rig.values()["sigma"])
    client.wait_for(DEPTH, rig.shoot({}, step=1.0))
    client.spin_until(lambda: rig.values()["state"] == "held", "the held scale")
    assert before < float(rig.values()["sigma"]) < before + 0.05  # by default 0.25


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
    with pytest.raises(ValueError, match="give fixed or range"):
        graph(model, (), scale__source=["fixed", "range"])
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
    node.scale_services.reset_scale(Trigger.Request(), Trigger.Response())
    client.wait_for("inverse_depth/image", rig.shoot({}))
    client.spin_until(lambda: rig.values()["state"] == "none", "no scale")


@pytest.mark.parametrize("source", ["point_cloud", ["point_cloud"]])
def test_one_source_needs_no_list(graph, tmp_path: Path, source: object) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    node, _ = graph(model, (), scale__source=source)
    assert node.streams[""].scale.state == "measured"


@pytest.mark.parametrize("source", ["fixed", "none", [""]])
def test_fixed_scale_is_that_of_the_parameters(graph, tmp_path: Path, source: object) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    node, _ = graph(model, (), scale__source=source, scale__a=A, scale__b=B)
    assert node.streams[""].scale.state == "set"


def test_measurements_do_not_wait_in_memory_while_nobody_listens(graph, tmp_path: Path) -> None:
    """64 clouds of a large lidar are 400 MB."""
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    node, client = graph(model, (DEPTH,), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})
    rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))})
    waiting = node.streams[""].processor.steps.measured._metric._measurements._waiting
    publisher = rig._publishers["scale/points"]
    late = cloud_of(points_of_room(depth))
    late.header.stamp.sec, late.header.frame_id = 101, FRAME
    publisher.publish(late)
    client.spin_until(lambda: any(waiting.values()), "the cloud")
    for subscription in list(client.subscriptions):
        client.destroy_subscription(subscription)
    client.spin_until(lambda: not publisher.get_subscription_count(), "the end of the source")
    client.spin_until(lambda: not waiting, "the end of the cloud")


@pytest.mark.parametrize("change", ["deactivate", "reload_model", "cleanup"])
def test_sources_go_on_after_a_transition(graph, tmp_path: Path, change: str) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    node, client = graph(model, (DEPTH,), scale__source=["point_cloud"])
    node.set_parameters([Parameter("model", value=str(model))])
    rig = Rig(client, {"scale/points": PointCloud2})
    rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))})
    if change == "reload_model":
        assert node._on_reload_model(Trigger.Request(), Trigger.Response()).success
    else:
        node.trigger_deactivate()
        if change == "cleanup":
            node.trigger_cleanup()
            node.trigger_configure()
        node.trigger_activate()
    client.received[DEPTH].clear()
    assert error(rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))}), depth) < 0.02


@pytest.mark.parametrize("scale_model", ["depth_scale", "depth_affine"])
def test_networks_that_predict_depth_are_scaled_and_carried(graph, tmp_path: Path, scale_model: str) -> None:
    depth = room()
    shift = 0.1 if scale_model == "depth_affine" else 0.0
    values = (depth - shift) / 2
    model = write_constant_model(tmp_path / "model.onnx", values, "depth", scale=scale_model)
    _, client = graph(model, (DEPTH,), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})
    rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))})
    held = floats(client.wait_for(DEPTH, rig.shoot({})))
    assert error(held, depth) < 0.03
    client.spin_until(lambda: rig.values()["state"] == "held", "the held scale")


def test_source_that_is_silent_is_named_while_another_is_used(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH,), scale__source=["point_cloud", "laser_scan"])
    rig = Rig(client, {"scale/points": PointCloud2, "scale/scan": LaserScan})
    assert error(rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth))}), depth) < 0.02
    assert rig.values()["state"] == "measured"
    topic = client.resolve_topic_name("scale/scan")
    assert rig.scales[-1].status[0].message.startswith(f"laser_scan: no message on {topic}")


def test_misnamed_sensor_topic_is_answered_with_the_published_one(graph, tmp_path: Path) -> None:
    """As for the image: the page, diagnostics and the topic scale say what to remap."""
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    _, client = graph(model, (DEPTH,), ("scale/scan:={namespace}/scann",), scale__source=["laser_scan"])
    published = client.create_publisher(LaserScan, "laser/scan", 5)
    rig = Rig(client, {})
    advice = f"remap scale/scan to the sensor's topic (LaserScan is published on {published.topic_name}"

    def advised() -> bool:
        rig.shoot({})
        return bool(rig.scales) and advice in rig.scales[-1].status[0].message

    client.spin_until(advised, "the advice")


@pytest.mark.parametrize("topic", ["scale/depth/image_rect", "scale/depth/image_rect/compressed"])
def test_compressed_sensor_depth_needs_no_image_transport(graph, other_participant, tmp_path: Path, topic: str) -> None:
    """image_transport is a parameter of the camera's images; depth is read raw only."""
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    node, client = graph(model, (DEPTH,), scale__source=["depth_image"])
    publisher = other_participant(client).create_publisher(CompressedImage, topic, 5)
    sources = node.streams[""]._scale_sources

    def advice() -> str:
        sources.advise()
        return sources.measurements.advice.get("depth_image", "")

    client.spin_until(lambda: publisher.topic_name in published_topics(node) and advice(), "the advice")
    assert "remap scale/depth/image_rect to the sensor's topic" in advice()
    assert "image_transport" not in advice()


def test_camera_info_of_depth_camera_is_found_next_to_its_image(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    image, beside = "depth_camera/image_rect_raw", "depth_camera/camera_info"
    remap = (f"scale/depth/image_rect:={{namespace}}/{image}",)
    _, client = graph(model, (DEPTH,), remap, scale__source=["depth_image"])
    rig = Rig(client, {image: Image, beside: CameraInfo})
    found = rig.depth(lambda: {beside: info(), image: depth_message(depth, "16UC1")})
    assert error(found, depth) < 0.02


def test_missing_camera_info_of_depth_camera_names_the_fix(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH,), scale__source=["depth_image"])
    rig = Rig(client, {"scale/depth/image_rect": Image})

    def advised() -> bool:
        rig.shoot({"scale/depth/image_rect": depth_message(depth, "32FC1")})
        words = rig.scales[-1].status[0].message if rig.scales else ""
        return "scale/depth/camera_info: remap scale/depth/camera_info to the sensor's topic (CameraInfo is" in words

    client.spin_until(advised, "the advice")


def test_empty_cloud_is_told_from_a_damaged_one(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, ("inverse_depth/image",), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})
    rig.shoot({"scale/points": cloud_of(np.zeros((0, 3)))})
    client.spin_until(
        lambda: rig.scales and "point_cloud: it sees no surface" in rig.scales[-1].status[0].message, "the reason"
    )


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"points__max_sigma": 0.2}, "points.max_sigma has no effect"),
        ({"scale__source": ["range"], "scale__a": 1.0, "scale__b": 0.0}, "scale.a and scale.b are not used"),
    ],
)
def test_parameters_without_effect_are_reported(graph, tmp_path: Path, parameters: dict, text: str) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    _, client = graph(model, (), **parameters)
    client.wait_for_line(WARN, text)
