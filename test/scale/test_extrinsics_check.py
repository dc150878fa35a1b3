"""A sensor that is turned, or shifted to the side, beside an exact network: the check tells which."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the rendered room is that of the tests of bags")

from calibration_bags import CAMERA, A, B, depth_seen, pose

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import Frame, FrameFit, Measurement, fit_frames
from depth_anything_ros.scale.extrinsics_check import check_extrinsics
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.sensor_points import from_points

INVERSE = KINDS["inverse_affine"]
PIXELS = np.stack(np.meshgrid(np.arange(3, CAMERA.width, 6), np.arange(3, CAMERA.height, 6)), -1).reshape(-1, 2)


def known_whatever(known: References, values: np.ndarray) -> References:
    return known


def fits_with(stated: Transform) -> list[FrameFit]:
    """Fits to frames of a moving camera, whose sensor is in its own place but stated elsewhere."""
    frames, measurements = [], []
    for number in range(8):
        depth = depth_seen(pose(0.3 * number))
        points = CAMERA.back_project(PIXELS, depth[PIXELS[:, 1], PIXELS[:, 0]])
        known = from_points(stated.apply(points), CAMERA, time=float(number))
        image = np.zeros((*depth.shape, 3), np.uint8)
        frames.append(Frame(float(number), ((1 / depth - B) / A).astype(np.float32), CAMERA, image))
        measurements.append(Measurement(float(number), stated, partial(known_whatever, known)))
    return fit_frames(INVERSE, frames, measurements)[0]


@pytest.mark.parametrize("shift", [(0.08, 0.0, 0.0), (0.0, -0.08, 0.0)])
def test_shift_to_the_side_is_told_from_a_rotation(shift: tuple[float, float, float]) -> None:
    found = check_extrinsics(INVERSE, fits_with(Transform(np.eye(3), np.array(shift))))
    assert found.is_seen
    assert found.shift == pytest.approx(-np.array(shift), abs=0.02)
    assert "fits better if shifted by" in found.text
    assert found.corrected is not None
    assert found.corrected.translation == pytest.approx(np.zeros(3), abs=0.02)
    assert found.corrected.angle == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("turn", [(1.5, 0.0, 0.0), (0.0, -1.5, 0.0), (0.0, 0.0, 1.5)])
def test_rotation_is_no_shift(turn: tuple[float, float, float]) -> None:
    found = check_extrinsics(INVERSE, fits_with(Transform(cv2.Rodrigues(np.radians(turn))[0], np.zeros(3))))
    assert found.is_seen
    assert found.shift is None
    assert "fits better if turned by" in found.text
    assert found.corrected is not None
    assert np.degrees(found.corrected.angle) < 0.3


def test_right_extrinsics_are_not_blamed() -> None:
    found = check_extrinsics(INVERSE, fits_with(Transform.identity()))
    assert (found.is_seen, found.shift, found.corrected) == (False, None, None)
