"""Odometry and images keep the scale between measurements, or measure it, over real DDS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("nav_msgs", reason="nav_msgs is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from known_models import write_constant_model
from nav_msgs.msg import Odometry
from ros_messages import ideal_camera_info
from scale_rig import DEPTH, FRAME, Rig, cloud_of, error, relative
from sensor_msgs.msg import CameraInfo, PointCloud2
from sloped_plane import CAMERA, HEIGHT, STEP, WIDTH, picture, slope
from std_srvs.srv import Trigger


def camera_info() -> CameraInfo:
    message = ideal_camera_info(WIDTH, HEIGHT)
    message.k[4] = message.p[5] = float(WIDTH)
    return message


def odometry(position: float) -> Odometry:
    """Return the pose of the camera itself, in a frame with x to the right."""
    message = Odometry(child_frame_id=FRAME)
    message.header.frame_id = "odom"
    message.pose.pose.position.x = position
    message.pose.pose.orientation.w = 1.0
    return message


def cloud() -> PointCloud2:
    rows, columns = np.mgrid[0:HEIGHT:12, 0:WIDTH:12]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return cloud_of(CAMERA.back_project(pixels, slope()[pixels[:, 1], pixels[:, 0]]))


def test_motion_measures_the_scale_of_a_moving_camera(graph, tmp_path: Path) -> None:
    """Standing, there is no depth. Once the camera has moved, its odometry is the yardstick. Standing keeps it."""
    depth = slope()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    outputs = (DEPTH, "inverse_depth/image")
    _, client = graph(model, outputs, scale__source=["motion"], scale__odometry="topic", scale__hold=0.5)
    rig = Rig(client, {"scale/odometry": Odometry}, camera_info())

    def shoot(position: float):
        return rig.shoot({"scale/odometry": odometry(position)}, picture=picture(position))

    for _ in range(3):
        client.wait_for("inverse_depth/image", shoot(0.0))
    assert client.received[DEPTH] == []
    client.spin_until(lambda: "too little" in rig.scales[-1].status[0].message, "the refusal")
    for number in range(1, 16):
        image = shoot(number * STEP)
        client.wait_for("inverse_depth/image", image)
    found = floats(client.wait_for(DEPTH, image))
    assert error(found, depth) < 0.08
    assert rig.values()["source"] == "motion"
    assert float(rig.values()["sigma"]) < 0.2
    for _ in range(15):  # longer than it is held, but odometry tells that nothing moves
        image = shoot(15 * STEP)
        client.wait_for("inverse_depth/image", image)
    assert error(floats(client.wait_for(DEPTH, image)), depth) < 0.08


@pytest.mark.parametrize("by", ["topic", "images"])
def test_scale_is_carried_while_the_sensor_is_away(graph, tmp_path: Path, by: str) -> None:
    depth = slope()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH,), scale__source=["point_cloud"], scale__odometry=by, scale__hold=2.0)
    rig = Rig(
        client, {"scale/points": PointCloud2} | ({"scale/odometry": Odometry} if by == "topic" else {}), camera_info()
    )

    def shoot(position: float, has_cloud: bool):
        sent = {"scale/odometry": odometry(position)} if by == "topic" else {}
        sent |= {"scale/points": cloud()} if has_cloud else {}
        return rig.shoot(sent, picture=picture(position))

    def is_measured() -> bool:
        shoot(0.0, has_cloud=True)
        return bool(client.spin_for(lambda: client.received[DEPTH], 0.3))

    client.spin_until(is_measured, "depth")
    client.wait_for(DEPTH, shoot(0.0, has_cloud=True))
    client.spin_until(lambda: rig.values()["state"] == "measured", "the measurement")
    before = float(rig.values()["sigma"])
    for number in range(1, 11):
        image = shoot(number * STEP / 2, has_cloud=False)
        found = floats(client.wait_for(DEPTH, image))
    client.spin_until(lambda: rig.scales and rig.scales[-1].header.stamp == image.header.stamp, "its scale")
    values = rig.values()
    assert (values["state"], values["carried"]) == ("held", "true")
    assert error(found, depth) < 0.03
    assert before < float(values["sigma"]) < 0.1  # the random walk of half a second alone gives 0.17


def test_nothing_carries_the_correction_of_a_metric_model_for_longer_than_it_is_held(graph, tmp_path: Path) -> None:
    depth = slope()
    model = write_constant_model(tmp_path / "model.onnx", 1.3 * depth, "depth")
    _, client = graph(model, (DEPTH,), scale__source=["point_cloud"], scale__odometry="images", scale__hold=0.5)
    rig = Rig(client, {"scale/points": PointCloud2}, camera_info())

    def states(sent: dict[str, PointCloud2], step: float) -> tuple[str, str]:
        image = rig.shoot(sent, step=step, picture=picture(0.0))
        client.wait_for(DEPTH, image)
        client.spin_until(lambda: rig.scales and rig.scales[-1].header.stamp == image.header.stamp, "its scale")
        return rig.values()["state"], rig.values()["carried"]

    client.spin_until(lambda: states({"scale/points": cloud()}, 0.1)[0] == "measured", "the measurement")
    assert states({}, 0.3) == ("held", "true")
    assert states({}, 0.3)[0] == "metric"
    held = float(rig.values()["a"])
    assert states({}, 5.0) == ("metric", "false")
    assert held < float(rig.values()["a"]) < 1


def test_motion_without_odometry_names_the_fix(graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(slope()))
    with pytest.raises(ValueError, match=r"scale\.odometry is images: set it to topic"):
        graph(model, (), scale__source=["motion"])
    with pytest.raises(ValueError, match=r"scale\.extrinsics is for one sensor"):
        graph(
            model,
            (),
            scale__source=["range"],
            scale__odometry="topic",
            scale__extrinsics=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        )


def test_silent_odometry_is_reported(graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(slope()))
    outputs = ("inverse_depth/image",)
    _, client = graph(model, outputs, scale__source=["motion"], scale__odometry="topic")
    rig = Rig(client, {"scale/odometry": Odometry}, camera_info())
    client.wait_for("inverse_depth/image", rig.shoot({}, picture=picture(0.0)))
    client.spin_until(lambda: rig.scales and "no message on" in rig.scales[-1].status[0].message, "the reason")


def test_odometry_without_a_frame_is_reported(graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(slope()))
    _, client = graph(model, ("inverse_depth/image",), scale__source=["motion"], scale__odometry="topic")
    rig = Rig(client, {"scale/odometry": Odometry}, camera_info())
    nameless = odometry(0.0)
    nameless.child_frame_id = ""
    rig.shoot({"scale/odometry": nameless}, picture=picture(0.0))
    client.spin_until(lambda: rig.scales and "no child_frame_id" in rig.scales[-1].status[0].message, "the reason")


def test_set_scale_keeps_the_measured_scale_until_reset(graph, tmp_path: Path) -> None:
    depth = slope()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    outputs = (DEPTH, "inverse_depth/image")
    node, client = graph(model, outputs, scale__source=["point_cloud"], scale__hold=0.2)
    refused = node.scale_services.set_scale(Trigger.Request(), Trigger.Response())
    assert not refused.success
    assert "no scale has been measured" in refused.message
    rig = Rig(client, {"scale/points": PointCloud2}, camera_info())
    rig.depth(lambda: {"scale/points": cloud()})
    fixed = node.scale_services.set_scale(Trigger.Request(), Trigger.Response())
    assert fixed.success
    assert "until ~/reset_scale" in fixed.message
    late = rig.shoot({}, step=5.0)
    assert error(floats(client.wait_for(DEPTH, late)), depth) < 0.02
    client.spin_until(lambda: rig.values()["state"] == "fixed", "the fixed scale")
    node.scale_services.reset_scale(Trigger.Request(), Trigger.Response())
    count = len(client.received[DEPTH])
    client.wait_for("inverse_depth/image", rig.shoot({}))
    assert len(client.received[DEPTH]) == count
    client.spin_until(lambda: rig.values()["state"] == "none", "no scale")


def test_set_scale_without_sensors_names_the_parameters(graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(slope()))
    node, _ = graph(model, ())
    response = node.scale_services.set_scale(Trigger.Request(), Trigger.Response())
    assert not response.success
    assert "scale.a and scale.b" in response.message
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert "configure it" in node.scale_services.set_scale(Trigger.Request(), Trigger.Response()).message


def test_lost_scale_can_be_marked_instead_of_stopping_depth(graph, tmp_path: Path) -> None:
    depth = slope()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH,), scale__source=["point_cloud"], scale__hold=0.2, scale__lost="mark")
    rig = Rig(client, {"scale/points": PointCloud2}, camera_info())
    rig.depth(lambda: {"scale/points": cloud()})
    before = float(rig.values()["sigma"])
    image = rig.shoot({}, step=1.0)
    assert error(floats(client.wait_for(DEPTH, image)), depth) < 0.05
    client.spin_until(lambda: rig.values()["state"] == "lost", "the mark")
    assert rig.scales[-1].status[0].level != b"\x00"
    assert float(rig.values()["sigma"]) > max(3 * before, 0.2)


def test_fixed_scale_keeps_its_error_and_survives_what_a_measured_one_does_not(graph, tmp_path: Path) -> None:
    """It publishes its own depth/sigma, needs no camera_info, and does not end with a jump of time."""
    depth = slope()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    node, client = graph(model, (DEPTH, "inverse_depth/image"), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2}, camera_info())
    rig.depth(lambda: {"scale/points": cloud()})
    node.scale_services.set_scale(Trigger.Request(), Trigger.Response())
    node._forget_past()
    image = rig.shoot({}, step=-50.0)
    found = floats(client.wait_for(DEPTH, image))
    client.spin_until(lambda: rig.sigmas and rig.sigmas[-1].header.stamp == image.header.stamp, "its error")
    client.spin_until(lambda: rig.values()["state"] == "fixed", "the state")
    sigma = floats(rig.sigmas[-1])
    messages = node.streams[""].processor._messages
    messages.sigma.pixels[:] = 7.0  # as after a larger scene
    image = rig.shoot({})
    client.wait_for(DEPTH, image)
    client.spin_until(lambda: rig.sigmas[-1].header.stamp == image.header.stamp, "its error")
    np.testing.assert_array_equal(floats(rig.sigmas[-1]), sigma)
    seen = np.isfinite(found)
    assert np.all(np.abs(found - depth)[seen] < 3 * sigma[seen])
    rig._info = ideal_camera_info(WIDTH + 1, HEIGHT)  # of another camera
    assert error(floats(client.wait_for(DEPTH, rig.shoot({}, picture=picture(0.0)))), depth) < 0.02


def test_scale_that_was_reset_cannot_be_fixed(graph, tmp_path: Path) -> None:
    depth = slope()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    node, client = graph(model, (DEPTH,), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2}, camera_info())
    rig.depth(lambda: {"scale/points": cloud()})
    node.scale_services.reset_scale(Trigger.Request(), Trigger.Response())
    assert not node.scale_services.set_scale(Trigger.Request(), Trigger.Response()).success


def test_motion_measures_again_after_a_restart_of_a_recording(graph, tmp_path: Path) -> None:
    """Without simulated time only the stamps tell. The odometry starts again too, from another place."""
    depth = slope()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    outputs = (DEPTH, "inverse_depth/image")
    _, client = graph(model, outputs, scale__source=["motion"], scale__odometry="topic")
    rig = Rig(client, {"scale/odometry": Odometry}, camera_info())

    def drive(start: float) -> None:
        for number in range(12):
            sent = {"scale/odometry": odometry(start + number * STEP)}
            image = rig.shoot(sent, picture=picture(number * STEP), step=0.05 if number else -30.0)
            client.wait_for("inverse_depth/image", image)
        assert error(floats(client.wait_for(DEPTH, image)), depth) < 0.1
        assert rig.values()["source"] == "motion"

    drive(0.0)
    first = len(client.received[DEPTH])
    drive(-3.0)
    assert len(client.received[DEPTH]) > first
