"""multi_camera.launch.py: cameras in their own processes, and one depth node for all of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from waiting import limit

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("launch_ros", reason="needs the launch system of ROS 2")
pytest.importorskip("onnx", reason="the tests write a model with the onnx package")

import yaml
from client_node import (
    client_node,  # noqa: F401 - the fixture `node`
    namespaces,
)
from launched import (
    HEIGHT,
    WIDTH,
    end,
    images_and_model,  # noqa: F401 - the fixture `folder`
    needs_installation,
    processes_of,
    put_viewer_stand_ins,
    start,
    wait_for,
)
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2

REDS = {"front": 102, "left": 230}


@pytest.fixture
def cameras(node: Node, tmp_path: Path) -> Iterator[None]:
    """A camera node for each name, in that namespace, that publishes images with that amount of red."""
    running = []
    for camera, red in REDS.items():
        picture = tmp_path / f"{camera}.png"
        cv2.imwrite(str(picture), np.full((HEIGHT, WIDTH, 3), (10, 20, red), np.uint8))
        remapping = ("-r", f"__ns:={node.get_namespace()}/{camera}")
        parameters = ("-p", f"source:={picture}", "-p", "loop:=true", "-p", f"frame_id:={camera}_optical_frame")
        command = [
            sys.executable,
            "-m",
            "depth_anything_ros.ros.camera_node",
            "--ros-args",
            *remapping,
            *parameters,
        ]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
    yield
    for process in running:
        process.terminate()
    for process in running:
        process.wait(timeout=limit(20))


@needs_installation
@pytest.mark.usefixtures("cameras")
def test_multi_camera_launch_serves_each_camera_by_its_parameters(node: Node, folder: Path) -> None:
    params_file = folder / "parameters.yaml"
    own = {"cameras": list(REDS), "scale": {"nominal": True}, "left": {"scale": {"a": 2.0, "b": 0.1}}}
    params_file.write_text(yaml.safe_dump({"/**/depth_node": {"ros__parameters": own}}))
    depths: dict[str, list[Image]] = {camera: [] for camera in REDS}
    clouds: dict[str, list[PointCloud2]] = {camera: [] for camera in REDS}
    for camera in REDS:
        node.create_subscription(Image, f"{camera}/depth/image_rect", depths[camera].append, 10)
        node.create_subscription(PointCloud2, f"{camera}/points", clouds[camera].append, 10)
    process = start(
        *(f"image:={node.get_namespace()}/{{camera}}/image_raw", f"params_file:={params_file}"),
        *(f"model:={folder}/red.onnx", f"namespace:={node.get_namespace().strip('/')}"),
        name="multi_camera",
    )
    try:
        wait_for(node, process, lambda: all(depths.values()) and all(clouds.values()))
        assert len(processes_of(process.pid)) == 2  # the launch itself, and one node
    finally:
        output = end(process)
    assert process.returncode == 0, output
    assert "[depth_node-1]: process has finished cleanly" in output
    expected = {"front": 1 / (102 / 255 + 0.1), "left": 1 / (2 * 230 / 255 + 0.1)}
    for camera, depth in expected.items():
        assert depths[camera][-1].header.frame_id == clouds[camera][-1].header.frame_id == f"{camera}_optical_frame"
        np.testing.assert_allclose(np.frombuffer(depths[camera][-1].data, np.float32), depth, rtol=1e-5)


@needs_installation
def test_viewers_show_relative_image_topics_where_the_node_reads_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image topic without a slash is in the namespace, for RViz as for the node."""
    stand_ins = put_viewer_stand_ins(folder, monkeypatch)
    namespace = next(namespaces)
    arguments = ("cameras:=front,left", "image:={camera}/image_rect", "image_transport:=compressed", "rviz:=true")
    end(
        start(*arguments, "rviz_frame:=a_frame", "model:=absent.onnx", f"namespace:={namespace}", name="multi_camera"),
        0,
    )
    words = (stand_ins / "rviz2" / "rviz2.arguments").read_text().split()
    text = Path(words[words.index("-d") + 1]).read_text()
    for camera in ("front", "left"):
        assert f"Value: /{namespace}/{camera}/image_rect/compressed\n" in text
        assert f"Value: /{namespace}/{camera}/points\n" in text
    frame = (stand_ins / "tf2_ros" / "static_transform_publisher.arguments").read_text()
    assert "--frame-id a_frame --child-frame-id camera_view" in frame
