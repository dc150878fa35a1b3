"""Warnings of the depth node, once each: problems that stop depth for seconds, and interfering nodes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    WARN,
    Client,
    node_and_client,  # noqa: F401 - the fixture `graph`
    node_of_another_participant,  # noqa: F401 - the fixture `other_participant`
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_reports import Reports
from encoded_images import compressed_message, file_of, image_message
from known_models import write_constant_model, write_fragile_model
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_messages import camera_info
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import String

from depth_anything_ros.ros.depth_node import diagnostics, stream_watch
from depth_anything_ros.ros.depth_node.message_size import large_cloud_advice
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.process import graph_watch

DEPTH = "depth/image_rect"
PERIOD, WINDOW = 0.1, 0.3
SECOND = 10**9


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(graph_watch, "PERIOD", PERIOD)
    monkeypatch.setattr(stream_watch, "WINDOW", WINDOW)
    monkeypatch.setattr(diagnostics, "PERIOD", 2 * PERIOD)
    monkeypatch.setattr(diagnostics, "SILENCE", WINDOW)


@pytest.fixture
def quick(tmp_path):
    return write_constant_model(tmp_path / "quick.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))


def small(value: int = 0) -> Image:
    return image_message(np.full((4, 6, 3), value, np.uint8), "rgb8")


def small_png() -> CompressedImage:
    return compressed_message(file_of(np.zeros((4, 6, 3), np.uint8), "png"), "png")


@contextlib.contextmanager
def running(publish: Callable[[], None], period: float = 0.02) -> Iterator[None]:
    """A camera with a period in seconds, by default of 50 Hz."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(period):
            publish()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_for_windows(node: DepthNode, client: Client, count: int) -> None:
    """Wait until the watch of the first camera has finished this many further windows."""
    begun = {node._watches[0]._since}

    def ended() -> bool:
        begun.add(node._watches[0]._since)
        return len(begun) > count

    client.spin_until(ended, "the watch")


# No image


@pytest.mark.parametrize(
    ("transport", "kind", "topic", "advice"),
    [
        ("raw", CompressedImage, "eye/image", "as CompressedImage, not as Image: set image_transport:=compressed and"),
        ("raw", CompressedImage, "eye/image/compressed", "eye/image/compressed is published: set image_transport:=com"),
        ("compressed", Image, "eye/image/compressed", "as Image, not as CompressedImage: set image_transport:=raw and"),
        (
            "compressed",
            CompressedImage,
            "eye/image",
            "eye/image itself is the compressed image: set image/com",
        ),
        ("compressed", Image, "eye/image", "eye/image is published: set image_transport:=raw"),
        ("raw", String, "eye/image", "it is published as String, not as Image: remap image to the camera's topic"),
        ("raw", Image, "eye/picture", "remap image to the camera's topic (Image is published on {namespace}/eye/pict"),
    ],
)
def test_missing_images_warn_once_with_fix(graph, quick, other_participant, transport, kind, topic, advice):
    node, client = graph(quick, (), ("image:={namespace}/eye/image",), image_transport=transport)
    other_participant(client).create_publisher(kind, topic, 5)
    client.spin_until(lambda: client.count_publishers(topic), "the driver")
    client.listen(DEPTH)
    advice = advice.format(namespace=node.get_namespace())
    line = client.wait_for_line(WARN, advice)
    assert line.startswith("no image for")
    Reports(node, client).wait_for(
        "camera", lambda status, _: status.level == DiagnosticStatus.WARN and advice in status.message
    )
    wait_for_windows(node, client, 3)
    assert len([line for line in client.lines(WARN) if line.startswith("no image for")]) == 1


def test_compressed_image_remapped_as_advised_is_read(graph, quick):
    rule = "image/compressed:={namespace}/eye/jpeg"
    _, client = graph(quick, (), (rule,), image_transport="compressed")
    images = client.create_publisher(CompressedImage, "eye/jpeg", 5)
    infos = client.create_publisher(CameraInfo, "eye/camera_info", 5)  # beside it
    client.listen(DEPTH)
    for publisher in (images, infos):
        client.spin_until(publisher.get_subscription_count, "the node's input")
    client.wait_for(DEPTH, client.publish_image(small_png(), images))


def test_incompatible_qos_override_warns(graph, quick):
    override = {"qos_overrides.{namespace}/eye.subscription.reliability": "reliable"}
    _, client = graph(quick, (), ("image:={namespace}/eye",), **override)
    client.create_publisher(Image, "eye", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
    client.listen(DEPTH)
    client.wait_for_line(WARN, "it is offered as best effort, but qos_overrides requests reliable")


def test_changed_and_returning_problems_warn_again(graph, quick):
    node, client = graph(quick, (), ("image:={namespace}/eye",))
    client.listen(DEPTH)
    client.wait_for_line(WARN, "published by 0: remap image to the camera's topic")
    publisher = client.create_publisher(Image, "eye", 5)
    client.wait_for_line(WARN, "published by 1: the camera sends nothing")
    client.log.clear()
    with running(lambda: client.publish_image(small(), publisher)):
        client.spin_until(lambda: node.statistics.published, "depth")
        wait_for_windows(node, client, 2)
    client.wait_for_line(WARN, "published by 1: the camera sends nothing")


def test_camera_info_of_other_type_or_name_warns_with_fix(graph, quick, other_participant):
    node, client = graph(quick, (), ("image:={namespace}/eye/image",))
    images = client.create_publisher(Image, "eye/image", 5)
    client.create_publisher(CameraInfo, "eye/info", 5)
    client.listen("points")
    reports = Reports(node, client)
    with running(lambda: client.publish_image(small(), images)):
        advice = f"remap camera_info to the camera's topic (CameraInfo is published on {node.get_namespace()}/"
        assert f"{node.get_namespace()}/eye/info" in client.wait_for_line(WARN, advice)
        reports.wait_for("camera", lambda _, values: advice in values.get("no cloud because", ""))
        other_participant(client).create_publisher(String, "eye/camera_info", 5)
        reports.wait_for("camera", lambda _, values: "as String, not as CameraInfo" in values["no cloud because"])


# No image goes through


def test_too_old_images_warn_once_with_fix(graph, quick):
    """As a bag's are that is played without its clock."""
    node, client = graph(quick, (DEPTH,), max_age=0.5)
    stamp = time.time_ns() - 3600 * SECOND

    def publish() -> None:
        nonlocal stamp
        stamp += SECOND // 50
        client.publish_image(small(), nanoseconds=stamp)

    with running(publish):
        line = client.wait_for_line(WARN, "became depth")
        assert f"on {node.get_namespace()}/image became depth: " in line
        assert " too old. too old: 36" in line
        assert "set use_sim_time:=true and play it with --clock" in line
        assert "max_age is 0.5" in line
        wait_for_windows(node, client, 3)
    assert len([line for line in client.lines(WARN) if "became depth" in line]) == 1
    assert node.statistics.published == 0


def test_slow_camera_with_all_images_dropped_warns(graph, quick):
    """Fewer than are worth a verdict come in the time of one look."""
    _, client = graph(quick, (DEPTH,))
    with running(lambda: client.publish_image(small(), nanoseconds=SECOND), period=0.6 * WINDOW):
        assert "duplicate stamp" in client.wait_for_line(WARN, "none of 3 images")


def test_low_max_rate_judges_images_together(graph, quick):
    """Of images that are twice each one goes through now and then, and the second ones between are no trouble."""
    node, client = graph(quick, (DEPTH,), max_rate=2.0)

    stamps = (number // 2 * SECOND for number in itertools.count(2))
    with running(lambda: client.publish_image(small(), nanoseconds=next(stamps))):
        wait_for_windows(node, client, 2)
        client.spin_until(lambda: node.statistics.dropped["duplicate stamp"] > 20, "dropped images")
    assert [line for line in client.lines(WARN) if "became depth" in line] == []


def bad(**fields: object) -> Image:
    message = small()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("make", "stamp", "cause", "fix"),
    [
        (small, SECOND, "duplicate stamp", "stamp each image with its own capture time"),
        (lambda: bad(encoding="abcd8"), None, "encoding", "have the camera publish one of rgb8"),
        (lambda: bad(step=17), None, "step", "fix the driver's step or encoding"),
        (lambda: small(255), None, "model failed", ""),
    ],
)
def test_dropped_images_warn_with_cause_and_fix(graph, tmp_path, make, stamp, cause, fix):
    _, client = graph(write_fragile_model(tmp_path / "fragile.onnx", (4, 6)), ("inverse_depth/image",))
    with running(lambda: client.publish_image(make(), nanoseconds=stamp)):
        line = client.wait_for_line(WARN, f". {cause}: ")
    assert line.startswith("none of ")
    assert fix in line


def test_cloud_without_camera_info_warns(graph, quick):
    _, client = graph(quick, ("points",))
    with running(lambda: client.publish_image(small())):
        line = client.wait_for_line(WARN, ". no camera_info: no message on")
    assert "remap camera_info" in line or "the camera sends nothing" in line


def test_frames_above_max_rate_cause_no_warning(graph, quick):
    node, client = graph(quick, (DEPTH,), max_rate=5.0)
    reports = Reports(node, client)
    with running(lambda: client.publish_image(small())):
        values = reports.wait_for("camera", lambda _, values: "skipped by max_rate" in values)
        wait_for_windows(node, client, 2)
    assert int(values["skipped by max_rate"]) > 0
    assert node.statistics.ignored == 0
    assert f"{node.statistics.skipped} above max_rate" in node.statistics.summary()
    assert [line for line in client.lines(WARN) if "became depth" in line] == []


def test_images_that_have_just_begun_are_not_judged(graph, quick, monkeypatch):
    """The camera may start long after the node. Its first images wait for camera_info, TF and the model."""
    node, client = graph(quick, ())
    now = 100.0
    monkeypatch.setattr(stream_watch.time, "monotonic", lambda: now)
    stream = node.streams[""]
    watch = stream_watch.StreamWatch(stream)
    now += 20 * WINDOW
    watch.look()  # nothing has come yet
    for _ in range(3):
        stream.statistics.receive()
        stream.statistics.drop("no camera_info")
    for _ in range(2):
        now += 0.4 * WINDOW
        watch.look()
    assert [line for line in client.lines(WARN) if "became depth" in line] == []
    now += 0.4 * WINDOW
    watch.look()
    client.wait_for_line(WARN, "none of 3 images in the last")


def test_images_without_stamps_warn_once(graph, quick):
    node, client = graph(quick, ("points",))
    reports = Reports(node, client)
    client.publish_until_cloud(small(), camera_info(6, 4))  # else that there is none comes first
    with running(lambda: client.publish_image(small(), nanoseconds=0)):
        client.wait_for_line(WARN, f"the images from {node.get_namespace()}/image have no timestamp (0)")
        reports.wait_for(
            "camera", lambda status, _: status.level == DiagnosticStatus.WARN and "no timestamp" in status.message
        )
    assert len([line for line in client.lines(WARN) if "have no timestamp" in line]) == 1


@pytest.mark.parametrize("others", [(), ("depth/camera_info", "inverse_depth/image")])
def test_depth_subscriber_without_scale_is_reported(graph, tmp_path, others):
    """Also while another output, such as camera_info for the page, keeps the camera open."""
    model = write_constant_model(tmp_path / "unscaled.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))
    node, client = graph(model, others, scale__nominal=False)
    client.listen(DEPTH)
    with running(lambda: client.publish_image(small())):
        Reports(node, client).wait_for(
            "camera",
            lambda status, _: status.level == DiagnosticStatus.WARN and "scale:=nominal to try" in status.message,
        )


def test_model_without_nominal_scale_is_not_offered_one(graph, tmp_path):
    node, client = graph(write_constant_model(tmp_path / "unscaled.onnx", np.full((4, 6), 2.0)), ())
    client.listen(DEPTH)
    Reports(node, client).wait_for(
        "camera",
        lambda status, _: (
            status.message.startswith("no depth, because")
            and "set scale.source" in status.message
            and "nominal" not in status.message
        ),
    )


def test_silent_camera_is_reported_before_the_unknown_scale(graph, tmp_path):
    """Both are missing for depth, and the first one for every output."""
    model = write_constant_model(tmp_path / "unscaled.onnx", np.full((4, 6), 2.0))
    node, client = graph(model, ("inverse_depth/image", DEPTH))
    Reports(node, client).wait_for(
        "camera",
        lambda status, _: (
            status.message.startswith("no image for") and "; no depth, because the model is relative" in status.message
        ),
    )


def test_simulated_time_without_clock_is_reported(graph, quick):
    _, client = graph(quick, (DEPTH,), use_sim_time=True)
    line = client.wait_for_line(WARN, "use_sim_time is true, but nothing publishes /clock")
    assert "use_sim_time:=false" in line


def test_idle_node_reports_that_nobody_publishes_its_topic(graph, quick):
    """The node is lazy, so a wrong topic is no warning until somebody subscribes; but the doctor shows this text."""
    node, client = graph(quick, (), ("image:={namespace}/wrong",))
    text = f"idle: no subscribers, and nobody publishes {node.get_namespace()}/wrong"
    Reports(node, client).wait_for("camera", lambda status, _: status.message == text)


def test_two_cameras_on_one_topic_are_named(graph, quick, other_participant):
    node, client = graph(quick, (DEPTH,))
    other_participant(client).create_publisher(Image, "image", 5)
    line = client.wait_for_line(WARN, "so images of both arrive in turn")
    assert line.startswith(f"{node.get_namespace()}/image is published by {node.get_namespace()}/camera and ")


def test_reason_for_no_depth_comes_before_overload(graph, tmp_path):
    """Advice to compute faster leads astray while no frame has a scale."""
    model = write_constant_model(tmp_path / "slow.onnx", np.full((4, 6), 2.0), slowness=3)
    node, client = graph(model, (DEPTH,), scale__source=["point_cloud"])
    client.publish_info(camera_info(6, 4))

    def camera() -> None:
        for _ in range(10):
            client.publish_image(small())

    with running(camera):
        Reports(node, client).wait_for(
            "camera",
            lambda status, _: (
                0 <= status.message.find("point_cloud: no message on") < status.message.find("overload: ")
            ),
        )
        line = client.wait_for_line(WARN, ". no scale: point_cloud: no message on")
    assert "newer came, " in line


def test_cloud_larger_than_shared_memory_warns_with_stride(graph, quick, tmp_path, repository, monkeypatch):
    from rclpy.utilities import get_rmw_implementation_identifier

    if "fastrtps" not in get_rmw_implementation_identifier():
        pytest.skip("the middleware is not Fast DDS")
    profile = (repository / "config" / "fastdds_large_messages.xml").read_text().replace("67108864", "16384")
    (tmp_path / "profile.xml").write_text(profile)
    for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "profile.xml"))
    _, client = graph(quick, ("points",))
    client.publish_until_cloud(image_message(np.zeros((48, 64, 3), np.uint8), "rgb8"), camera_info(64, 48))
    line = client.wait_for_line(WARN, "a cloud of 64x48 points has 0.0 MB, more than the 0.0 MB of shared memory")
    assert "set points.stride to 3" in line  # 22 x 16 points of 16 bytes are less than half of it, 32 x 24 are not


def test_large_cloud_advice_names_sizes_and_stride():
    text = large_cloud_advice((2160, 3840), 1, 16, 64 << 20)
    assert "a cloud of 3840x2160 points has 132.7 MB, more than the 67.1 MB of shared memory" in text
    assert "set points.stride to 2 (33.2 MB)" in text
    assert large_cloud_advice((2160, 3840), 2, 16, 64 << 20) == large_cloud_advice((2160, 3840), 1, 16, None) == ""


# Other nodes


def test_topic_of_second_publisher_warns_with_fix(graph, quick):
    node, client = graph(quick, (DEPTH,))
    reports = Reports(node, client)
    publisher = client.create_publisher(PointCloud2, "points", 5)
    topic = f"{node.get_namespace()}/points"
    advice = f"{topic} is published by {node.get_namespace()}/camera too"
    assert "start this node with another namespace" in client.wait_for_line(WARN, advice)
    reports.wait_for("model", lambda status, _: status.level == DiagnosticStatus.WARN and advice in status.message)
    client.destroy_publisher(publisher)
    reports.wait_for("model", lambda status, _: status.level == DiagnosticStatus.OK)
    assert len([line for line in client.lines(WARN) if "is published by" in line]) == 1


def test_duplicate_node_name_warns_on_both_nodes(graph, context, quick):
    node, client = graph(quick, (DEPTH,))
    other = DepthNode(context=context, namespace=node.get_namespace())
    try:
        line = client.wait_for_line(WARN, f"the name {node.get_namespace()}/depth_node is used by 2 nodes")
        assert "another namespace" in line
        other._graph_watch.check()
        assert "is used by 2 nodes" in other._graph_watch.problems[0]
    finally:
        other.destroy_node()
    del other
    gc.collect()  # rclpy keeps it in the graph until then
    client.spin_until(lambda: not node._graph_watch.problems, "the other node's end")
