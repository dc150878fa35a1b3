"""camera.launch.py and depth.launch.py under `ros2 launch`: nodes start, use their arguments and end together."""

from __future__ import annotations

import os
import signal
import urllib.request
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
from launched import (
    HEIGHT,
    WIDTH,
    actions,
    answer,
    end,
    images_and_model,  # noqa: F401 - the fixture `folder`
    launch_module,
    needs_installation,
    processes_of,
    start,
    wait_for,
)
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_anything_ros.geometry.calibration import Calibration
from depth_anything_ros.ros.camera_node.node import camera_info_message, image_message
from depth_anything_ros.system.package_share import share_directory


@needs_installation
def test_camera_launch_publishes_depth_and_ends_cleanly(node: Node, folder: Path) -> None:
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
        wait_for(node, process, lambda: min(map(len, received.values())) >= 3)
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
def test_one_process_launch_gives_same_depth_without_dds_images(node: Node, folder: Path) -> None:
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


def nominal(folder: Path) -> str:
    """Return the argument that has the test model give meters."""
    path = folder / "nominal.yaml"
    path.write_text(yaml.safe_dump({"/**/depth_node": {"ros__parameters": {"scale": {"nominal": True}}}}))
    return f"params_file:={path}"


@needs_installation
@pytest.mark.parametrize(
    ("transport", "info_topic", "arguments"),
    [
        ("raw", "front/camera_info", ()),
        ("raw", "elsewhere/info", ("camera_info:=elsewhere/info",)),
        ("compressed", "front/camera_info", ("image_transport:=compressed",)),
    ],
)
def test_depth_launch_serves_running_camera(
    node: Node, folder: Path, transport: str, info_topic: str, arguments: tuple[str, ...]
) -> None:
    clouds: list[PointCloud2] = []
    node.create_subscription(PointCloud2, "points", clouds.append, 10)
    kind, suffix = (CompressedImage, "/compressed") if transport == "compressed" else (Image, "")
    images = node.create_publisher(kind, f"front/image_raw{suffix}", 5)
    infos = node.create_publisher(CameraInfo, info_topic, 5)
    picture = cv2.imread(str(folder / "first.png"))
    image = image_message(picture)
    if transport == "compressed":
        image = CompressedImage(format="png", data=(folder / "first.png").read_bytes())
    info = camera_info_message(Calibration.from_field_of_view(WIDTH, HEIGHT, 60.0))

    def shows_images() -> bool:
        image.header.frame_id = info.header.frame_id = "front_optical_frame"
        image.header.stamp = info.header.stamp = node.get_clock().now().to_msg()
        infos.publish(info)
        images.publish(image)
        return bool(clouds)

    namespace = node.get_namespace().strip("/")
    process = start(
        *("image:=front/image_raw", f"model:={folder}/red.onnx", f"namespace:={namespace}", nominal(folder)),
        *arguments,
        name="depth",
    )
    try:
        wait_for(node, process, shows_images)
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert "[depth_node-1]: process has finished cleanly" in output
    assert clouds[0].header.frame_id == "front_optical_frame"
    assert np.frombuffer(clouds[0].data, np.float32)[2] == pytest.approx(2.0)


@needs_installation
@pytest.mark.parametrize(("name", "one_process"), [("depth", False), ("camera", False), ("camera", True)])
def test_autostart_false_waits_for_lifecycle_manager(node: Node, folder: Path, name: str, one_process: bool) -> None:
    namespace = node.get_namespace().strip("/")
    own = [f"source:={folder}", f"one_process:={str(one_process).lower()}"] if name == "camera" else []
    process = start(f"model:={folder}/red.onnx", f"namespace:={namespace}", "autostart:=false", *own, name=name)
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
def test_failed_transition_does_not_end_launch(node: Node, folder: Path) -> None:
    process = start(f"model:={folder}/red.onnx", f"namespace:={node.get_namespace().strip('/')}", name="depth")
    state = node.create_client(GetState, "depth_node/get_state")
    change = node.create_client(ChangeState, "depth_node/change_state")
    parameters = node.create_client(SetParameters, "depth_node/set_parameters")

    def is_in(label: str) -> bool:
        return answer(node, process, state, GetState.Request()).current_state.label == label

    def succeeds(transition: str) -> bool:
        request = ChangeState.Request()
        request.transition.label = transition
        return answer(node, process, change, request).success

    def set_model(name: str) -> None:
        request = SetParameters.Request(parameters=[Parameter("model", value=name).to_parameter_msg()])
        assert answer(node, process, parameters, request).results[0].successful

    try:
        wait_for(node, process, lambda: all(client.service_is_ready() for client in (state, change, parameters)))
        wait_for(node, process, lambda: is_in("active"))
        assert succeeds("deactivate")
        assert succeeds("cleanup")
        set_model(f"{folder}/absent.onnx")
        assert not succeeds("configure")
        set_model(f"{folder}/red.onnx")
        assert succeeds("configure")
        assert is_in("inactive")  # and not taken on to active
        assert succeeds("activate")
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert "ending the launch" not in output.partition("signal_handler")[0]


@needs_installation
def test_second_node_of_same_name_runs_with_warning(node: Node, folder: Path) -> None:
    """Whatever a launch asks of it might reach the first one."""
    namespace = node.get_namespace().strip("/")
    arguments = (f"model:={folder}/red.onnx", f"namespace:={namespace}")
    log: list[str] = []
    kept = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)  # what was said before we met, too
    node.create_subscription(Log, "/rosout", lambda line: log.append(line.msg), kept)
    first = start(*arguments, name="depth")
    try:
        wait_for(node, first, lambda: node.count_publishers("points") == 1)
        second = start(*arguments, name="depth")
        try:
            wait_for(node, second, lambda: node.count_publishers("points") == 2)
            wait_for(node, second, lambda: len([line for line in log if "is used by 2 nodes" in line]) == 2)
        finally:
            output = end(second)
    finally:
        end(first)
    assert second.returncode == 0, output
    assert f"the name /{namespace}/depth_node is used by 2 nodes" in output


@needs_installation
def test_respawn_restarts_killed_node(node: Node, folder: Path) -> None:
    depths: list[Image] = []
    node.create_subscription(Image, "depth/image_rect", depths.append, 10)
    publisher = node.create_publisher(Image, "image", 5)
    image = image_message(cv2.imread(str(folder / "first.png")))

    def gives_depth() -> bool:
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)
        return bool(depths)

    namespace = node.get_namespace().strip("/")
    process = start(
        f"model:={folder}/red.onnx", f"namespace:={namespace}", nominal(folder), "respawn:=true", name="depth"
    )
    try:
        killed: set[int] = set()

        def started() -> set[int]:
            return set(processes_of(process.pid)) - {process.pid} - killed

        for _ in range(3):
            wait_for(node, process, started)
            depths.clear()  # what the one before sent last may have come meanwhile
            wait_for(node, process, gives_depth)
            (child,) = started()  # the script that starts it has had children of its own before
            os.kill(child, signal.SIGKILL)
            killed.add(child)
    finally:
        output = end(process)
    assert process.returncode == 0, output


@needs_installation
def test_arguments_override_params_file_and_preset(node: Node, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = node.get_namespace().strip("/")
    own = {"max_depth": 7.0, "autostart": False, "use_sim_time": True}
    # Of two sections ROS lets the later key win, whatever file it stands in.
    sections = {f"/{namespace}/depth_node": own, "/**": {"model": "none"}}
    params_file = folder / "parameters.yaml"
    params_file.write_text(
        yaml.safe_dump({key: {"ros__parameters": values} for key, values in sections.items()}, sort_keys=False)
    )
    monkeypatch.setenv("HOME", str(folder))
    process = start(
        *("preset:=realsense_color", "params_file:=~/parameters.yaml", f"model:={folder}/red.onnx"),
        *(f"namespace:={namespace}", "rectified:=auto"),
        name="depth",
    )
    client = node.create_client(GetParameters, "depth_node/get_parameters")
    state = node.create_client(GetState, "depth_node/get_state")
    request = GetParameters.Request(names=["max_rate", "max_depth", "model", "rectified", "autostart", "use_sim_time"])
    try:
        wait_for(node, process, lambda: client.service_is_ready() and state.service_is_ready())
        max_rate, max_depth, model, rectified, autostart, use_sim_time = answer(node, process, client, request).values
        label = answer(node, process, state, GetState.Request()).current_state.label
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert (max_rate.double_value, max_depth.double_value) == (30.0, 7.0)
    assert (model.string_value, rectified.string_value) == (f"{folder}/red.onnx", "auto")
    assert (autostart.bool_value, use_sim_time.bool_value) == (False, True)
    assert label == "unconfigured"


OUTER = """
from launch import LaunchDescription
from launch.actions import ExecuteProcess, GroupAction, IncludeLaunchDescription
from launch_ros.actions import PushRosNamespace, SetParameter

def generate_launch_description():
    ours = IncludeLaunchDescription({path!r}, launch_arguments={arguments!r}.items())
    other = ExecuteProcess(cmd=["sleep", "600"])
    actions = [PushRosNamespace({namespace!r}), SetParameter("use_sim_time", True), other, ours]
    return LaunchDescription([GroupAction(actions)])
"""


@needs_installation
def test_outer_launch_file_sets_namespace_and_parameters(node: Node, folder: Path) -> None:
    namespace = node.get_namespace().strip("/")
    params_file = folder / "parameters.yaml"
    full_name = f"/{namespace}/depth_anything/depth_node"
    params_file.write_text(yaml.safe_dump({full_name: {"ros__parameters": {"max_depth": 7.0}}}))
    arguments = {"params_file": str(params_file), "model": f"{folder}/red.onnx", "rviz": "False"}
    path = str(share_directory() / "launch" / "depth.launch.py")
    outer = folder / "outer.launch.py"
    outer.write_text(OUTER.format(path=path, arguments=arguments, namespace=namespace))
    process = start(name=outer)
    client = node.create_client(GetParameters, "depth_anything/depth_node/get_parameters")
    state = node.create_client(GetState, "depth_anything/depth_node/get_state")
    request = GetParameters.Request(names=["max_depth", "use_sim_time", "autostart"])
    try:
        wait_for(node, process, lambda: client.service_is_ready() and state.service_is_ready())
        max_depth, use_sim_time, autostart = answer(node, process, client, request).values
        wait_for(
            node,
            process,
            lambda: answer(node, process, state, GetState.Request()).current_state.label == "active",
        )
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert (max_depth.double_value, use_sim_time.bool_value, autostart.bool_value) == (7.0, True, True)


def executable_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@needs_installation
def test_view_argument_serves_page_of_the_camera(node: Node, folder: Path) -> None:
    """And the end of the page's process does not end the others."""
    pytest.importorskip("aiohttp", reason="the page needs the extra `view`")
    lines: list[str] = []
    quality = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(Log, "/rosout", lambda message: lines.append(message.msg), quality)
    process = start(
        f"source:={folder}",
        f"model:={folder}/red.onnx",
        f"namespace:={node.get_namespace().strip('/')}",
        "view:=true",
        "view_port:=0",
    )
    try:
        wait_for(node, process, lambda: any("open http://" in line for line in lines))
        url = next(line for line in lines if "open http://" in line).split()[1]
        with urllib.request.urlopen(url, timeout=30) as response:
            assert b"<!doctype html>" in response.read()
        page = [found for found in processes_of(process.pid) if "view_node" in executable_of(found)]
        assert len(page) == 1
        os.kill(page[0], signal.SIGKILL)
        depths: list[Image] = []
        node.create_subscription(Image, "depth/image_rect", depths.append, 10)
        wait_for(node, process, lambda: len(depths) > 2 and page[0] not in processes_of(process.pid))
    finally:
        output = end(process)
    assert process.returncode == 0, output


@pytest.mark.parametrize(
    "arguments", [{"namespace": "front-left"}, {"respawn": "perhaps"}, {"view_port": "http"}, {"view_port": "65536"}]
)
def test_invalid_argument_ends_outer_launch_with_all_processes(folder: Path, arguments: dict[str, str]) -> None:
    path = str(share_directory() / "launch" / "depth.launch.py")
    outer = folder / "outer.launch.py"
    outer.write_text(OUTER.format(path=path, arguments=arguments, namespace=next(namespaces)))
    process = start(name=outer)
    output = end(process, 0)
    assert process.returncode == 1, output
    assert next(iter(arguments.values())) in output


@needs_installation
def test_missing_model_ends_launch_with_message(folder: Path) -> None:
    process = start(f"model:={folder}/absent.onnx", f"namespace:={next(namespaces)}", name="depth")
    output = end(process, 0)
    assert process.returncode == 1, output
    assert "no such model file or folder: " in output
    assert "depth_node failed with exit status 1" in output


@needs_installation
def test_missing_camera_ends_launch(folder: Path) -> None:
    process = start("source:=999", f"model:={folder}/red.onnx", f"namespace:={next(namespaces)}")
    output = end(process, 0)
    assert process.returncode == 1, output
    assert "camera 999" in output
    assert "[camera_node-1]: process has died" in output
    assert "[depth_node-2]: process has finished cleanly" in output


@needs_installation
def test_end_of_unlooped_file_ends_launch(folder: Path) -> None:
    arguments = (f"source:={folder}", f"model:={folder}/red.onnx", "loop:=false", f"namespace:={next(namespaces)}")
    process = start(*arguments)
    output = end(process, 0)
    assert process.returncode == 0, output
    assert "the source has ended" in output
    assert "[camera_node-1]: process has finished cleanly" in output


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("loop:=perhaps", "loop:=perhaps is invalid; choose one of true, false"),
        ("params_file:={folder}/wrong.yaml", "/**/depth_node:"),
        ("rviz:=true", "apt install ros-humble-rviz2 ros-humble-tf2-ros"),
    ],
)
def test_invalid_argument_starts_no_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch, argument: str, named: str
) -> None:
    if argument == "rviz:=true":
        for package in ("rviz2", "tf2_ros"):
            if has_package(package):
                pytest.skip(f"{package} is installed")
    monkeypatch.setenv("ROS_DISTRO", "humble")
    (folder / "wrong.yaml").write_text("depth_node:\n  ros__parameters: {max_depth: 7.0}\n")
    process = start(argument.format(folder=folder), f"model:={folder}/red.onnx")
    output = end(process, 0)
    assert process.returncode == 1, output
    assert named in output
    assert "process started" not in output


@pytest.mark.parametrize(
    ("name", "argument", "named"),
    [
        ("camera", "params_file:=no.yaml", "no.yaml"),
        ("depth", "params_file:={folder}/red.onnx", "not valid YAML"),
        ("camera", "preset:=fisheye", "realsense_color"),
        ("depth", "backend:=openvin", "openvino"),
        ("camera", "namespace:=front-left", "front-left"),
        ("depth", "image:=/camera//image", "image:=/camera//image"),
        ("depth", "image:=/camera/image/compressed", "image:=/camera/image image_transport:=compressed"),
        ("depth", "camera_info:=/front-left/info", "/front-left/info"),
        ("depth", "rviz_frame:=/camera", "rviz_frame:=/camera"),
        ("multi_camera", "cameras:=front,,left", "has an empty name"),
        ("multi_camera", "image:=/camera/image_raw", "write {camera} for"),
        ("multi_camera", "cameras:=front-left", "for example front_left"),
        ("multi_camera", "cameras:=0,1", "for example camera_0"),
        ("multi_camera", "cameras:=front,front", "its own name"),
        ("multi_camera", "cameras:=scale", "choose another name"),
    ],
)
def test_invalid_argument_raises_with_name(folder: Path, name: str, argument: str, named: str) -> None:
    with pytest.raises((ValueError, OSError)) as caught:
        actions(name, argument.replace("{folder}", str(folder)))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("camera", "use_sim_time:=True"),
        ("depth", "rectified:=False"),
        ("depth", "image:=~/image"),
        ("depth", "namespace:="),
        ("depth", "namespace:=/robot/front"),
        ("multi_camera", "image:={camera}/image"),
    ],
)
def test_valid_arguments_are_accepted(name: str, argument: str) -> None:
    assert actions(name, argument)


def has_package(name: str) -> bool:
    try:
        get_package_prefix(name)
    except LookupError:
        return False
    return True


def test_unknown_arguments_warn(folder: Path) -> None:
    arguments = ("modle:=x.onnx", "max_depth:=7.0", "somebodys:=own", f"model:={folder}/absent.onnx")
    output = end(start(*arguments, f"namespace:={next(namespaces)}", name="depth"), 0)
    assert "modle:=x.onnx is not an argument of this launch file, ignored: did you mean model?" in output
    assert "max_depth:=7.0 is not an argument of this launch file, ignored: it is a parameter of depth_node" in output
    assert "somebodys" not in output


@pytest.mark.parametrize("name", ["camera", "depth", "multi_camera"])
def test_every_launch_argument_has_description(name: str) -> None:
    module = launch_module(name)
    arguments = module.generate_launch_description().get_launch_arguments()
    common = (
        "model",
        "backend",
        "preset",
        "params_file",
        "autostart",
        "rviz",
        "view",
        "view_host",
        "view_port",
        "namespace",
        "log_level",
        "use_sim_time",
    )
    own = {
        "camera": ("source", "calibration", "one_process"),
        "depth": ("image", "camera_info", "image_transport", "respawn"),
        "multi_camera": ("cameras", "image", "camera_info", "image_transport", "respawn"),
    }
    assert {argument.name for argument in arguments} >= {*common, *own[name]}
    defaults = {argument.name: "".join(text.text for text in argument.default_value) for argument in arguments}
    # What is passed always goes over params_file and over what an outer launch file has set.
    assert defaults["autostart"] == defaults["use_sim_time"] == ""
    # Drivers own camera/depth/camera_info and camera/depth/image_raw.
    assert defaults["namespace"] == {"camera": "camera", "depth": "depth_anything", "multi_camera": "depth"}[name]
    assert all(argument.description for argument in arguments)


def test_parameter_files_match_declared_parameters(tmp_path: Path) -> None:
    """A parameter that a file misspells would be ignored in silence."""
    from depth_anything_ros.ros.camera_node.node import CameraNode

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


@pytest.mark.parametrize(
    "path", sorted((share_directory() / "config" / "presets").glob("*.yaml")), ids=lambda path: path.stem
)
def test_presets_match_declared_parameters(path: Path, tmp_path: Path) -> None:
    from depth_anything_ros.ros.camera_node.node import CameraNode
    from depth_anything_ros.ros.depth_node.node import DepthNode

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
