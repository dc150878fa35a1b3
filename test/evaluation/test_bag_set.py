"""Bags as sets: the truth of a depth camera or a lidar, registered or projected, scores a perfect network perfect."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tests write a model with the onnx package")
pytest.importorskip("rosbags", reason="the tests write bags with rosbags")

from bag_files import put_bag
from calibration_bags import (
    BODY,
    CAMERA,
    FRAME,
    HEIGHT,
    START,
    WIDTH,
    cloud_message,
    depth_message,
    depth_seen,
    every,
    image_message,
    info_message,
    lidar_points,
    pose,
    transform_message,
    write_network,
)

from depth_anything_ros.api import evaluate as api
from depth_anything_ros.cli import main
from depth_anything_ros.data.bag_index import TopicIndex
from depth_anything_ros.data.own_topics import stated_topics
from depth_anything_ros.evaluation.bag_recording import BagTruth, projected
from depth_anything_ros.evaluation.bag_set import BagDepthSet
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.stated_sigma import stated_depth
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform

IMAGE, INFO, ALIGNED, BESIDE, LIDAR = (
    *("/camera/image_rect", "/camera/camera_info", "/camera/aligned_depth/image"),
    *("/side/depth/image", "/lidar/points"),
)
SECONDS, RATE = 1.0, 4
MOUNT = Transform(BODY.rotation, np.array([0.05, -0.12, 0.02]))
SIDE = Transform(np.eye(3), np.array([0.08, 0.0, 0.0]))
SIDE_CAMERA = Camera.from_field_of_view(96, 72, 75.0)


def camera_topics() -> dict[str, Any]:
    return {IMAGE: every(SECONDS, RATE, image_message), INFO: [(START, info_message(0))]}


def sensor_topics(sensor: str) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    if sensor == "aligned":
        return {ALIGNED: every(SECONDS, RATE, lambda time: depth_message(time, depth_seen(pose(time))))}
    if sensor == "beside":

        def side(time: float) -> Any:
            return depth_message(time, depth_seen(pose(time) @ SIDE, SIDE_CAMERA), "side")

        return {
            BESIDE: every(SECONDS, RATE, side),
            "/side/depth/camera_info": [(START, info_message(0, SIDE_CAMERA, "side"))],
            "/tf_static": [(START, transform_message({(FRAME, "side"): SIDE}))],
        }

    def cloud(time: float) -> Any:
        return cloud_message(time, lidar_points(time, MOUNT, rng, 0.0, 2000), "lidar")

    return {
        LIDAR: every(SECONDS, RATE, cloud),
        "/tf_static": [(START, transform_message({(FRAME, "lidar"): MOUNT}))],
        "/tf": every(SECONDS, 20, lambda time: transform_message({("odom", FRAME): pose(time)}, time)),
    }


def evaluate(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments), "--no-baselines", "--backend", "onnxruntime"])


@pytest.mark.parametrize(
    ("sensor", "worst", "least"), [("aligned", 2e-3, 1.0), ("beside", 0.01, 0.06), ("lidar", 0.01, 0.02)]
)
def test_perfect_network_scores_perfect_against_each_sensor(
    tmp_path: Path, sensor: str, worst: float, least: float
) -> None:
    network = write_network(tmp_path / "exact.onnx")
    put_bag(tmp_path / "drive", camera_topics() | sensor_topics(sensor))
    scores = tmp_path / "scores.json"
    assert evaluate(tmp_path / "drive", "--model", network, "--json", scores, "--limit", 0) == 0
    (result,) = json.loads(scores.read_text())["sets"]
    assert result["frames"] == SECONDS * RATE
    assert result["rows"][0]["scores"]["abs_rel"] < worst
    frame = next(frames_of(tmp_path / "drive"))
    assert frame.valid.mean() >= least
    truth = depth_seen(pose(frame.time - START))
    assert np.median(np.abs(frame.depth[frame.valid] / truth[frame.valid] - 1)) < worst


def frames_of(path: Path) -> Any:
    source = BagDepthSet()
    return (source.read(path, name) for name in source.names(path))


def test_poses_come_from_tf(tmp_path: Path) -> None:
    put_bag(tmp_path / "drive", camera_topics() | sensor_topics("lidar"))
    for frame in frames_of(tmp_path / "drive"):
        expected = pose(frame.time - START)
        assert frame.pose[:3, :3] == pytest.approx(expected.rotation, abs=2e-3)
        assert frame.pose[:3, 3] == pytest.approx(expected.translation, abs=2e-3)


def test_several_truths_are_offered(tmp_path: Path, capsys) -> None:
    network = write_network(tmp_path / "exact.onnx")
    put_bag(tmp_path / "drive", camera_topics() | sensor_topics("beside") | sensor_topics("lidar"))
    assert evaluate(tmp_path / "drive", "--model", network) == 1
    assert f"choose one with --truth ({LIDAR}, {BESIDE})" in capsys.readouterr().err
    assert evaluate(tmp_path / "drive", "--model", network, "--truth", LIDAR) == 0


def test_images_without_truth_and_damaged_messages_are_counted(tmp_path: Path, capsys, caplog) -> None:
    network = write_network(tmp_path / "exact.onnx")
    given = camera_topics() | sensor_topics("aligned")
    given[ALIGNED] = given[ALIGNED][:3]
    broken = given[IMAGE][1][1]
    broken.data = broken.data[:50]
    put_bag(tmp_path / "drive", given)
    scores = tmp_path / "scores.json"
    assert evaluate(tmp_path / "drive", "--model", network, "--limit", 0, "--json", scores) == 1
    warned = capsys.readouterr().err + caplog.text
    assert f"left out 1 of 4 images without a message of {ALIGNED} within 0.05 s" in warned
    assert "the image at 1000.250 s cannot be scored: image data is 50 bytes" in warned
    assert json.loads(scores.read_text())["sets"][0]["frames"] == 2


def test_distorted_image_and_its_registered_depth_are_rectified_alike(tmp_path: Path) -> None:
    given = camera_topics() | sensor_topics("aligned")
    given[INFO][0][1].d = np.array([-0.1, 0.02, 0.0, 0.0, 0.0])
    put_bag(tmp_path / "drive", {topic.replace("rect", "raw"): messages for topic, messages in given.items()})
    frame = next(frames_of(tmp_path / "drive"))
    red, green = frame.image[..., 0].astype(float), frame.image[..., 1]
    seen = 1 / (0.6 * 1e-4 * (256 * red + green) + 0.04)  # the depth that is written in the image's colors
    smooth = frame.valid & (np.abs(seen / np.roll(seen, 1, 1) - 1) < 0.01)
    assert np.median(np.abs(frame.depth[smooth] / seen[smooth] - 1)) < 0.01
    assert frame.depth.shape == (HEIGHT, WIDTH)


def test_nearest_point_of_a_pixel_counts_and_hidden_ones_do_not() -> None:
    camera = Camera.from_field_of_view(100, 80, 60.0)
    pixels = np.array([[10.2, 20.0], [9.8, 20.1], [13.0, 20.0], [60.0, 50.0]])
    points = camera.back_project(pixels, np.array([2.0, 2.1, 9.0, 9.0]))
    depth = projected(points, camera, checks_occlusion=True)
    assert depth[20, 10] == np.float32(2.0)
    assert np.isnan(depth[20, 13])  # seen past the edge by the sensor, not by the camera
    assert depth[50, 60] == np.float32(9.0)
    assert np.isfinite(depth).sum() == 2
    assert CAMERA.width == WIDTH


def test_bags_and_sets_cannot_be_mixed(tmp_path: Path, capsys) -> None:
    put_bag(tmp_path / "drive", camera_topics() | sensor_topics("aligned"))
    assert evaluate(tmp_path / "drive", "--data", tmp_path) == 2
    assert evaluate() == 2
    assert evaluate("--data", tmp_path, "--truth", LIDAR) == 2
    assert "--truth: for bags only" in capsys.readouterr().err


def test_depth_of_bag_with_sigma_is_checked_against_the_truth(tmp_path: Path, capsys) -> None:
    """`bag` with a lidar as source writes depth and its error, which the depth camera then judges."""
    network = write_network(tmp_path / "exact.onnx")
    put_bag(tmp_path / "drive", camera_topics() | sensor_topics("lidar") | sensor_topics("aligned"))
    made = ["bag", tmp_path / "drive", tmp_path / "out", "--model", network, "--points", LIDAR, "--image", IMAGE]
    assert main([*map(str, made), "--backend", "onnxruntime"]) == 0
    scores, page = tmp_path / "scores.json", tmp_path / "page.html"
    options = ("--model", network, "--json", scores, "--html", page, "--limit", 0, "--truth", ALIGNED)
    assert evaluate(tmp_path / "out", *options) == 0
    (result,) = json.loads(scores.read_text())["sets"]
    stated = result["stated"]
    assert (stated["depth"], stated["sigma"], stated["images"]) == ("/depth/image_rect", "/depth/sigma", 4)
    assert stated["scores"]["abs_rel"] < 0.02
    assert stated["coverage"] > 0.95
    assert 0 < stated["honesty"]["normalized_error"] < 0.5  # a perfect network is better than σ can know
    assert stated["honesty"]["within_one"] > 0.9
    assert f"out: {stated['text']}" in capsys.readouterr().out
    assert "normalized error" in page.read_text()
    source, far = BagDepthSet(truth=BagTruth(depth=ALIGNED)), replace(find_protocol("full").rules("bag"), min_depth=1e4)
    assert stated_depth(source, tmp_path / "out", list(source.names(tmp_path / "out")), far) is None
    assert evaluate(tmp_path / "out", "--model", network, "--truth", LIDAR) == 0
    assert evaluate(tmp_path / "drive", "--model", network, "--json", scores, "--truth", LIDAR) == 0
    assert json.loads(scores.read_text())["sets"][0]["stated"] is None


def test_stated_depth_is_that_of_the_camera() -> None:
    """Of two cameras in a bag, each with depth and σ, only the scored one's belongs to the truth."""
    index = {
        f"/{side}/depth/{name}": TopicIndex("sensor_msgs/msg/Image", None, f"{side}_optical")
        for side in ("left", "right")
        for name in ("image_rect", "sigma")
    }
    assert stated_topics(index, "right_optical") == ("/right/depth/image_rect", "/right/depth/sigma")
    assert stated_topics(index, "other") is None
    del index["/right/depth/image_rect"]
    assert stated_topics(index, "right_optical") is None


def test_own_outputs_are_neither_picture_nor_truth(tmp_path: Path) -> None:
    """With the colors of depth, and depth and a cloud of this package: only the lidar is left."""
    network = write_network(tmp_path / "exact.onnx")
    put_bag(tmp_path / "drive", camera_topics() | sensor_topics("lidar"))
    made = ["bag", tmp_path / "drive", tmp_path / "out", "--model", network, "--points", LIDAR]
    saved = ["--save", "info", "depth", "sigma", "points", "color", "--backend", "onnxruntime"]
    assert main([*map(str, made), *saved]) == 0
    assert evaluate(tmp_path / "out", "--model", network) == 0


def test_python_scores_bags_as_the_command(tmp_path: Path) -> None:
    network = write_network(tmp_path / "exact.onnx")
    put_bag(tmp_path / "drive", camera_topics() | sensor_topics("lidar") | sensor_topics("aligned"))
    scores = tmp_path / "scores.json"
    assert evaluate(tmp_path / "drive", "--model", network, "--truth", ALIGNED, "--json", scores, "--limit", 0) == 0
    options: dict[str, Any] = {"limit": 0, "baselines": False, "backend": "onnxruntime"}
    found = api.evaluate(network, tmp_path / "drive", truth=BagTruth(depth=ALIGNED), **options)
    expected = json.loads(scores.read_text())["sets"][0]["rows"][0]["scores"]["abs_rel"]
    assert found.means["exact"].abs_rel == expected
    several = api.evaluate(network, [tmp_path / "drive"], truth=BagTruth(depth=ALIGNED), **options)
    assert several.means == found.means
    with pytest.raises(ValueError, match="a bag has no sets"):
        api.evaluate(network, tmp_path / "drive", "kitti")
    with pytest.raises(ValueError, match="one folder with sets, without truth, or bags"):
        api.evaluate(network, tmp_path, truth=BagTruth())
