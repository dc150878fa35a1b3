"""Input of the depth node: every encoding, any QoS, arbitrary stamps and rates, cameras that change and restart."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from confidence_models import write_confidence_model
from depth_node_graph import (
    INFO,
    WARN,
    Client,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import BAYER, CHANNEL_ORDERS, compressed_message, file_of, image_message, picture
from known_models import write_constant_model, write_red_model
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_messages import camera_info, ideal_camera_info
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_anything_ros.geometry.rectification import Rectifier
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.io.image_decoding import ENCODINGS

RELATIVE, DEPTH = "inverse_depth/image", "depth/image_rect"
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
SECOND = 10**9


@pytest.fixture
def red(tmp_path):
    """A model that returns red / 255 of images of 24x30."""
    return write_red_model(tmp_path / "red.onnx", (24, 30), nominal_scale=(1.0, 0.0))


@pytest.fixture
def quick(tmp_path):
    return write_constant_model(tmp_path / "quick.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))


def small() -> Image:
    return image_message(np.zeros((4, 6, 3), np.uint8), "rgb8")


def wait_until_all_counted(node: DepthNode, client: Client, received: int | None = None) -> None:
    """Wait until this many images have arrived and each is published, dropped or ignored."""
    counts = node.statistics

    def done() -> bool:
        settled = counts.published + counts.ignored + counts.skipped + counts.dropped.total()
        return settled == counts.received and (received is None or counts.received == received)

    client.spin_until(done, f"{received} images to be accounted for: {counts.summary()}")


# Kinds of images


def test_every_encoding_gives_depth_of_its_pixels(graph, red):
    _, client = graph(red, (RELATIVE,))
    for encoding in ENCODINGS:
        for big_endian in (False, True):
            rgb = picture(24, 30)
            if CHANNEL_ORDERS.get(encoding) == (0,):
                rgb[...] = rgb[..., :1]
            image = client.publish_image(image_message(rgb, encoding, padding=3, big_endian=big_endian))
            error = np.abs(255 * floats(client.wait_for(RELATIVE, image)) - rgb[..., 0])
            assert error.max() <= (1e-4 if encoding in CHANNEL_ORDERS else 4.01), encoding
            if encoding in BAYER:
                assert error[1:-1, 1:-1].max() <= 1.01, encoding


def test_jpeg_and_png_give_depth_of_their_pixels(graph, red):
    _, client = graph(red, (), image_transport="compressed")
    client.listen(RELATIVE)
    client.listen("depth/camera_info")
    publisher = client.create_publisher(CompressedImage, "image/compressed", 5)
    client.spin_until(publisher.get_subscription_count, "the node's input")
    rgb = picture(24, 30)
    for number in range(3):
        for kind, text, most in (("jpeg", "jpeg", 8), ("png", "png", 0), ("png", "rgb8; png compressed bgr8", 0)):
            info = camera_info(30, 24)
            info.header.stamp.sec = 100 + number
            client.publish_info(info)
            image = client.publish_image(compressed_message(file_of(rgb, kind), text), publisher)
            assert np.abs(255 * floats(client.wait_for(RELATIVE, image)) - rgb[..., 0]).max() <= most + 1e-4, text
    assert client.received["depth/camera_info"], "the camera_info beside the raw image"
    assert not client.count_subscribers("image")


def deep_message(rgb: np.ndarray, bits: int) -> Image:
    """A gray image of a camera that uses only the low bits of each word."""
    message = image_message(rgb, "mono16")
    message.data = array("B", (rgb[..., 0].astype("<u2") << bits - 8).tobytes())
    return message


def test_twelve_bit_camera_is_detected_with_one_warning(graph, red):
    node, client = graph(red, (RELATIVE,))
    rgb = np.full((24, 30, 3), np.linspace(0, 255, 30)[:, np.newaxis], np.uint8)

    def error(expected: np.ndarray) -> float:
        image = client.publish_image(deep_message(rgb, 12))
        return np.abs(255 * floats(client.wait_for(RELATIVE, image)) - expected).max()

    for _ in range(3):
        assert error(rgb[..., 0]) <= 1e-3
    said = client.wait_for_line(WARN, "use 12 bits")
    assert "values are 0 to 4080, 98 % of them 0 to 4080; 0 becomes black and 4095 white; if that is wrong, set" in said
    assert node.set_parameters([Parameter("input_range", value="full")])[0].successful
    assert error(rgb[..., 0] >> 4) <= 1e-3
    assert node.set_parameters([Parameter("input_range", value="0,2047")])[0].successful
    assert error(np.minimum(rgb[..., 0].astype(int) << 1, 255)) <= 1e-3
    assert sum("use 12 bits" in line for line in client.lines(WARN)) == 1


@pytest.mark.parametrize("encoding", ["mono8", "mono16", "bgr8", "rgb8", "bgra8", "rgba8"])
def test_raw_images_are_rectified_in_every_encoding(graph, red, encoding):
    _, client = graph(red, (RELATIVE, "points"), rectified=False)
    rgb = picture(24, 30)
    rgb[...] = rgb[..., :1] if encoding.startswith("mono") else rgb
    k, p = (
        [30.0, 0.0, 14.5, 0.0, 30.0, 11.5, 0.0, 0.0, 1.0],
        [28.0, 0.0, 14.0, 0.0, 0.0, 28.0, 11.0, *[0.0] * 3, 1.0, 0.0],
    )
    info = camera_info(30, 24, d=[-0.2, 0.05, 0.0, 0.0, 0.0], k=k, p=p)
    matrix, size = np.reshape(info.k, (3, 3)), (24, 30)
    expected = np.empty_like(rgb)
    lens = Rectifier("plumb_bob", matrix, np.array(info.d), np.eye(3), np.reshape(info.p, (3, 4))[:, :3], size)
    lens.apply(rgb, expected)
    cloud = client.publish_until_cloud(image_message(rgb, encoding, padding=2), info)
    colors = np.frombuffer(cloud.data, np.uint8).reshape(24, 30, 16)[..., 14:11:-1]
    assert np.abs(colors.astype(int) - expected).max() <= (1 if encoding == "mono16" else 0)


# Topics


@pytest.mark.parametrize("transport", ["raw", "compressed"])
@pytest.mark.parametrize(
    ("remap", "expected"),
    [
        ((), "camera_info"),
        (("image:={namespace}/eye/image_raw",), "eye/camera_info"),
        (("image:={namespace}/eye/image_raw", "camera_info:={namespace}/other/info"), "other/info"),
        (("camera_info:={namespace}/other/info",), "other/info"),
    ],
    ids=["plain", "image remapped", "both remapped", "camera_info remapped"],
)
def test_camera_info_topic_follows_remapping(graph, quick, transport, remap, expected):
    node, client = graph(quick, (), remap, image_transport=transport)
    client.listen(DEPTH)
    image = "eye/image_raw" if "eye" in "".join(remap) else "image"
    image = f"{image}/compressed" if transport == "compressed" else image
    client.spin_until(lambda: client.count_subscribers(expected) and client.count_subscribers(image), expected)
    subscribed = [entry.topic_name for entry in node.subscriptions if entry.msg_type is CameraInfo]
    assert subscribed == [f"{node.get_namespace()}/{expected}"]


def reliability_of(client: Client, topic: str, kind: str) -> list[ReliabilityPolicy]:
    endpoints = getattr(client, f"get_{kind}_info_by_topic")(client.resolve_topic_name(topic))
    return [endpoint.qos_profile.reliability for endpoint in endpoints if endpoint.node_name == "depth_node"]


@pytest.mark.parametrize("listening", [RELIABLE, BEST_EFFORT])
@pytest.mark.parametrize("sending", [RELIABLE, BEST_EFFORT])
@pytest.mark.parametrize("durability", [DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL])
def test_any_publisher_qos_and_subscriber_qos_match(graph, quick, sending, listening, durability):
    _, client = graph(quick, ())
    profile = QoSProfile(depth=5, reliability=listening)
    client.create_subscription(Image, DEPTH, client.received[DEPTH].append, profile)
    publisher = client.create_publisher(Image, "image", QoSProfile(depth=5, reliability=sending, durability=durability))
    client.spin_until(publisher.get_subscription_count, "the node's input")
    client.wait_for(DEPTH, client.publish_image(small(), publisher))


def test_qos_overrides_apply_per_topic(graph, quick):
    overrides = {
        "qos_overrides.{namespace}/image.subscription.reliability": "reliable",
        "qos_overrides.{namespace}/depth/image_rect.publisher.reliability": "best_effort",
        "qos_overrides.{namespace}/points.publisher.depth": 7,
    }
    node, client = graph(quick, (), **overrides)
    best_effort = QoSProfile(depth=5, reliability=BEST_EFFORT)
    client.create_subscription(Image, DEPTH, client.received[DEPTH].append, best_effort)
    deaf: list[Image] = []
    client.create_subscription(Image, DEPTH, deaf.append, QoSProfile(depth=5, reliability=RELIABLE))
    client.wait_for_node()
    assert reliability_of(client, "image", "subscriptions") == [RELIABLE]
    assert reliability_of(client, "camera_info", "subscriptions") == [RELIABLE]  # as the camera offers it
    assert reliability_of(client, DEPTH, "publishers") == [BEST_EFFORT]
    assert reliability_of(client, "points", "publishers") == [RELIABLE]
    (points,) = (publisher for publisher in node.publishers if publisher.topic_name.endswith("/points"))
    assert points.qos_profile.depth == 7
    unheard = client.create_publisher(Image, "image", best_effort)
    client.publish_image(small(), unheard)
    client.wait_for(DEPTH, client.publish_image(small()))
    assert node.statistics.received == 1
    assert deaf == []


# Stamps


def test_duplicate_and_late_images_are_dropped_and_counted(graph, quick):
    node, client = graph(quick, (RELATIVE,))
    sequence = (
        (10, None),
        (20, None),
        (20, "duplicate stamp"),
        (15, "out of order"),
        (15, "duplicate stamp"),
        (25, None),
        (24, "out of order"),
        (26, None),
    )
    for sent, (tenths, fate) in enumerate(sequence, start=1):
        image = client.publish_image(small(), nanoseconds=tenths * SECOND // 10)
        if fate is None:
            client.wait_for(RELATIVE, image)
        wait_until_all_counted(node, client, sent)
    assert node.statistics.dropped == {"duplicate stamp": 2, "out of order": 2}
    stamps = [message.header.stamp for message in client.received[RELATIVE]]
    assert [stamp.sec * 10 + stamp.nanosec // (SECOND // 10) for stamp in stamps] == [10, 20, 25, 26]


def test_images_without_stamps_pass_without_age(graph, quick):
    node, client = graph(quick, (RELATIVE,), max_age=0.5)
    for number in range(1, 5):
        client.publish_image(small(), nanoseconds=0)
        client.spin_until(lambda: len(client.received[RELATIVE]) == number, "the depth")  # noqa: B023
    assert node.statistics.dropped.total() == len(node.statistics.ages) == 0


def test_restarted_bag_is_followed(graph, quick):
    node, client = graph(quick, (RELATIVE,))
    for stamp in (100, 101, 102, 3, 4, 100, 2):
        client.wait_for(RELATIVE, client.publish_image(small(), nanoseconds=stamp * SECOND))
        client.received[RELATIVE].clear()
    assert node.statistics.dropped.total() == 0
    # A short one goes back by less than may be mere disorder: that it goes on tells them apart.
    for received, tenths in enumerate((21, 22, 23, 24, 20, 21, 22, 23, 24), start=8):
        image = client.publish_image(small(), nanoseconds=tenths * SECOND // 10)
        wait_until_all_counted(node, client, received)
    client.wait_for(RELATIVE, image)
    assert node.statistics.dropped == {"out of order": 2}


def set_time(node: DepthNode, client: Client, publisher: object, seconds: float) -> None:
    message = Clock()
    nanoseconds = round(seconds * SECOND)
    message.clock.sec, message.clock.nanosec = divmod(nanoseconds, SECOND)

    def arrived() -> bool:
        publisher.publish(message)
        return node.get_clock().now().nanoseconds == nanoseconds

    client.spin_until(arrived, "the time")


def test_sim_time_sets_ages_and_may_jump_back(graph, quick):
    node, client = graph(quick, (RELATIVE,), use_sim_time=True, max_age=1.0)
    publisher = client.create_publisher(Clock, "/clock", 5)
    set_time(node, client, publisher, 100.0)
    client.wait_for(RELATIVE, client.publish_image(small(), nanoseconds=99_500_000_000))
    wait_until_all_counted(node, client, 1)
    assert node.statistics.ages[0] == pytest.approx(0.5)
    client.publish_image(small(), nanoseconds=98_900_000_000 + 700_000_000)  # newer than the last, and young enough
    wait_until_all_counted(node, client, 2)
    set_time(node, client, publisher, 102.0)
    client.publish_image(small(), nanoseconds=100_900_000_000)
    wait_until_all_counted(node, client, 3)
    assert node.statistics.dropped == {"too old": 1}
    set_time(node, client, publisher, 100.0)  # a simulation is reset: what is older than the newest is no latecomer
    client.wait_for(RELATIVE, client.publish_image(small(), nanoseconds=100_000_000_000))
    assert node.statistics.dropped == {"too old": 1}


def test_pixels_outside_lens_are_invalid_in_every_output(graph, tmp_path):
    model = write_confidence_model(tmp_path / "model.onnx", (48, 60), nominal_scale=(1.0, 0.0))
    _, client = graph(model, rectified=False, flying_pixels__threshold=0.0)
    confidences: list[Image] = []
    client.create_subscription(Image, "confidence/image", confidences.append, 10)
    # A pincushion, rectified, leaves the corners empty.
    info = camera_info(60, 48, d=[0.4, 0.0, 0.0, 0.0, 0.0], k=[40.0, 0.0, 29.5, 0.0, 40.0, 23.5, 0.0, 0.0, 1.0])
    info.p = [20.0, 0.0, 29.5, 0.0, 0.0, 20.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    rgb = np.full((48, 60, 3), 128, np.uint8)
    client.publish_until_cloud(image_message(rgb, "rgb8"), info)
    stamp = client.received["points"][-1].header.stamp
    client.spin_until(lambda: confidences and confidences[-1].header.stamp == stamp, "the confidence")
    of_frame = {
        topic: next(message for message in received if message.header.stamp == stamp)
        for topic, received in client.received.items()
        if topic != "depth/camera_info"
    }
    depth = floats(of_frame[DEPTH])
    unseen = np.isnan(depth)
    assert unseen[0, 0]
    assert 0.1 < unseen.mean() < 0.9
    assert depth[~unseen] == pytest.approx(255 / 128, rel=1e-3)
    assert np.array_equal(np.isnan(floats(of_frame[RELATIVE])), unseen)
    assert np.array_equal(np.isnan(floats(confidences[-1])), unseen)
    assert np.array_equal(np.frombuffer(of_frame["depth/image_raw"].data, np.uint16).reshape(48, 60) == 0, unseen)
    assert not np.frombuffer(of_frame["depth/image_color"].data, np.uint8).reshape(48, 60, 3)[unseen].any()
    cloud = np.frombuffer(of_frame["points"].data, np.float32).reshape(48, 60, 4)
    assert np.array_equal(np.isnan(cloud[..., :3]), np.repeat(unseen[..., np.newaxis], 3, axis=2))


RAW_AS_RECTIFIED = "is raw by its name, and its camera_info has distortion, but rectified is true"
RECTIFIED_AS_RAW = "is rectified by its name, but rectified is false"


@pytest.mark.parametrize(
    ("topic", "setting", "distortion", "focal", "words"),
    [
        # K has 500 pixels, P 480.
        ("image_raw", "auto", 0.1, 480.0, "/image_raw counts as raw, because of its name"),
        ("image_raw", "auto", 0.0, 500.0, "/image_raw counts as raw, because of its name"),
        ("image_rect", "auto", 0.1, 480.0, "/image_rect counts as rectified, because of its name"),
        (
            "picture",
            "auto",
            0.1,
            480.0,
            "/picture has neither raw nor rect in its name, and its camera_info has distortion",
        ),
        ("image_raw", True, 0.1, 480.0, RAW_AS_RECTIFIED),
        ("image_rect", False, 0.1, 480.0, RECTIFIED_AS_RAW),
        ("image_raw", "false", 0.1, 480.0, "/image_raw counts as raw, because of the parameter rectified"),
    ],
)
def test_rectified_setting_and_topic_name_choose_geometry(graph, quick, topic, setting, distortion, focal, words):
    node, client = graph(quick, (), (f"image:={{namespace}}/{topic}",), rectified=setting)
    client.listen("depth/camera_info")
    client.listen("points")
    publisher = client.create_publisher(Image, topic, 5)
    client.spin_until(publisher.get_subscription_count, "the node's input")
    info = ideal_camera_info(6, 4)
    info.d[0], info.k[0], info.p[0] = distortion, 500.0, 480.0

    def gives_cloud() -> bool:
        client.publish_info(info)
        client.publish_image(small(), publisher)
        return client.spin_for(lambda: client.received["points"], 0.3)

    client.spin_until(gives_cloud, "a cloud")
    warns = words in (RAW_AS_RECTIFIED, RECTIFIED_AS_RAW) or "has neither raw nor rect" in words
    client.wait_for_line(WARN if warns else INFO, words)
    client.spin_until(lambda: client.received["depth/camera_info"], "camera_info")
    assert client.received["depth/camera_info"][-1].p[0] == focal
    assert bool(node.streams[""].geometry.doubts) == warns
