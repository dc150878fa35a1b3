"""camera.launch.py as `ros2 launch` runs it: both nodes come up, speak, heed their arguments, and end together."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("launch_ros", reason="needs the launch system of ROS 2")
pytest.importorskip("onnx", reason="the tests write a model with the onnx package")

import rclpy
import yaml
from ament_index_python.packages import get_package_prefix
from client_node import (
    client_node,  # noqa: F401 - the fixture `node`
    namespaces,
)
from known_models import write_red_model
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_anything_ros.share import share_directory

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource

arguments = [tuple(argument.split(":=", 1)) for argument in sys.argv[2:]]
service = LaunchService()
source = AnyLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)]))
sys.exit(service.run())
"""
HEIGHT, WIDTH = 42, 56


def is_installed() -> bool:
    """Whether `ros2 run` finds the nodes, as it does after `make test` or `colcon build`."""
    try:
        return (Path(get_package_prefix("depth_anything_ros")) / "lib/depth_anything_ros/camera_node").is_file()
    except (LookupError, OSError):
        return False


needs_installation = pytest.mark.skipif(not is_installed(), reason="needs the package installed, as by `make test`")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, all of them at red 102: inverse depth 0.4, depth 2 m by the model's nominal scale; and the model."""
    for name in ("first", "second"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((HEIGHT, WIDTH, 3), (10, 20, 102), np.uint8))
    write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH), nominal_scale=(1.0, 0.1))
    return tmp_path


def start(*arguments: str, name: str = "camera") -> subprocess.Popen:
    launch_file = share_directory() / "launch" / f"{name}.launch.py"
    command = [sys.executable, "-c", LAUNCH, str(launch_file), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def processes_of(session: int) -> list[int]:
    """The processes in a launch's session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def end(process: subprocess.Popen, number: int = signal.SIGINT) -> str:
    """Ends a launch as Ctrl-C in a terminal does, which signals the whole group; returns what it printed."""
    if number and process.poll() is None:
        os.killpg(process.pid, number)
    try:
        output, _ = process.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert processes_of(process.pid) == []
    return output


@needs_installation
def test_depth_and_cloud_come_and_all_ends_cleanly(node: Node, folder: Path) -> None:
    parameters = {"ros__parameters": {"frame_id": "left_optical_frame", "loop": False, "frame_rate": 40.0}}
    params_file = folder / "parameters.yaml"
    params_file.write_text(yaml.safe_dump({"/**": parameters}))
    received: dict[str, list] = {"depth/image_rect": [], "depth/image_color": [], "points": [], "camera_info": []}
    types = {"points": PointCloud2, "camera_info": CameraInfo}
    for topic, messages in received.items():
        quality = qos_profile_sensor_data if topic == "points" else QoSProfile(depth=10)
        node.create_subscription(types.get(topic, Image), topic, messages.append, quality)
    process = start(
        f"source:={folder}",
        f"model:={folder}/red.onnx",
        f"namespace:={node.get_namespace().strip('/')}",
        f"params_file:={params_file}",
        "loop:=true",
    )
    try:
        deadline = time.monotonic() + 60
        while min(map(len, received.values())) < 3:
            assert time.monotonic() < deadline, {topic: len(messages) for topic, messages in received.items()}
            assert process.poll() is None
            rclpy.spin_once(node, timeout_sec=0.1)
    finally:
        output = end(process)
    assert process.returncode == 0, output
    for name in ("camera_node-1", "depth_node-2"):
        assert f"[{name}]: process has finished cleanly" in output, output
    assert "Traceback" not in output
    depth, cloud = received["depth/image_rect"][-1], received["points"][-1]
    np.testing.assert_allclose(np.frombuffer(depth.data, np.float32), 2.0, rtol=1e-6)
    assert depth.header.frame_id == cloud.header.frame_id == "left_optical_frame"  # from the file of parameters
    assert (cloud.height, cloud.width) == (HEIGHT, WIDTH)


@needs_installation
def test_in_one_process_the_depth_is_the_same_and_the_image_stays_inside(node: Node, folder: Path) -> None:
    depths: list[Image] = []
    node.create_subscription(Image, "depth/image_rect", depths.append, 10)
    namespace = node.get_namespace().strip("/")
    process = start(
        f"source:={folder}", f"model:={folder}/red.onnx", f"namespace:={namespace}", "one_process:=true", "loop:=true"
    )
    try:
        wait_for(node, process, lambda: len(depths) >= 3)
        assert node.count_publishers("image_raw") == 1
        assert node.count_subscribers("image_raw") == 0
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert "[camera_depth_nodes-1]: process has finished cleanly" in output
    np.testing.assert_allclose(np.frombuffer(depths[-1].data, np.float32), 2.0, rtol=1e-6)


@needs_installation
def test_without_autostart_the_node_waits_for_a_lifecycle_manager(node: Node, folder: Path) -> None:
    namespace = node.get_namespace().strip("/")
    process = start(f"model:={folder}/red.onnx", f"namespace:={namespace}", "autostart:=false", name="depth")
    state = node.create_client(GetState, "depth_node/get_state")
    change = node.create_client(ChangeState, "depth_node/change_state")
    try:
        wait_for(node, process, lambda: state.service_is_ready() and change.service_is_ready())
        assert answer(node, process, state, GetState.Request()).current_state.label == "unconfigured"
        for transition in ("configure", "activate"):
            request = ChangeState.Request()
            request.transition.label = transition
            assert answer(node, process, change, request).success
        assert answer(node, process, state, GetState.Request()).current_state.label == "active"
    finally:
        output = end(process)
    assert process.returncode == 0, output


@needs_installation
def test_a_model_that_cannot_be_loaded_ends_the_launch_and_is_named(folder: Path) -> None:
    output = end(start(f"model:={folder}/absent.onnx", f"namespace:={next(namespaces)}", name="depth"), 0)
    assert "absent.onnx" in output
    assert "depth_node could not be configured or activated" in output
    assert "[depth_node-1]: process has finished cleanly" in output


@needs_installation
def test_one_node_serves_several_cameras(node: Node, folder: Path) -> None:
    """Two cameras of other brightness: each gets its own depth, beside its own images' camera_info."""
    namespace = node.get_namespace().strip("/")
    received: dict[str, list[Image]] = {"front": [], "left": []}
    publishers = {}
    for camera, images in received.items():
        node.create_subscription(Image, f"{camera}/depth/image_rect", images.append, 10)
        publishers[camera] = node.create_publisher(Image, f"{camera}/image_raw", 5)
    process = start(
        "cameras:=front,left",
        f"image:=/{namespace}/{{camera}}/image_raw",
        f"model:={folder}/red.onnx",
        f"namespace:={namespace}",
        name="multi_camera",
    )
    reds = {"front": 102, "left": 230}
    try:
        wait_for(node, process, lambda: all(entry.get_subscription_count() for entry in publishers.values()))
        deadline = time.monotonic() + 60
        while not all(received.values()):
            assert time.monotonic() < deadline
            for camera, publisher in publishers.items():
                message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
                message.data.frombytes(np.full((HEIGHT, WIDTH, 3), reds[camera], np.uint8))
                message.header.stamp = node.get_clock().now().to_msg()
                message.header.frame_id = camera
                publisher.publish(message)
            rclpy.spin_once(node, timeout_sec=0.1)
    finally:
        output = end(process)
    assert process.returncode == 0, output
    for camera, images in received.items():
        assert images[-1].header.frame_id == camera
        np.testing.assert_allclose(
            np.frombuffer(images[-1].data, np.float32), 1 / (reds[camera] / 255 + 0.1), rtol=1e-5
        )


def wait_for(node: Node, process: subprocess.Popen, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None
        rclpy.spin_once(node, timeout_sec=0.1)


def answer(node: Node, process: subprocess.Popen, client: Client, request: object) -> object:
    future = client.call_async(request)
    wait_for(node, process, future.done)
    return future.result()


@needs_installation
def test_a_camera_that_cannot_be_opened_ends_the_launch(folder: Path) -> None:
    output = end(start("source:=999", f"model:={folder}/red.onnx", f"namespace:={next(namespaces)}"), 0)
    assert "camera 999" in output
    assert "[camera_node-1]: process has died" in output
    assert "[depth_node-2]: process has finished cleanly" in output


@needs_installation
def test_a_file_that_is_not_looped_ends_the_launch(folder: Path) -> None:
    arguments = (f"source:={folder}", f"model:={folder}/red.onnx", "loop:=false", f"namespace:={next(namespaces)}")
    output = end(start(*arguments), 0)
    assert "come to its end" in output
    assert "[camera_node-1]: process has finished cleanly" in output


@pytest.mark.parametrize(("argument", "named"), [("loop:=perhaps", "loop"), ("params_file:=no.yaml", "no.yaml")])
def test_a_wrong_argument_is_named(argument: str, named: str) -> None:
    process = start(argument, f"namespace:={next(namespaces)}")
    output = end(process, 0)
    assert process.returncode != 0
    assert named in output


@pytest.mark.parametrize("name", ["camera", "depth", "multi_camera"])
def test_every_argument_is_described(name: str) -> None:
    path = share_directory() / "launch" / f"{name}.launch.py"
    specification = importlib.util.spec_from_file_location(f"{name}_launch", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    arguments = module.generate_launch_description().get_launch_arguments()
    common = (
        "model",
        "backend",
        "preset",
        "params_file",
        "autostart",
        "rviz",
        "namespace",
        "log_level",
        "use_sim_time",
    )
    own = {
        "camera": ("source", "calibration", "one_process"),
        "depth": ("image", "camera_info", "image_transport"),
        "multi_camera": ("cameras", "image", "camera_info", "image_transport"),
    }
    assert {argument.name for argument in arguments} >= {*common, *own[name]}
    assert all(argument.description for argument in arguments)


def test_the_parameter_files_name_what_exists_and_its_defaults(tmp_path: Path) -> None:
    """A parameter that a file misspells would be ignored in silence."""
    from depth_anything_ros.nodes.camera_node import CameraNode

    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    source = rclpy.parameter.Parameter("source", value=str(tmp_path))
    rclpy.init()
    try:
        node = CameraNode(namespace=next(namespaces), parameter_overrides=[source])
        defaults = {name: node.get_parameter(name).value for name in node.list_parameters([], 1).names}
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    config = share_directory() / "config"
    documented = yaml.safe_load((config / "camera_node.yaml").read_text())["/**/camera_node"]["ros__parameters"]
    of_every_node = {"use_sim_time", "start_type_description_service"}
    assert set(documented) == set(defaults) - of_every_node
    assert {name: value for name, value in documented.items() if value != defaults[name]} == {"source": "0"}
    launched = yaml.safe_load((config / "camera_launch.yaml").read_text())["/**/camera_node"]["ros__parameters"]
    assert set(launched) < set(defaults)


def test_the_viewer_shows_topics_that_are_published() -> None:
    configuration = yaml.safe_load((share_directory() / "rviz" / "camera.rviz").read_text())["Visualization Manager"]
    topics = {display["Topic"]["Value"] for display in configuration["Displays"] if "Topic" in display}
    assert topics == {"image_raw", "depth/image_color", "points"}


@pytest.mark.parametrize(
    "path", sorted((share_directory() / "config" / "presets").glob("*.yaml")), ids=lambda path: path.stem
)
def test_presets_name_what_exists_and_what_it_may_be(path: Path, tmp_path: Path) -> None:
    from depth_anything_ros.nodes.camera_node import CameraNode
    from depth_anything_ros.nodes.depth_node import DepthNode

    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    source = rclpy.parameter.Parameter("source", value=str(tmp_path))
    arguments = ["--ros-args", "--params-file", str(path)]
    kinds = {"camera_node": (CameraNode, {"parameter_overrides": [source]}), "depth_node": (DepthNode, {})}
    rclpy.init()
    try:
        for section, content in yaml.safe_load(path.read_text()).items():
            create, options = kinds[section.rpartition("/")[2]]
            node = create(namespace=next(namespaces), cli_args=arguments, **options)
            for name, value in flattened(content["ros__parameters"]).items():
                assert node.get_parameter(name).value == value, name
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


def flattened(parameters: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in parameters.items():
        found |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found
