"""TF brings measurements into the camera's frame, and tells the camera's motion, with the real tf2."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from geometry_msgs.msg import TransformStamped
from known_models import write_constant_model
from scale_rig import (
    CAMERA_HEIGHT,
    DEPTH,
    FRAME,
    HEIGHT,
    WIDTH,
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
from sensor_msgs.msg import Imu, PointCloud2, Range
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.ros.io.odometry import TfOdometry
from depth_anything_ros.ros.io.transforms import TransformError

LIDAR = Transform.from_quaternion([0.5, -0.5, 0.5, -0.5], [0.1, 0.2, -0.05])
"""From the camera's optical frame to a lidar's, with x forward."""


def transform(parent: str, child: str, pose: Transform, seconds: float = 0.0) -> TransformStamped:
    """Return the message of a frame's pose in its parent."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(1e9 * seconds), 10**9)
    for axis, value in zip("xyz", pose.translation, strict=True):
        setattr(message.transform.translation, axis, float(value))
    for axis, value in zip("xyzw", pose.quaternion, strict=True):
        setattr(message.transform.rotation, axis, value)
    return message


def test_tf_brings_a_cloud_into_the_camera_and_a_gap_is_reported(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    outputs = (DEPTH, "inverse_depth/image")
    _, client = graph(model, outputs, scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})

    def cloud() -> PointCloud2:
        message = cloud_of(LIDAR.apply(points_of_room(depth)))
        message.header.frame_id = "lidar"
        return message

    image = rig.shoot({"scale/points": cloud()})
    client.wait_for("inverse_depth/image", image)
    client.spin_until(
        lambda: rig.scales and "no transform from lidar to" in rig.scales[-1].status[0].message, "the gap"
    )
    fix = f"static_transform_publisher --frame-id {FRAME} --child-frame-id lidar` with the position"
    client.spin_until(lambda: fix in rig.scales[-1].status[0].message, "the command that publishes it")
    assert f"to {FRAME}; it has no frames: " in rig.scales[-1].status[0].message
    assert client.received[DEPTH] == []
    other = StaticTransformBroadcaster(client)
    other.sendTransform(transform("base", "arm", LIDAR))

    def names_them() -> bool:
        rig.shoot({"scale/points": cloud()})
        return "it has the frames arm, base: " in rig.scales[-1].status[0].message

    client.spin_until(names_them, "the frames that TF has")
    broadcaster = StaticTransformBroadcaster(client)
    broadcaster.sendTransform(transform(FRAME, "lidar", LIDAR.inverse()))
    found = rig.depth(lambda: {"scale/points": cloud()})
    assert error(found, depth) < 0.02


BODY = Transform.from_quaternion(optical_from_body()[3:], optical_from_body()[:3])
"""From a sensor with x forward, y left and z up, in the place of the camera, to the camera's optical frame."""


def level_imu() -> Imu:
    imu = Imu()
    imu.orientation_covariance[0] = -1.0  # no orientation: the acceleration tells
    imu.linear_acceleration.z = 9.81
    return imu


@pytest.mark.parametrize(
    ("source", "pose", "limit"),
    [("depth_image", Transform.identity(), 0.02), ("laser_scan", BODY, 0.1), ("ground_plane", BODY, 0.1)],
)
def test_tf_brings_every_sensor_into_the_camera(
    graph, tmp_path: Path, source: str, pose: Transform, limit: float
) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    height = {"scale__camera_height": CAMERA_HEIGHT} if source == "ground_plane" else {}
    _, client = graph(model, (DEPTH,), scale__source=[source], **height)
    makers = {
        "depth_image": {
            "scale/depth/camera_info": info,
            "scale/depth/image_rect": partial(depth_message, depth, "32FC1"),
        },
        "laser_scan": {"scale/scan": partial(scan_of, depth)},
        "ground_plane": {"scale/imu": level_imu},
    }[source]
    rig = Rig(client, {topic: type(make()) for topic, make in makers.items()})
    StaticTransformBroadcaster(client).sendTransform(transform(FRAME, f"{source}_frame", pose))

    def messages() -> dict[str, object]:
        made = {topic: make() for topic, make in makers.items()}
        for message in made.values():
            message.header.frame_id = f"{source}_frame"
        return made

    found = rig.depth(messages)
    assert error(found, depth) < limit
    client.spin_until(lambda: rig.values().get("source") == source, "its scale")


def test_tf_brings_a_range_sensor_into_the_camera(graph, tmp_path: Path) -> None:
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH,), scale__source=["range"])
    rig = Rig(client, {"scale/range": Range})
    StaticTransformBroadcaster(client).sendTransform(transform(FRAME, "sonar", BODY))

    def messages() -> dict[str, object]:
        message = Range(field_of_view=0.4, min_range=0.05, max_range=4.0, range=1.22)
        message.header.frame_id = "sonar"
        return {"scale/range": message}

    found = rig.depth(messages)
    center = found[HEIGHT // 2 - 5 : HEIGHT // 2 + 5, WIDTH // 2 + 25 : WIDTH // 2 + 35]
    assert np.median(center) == pytest.approx(1.2, rel=0.06)


def test_tf_tells_the_pose_of_the_camera_and_extrapolates_a_little(graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    node, client = graph(model, (DEPTH,), scale__source=["motion"], scale__odometry="tf")
    broadcaster = TransformBroadcaster(client)
    odometry = TfOdometry(node._transforms, "odom")
    odometry.set_open(True)
    header = rig_header(100.0)
    with pytest.raises(TransformError, match="no transform from"):
        odometry.pose(header)

    def has_arrived() -> bool:
        for number in range(5):
            moved = Transform(np.eye(3), np.array([0.1 * number, 0.0, 0.0]))
            broadcaster.sendTransform(transform("odom", FRAME, moved, 99.8 + 0.1 * number))
        client.spin_once()
        return _translation(odometry, 100.2) == pytest.approx(0.4)

    client.spin_until(has_arrived, "the last pose")
    assert odometry.pose(header).translation[0] == pytest.approx(0.2)
    assert odometry.pose(rig_header(100.05)).translation[0] == pytest.approx(0.25)
    assert odometry.pose(rig_header(100.25)).translation[0] == pytest.approx(0.45)
    with pytest.raises(TransformError, match="older than the image"):
        odometry.pose(rig_header(101.0))
    node._transforms.reset()
    with pytest.raises(TransformError):
        odometry.pose(header)


def rig_header(seconds: float):
    header = transform("", "", Transform.identity(), seconds).header
    header.frame_id = FRAME
    return header


def _translation(odometry: TfOdometry, seconds: float) -> float | None:
    try:
        return float(odometry.pose(rig_header(seconds)).translation[0])
    except TransformError:
        return None


def test_tf_is_subscribed_only_while_depth_is(graph, tmp_path: Path) -> None:
    """A robot's /tf has hundreds of messages a second."""
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH,), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})
    broadcaster = StaticTransformBroadcaster(client)
    broadcaster.sendTransform(transform(FRAME, "lidar", LIDAR.inverse()))
    before = client.count_subscribers("/tf")

    def cloud() -> dict[str, object]:
        message = cloud_of(LIDAR.apply(points_of_room(depth)))
        message.header.frame_id = "lidar"
        return {"scale/points": message}

    rig.depth(cloud)
    assert client.count_subscribers("/tf") == before + 1
    for subscription in list(client.subscriptions):
        client.destroy_subscription(subscription)
    client.spin_until(lambda: client.count_subscribers("/tf") == before, "the end of TF")
    client.received[DEPTH].clear()
    client.listen(DEPTH)
    client.wait_for_node()
    assert error(rig.depth(cloud), depth) < 0.02


def test_moving_transforms_come_again_after_a_restart_of_a_recording(graph, tmp_path: Path) -> None:
    """TF ignores what is older than ten seconds; without simulated time only the images' stamps tell."""
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth))
    _, client = graph(model, (DEPTH, "inverse_depth/image"), scale__source=["point_cloud"])
    rig = Rig(client, {"scale/points": PointCloud2})
    broadcaster = TransformBroadcaster(client)

    def cloud() -> dict[str, object]:
        message = cloud_of(LIDAR.apply(points_of_room(depth)))
        message.header.frame_id = "lidar"
        for number in range(3):
            broadcaster.sendTransform(transform(FRAME, "lidar", LIDAR.inverse(), rig._seconds + 0.05 * number))
        return {"scale/points": message}

    rig.depth(cloud)
    rig.shoot(cloud(), step=60.0)
    rig.shoot(cloud(), step=-60.0)
    client.received[DEPTH].clear()
    assert error(rig.depth(cloud), depth) < 0.02
