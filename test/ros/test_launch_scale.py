"""depth.launch.py with sensors that tell the scale: its arguments reach the node, and wrong ones name the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("launch_ros", reason="needs the launch system of ROS 2")
pytest.importorskip("onnx", reason="the tests write a model with the onnx package")

from client_node import client_node  # noqa: F401 - the fixture `node`
from launch import LaunchContext
from launched import (
    actions,
    end,
    images_and_model,  # noqa: F401 - the fixture `folder`
    needs_installation,
    start,
    wait_for,
)
from rclpy.node import Node
from sensor_msgs.msg import Image

from depth_anything_ros.ros.scale_launch_arguments import SENSORS, scale_parameters, sensor_remappings

EMPTY = dict.fromkeys(("scale", "camera_height", "camera_pitch", "odom_frame", *SENSORS), "")


@needs_installation
def test_depth_launch_scales_by_ground_plane(node: Node, folder: Path) -> None:
    """`scale:=ground_plane camera_height:=0.3` reaches the node, which asks for the ground's topics."""
    node.create_subscription(Image, "depth/image_rect", lambda _: None, 10)  # sources are subscribed while depth is
    namespace = node.get_namespace().strip("/")
    arguments = ("scale:=ground_plane,laser_scan", "camera_height:=0.3", "scan:=front/scan")
    process = start(f"model:={folder}/red.onnx", f"namespace:={namespace}", *arguments, name="depth")
    try:
        wait_for(node, process, lambda: node.count_subscribers("scale/imu") and node.count_subscribers("front/scan"))
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert "once it is scaled by ground_plane and laser_scan" in output


@pytest.mark.parametrize(
    ("argument", "fix"),
    [
        ("scale:=lidar", "choose from ground_plane"),
        ("camera_height:=high", "must be a positive number of meters"),
        ("camera_height:=-1", "must be a positive number of meters"),
        ("camera_pitch:=100", "must be a number of degrees"),
    ],
)
def test_invalid_scale_arguments_name_fix(argument: str, fix: str) -> None:
    context = LaunchContext()
    context.launch_configurations.update(EMPTY)
    name, _, value = argument.partition(":=")
    context.launch_configurations[name] = value
    with pytest.raises(ValueError, match=fix):
        scale_parameters(context)


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"odom": "/odom"}, {"scale.odometry": "topic"}),
        ({"odom_frame": "odom_combined"}, {"scale.odometry": "tf", "scale.odom_frame": "odom_combined"}),
        ({}, {}),
    ],
)
def test_odometry_arguments_become_parameters(arguments: dict[str, str], parameters: dict[str, object]) -> None:
    context = LaunchContext()
    context.launch_configurations.update(EMPTY | {"scale": "motion"} | arguments)
    assert scale_parameters(context, "odom" in arguments) == {"scale.source": ["motion"]} | parameters


def test_scale_nominal_sets_the_parameter() -> None:
    context = LaunchContext()
    context.launch_configurations.update(EMPTY | {"scale": "nominal"})
    assert scale_parameters(context) == {"scale.nominal": True}
    context.launch_configurations["scale"] = "nominal,laser_scan"
    with pytest.raises(ValueError, match="'nominal' is no source"):
        scale_parameters(context)


def test_nominal_scale_uses_no_sensor_topic() -> None:
    context = LaunchContext()
    context.launch_configurations.update(EMPTY | {"scale": "nominal", "odom": "/odom"})
    assert sensor_remappings(context) == []


def test_odometry_is_a_topic_or_a_frame() -> None:
    context = LaunchContext()
    context.launch_configurations.update(EMPTY | {"odom_frame": "odom"})
    with pytest.raises(ValueError, match="not both"):
        scale_parameters(context, has_odometry=True)


def test_argument_odom_of_an_outer_launch_file_is_not_ours() -> None:
    context = LaunchContext()
    context.launch_configurations.update(EMPTY | {"odom": "true", "respawn": "false", "namespace": "a"})
    assert scale_parameters(context) == {}


@needs_installation
def test_depth_launch_measures_by_motion(node: Node, folder: Path) -> None:
    """`scale:=motion odom:=…` reaches the node, which asks for the odometry."""
    node.create_subscription(Image, "depth/image_rect", lambda _: None, 10)
    namespace = node.get_namespace().strip("/")
    arguments = (f"model:={folder}/red.onnx", f"namespace:={namespace}", "scale:=motion", "odom:=wheels/odom")
    process = start(*arguments, name="depth")
    try:
        wait_for(node, process, lambda: node.count_subscribers("wheels/odom"))
    finally:
        output = end(process)
    assert process.returncode == 0, output


def test_sensor_topics_are_remapped_only_for_their_source() -> None:
    context = LaunchContext()
    context.launch_configurations.update(
        EMPTY | {"scale": "laser_scan,ground_plane", "scan": "/scan", "points": "/lidar", "camera_pitch": "10"}
    )
    assert sensor_remappings(context) == [("scale/scan", "/scan")]
    assert scale_parameters(context)["scale.camera_pitch"] == 10.0


def test_cameras_share_a_sensor_or_have_their_own() -> None:
    """One laser for both cameras and a depth camera for each; odometry carries the scale of both."""
    given = ("cameras:=front,left", "scale:=laser_scan,depth_image", "scan:=/scan", "odom:=/odom")
    (node,) = actions("multi_camera", *given, "sensor_depth:=/{camera}/depth/image_raw")
    node._perform_substitutions(LaunchContext())
    rules = dict(node.expanded_remapping_rules)
    for camera in ("front", "left"):
        assert rules[f"{camera}/scale/scan"] == "/scan"
        assert rules[f"{camera}/scale/odometry"] == "/odom"
        assert rules[f"{camera}/scale/depth/image_rect"] == f"/{camera}/depth/image_raw"
    (file,) = [path for path, _ in node._Node__expanded_parameter_arguments]
    assert '"scale.odometry": "topic"' in Path(file).read_text()


@needs_installation
def test_camera_launch_takes_the_sensors_of_the_scale(node: Node, folder: Path) -> None:
    node.create_subscription(Image, "depth/image_rect", lambda _: None, 10)
    namespace = node.get_namespace().strip("/")
    arguments = (f"source:={folder}", f"model:={folder}/red.onnx", f"namespace:={namespace}", "scan:=front/scan")
    process = start(*arguments, "scale:=laser_scan", "points:=lidar", name="camera")
    try:
        wait_for(node, process, lambda: node.count_subscribers("front/scan"))
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert "points:=lidar has no effect" in output
