"""The demo: its images, its messages, and that it leaves nothing else behind."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from waiting import limit, wait_until

from depth_anything_ros.commands.demo import next_steps
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.visualization.depth_panels import depth_range, draw_side_by_side
from depth_anything_ros.visualization.splatting import BACKGROUND, draw_cloud

needs_ros = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs ROS 2")
RUN = "import sys; from depth_anything_ros.cli import main; sys.exit(main())"
HEIGHT, WIDTH = 42, 56


@pytest.fixture
def model(tmp_path: Path) -> Path:
    pytest.importorskip("onnx", reason="the tests write a model with the onnx package")
    from known_models import write_red_model

    path = tmp_path / "red.onnx"
    write_red_model(path, (HEIGHT, WIDTH), nominal_scale=(1.0, 0.1))
    return path


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, "demo", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(demo: int) -> list[int]:
    """Return the node processes that the demo with this process id has started, found by their namespace."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, state = (
                (folder / "cmdline").read_bytes(),
                (folder / "stat").read_text().rsplit(")", 1)[1].split()[0],
            )
        except (OSError, IndexError):  # it has ended meanwhile
            continue
        if f"__ns:=/demo_{demo}\0".encode() in command and state != "Z":
            found.append(int(folder.name))
    return found


@needs_ros
def test_demo_writes_images_cloud_and_rates(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("skimage", reason="the sample photographs are in scikit-image")
    output, results = tmp_path / "new" / "demo", tmp_path / "results.json"
    process = start("--output", output, "--frames", 5, "--model", model, "--json", results)
    text, errors = process.communicate(timeout=limit(60))
    assert process.returncode == 0, errors
    assert children(process.pid) == []
    assert sorted(path.name for path in output.iterdir()) == [
        "cloud.ply",
        "cloud.png",
        "rates.json",
        "side_by_side.png",
    ]

    side_by_side = cv2.imread(str(output / "side_by_side.png"))
    assert side_by_side.shape[0] > 500
    assert side_by_side.shape[1] > 2 * 710
    cloud = cv2.imread(str(output / "cloud.png"))
    assert np.mean(np.any(cloud != BACKGROUND, axis=2)) > 0.2
    header, _, points = (output / "cloud.ply").read_bytes().partition(b"end_header\n")
    count = int(header.split(b"element vertex ")[1].split()[0])
    assert count == len(points) / 15 <= 710 * 500
    assert count > 0.5 * 710 * 500  # a photograph taken for depth is full of edges, and what hangs between is left out

    rates = json.loads((output / "rates.json").read_text())
    assert rates == json.loads(results.read_text())
    assert rates["image_size"] == [710, 500]
    for name in ("image", "depth", "cloud"):
        assert rates["rates_hz"][name] > 0
        middle, late = rates["stamp_to_arrival_seconds_p50_p95"][name]
        assert 0 < middle <= late
    assert "NOMINAL" in text
    assert "Middlebury" in text
    assert [line for line in text.splitlines() if line.startswith("rates: image ")]
    stages = [
        "starting a camera node",
        "rates: ",
        "drawing the pictures",
        "results: ",
        "depth_anything_ros camera --view",
    ]
    assert [text.index(stage) for stage in stages] == sorted(text.index(stage) for stage in stages)


def test_next_steps_are_typed_as_the_demo_was() -> None:
    assert "\n  .venv/bin/depth_anything_ros camera --view\n" in next_steps(".venv/bin/depth_anything_ros")
    assert "\n  depth_anything_ros predict FILE " in next_steps("/package/depth_anything_ros/__main__.py")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), (10, 20, 102), np.uint8))
    return path


@needs_ros
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_demo_leaves_no_process_after_signal(
    tmp_path: Path, model: Path, picture: Path, number: int, status: int
) -> None:
    process = start("--output", tmp_path, "--model", model, "--source", picture, "--frames", 1_000_000)
    wait_until(lambda: len(children(process.pid)) == 2, "the demo's two nodes")
    process.send_signal(number)
    process.communicate(timeout=limit(20))
    assert process.returncode == status
    wait_until(lambda: not children(process.pid), "the nodes to end")
    assert not list(tmp_path.glob("*.ply"))


@needs_ros
def test_demo_reports_reason_of_failed_node(tmp_path: Path, model: Path) -> None:
    process = start("--output", tmp_path, "--model", model, "--source", "999")
    _, errors = process.communicate(timeout=limit(40))
    assert process.returncode == 1
    assert "camera_node ended with status 1" in errors
    assert "camera 999" in errors
    assert "Traceback" not in errors
    assert children(process.pid) == []


def test_demo_rejects_model_without_scale_before_start(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the tests write a model with the onnx package")
    from known_models import write_red_model

    write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH))
    process = start("--output", tmp_path, "--model", tmp_path / "red.onnx")
    _, errors = process.communicate(timeout=limit(40))
    assert process.returncode == 1
    assert "no nominal scale" in errors


def test_demo_imports_no_torch() -> None:
    script = (
        "import sys, depth_anything_ros.commands.demo, depth_anything_ros.visualization.splatting, "
        "depth_anything_ros.visualization.depth_panels, depth_anything_ros.runtime.estimator; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_wall_from_side_is_foreshortened_without_holes() -> None:
    camera = Camera.from_field_of_view(160, 120, 60.0)
    colors = np.full((120, 160, 3), (0, 0, 255), np.uint8)
    picture = draw_cloud(np.full((120, 160), 2.0, np.float32), colors, camera, (200, 300))
    is_wall = np.all(picture == (0, 0, 255), axis=2)
    rows, columns = np.nonzero(is_wall)
    middle = is_wall[rows.min() + 20 : rows.max() - 20]
    for row in middle:  # no gap between the leftmost and the rightmost point of a row, but for the ragged edge
        inside = np.nonzero(row)[0][5:-5]
        assert inside.size == inside[-1] - inside[0] + 1
    # Turned to the right of the camera, the viewer has the wall's right side nearer, hence taller.
    left, right = (np.count_nonzero(is_wall[:, column]) for column in np.percentile(columns, (25, 75)).astype(int))
    assert right > 1.1 * left


def test_nearer_point_hides_farther_point() -> None:
    camera = Camera.from_field_of_view(160, 120, 60.0)
    depth = np.full((120, 160), 4.0, np.float32)
    colors = np.full((120, 160, 3), (0, 0, 255), np.uint8)
    depth[40:80, 60:100] = 2.0
    colors[40:80, 60:100] = (0, 255, 0)
    picture = draw_cloud(depth, colors, camera, (200, 300), 0.0, 0.0)
    assert tuple(picture[100, 150]) == (0, 255, 0)
    assert np.any(np.all(picture == (0, 0, 255), axis=2))


def test_points_without_depth_are_not_drawn() -> None:
    camera = Camera.from_field_of_view(160, 120, 60.0)
    depth = np.full((120, 160), 2.0, np.float32)
    depth[:, :80] = np.nan
    depth[:, 120:] = np.inf
    colors = np.zeros((120, 160, 3), np.uint8)
    colors[:, 81:119] = 255
    picture = draw_cloud(depth, colors, camera, (200, 300), 0.0, 0.0)
    assert tuple(picture[100, 150]) == (255, 255, 255)
    with pytest.raises(ValueError, match="finite"):
        draw_cloud(np.full((120, 160), np.nan, np.float32), colors, camera)


def test_demo_image_shows_camera_image_beside_depth() -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    depth = np.tile(np.geomspace(1.0, 4.0, 160, dtype=np.float32), (120, 1))
    depth[:10] = np.nan
    picture = draw_side_by_side(image, depth, "caption")
    np.testing.assert_array_equal(picture[:120, :160], image)
    shown = picture[:120, -160 - 110 : -110]
    near, far = shown[60, 5].astype(int), shown[60, -5].astype(int)
    assert near[2] > near[0]  # red
    assert far[0] > far[2]  # blue
    assert not shown[2].any()  # black
    nearest, farthest = depth_range(depth)
    assert (nearest, farthest) == (pytest.approx(1.03, abs=0.02), pytest.approx(3.9, abs=0.1))
