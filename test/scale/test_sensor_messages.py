"""Clouds with a time for each point are corrected for the motion of the sensor during the scan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.sensor_messages import SensorMessageError, View, cloud_references, points_of, times_of

STAMP = 1_700_000_000
CAMERA = Camera(320, 240, 200.0, 200.0, 159.5, 119.5)
DATATYPES = {"i4": 5, "u4": 6, "f4": 7, "f8": 8}


def cloud_of(points: np.ndarray, times: np.ndarray, name: str, kind: str, padding: int = 0) -> Any:
    """Return a cloud in the layout of sensor_msgs/PointCloud2, one row, with a field of times."""
    formats = {"names": ["x", "y", "z", name], "formats": ["f4", "f4", "f4", kind], "offsets": [0, 4, 8, 16]}
    layout = np.dtype(formats | {"itemsize": 24 + padding})
    rows = np.zeros(len(points), layout)
    for index, axis in enumerate("xyz"):
        rows[axis] = points[:, index]
    rows[name] = times
    fields = [
        SimpleNamespace(name=key, offset=layout.fields[key][1], datatype=DATATYPES["f4" if key in "xyz" else kind])
        for key in layout.names
    ]
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=STAMP, nanosec=0)),
        fields=fields,
        is_bigendian=False,
        height=1,
        width=len(points),
        point_step=layout.itemsize,
        row_step=rows.nbytes,
        data=rows.tobytes(),
    )


SECONDS = np.linspace(0, 0.1, 50)


@pytest.mark.parametrize(
    ("name", "kind", "stored"),
    [
        ("t", "u4", SECONDS * 1e9),
        ("time", "f4", SECONDS),
        ("offset_time", "u4", SECONDS * 1e9),
        ("timestamp", "f8", STAMP + SECONDS),
        ("timestamp", "f8", 1e9 * STAMP + 1e9 * SECONDS),
        ("time", "f4", SECONDS - 0.1),
    ],
)
def test_times_of_usual_drivers_are_seconds_after_the_stamp(name: str, kind: str, stored: np.ndarray) -> None:
    times = times_of(cloud_of(np.ones((50, 3)), stored, name, kind))
    assert times is not None
    assert times - times[0] == pytest.approx(SECONDS, abs=1e-5)
    assert times[0] == pytest.approx(-0.1 if stored[0] < 0 else 0.0, abs=1e-5)


@pytest.mark.parametrize("stored", [np.zeros(50), np.full(50, 12345.0)])
def test_times_that_mean_nothing_are_ignored(stored: np.ndarray) -> None:
    assert times_of(cloud_of(np.ones((50, 3)), stored, "time", "f4")) is None
    assert times_of(cloud_of(np.ones((50, 3)), stored, "intensity", "f4")) is None


def test_points_are_read_from_padded_rows_and_a_field_outside_is_refused() -> None:
    points = np.arange(150, dtype=np.float32).reshape(50, 3)
    cloud = cloud_of(points, SECONDS, "time", "f4", padding=8)
    assert points_of(cloud) == pytest.approx(points)
    cloud.fields[0].offset = 30
    with pytest.raises(SensorMessageError, match="lies outside"):
        points_of(cloud)


def test_scan_of_a_driving_lidar_is_corrected_for_its_motion() -> None:
    """A wall 5 m ahead, from a lidar that drives toward it at 4 m/s: its last points are 40 cm too near."""
    speed = 4.0
    columns, rows = np.meshgrid(np.linspace(40, 280, 10), np.linspace(30, 210, 5))
    times = np.linspace(0, 0.1, 50)
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    seen = CAMERA.back_project(pixels, np.full(50, 5.0))
    seen[:, 2] -= speed * times
    cloud = cloud_of(seen, times * 1e9, "t", "u4")
    view = View(CAMERA, np.ones((240, 320), np.float32), True)

    def motion(seconds: float) -> Transform:
        return Transform(np.eye(3), np.array([0.0, 0.0, speed * seconds]))

    still = cloud_references(cloud, Transform.identity(), view)
    corrected = cloud_references(cloud, Transform.identity(), view, motion)
    assert still.depth.min() < 4.7
    assert corrected.depth == pytest.approx(np.full(len(corrected), 5.0), rel=1e-5)
    unknown = cloud_references(cloud, Transform.identity(), view, lambda _: None)
    assert unknown.depth == pytest.approx(still.depth)
