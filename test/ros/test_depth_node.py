"""The depth node's messages on a ROS 2 graph, field by field, and the work that it skips."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    OUTPUTS,
    WARN,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    picture,
    positions,
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import image_message
from known_models import write_constant_model, write_red_model
from ros_messages import camera_info, ideal_camera_info

from depth_anything_ros.geometry.camera import Camera


def plane(camera: Camera, normal: np.ndarray, distance: float) -> np.ndarray:
    """Inverse depth, float64 (H, W), of the plane normal · point = distance: 1/Z = normal · (x, y, 1) / distance."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    directions = camera.back_project(np.stack([u, v], axis=-1), np.ones((camera.height, camera.width)))
    return directions @ normal / distance


# What is published


def test_every_output_has_correct_fields(graph, tmp_path):
    inverse_depth = np.linspace(0.05, 4.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    model = write_constant_model(tmp_path / "model.onnx", inverse_depth)
    _, client = graph(model, scale__a=2.0, scale__b=0.1, min_depth=0.25, max_depth=4.0)
    rgb = picture()
    info = camera_info(64, 48)
    image = image_message(rgb, "bgr8", padding=3)
    client.publish_until_cloud(image, info)
    client.publish_image(image)
    received = {topic: client.wait_for(topic, image) for topic in OUTPUTS if topic != "points"}

    for topic, message in received.items():
        assert message.header == image.header, topic
        assert (message.height, message.width) == (48, 64), topic
    for topic, encoding, step in (
        ("depth/image_rect", "32FC1", 256),
        ("depth/image_raw", "16UC1", 128),
        ("inverse_depth/image", "32FC1", 256),
        ("depth/image_color", "bgr8", 192),
    ):
        message = received[topic]
        assert (message.encoding, message.step, len(message.data)) == (encoding, step, 48 * step)
        assert message.is_bigendian == (sys.byteorder == "big")

    assert np.array_equal(floats(received["inverse_depth/image"]), inverse_depth)
    expected = 1 / (2.0 * inverse_depth + 0.1)
    depth = floats(received["depth/image_rect"])
    inside = (expected >= 0.25) & (expected <= 4.0)
    assert depth[inside] == pytest.approx(expected[inside], rel=1e-5)
    assert np.all(depth[expected > 4.0] == np.inf)
    assert np.all(depth[expected < 0.25] == -np.inf)
    millimeters = np.frombuffer(received["depth/image_raw"].data, np.uint16).reshape(48, 64)
    assert np.array_equal(millimeters, np.where(inside, np.rint(1000 * depth), 0))

    sent = received["depth/camera_info"]
    assert sent.p.tolist() == info.p.tolist()
    assert sent.k.reshape(3, 3).tolist() == info.p.reshape(3, 4)[:, :3].tolist()  # it is rectified, as P has it
    assert list(sent.d) == [0.0] * 5
    colors = np.frombuffer(received["depth/image_color"].data, np.uint8).reshape(48, 64, 3)
    far, near = colors[0].mean(axis=0), colors[-1].mean(axis=0)
    assert far[0] > far[2]  # blue
    assert near[2] > near[0]  # red

    cloud = client.wait_for("points", image)
    assert (cloud.header, cloud.height, cloud.width) == (image.header, 48, 64)
    assert (cloud.point_step, cloud.row_step, len(cloud.data)) == (16, 1024, 48 * 1024)
    assert (cloud.is_dense, cloud.is_bigendian) == (False, sys.byteorder == "big")
    assert [(field.name, field.offset, field.datatype) for field in cloud.fields] == [
        ("x", 0, 7),
        ("y", 4, 7),
        ("z", 8, 7),
        ("rgb", 12, 7),
    ]
    points = positions(cloud)
    assert np.array_equal(np.isnan(points), np.repeat(~inside[..., np.newaxis], 3, axis=2))
    assert np.array_equal(points[inside][:, 2], depth[inside])
    packed = np.frombuffer(cloud.data, np.uint8).reshape(48, 64, 16)
    assert np.array_equal(packed[..., 14:11:-1], rgb)


@pytest.mark.parametrize(
    ("output", "size"),
    [
        ("inverse_depth", (480, 640)),
        ("inverse_depth", (240, 320)),  # exact, since the inverse depth of a plane is affine in the pixels
        ("depth", (480, 640)),
    ],
)
def test_cloud_of_plane_lies_on_plane(graph, tmp_path, output, size):
    """A tilted floor seen by the camera of P; halved outputs test the half pixel of the scaled camera_info too."""
    normal = np.array([0.1, 0.9, 0.35]) / np.linalg.norm([0.1, 0.9, 0.35])
    info = camera_info(640, 480)
    inverse = plane(Camera(640, 480, info.p[0], info.p[5], info.p[2], info.p[6]), normal, distance=1.2)
    inverse = np.where(inverse > 1 / 30, inverse, 0)  # above the horizon, or farther than we look
    if output == "inverse_depth":
        values, parameters = (inverse - 0.02) / 3.0, {"scale__a": 3.0, "scale__b": 0.02}
    else:
        values, parameters = 1 / np.maximum(inverse, 1e-6), {}
    model = write_constant_model(tmp_path / "model.onnx", values, output)
    _, client = graph(model, ("points",), max_depth=10.0, output__height=size[0], output__width=size[1], **parameters)
    cloud = client.publish_until_cloud(image_message(picture(480, 640), "rgb8"), info)
    assert (cloud.height, cloud.width) == size

    points = positions(cloud)
    points = points[np.isfinite(points[..., 2])].astype(np.float64)
    assert len(points) > 0.4 * size[0] * size[1]
    assert points[:, 2].max() > 5.0
    assert np.abs(points @ normal - 1.2).max() < 1e-3
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    assert abs(axes[2] @ normal) == pytest.approx(1.0, abs=1e-9)


def test_metric_model_publishes_depth_without_inverse_depth(graph, tmp_path):
    depth = np.array([[0.05, 1.5, 79.0, 81.0, np.nan, -1.0]], np.float32)
    node, client = graph(write_constant_model(tmp_path / "model.onnx", depth, "depth"), ("depth/image_rect",))
    image = client.publish_image(image_message(picture(1, 6), "rgb8"))
    received = floats(client.wait_for("depth/image_rect", image))
    expected = np.array([[-np.inf, 1.5, 79.0, np.inf, np.nan, np.nan]], np.float32)
    assert np.array_equal(received, expected, equal_nan=True)
    topics = dict(client.get_publisher_names_and_types_by_node("depth_node", node.get_namespace()))
    assert f"{node.get_namespace()}/depth/image_rect" in topics
    assert f"{node.get_namespace()}/inverse_depth/image" not in topics


def test_basic_encodings_give_equal_inverse_depth(graph, tmp_path):
    _, client = graph(write_red_model(tmp_path / "model.onnx", (48, 64)), ("inverse_depth/image",))
    gray = np.repeat(picture()[..., :1], 3, axis=2)
    for encoding, rgb in [("mono8", gray), *((name, picture()) for name in ("rgb8", "bgr8", "rgba8", "bgra8", "8UC3"))]:
        image = client.publish_image(image_message(rgb, encoding, padding=5))
        received = floats(client.wait_for("inverse_depth/image", image))
        assert received == pytest.approx(rgb[..., 0] / np.float32(255), abs=1e-6), encoding


def test_nominal_scale_is_used_with_warning(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(0.25, 0.5))
    _, client = graph(model)
    image = client.publish_image(image_message(picture(4, 6), "rgb8"))
    assert floats(client.wait_for("depth/image_rect", image)) == pytest.approx(1.0)
    client.wait_for_line(WARN, "NOMINAL, not measured: a = 0.25, b = 0.5")


def test_missing_scale_publishes_only_inverse_depth(graph, tmp_path):
    _, client = graph(write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0)))
    client.publish_info(ideal_camera_info(6, 4))
    for _ in range(3):
        image = client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.wait_for("inverse_depth/image", image)
        client.wait_for("depth/image_color", image)
    assert client.received["depth/image_rect"] == client.received["points"] == []
    client.wait_for_line(WARN, "For meters, set scale.source to a sensor, or scale.a and scale.b")
    assert len(client.lines(WARN)) == 1


def test_outputs_follow_image_size(graph, tmp_path):
    model = write_red_model(tmp_path / "model.onnx", (48, 64), nominal_scale=(1.0, 0.5))
    _, client = graph(model, points__stride=2)
    for height, width in ((48, 64), (96, 128), (30, 40), (48, 64)):
        image = image_message(picture(height, width), "rgb8")
        cloud = client.publish_until_cloud(image, camera_info(width, height))
        depth = client.wait_for("depth/image_rect", image)
        assert (depth.height, depth.width, len(depth.data)) == (height, width, 4 * height * width)
        assert (cloud.height, cloud.width) == (height // 2, width // 2)
        assert client.received["depth/camera_info"][-1].width == width


# What is not computed


def test_no_subscriber_means_no_subscription_and_no_inference(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))
    node, client = graph(model, listens_to=())
    assert (client.count_subscribers("image"), client.count_subscribers("camera_info")) == (0, 0)

    listener = client.listen("depth/image_color")
    client.wait_for_node()
    image = client.publish_image(image_message(picture(4, 6), "rgb8"))
    client.wait_for("depth/image_color", image)
    client.spin_until(lambda: node.statistics.published == 1, "the count")
    assert len(node.statistics.model_seconds) == len(node.statistics.total_seconds) == len(node.statistics.ages) == 1
    assert node.statistics.total_seconds[0] > node.statistics.model_seconds[0] > 0

    client.destroy_subscription(listener)
    client.spin_until(lambda: not client.count_subscribers("image"), "the end of the subscription")


def test_camera_info_subscriber_alone_runs_no_inference(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))
    node, client = graph(model, listens_to=("depth/camera_info",))
    while not client.received["depth/camera_info"]:
        client.publish_info(camera_info(6, 4))
        before = node.statistics.received
        image = client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.spin_until(lambda: node.statistics.received > before, "the image's arrival")  # noqa: B023
    assert client.received["depth/camera_info"][0].header.stamp.sec <= image.header.stamp.sec
    assert node.statistics.published == len(node.statistics.model_seconds) == 0


def test_slow_model_processes_latest_frame(graph, tmp_path):
    slow = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), slowness=6)
    node, client = graph(slow, ("inverse_depth/image",))
    for _ in range(20):
        image = client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.spin_until(lambda: node.statistics.received == image.header.stamp.sec, "the image's arrival")  # noqa: B023
    client.wait_for("inverse_depth/image", image)
    client.spin_until(
        lambda: node.statistics.published + node.statistics.dropped["newer came"] == 20, "every frame accounted for"
    )
    assert node.statistics.dropped["newer came"] > 0
    stamps = [message.header.stamp.sec for message in client.received["inverse_depth/image"]]
    assert stamps == sorted(stamps)
    assert re.search(
        r"20 images in, \d+ published, 0 without subscribers, \d+ dropped \(newer came\)", node.statistics.summary()
    )
