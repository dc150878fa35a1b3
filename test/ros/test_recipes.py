"""Recipes: files for other packages, checked against what their sources declare, or against the packages themselves."""

from __future__ import annotations

import importlib.util
import itertools
import math
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed")

import rclpy
import yaml
from consumer_rules import BRIDGE_KEYS, BRIDGE_TYPES, DEPTH, DRIVERS, NODES, RELIABLE
from depth_node_graph import OUTPUTS
from launch import LaunchContext
from launch.actions import IncludeLaunchDescription
from launch_ros.actions import Node
from launched import (
    actions,
    answer,
    end,
    images_and_model,  # noqa: F401 - the fixture `folder`
    needs_installation,
    start,
    wait_for,
)
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSCompatibility, qos_check_compatible
from sensor_msgs.msg import Image
from voxel_layer import VoxelLayer

from depth_anything_ros.ros.launch_arguments import presets
from depth_anything_ros.ros.parameter_files import is_read, section_keys

REPOSITORY = Path(__file__).parents[2]
CONFIG, PAGES = REPOSITORY / "config" / "recipes", REPOSITORY / "docs" / "recipes"
LAUNCH_FILES = sorted((REPOSITORY / "launch" / "recipes").glob("*.launch.py"))
FILES = sorted(path for path in CONFIG.glob("*.yaml") if path.stem != "gazebo_bridge")
TOPICS = {**OUTPUTS, "depth/sigma": Image}
"""What the depth node publishes."""
by_name = {"ids": lambda path: path.name.partition(".")[0]}
names = (f"recipe{number}" for number in itertools.count())


def flattened(parameters: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        found |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def sections(path: Path) -> dict[str, dict[str, Any]]:
    """Return the parameters of a file by the node's own name."""

    def found(mapping: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
        if "ros__parameters" in mapping:
            return {name: flattened(mapping["ros__parameters"])}
        return {
            key: value for child in mapping for key, value in found(mapping[child], child.rpartition("/")[2]).items()
        }

    return found(yaml.safe_load(path.read_text()), "")


def section(name: str, node: str) -> dict[str, Any]:
    return sections(CONFIG / f"{name}.yaml")[node]


def launch_module(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"recipe_{path.name.partition('.')[0]}", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, **by_name)
def test_parameters_are_declared_by_their_nodes(path: Path) -> None:
    """Every name is in the source of the node, and the depth node takes the values of its section."""
    from depth_anything_ros.ros.depth_node.node import DepthNode

    found = sections(path)
    for name, parameters in found.items():
        if name != "depth_node":
            assert NODES[name].undeclared(list(parameters)) == [], NODES[name].source
    rclpy.init()
    try:  # rcl reads the whole file
        node = DepthNode(namespace=next(names), cli_args=["--ros-args", "--params-file", str(path)])
        for name, value in found["depth_node"].items():
            assert node.get_parameter(name).value == value, name
        node.destroy_node()
    finally:
        rclpy.try_shutdown()


@pytest.mark.parametrize("path", FILES, **by_name)
def test_every_number_is_explained(path: Path) -> None:
    """A comment is at most three lines above it, or above the same number earlier in the file."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    explained: set[str] = set()
    for number, line in enumerate(lines):
        if not re.search(r": -?[0-9.]+$", line):
            continue
        if any(above.startswith("#") for above in lines[max(number - 3, 0) : number]):
            explained.add(line)
        assert line in explained, f"{path.name}:{number + 1}: {line}"


@pytest.mark.parametrize("path", LAUNCH_FILES, **by_name)
def test_launch_file_connects_topics_that_fit(path: Path) -> None:
    """Its nodes are those of the rules, have a section, and get our topics with the right type and QoS."""
    module = launch_module(path)
    arguments = [argument.name for argument in module.generate_launch_description().get_launch_arguments()]
    assert {*module.DEFAULTS, "model", "backend", "image_transport", "rviz", "respawn"} <= set(arguments)
    (depth,) = [
        action
        for action in actions("depth", *(f"{name}:={value}" for name, value in module.DEFAULTS.items()))
        if isinstance(action, Node)
    ]
    depth._perform_substitutions(LaunchContext())
    assert ("image", module.DEFAULTS["image"]) in depth.expanded_remapping_rules
    context = LaunchContext()
    context.launch_configurations.update({"use_sim_time": "", **module.DEFAULTS, "namespace": "eyes/front"})
    prefix = "/eyes/front/"
    for node in getattr(module, "nodes", lambda _: [])(context):
        node._perform_substitutions(context)
        name = node.node_name.rpartition("/")[2]
        rules = NODES[name]
        assert (node.node_package, node.node_executable) == (rules.package, rules.executable)
        assert is_read(section_keys(module.DEFAULTS["params_file"]), f"/{node.node_name.lstrip('/')}")
        remapped = dict(node.expanded_remapping_rules or [])
        assert set(rules.inputs) <= set(remapped) <= {*rules.inputs, *rules.outputs}, rules.source
        for topic, needed in rules.inputs.items():
            target = remapped[topic]
            if target == module.DEFAULTS["image"]:
                assert needed.kind is Image
                continue
            assert target.startswith(prefix)
            assert TOPICS[target.removeprefix(prefix)] is needed.kind
            compatibility, reason = qos_check_compatible(RELIABLE, needed.qos)
            assert compatibility != QoSCompatibility.ERROR, reason
            if needed.encodings:
                assert "32FC1" in needed.encodings
                assert target == f"{prefix}depth/image_rect"


@pytest.mark.parametrize("name", DRIVERS)
def test_camera_recipe_reads_topics_of_the_driver(name: str) -> None:
    source, topics = DRIVERS[name]
    (path,) = [path for path in LAUNCH_FILES if path.name.startswith(f"{name}.")]
    defaults = launch_module(path).DEFAULTS
    named = {key: value for key, value in defaults.items() if key in ("image", "sensor_depth", "sensor_depth_info")}
    assert set(named.values()) == set(topics), source
    assert topics[named["image"]] in ("rgb8", "bgr8", "bgra8")
    if "sensor_depth" in named:
        assert topics[named["sensor_depth"]] in DEPTH
        assert defaults["scale"] == "depth_image"
    page = (PAGES / f"{name}.md").read_text()
    assert name == "gazebo" or named["image"] in page


def test_recipes_include_depth_launch_file() -> None:
    for path in LAUNCH_FILES:
        description = launch_module(path).generate_launch_description()
        included = [entity for entity in description.entities if isinstance(entity, IncludeLaunchDescription)]
        assert len(included) == 1


def test_missing_consumer_names_command_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A depth node that starts and is killed hides the reason among its own lines."""
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    (path,) = [path for path in LAUNCH_FILES if path.name.startswith("rtabmap.")]
    output, _ = (process := start(name=path)).communicate()
    assert process.returncode == 1
    command = "run sudo apt install ros-jazzy-rtabmap-sync ros-jazzy-rtabmap-slam"
    assert f"rtabmap_sync and rtabmap_slam are not installed: {command}" in output
    assert "process started" not in output


def test_index_and_pages_name_every_file_and_package() -> None:
    index = (PAGES / "README.md").read_text()
    pages = {path.name: path.read_text() for path in PAGES.glob("*.md")}
    for page in set(pages) - {"README.md"}:
        assert f"]({page})" in index, page
    text = "".join(pages.values())
    for path in (*CONFIG.iterdir(), *LAUNCH_FILES, *PAGES.glob("*.py")):
        assert path.name in text, path.name
    assert not set(presets()) - {"realsense_color", "simulation", "usb_jetson", "webcam", "zed"}  # name a new one there


def test_pages_say_how_they_were_tried() -> None:
    for path in PAGES.glob("*.md"):
        if path.name != "README.md":
            assert re.search(r"^\*\*(Tested|Partly tested|Not run)\b", path.read_text(), re.MULTILINE), path.name


# --- Nav2 ---


def corridor(obstacle: bool) -> np.ndarray:
    """A cloud (H, W, 3) in the optical frame, 1 m above a floor; a wall at 20 m, optionally a box at 3 m."""
    rows, columns = np.mgrid[0:96, 0:128].astype(float)
    x, y = (columns - 63.5) / 96, (rows - 47.5) / 96
    with np.errstate(divide="ignore"):
        depth = np.minimum(np.where(y > 0, 1.0 / y, np.inf), 20.0)
    if obstacle:
        depth[36:70, 40:88] = np.minimum(depth[36:70, 40:88], 3.0)
    return np.stack([x * depth, y * depth, depth], axis=2)


def nested(flat: dict[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in flat.items():
        if name.startswith(prefix):
            *groups, last = name.removeprefix(prefix).split(".")
            inner = found
            for group in groups:
                inner = inner.setdefault(group, {})
            inner[last] = value
    return found


def test_voxel_layer_marks_obstacle_and_clears_it() -> None:
    """The model of Nav2's layer (helpers/voxel_layer.py) with the recipe's numbers."""
    parameters = nested(section("nav2_voxel_layer", "local_costmap"), "voxel_layer.")
    layer = VoxelLayer(parameters, height=1.0)
    layer.update(corridor(False))
    assert layer.cells == 0  # neither floor nor far wall
    layer.update(corridor(True))
    assert layer.cells > 10
    layer.update(corridor(False))
    assert layer.cells == 0
    assert parameters["z_voxels"] * parameters["z_resolution"] == parameters["max_obstacle_height"]
    for layer_file in ("nav2_voxel_layer", "nav2_stvl"):
        given = section(layer_file, "local_costmap")
        assert {value for name, value in given.items() if name.endswith(".topic")} == {"/depth_anything/points"}
        assert {value for name, value in given.items() if name.endswith(".data_type")} == {"PointCloud2"}
    assert parameters["depth_clears"]["raytrace_max_range"] > parameters["depth_marks"]["obstacle_max_range"]


def seconds_in_view(decay: float, acceleration: float, rate: float) -> float:
    """STVL's linear decay in a frustum: each update moves the time of the mark back by a·Δt³/6.

    https://github.com/SteveMacenski/spatio_temporal_voxel_layer/blob/ros2/spatio_temporal_voxel_layer/src/spatio_temporal_voxel_grid.cpp
    """
    mark, now = 0.0, 0.0
    while True:
        now += 1 / rate
        since = now - mark
        moved = acceleration * since**3 / 6
        if decay - since - moved < 0:
            return now
        mark -= moved


def test_stvl_numbers_are_those_of_the_comments() -> None:
    flat = section("nav2_stvl", "local_costmap")
    layer = nested(flat, "stvl_layer.")
    marks, clears = layer["depth_marks"], layer["depth_clears"]
    assert seconds_in_view(layer["voxel_decay"], clears["decay_acceleration"], 5.0) == pytest.approx(0.8)
    assert seconds_in_view(layer["voxel_decay"], 0.0, 5.0) == pytest.approx(3.2, abs=0.3)
    across = math.tan(math.radians(65) / 2)  # a webcam of 65° with 4:3 pixels
    assert clears["horizontal_fov_angle"] == pytest.approx(2 * math.atan(across), abs=1e-3)
    assert clears["vertical_fov_angle"] == pytest.approx(2 * math.atan(0.75 * across), abs=1e-3)
    stride = section("nav2_stvl", "depth_node")["points.stride"]
    points = (layer["voxel_size"] * 600 / marks["obstacle_range"] / stride) ** 2
    assert points == pytest.approx(9)
    assert points > 2 * marks["voxel_min_points"]
    assert clears["max_z"] == section("nav2_stvl", "depth_node")["points.max_depth"] > marks["obstacle_range"]


# --- OctoMap, the library ---


def test_octomap_forgets_what_one_frame_invented() -> None:
    """The library that octomap_server uses, with the recipe's sensor model."""
    octomap = pytest.importorskip("pyoctomap", reason="pyoctomap is not installed")
    flat = section("octomap", "octomap_server")

    def frames_until_free(hits: int, probability: float = flat["sensor_model.hit"]) -> int:
        tree = octomap.OcTree(flat["resolution"])
        tree.setProbHit(probability)
        tree.setProbMiss(flat["sensor_model.miss"])
        tree.setClampingThresMin(flat["sensor_model.min"])
        tree.setClampingThresMax(flat["sensor_model.max"])
        near, far = np.array([[2.02, 0.02, 0.02]]), np.array([[4.02, 0.02, 0.02]])

        def insert(points: np.ndarray) -> None:
            tree.insertPointCloud(points, np.array([0.02, 0.02, 0.02]), flat["sensor_model.max_range"])

        def is_occupied() -> bool:
            return bool(tree.isNodeOccupied(tree.search(near[0])))

        for _ in range(hits):
            insert(near)
        assert is_occupied()
        count = 0
        while is_occupied():
            insert(far)
            count += 1
        return count

    assert frames_until_free(1) == 1
    assert frames_until_free(1, 0.7) == 2
    assert frames_until_free(100) == 5


def test_octomap_of_our_cloud_has_the_obstacle_and_no_air() -> None:
    octomap = pytest.importorskip("pyoctomap", reason="pyoctomap is not installed")
    flat = section("octomap", "octomap_server")
    stride = section("octomap", "depth_node")["points.stride"]
    cloud = corridor(True)[::stride, ::stride].reshape(-1, 3)
    cloud[1::7] = np.nan  # the server removes NaN, as PCL's filters do
    tree = octomap.OcTree(flat["resolution"])
    tree.setProbHit(flat["sensor_model.hit"])
    tree.setProbMiss(flat["sensor_model.miss"])
    seen = cloud[np.isfinite(cloud).all(axis=1)].astype(float)
    tree.insertPointCloud(seen, np.zeros(3), flat["sensor_model.max_range"])
    box = tree.search([0.02, 0.02, 3.02])
    assert box is not None
    assert tree.isNodeOccupied(box)
    assert not tree.isNodeOccupied(tree.search([0.02, 0.02, 1.52]))
    assert tree.search([0.02, 0.02, 3.52]) is None  # behind it


# --- depthimage_to_laserscan ---


def test_laser_scan_of_a_wall_is_straight() -> None:
    """The node's conversion: for each column the nearest range of the rows around the principal point.

    https://github.com/ros-perception/depthimage_to_laserscan/blob/ros2/include/depthimage_to_laserscan/DepthImageToLaserScan.hpp
    """
    flat = section("depthimage_to_laserscan", "depthimage_to_laserscan")
    cloud = corridor(False)
    depth, focal, center = np.minimum(cloud[..., 2], 4.0), 96.0, 47.5
    rows = round(flat["scan_height"] * 96 / 480)
    first = int(center - rows / 2)
    x = (np.arange(128) - 63.5) / focal
    ranges = np.min(depth[first : first + rows] * np.hypot(x, 1), axis=0)
    ranges[(ranges < flat["range_min"]) | (ranges > flat["range_max"])] = np.inf
    assert ranges * np.cos(np.arctan(x)) == pytest.approx(np.full(128, 4.0))
    degrees = math.degrees(flat["scan_height"] / 600)  # of a camera with 600 pixels of focal length
    assert degrees == pytest.approx(1.0, abs=0.1)


# --- compressedDepth ---


def test_compressed_depth_holds_all_of_our_range() -> None:
    """Codes are trunc(A / depth + B) in 16 bits; what is not below depth_max is 0, for nothing.

    https://github.com/ros-perception/image_transport_plugins/blob/rolling/compressed_depth_image_transport/src/codec.cpp
    """
    depth = section("compressed_depth", "depth_node")
    flat = section("compressed_depth", "image_republisher")
    for prefix in ("out", ".out", "out.compressedDepth"):
        farthest, quantization = flat[f"{prefix}.depth_max"], flat[f"{prefix}.depth_quantization"]
        factor = quantization * (quantization + 1)
        offset = 1 - factor / farthest
        meters = np.linspace(depth["min_depth"], depth["max_depth"], 1000)
        codes = np.trunc(factor / meters + offset)
        assert 0 < codes.min() < codes.max() < 2**16
        assert np.abs(factor / (codes - offset) - meters).max() < 1.1 * depth["max_depth"] ** 2 / factor
    assert 10**2 / factor == pytest.approx(0.01, rel=0.02)


# --- Gazebo ---


def test_gazebo_bridge_carries_what_the_depth_node_reads() -> None:
    entries = yaml.safe_load((CONFIG / "gazebo_bridge.yaml").read_text())
    for entry in entries:
        assert set(entry) <= BRIDGE_KEYS
        assert (entry["ros_type_name"], entry["gz_type_name"]) in BRIDGE_TYPES
        assert entry["direction"] == "GZ_TO_ROS"
    topics = {entry["ros_topic_name"] for entry in entries}
    assert {*NODES["gz_bridge"].outputs, "/clock"} == topics


# --- Open3D ---


def test_open3d_fuses_our_depth_into_the_scene(tmp_path: Path) -> None:
    pytest.importorskip("open3d", reason="open3d is not installed")
    pytest.importorskip("rosbags", reason="the test writes bags with rosbags")
    pytest.importorskip("onnx", reason="the test writes a model with the onnx package")
    from bag_files import put_bag
    from calibration_bags import START, A, B, depth_seen, every, image_message, info_message, pose, write_network

    from depth_anything_ros.cli import main

    image, rate = "/camera/image_rect", 5
    put_bag(
        tmp_path / "in", {"/camera/camera_info": every(0.6, rate, info_message), image: every(0.6, rate, image_message)}
    )
    model = write_network(tmp_path / "exact.onnx")
    scale = ("--param", f"scale.a:={A}", "--param", f"scale.b:={B}", "--backend", "onnxruntime")
    assert main(["bag", str(tmp_path / "in"), str(tmp_path / "out.mcap"), "--model", str(model), *scale]) == 0
    from scipy.spatial.transform import Rotation

    with (tmp_path / "poses.txt").open("w") as file:
        for number in range(3):
            at = pose(number / rate)
            quaternion = Rotation.from_matrix(at.rotation).as_quat()
            print(START + number / rate, *at.translation, *quaternion, file=file)
    script = PAGES / "open3d_tsdf.py"
    arguments = [str(tmp_path / name) for name in ("out.mcap", "poses.txt", "mesh.ply")]
    finished = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("3 frames, ")
    import open3d

    vertices = np.asarray(open3d.io.read_triangle_mesh(arguments[2]).vertices)
    assert len(vertices) > 500
    first = pose(0.0).inverse()
    seen = vertices @ first.rotation.T + first.translation
    truth = depth_seen(pose(0.0))
    from calibration_bags import CAMERA

    pixels = np.round(CAMERA.project(seen)).astype(int)
    inside = np.all((pixels >= 0) & (pixels < (CAMERA.width, CAMERA.height)), axis=1)
    errors = np.abs(truth[pixels[inside, 1], pixels[inside, 0]] - seen[inside, 2])
    assert np.median(errors) < 0.03


# --- launched ---


@needs_installation
def test_launched_recipe_gives_its_parameters_to_the_depth_node(folder: Path) -> None:
    """The whole chain: the recipe includes depth.launch.py, which gives the file to the process."""
    rclpy.init()
    node = rclpy.create_node(next(names))
    arguments = [
        f"model:={folder / 'red.onnx'}",
        "backend:=onnxruntime",
        "namespace:=recipe",
        "image:=/nothing/image_rect",
    ]
    process = start(*arguments, name=REPOSITORY / "launch" / "recipes" / "nav2_voxel_layer.launch.py")
    try:
        client = node.create_client(GetParameters, "/recipe/depth_node/get_parameters")
        wait_for(node, process, client.service_is_ready)
        flat = section("nav2_voxel_layer", "depth_node")
        values = answer(node, process, client, GetParameters.Request(names=list(flat))).values
        assert [parameter_value_to_python(value) for value in values] == list(flat.values())
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        end(process)
