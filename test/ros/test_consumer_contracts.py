"""Requirements of the usual consumers of depth, cloud and camera_info, by their own documentation, over DDS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

import yaml
from depth_node_graph import (
    OUTPUTS,
    Client,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    picture,
    positions,
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import image_message
from known_models import write_constant_model, write_red_model
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_messages import camera_info
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header
from voxel_layer import VoxelLayer

from depth_anything_ros.system.package_share import share_directory

HEIGHT, WIDTH = 48, 64
NEAREST, FARTHEST = 0.2, 20.0
DEPTH, RAW, INFO, POINTS = "depth/image_rect", "depth/image_raw", "depth/camera_info", "points"


@pytest.fixture
def model(tmp_path):
    """Infinity at the top, closer than the limits at the bottom, and farther than the limits in between."""
    inverse_depth = np.linspace(0.0, 8.0, HEIGHT)[:, np.newaxis] * np.linspace(0.9, 1.1, WIDTH)
    return write_constant_model(tmp_path / "model.onnx", inverse_depth, nominal_scale=(1.0, 0.0))


@pytest.fixture
def received(graph, model):
    """Start the node and return all its outputs of one image; the image itself is under "image"."""

    def run(**parameters: object) -> dict[str, object]:
        limits = {"min_depth": NEAREST, "max_depth": FARTHEST, "flying_pixels__threshold": 0.0}
        _, client = graph(model, **(limits | parameters))
        image = image_message(picture(HEIGHT, WIDTH), "bgr8")
        cloud = client.publish_until_cloud(image, camera_info(WIDTH, HEIGHT))
        stamped = image_message(picture(HEIGHT, WIDTH), "bgr8")
        stamped.header = cloud.header
        return {"image": stamped, **{topic: client.wait_for(topic, stamped) for topic in OUTPUTS}}

    return run


def millimeters(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint16).reshape(message.height, message.width)


def back_projected(depth: np.ndarray, info: CameraInfo) -> np.ndarray:
    """Back-project depth with P as depth_image_proc does."""
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    x, y = (u - info.p[2]) * depth / info.p[0], (v - info.p[6]) * depth / info.p[5]
    return np.stack([x, y, depth], axis=2)


def test_depth_image_proc_gets_equal_cloud(received):
    """point_cloud_xyzrgb takes 16UC1 and 32FC1, and rgb of the same size, frame and stamp, with a camera_info.

    https://github.com/ros-perception/image_pipeline/blob/rolling/depth_image_proc/src/point_cloud_xyzrgb.cpp
    """
    got = received()
    image, info = got["image"], got[INFO]
    for topic, encoding in ((DEPTH, "32FC1"), (RAW, "16UC1")):
        assert got[topic].encoding == encoding
        assert (got[topic].height, got[topic].width) == (image.height, image.width) == (info.height, info.width)
        assert got[topic].header == image.header == info.header
    cloud, depth = positions(got[POINTS]), floats(got[DEPTH])
    seen = np.isfinite(depth)
    assert seen.any()
    assert not seen.all()
    assert cloud[seen] == pytest.approx(back_projected(depth, info)[seen], rel=1e-5, abs=1e-6)
    from_raw = back_projected(millimeters(got[RAW]) / 1000, info)
    assert cloud[seen] == pytest.approx(from_raw[seen], abs=1e-3)
    assert np.array_equal(millimeters(got[RAW]) == 0, ~seen)


@pytest.mark.parametrize("divisor", [1, 2, 4])
def test_rtabmap_gets_depth_of_color_size_or_integer_fraction(received, divisor):
    """Width and height are integer multiples of the depth's, by the same factor; 16UC1 is millimeters, 32FC1 meters.

    https://github.com/introlab/rtabmap_ros/issues/183 and https://github.com/introlab/rtabmap/issues/1071; with
    approx_sync:=false the stamps of color, depth and camera_info are equal.
    """
    got = received(output__width=WIDTH // divisor)
    image = got["image"]
    for depth in (got[DEPTH], got[RAW]):
        assert image.width % depth.width == image.height % depth.height == 0
        assert image.width // depth.width == image.height // depth.height == divisor
        assert depth.header.stamp == image.header.stamp == got[INFO].header.stamp
    meters = floats(got[DEPTH])
    seen = np.isfinite(meters)
    assert np.abs(1000 * meters[seen] - millimeters(got[RAW])[seen]).max() <= 0.51


@pytest.mark.parametrize("divisor", [1, 2])
def test_nvblox_gets_intrinsics_of_depth_image(received, divisor):
    """Depth is paired with its camera_info, and is float in meters or uint16 in millimeters.

    https://nvidia-isaac-ros.github.io/repositories_and_packages/isaac_ros_nvblox/isaac_ros_nvblox/api/topics_and_services.html
    """
    got = received(output__width=WIDTH // divisor)
    info, depth = got[INFO], got[DEPTH]
    assert (info.width, info.height) == (depth.width, depth.height) == (WIDTH // divisor, HEIGHT // divisor)
    assert depth.encoding == "32FC1"
    assert got[RAW].encoding == "16UC1"
    assert info.header == depth.header
    full = camera_info(WIDTH, HEIGHT).p
    focal_x, focal_y = full[0] / divisor, full[5] / divisor
    center_x, center_y = ((full[index] + 0.5) / divisor - 0.5 for index in (2, 6))
    assert info.k == pytest.approx([focal_x, 0, center_x, 0, focal_y, center_y, 0, 0, 1])
    assert not np.any(info.d)  # it takes a pinhole


def test_nav2_marks_only_points_within_range(received):
    """The voxel layer transforms the cloud from its own frame at its own stamp and marks what lies within its heights,
    reading x, y and z as float32: NaN is never marked, but an infinite coordinate may be raytraced.

    https://docs.nav2.org/configuration/packages/costmap-plugins/voxel.html and
    https://github.com/ros-navigation/navigation2/blob/main/nav2_costmap_2d/src/observation_buffer.cpp
    """
    got = received(points__max_depth=5.0, points__min_depth=0.5)
    cloud: PointCloud2 = got[POINTS]
    assert cloud.header == got["image"].header
    assert [(field.name, field.datatype, field.count) for field in cloud.fields[:3]] == [
        (name, PointField.FLOAT32, 1) for name in "xyz"
    ]
    assert not cloud.is_dense
    assert len(cloud.data) == cloud.height * cloud.row_step == cloud.height * cloud.width * cloud.point_step
    points = positions(cloud)
    assert not np.isinf(points).any()
    missing = np.isnan(points)
    assert np.array_equal(missing.any(axis=2), missing.all(axis=2))
    seen = ~missing[..., 2]
    assert seen.any()
    assert missing.any()
    assert 0.5 <= points[seen][:, 2].min() <= points[seen][:, 2].max() <= 5.0
    depth = floats(got[DEPTH])
    assert np.array_equal(seen, (depth >= 0.5) & (depth <= 5.0))


NODE_MANUAL = Path(__file__).parents[2] / "docs" / "node.md"
CAMERA_HEIGHT, OBSTACLE = 1.0, (slice(9, 36), slice(8, 56))
"""Meters above the floor; the pixels of an obstacle 3 meters away."""
FAR_WALL, SKY = 4, 0
"""Red of what is behind it: 63.75 meters, and nothing."""


def documented(name: str) -> dict[str, Any]:
    """Return the parameters of that name in the examples of docs/node.md."""
    for block in re.findall(r"```\n(.*?)```", NODE_MANUAL.read_text(), re.DOTALL):
        if block.startswith(f"{name}:"):
            return yaml.safe_load(block)[name]
    raise AssertionError(f"no example {name} in {NODE_MANUAL}")


def scene(behind: int, has_obstacle: bool) -> np.ndarray:
    """An image for the red model with scale.a 1 and scale.b 0: a floor below ``behind``, optionally an obstacle."""
    rows = np.arange(HEIGHT) - (HEIGHT - 1) / 2
    floor = np.maximum(rows, 0.0) / (FOCAL * CAMERA_HEIGHT)
    red = np.maximum(np.round(255 * floor), behind if behind else 0)[:, np.newaxis] * np.ones(WIDTH)
    if has_obstacle:
        red[OBSTACLE] = np.maximum(red[OBSTACLE], 85)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0] = red
    return pixels


FOCAL = 48.0
PINHOLE = {
    "d": [0.0] * 5,
    "k": [FOCAL, 0.0, (WIDTH - 1) / 2, 0.0, FOCAL, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0],
    "p": [FOCAL, 0.0, (WIDTH - 1) / 2, 0.0, 0.0, FOCAL, (HEIGHT - 1) / 2, 0.0, 0.0, 0.0, 1.0, 0.0],
}


@pytest.fixture
def cells_with_and_without_obstacle(graph, tmp_path):
    """Return the number of cells that Nav2 marks while an obstacle is visible, and after it has gone."""

    def run(behind: int, **parameters: object) -> tuple[int, int]:
        model = write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH))
        _, client = graph(model, ("points",), **({"scale__a": 1.0, "scale__b": 0.0} | parameters))
        info = camera_info(WIDTH, HEIGHT, **PINHOLE)
        layer = VoxelLayer(documented("voxel_layer"), CAMERA_HEIGHT)
        layer.update(positions(client.publish_until_cloud(image_message(scene(behind, True), "rgb8"), info)))
        marked = layer.cells
        client.publish_info(info)
        image = client.publish_image(image_message(scene(behind, False), "rgb8"))
        layer.update(positions(client.wait_for(POINTS, image)))
        return marked, layer.cells

    return run


PRESETS = sorted(path.stem for path in (share_directory() / "config" / "presets").glob("*.yaml"))


@pytest.mark.parametrize("preset", ["", *PRESETS])
def test_nav2_clears_obstacle_that_disappears(cells_with_and_without_obstacle, preset):
    """A ray clears up to raytrace_max_range on its way to a point, which must lie within the heights of its source.

    https://docs.nav2.org/configuration/packages/costmap-plugins/voxel.html
    """
    parameters = {}
    if preset:
        file = yaml.safe_load((share_directory() / "config" / "presets" / f"{preset}.yaml").read_text())
        values = file["/**/depth_node"]["ros__parameters"]
        shaping = {f"points__{name}": value for name, value in values.get("points", {}).items()}
        parameters = {name: values[name] for name in ("min_depth", "max_depth") if name in values} | shaping
        parameters["output__width"] = WIDTH * parameters.get("points__stride", 1)  # as many rays as without
    marked, left = cells_with_and_without_obstacle(FAR_WALL, **parameters)
    assert marked > 20
    assert left == 0


@pytest.mark.parametrize("parameters", [{"points__max_depth": 8.0}, {"max_depth": 8.0}])
def test_nav2_clears_nothing_with_max_depth_below_wall(cells_with_and_without_obstacle, parameters):
    """https://github.com/ros-navigation/navigation2/issues/4297: why the manual says to leave the cloud whole."""
    marked, left = cells_with_and_without_obstacle(FAR_WALL, **parameters)
    assert left == marked > 20


def test_nav2_clears_toward_sky_only_with_far_max_depth(cells_with_and_without_obstacle):
    """With +Inf there is no point; with scale.b of 0.001 and a max_depth beyond there is one a kilometer away."""
    marked, left = cells_with_and_without_obstacle(SKY)
    assert left == marked > 20
    marked, left = cells_with_and_without_obstacle(SKY, scale__b=0.001, max_depth=1100.0)
    assert marked > 20
    assert left == 0


def test_nav2_lifecycle_manager_works_without_bond(graph, model):
    """It changes the state of each of its node_names by that node's services, and then waits for a bond.

    https://docs.nav2.org/configuration/packages/configuring-lifecycle.html
    """
    manager = documented("lifecycle_manager_depth")["ros__parameters"]
    assert manager["bond_timeout"] == 0.0
    node, client = graph(model, ())
    (name,) = manager["node_names"]
    namespace, _, own_name = name.rpartition("/")
    assert own_name == node.get_name()
    assert f'Argument("namespace", "{namespace}"' in (share_directory() / "launch" / "depth.launch.py").read_text()
    change = client.create_client(ChangeState, f"{own_name}/change_state")
    get = client.create_client(GetState, f"{own_name}/get_state")
    client.spin_until(lambda: change.service_is_ready() and get.service_is_ready(), "the node's services")
    transitions = {"deactivate": "inactive", "cleanup": "unconfigured", "configure": "inactive", "activate": "active"}
    for transition, state in transitions.items():
        request = ChangeState.Request()
        request.transition.label = transition
        changed = change.call_async(request)
        client.spin_until(changed.done, transition)
        assert changed.result().success
        asked = get.call_async(GetState.Request())
        client.spin_until(asked.done, "the state")
        assert asked.result().current_state.label == state


def test_rviz_receives_every_topic_at_either_reliability(graph, model):
    """A reliable publisher is compatible with reliable and best-effort subscribers; RViz uses one or the other.

    https://docs.ros.org/en/rolling/Concepts/Intermediate/About-Quality-of-Service-Settings.html
    """
    _, client = graph(model, ())
    heard: dict[tuple[str, ReliabilityPolicy], list] = {}
    for topic, kind in OUTPUTS.items():
        for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT):
            messages = heard[topic, reliability] = []
            client.create_subscription(kind, topic, messages.append, QoSProfile(depth=5, reliability=reliability))
    client.wait_for_node()

    def all_heard() -> bool:
        client.publish_info(camera_info(WIDTH, HEIGHT))
        client.publish_image(image_message(picture(HEIGHT, WIDTH), "rgb8"))
        return client.spin_for(lambda: all(heard.values()), 1.0)

    client.spin_until(all_heard, "all topics")


def through_compressed_depth(depth: np.ndarray, depth_max: float, quantization: float = 100.0) -> np.ndarray:
    """Encode and decode depth as compressedDepth does: 16 bits of inverse depth, 0 for invalid."""
    factor = quantization * (quantization + 1)
    offset = 1 - factor / depth_max
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.where(depth < depth_max, np.trunc(factor / depth + offset), 0)
        assert np.all((codes < 2**16) & ((codes >= 0) | (depth == -np.inf)))
        return np.where(codes > 0, factor / (codes - offset), np.nan)


def test_compressed_depth_keeps_values_within_range(received):
    """32FC1 is quantized in inverse depth; what is not below depth_max, +Inf and NaN too, is nothing.

    16 bits hold what is farther than about 0.16 m with the default quantization: min_depth is to be more than that.
    16UC1 is kept as it is up to depth_max.
    https://docs.ros.org/en/rolling/p/compressed_depth_image_transport and
    https://github.com/ros-perception/image_transport_plugins/blob/rolling/compressed_depth_image_transport/src/codec.cpp
    """
    got = received()
    depth = floats(got[DEPTH])
    seen = np.isfinite(depth)
    assert np.any(depth == np.inf)
    through = through_compressed_depth(depth, FARTHEST + 1)
    assert np.array_equal(np.isfinite(through), seen)
    step = depth[seen] ** 2 / (100 * 101)  # of inverse depth
    assert np.all(np.abs(through[seen] - depth[seen]) <= 1.1 * step)
    at_default = through_compressed_depth(depth, 10.0)
    assert np.isnan(at_default[depth > 10.0]).all()
    assert millimeters(got[RAW]).max() <= 1000 * FARTHEST


def test_message_filters_pairs_all_outputs_of_an_image(graph, model):
    """TimeSynchronizer passes messages on only when one of each topic has come with exactly the same stamp.

    https://docs.ros.org/en/rolling/p/message_filters
    """
    message_filters = pytest.importorskip("message_filters", reason="message_filters is not installed")
    _, client = graph(model, ())
    topics = {"image": Image, DEPTH: Image, RAW: Image, INFO: CameraInfo, POINTS: PointCloud2}
    subscribers = [message_filters.Subscriber(client, kind, topic) for topic, kind in topics.items()]
    synchronizer = message_filters.TimeSynchronizer(subscribers, 10)
    together: list[tuple] = []
    synchronizer.registerCallback(lambda *messages: together.append(messages))
    client.wait_for_node()
    warm_up(client, together)
    for _ in range(10):
        client.publish_info(camera_info(WIDTH, HEIGHT))
        header = client.publish_image(image_message(picture(HEIGHT, WIDTH), "rgb8")).header

        def paired(header: Header = header) -> bool:
            return any(all(message.header == header for message in messages) for messages in together)

        client.spin_until(paired, "the messages of an image")


def warm_up(client: Client, together: list[tuple]) -> None:
    """Wait until every subscription is matched."""

    def paired() -> bool:
        client.publish_info(camera_info(WIDTH, HEIGHT))
        client.publish_image(image_message(picture(HEIGHT, WIDTH), "rgb8"))
        return client.spin_for(lambda: together, 1.0)

    client.spin_until(paired, "the first messages")
