"""The files for RViz and Foxglove show the topics that the nodes of each launch file advertise, in their types."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("launch_ros", reason="needs the launch system of ROS 2")
pytest.importorskip("onnx", reason="the tests write a model with the onnx package")

import yaml
from client_node import client_node  # noqa: F401 - the fixture `node`
from foxglove_layouts import layout_problems, shown_topics
from launched import (
    end,
    images_and_model,  # noqa: F401 - the fixture `folder`
    needs_installation,
    put_viewer_stand_ins,
    start,
    wait_for,
)
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2

from depth_anything_ros.ros.rviz_file import write_rviz_file
from depth_anything_ros.system.package_share import share_directory

LAYOUTS = Path(__file__).parents[2] / "config" / "foxglove"
DISPLAYS = {"rviz_default_plugins/Image": Image, "rviz_default_plugins/PointCloud2": PointCloud2}


def rviz_topics(path: Path) -> dict[str, type]:
    """Return the topics of an RViz file with the types of their displays."""
    displays = yaml.safe_load(path.read_text())["Visualization Manager"]["Displays"]
    return {display["Topic"]["Value"]: DISPLAYS[display["Class"]] for display in displays if "Topic" in display}


def types_of_ours(node: Node, topic: str) -> set[str]:
    """Return the types with which other nodes than the test's publish or read a topic."""
    ends = [*node.get_publishers_info_by_topic(topic), *node.get_subscriptions_info_by_topic(topic)]
    return {end.topic_type for end in ends if end.node_name != node.get_name()}


def ros_name(message_type: type) -> str:
    return f"{message_type.__module__.split('.')[0]}/msg/{message_type.__name__}"


@needs_installation
@pytest.mark.parametrize(
    ("launch_file", "layout", "arguments", "outputs"),
    [
        ("camera", "camera", ("source:={folder}", "loop:=true"), ("/camera",)),
        ("recipes/foxglove", "depth", ("scale:=laser_scan", "scan:=/scan"), ("/depth_anything",)),
        ("multi_camera", "multi_camera", (), ("/depth/left", "/depth/right")),
    ],
)
def test_rviz_and_foxglove_show_topics_of_the_nodes(
    node: Node,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    launch_file: str,
    layout: str,
    arguments: tuple[str, ...],
    outputs: tuple[str, ...],
) -> None:
    """All arguments that name topics have their defaults: the layouts are for these names."""
    rviz = put_viewer_stand_ins(folder, monkeypatch) / "rviz2" / "rviz2.arguments"
    for prefix in outputs:  # the depth node reads images only while somebody reads what it can compute
        node.create_subscription(Image, f"{prefix}/depth/image_color", lambda _: None, 1)
    path = share_directory() / "launch" / f"{launch_file}.launch.py"
    given = [argument.format(folder=folder) for argument in arguments]
    process = start(*given, f"model:={folder}/red.onnx", "rviz:=true", name=path)
    try:
        wait_for(node, process, rviz.is_file)
        words = rviz.read_text().split()
        in_rviz = rviz_topics(Path(words[words.index("-d") + 1]))
        in_foxglove = shown_topics(json.loads((LAYOUTS / f"{layout}.json").read_text()))
        assert len(in_rviz) == 3 * len(outputs)
        assert {f"{prefix}/points" for prefix in outputs} <= in_rviz.keys() & in_foxglove.keys()
        wanted = {**in_foxglove, **in_rviz}
        seen: dict[str, set[str]] = {}

        def are_all_known() -> bool:
            seen.update({topic: types_of_ours(node, topic) for topic in wanted})
            return all(seen.values())

        try:
            wait_for(node, process, are_all_known)
        except pytest.fail.Exception as error:
            raise AssertionError(f"no node has {[topic for topic, types in seen.items() if not types]}") from error
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert {topic: types for topic, types in seen.items() if wanted[topic] is not None} == {
        topic: {ros_name(its)} for topic, its in wanted.items() if its is not None
    }


def test_rviz_file_has_the_displays_of_every_camera() -> None:
    path = Path(write_rviz_file("/robot/depth", {"left": "/left/image_rect/compressed", "right": "/right/image_rect"}))
    try:
        configuration = yaml.safe_load(path.read_text())
    finally:
        path.unlink()
    displays = configuration["Visualization Manager"]["Displays"]
    assert [(display["Name"], display["Topic"]["Value"]) for display in displays if "Topic" in display] == [
        ("Image left", "/left/image_rect/compressed"),
        ("Depth left", "/robot/depth/left/depth/image_color"),
        ("Cloud left", "/robot/depth/left/points"),
        ("Image right", "/right/image_rect"),
        ("Depth right", "/robot/depth/right/depth/image_color"),
        ("Cloud right", "/robot/depth/right/points"),
    ]
    shipped = yaml.safe_load((share_directory() / "rviz" / "camera.rviz").read_text())
    without_topic = [display for display in shipped["Visualization Manager"]["Displays"] if "Topic" not in display]
    assert [display for display in displays if "Topic" not in display] == without_topic
    shipped["Visualization Manager"]["Displays"] = displays
    assert configuration == shipped


@pytest.mark.parametrize("path", sorted(LAYOUTS.glob("*.json")), ids=lambda path: path.stem)
def test_foxglove_knows_all_of_a_layout(path: Path) -> None:
    layout = json.loads(path.read_text())
    assert layout_problems(layout) == []
    for change in (
        lambda wrong: wrong["configById"].update({"3D Panel!x": {}}),
        lambda wrong: wrong["configById"]["3D!cloud"].update(cameraPosition=1),
        lambda wrong: wrong["configById"]["3D!cloud"]["cameraState"].update(fov=1),
        lambda wrong: wrong["configById"]["DiagnosticSummary!nodes"].update(topic="/diagnostics"),
        lambda wrong: wrong["layout"].update(direction="horizontal"),
        lambda wrong: next(iter(wrong["configById"]["3D!cloud"]["topics"].values())).update(size=2),
    ):
        wrong: dict[str, Any] = copy.deepcopy(layout)
        change(wrong)
        assert layout_problems(wrong) != []
