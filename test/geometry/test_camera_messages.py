"""camera_info without ROS: the same camera and rectified image as in the node, for ROS 2 and ROS 1."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from depth_anything_ros.geometry.camera_messages import distorts, image_geometry

K = [500.5, 0.0, 321.25, 0.0, 502.5, 239.75, 0.0, 0.0, 1.0]
P = [480.0, 0.0, 318.0, -24.0, 0.0, 481.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
D = [0.1, -0.2, 0.0, 0.0, 0.0]


def info(is_ros_1: bool = False, roi: tuple[int, int, int, int] = (0, 0, 0, 0), **fields: Any) -> Any:
    matrices = {"d": D, "k": K, "r": np.eye(3).ravel(), "p": P} | fields
    if is_ros_1:
        matrices = {name.upper(): values for name, values in matrices.items()}
    x, y, width, height = roi
    region = SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height)
    described = {"width": 640, "height": 480, "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0}
    return SimpleNamespace(**described, roi=region, **matrices)


@pytest.mark.parametrize("is_rectified", [True, False])
@pytest.mark.parametrize("changes", [{}, {"p": [0.0] * 12}, {"d": []}, {"roi": (100, 60, 400, 300)}])
def test_geometry_is_that_of_the_node(is_rectified: bool, changes: dict[str, Any]) -> None:
    pytest.importorskip("rclpy", reason="compares with the node")
    from ros_messages import camera_info
    from sensor_msgs.msg import RegionOfInterest

    from depth_anything_ros.geometry.output_geometry import output_geometry

    x, y, width, height = changes.get("roi", (0, 0, 0, 0))
    region = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
    message = camera_info(**{**changes, "roi": region})
    size = (height, width) if width else (480, 640)
    expected = output_geometry(message, size, size, is_rectified, True)
    found = image_geometry(info(**changes), size, is_rectified)
    assert found.camera == expected.camera
    assert (found.rectifier is None) == (expected.rectifier is None)
    if found.rectifier is not None:
        image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
        mine, other = np.empty_like(image), np.empty_like(image)
        found.rectifier.apply(image, mine)
        expected.rectifier.apply(image, other)
        assert np.array_equal(mine, other)


def test_ros_1_writes_matrices_in_capitals() -> None:
    assert image_geometry(info(True), (480, 640), True).camera == image_geometry(info(), (480, 640), True).camera
    assert distorts(info(True))
    assert not distorts(info(d=[]))


@pytest.mark.parametrize(
    ("changes", "size", "message"),
    [
        ({"k": [0.0] * 9}, (480, 640), "uncalibrated; calibrate the camera"),
        ({}, (240, 320), "camera_info is for 640x480 pixels, but the image has 320x240"),
        ({"k": [-1.0, *K[1:]]}, (480, 640), "focal length that is not positive"),
    ],
)
def test_error_names_the_fix(changes: dict[str, Any], size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_geometry(info(**changes), size, False)
