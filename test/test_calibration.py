"""The camera_info YAML: what is written is read back, what is wrong is named, what is resized stays the same camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.nodes.calibration import (
    DISTORTION_COEFFICIENTS,
    Calibration,
    CalibrationError,
    calibration_path,
    read_calibration,
)

# As camera_calibration_parsers writes it, whose 1e-05 PyYAML takes for a string.
STANDARD = """\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [525.5, 0, 319.5, 0, 526.25, 239.5, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.36, 0.12, 1e-05, -2e-04, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [500, 0, 320, -60.5, 0, 510, 240, 0, 0, 0, 1, 0]
"""

finite = st.floats(-1e4, 1e4)
focal_lengths = st.floats(1e-3, 1e5)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    model = draw(st.sampled_from(sorted(DISTORTION_COEFFICIENTS)))
    count = draw(st.sampled_from((0, *DISTORTION_COEFFICIENTS[model])))
    fx, fy, cx, cy = draw(focal_lengths), draw(focal_lengths), draw(finite), draw(finite)
    return Calibration(
        width=draw(st.integers(1, 8192)),
        height=draw(st.integers(1, 8192)),
        camera_matrix=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        distortion=tuple(draw(st.lists(finite, min_size=count, max_size=count))),
        distortion_model=model,
        rectification=np.eye(3) + np.reshape(draw(st.lists(st.floats(-0.1, 0.1), min_size=9, max_size=9)), (3, 3)),
        projection=np.array([[fx, 0, cx, draw(finite)], [0, fy, cy, 0], [0, 0, 1, 0]]),
        name=draw(st.text("abcdefgh_/0123456789", min_size=1).filter(lambda name: not name.isdigit())),
    )


def assert_equal(one: Calibration, other: Calibration) -> None:
    for name in ("width", "height", "distortion", "distortion_model", "name"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("camera_matrix", "rectification", "projection"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


@given(calibrations())
def test_what_is_written_is_read_back_exactly(calibration: Calibration) -> None:
    assert_equal(Calibration.from_yaml(calibration.to_yaml()), calibration)


def test_the_standard_file_is_read() -> None:
    calibration = Calibration.from_yaml(STANDARD)
    assert (calibration.width, calibration.height, calibration.name) == (640, 480, "narrow_stereo")
    assert calibration.distortion == (-0.36, 0.12, 1e-05, -2e-04, 0.0)
    np.testing.assert_array_equal(calibration.camera_matrix, [[525.5, 0, 319.5], [0, 526.25, 239.5], [0, 0, 1]])
    np.testing.assert_array_equal(calibration.projection[0], [500, 0, 320, -60.5])


def test_what_may_be_absent_is_that_of_a_camera_that_needs_no_rectification() -> None:
    values = yaml.safe_load(STANDARD)
    for name in ("rectification_matrix", "projection_matrix", "distortion_model", "distortion_coefficients"):
        del values[name]
    calibration = Calibration.from_yaml(yaml.safe_dump(values))
    np.testing.assert_array_equal(calibration.rectification, np.eye(3))
    np.testing.assert_array_equal(calibration.projection, np.column_stack((calibration.camera_matrix, np.zeros(3))))
    assert (calibration.distortion, calibration.distortion_model) == ((), "plumb_bob")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("image_width: 640", "", "image_width"),
        ("image_width: 640", "image_width: wide", "image_width"),
        ("image_height: 480", "image_height: 0", "image_height"),
        ("data: [525.5, 0, 319.5, ", "data: [525.5, 0, ", "camera_matrix has 8 values"),
        ("data: [525.5, 0, 319.5, ", "data: [0, 0, 319.5, ", "focal length"),
        ("data: [525.5, 0, 319.5, ", "data: [.nan, 0, 319.5, ", "camera_matrix has values that are not finite"),
        ("data: [525.5, 0, 319.5, ", "data: [f, 0, 319.5, ", "camera_matrix must hold a list of numbers"),
        ("plumb_bob", "fisheye9", "distortion_model is 'fisheye9', must be one of: plumb_bob"),
        ("[-0.36, 0.12, 1e-05, ", "[", "distortion_coefficients has 2 values, plumb_bob has 4 or 5"),
        ("[-0.36, ", "[.inf, ", "distortion_coefficients"),
        ("image_width: 640", "image_width: [640", "not valid YAML"),
    ],
)
def test_a_malformed_file_gives_an_error_that_names_file_and_field(tmp_path, old: str, new: str, named: str) -> None:
    assert old in STANDARD
    path = tmp_path / "camera.yaml"
    path.write_text(STANDARD.replace(old, new, 1))
    with pytest.raises(CalibrationError) as error:
        read_calibration(str(path))
    assert named in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@given(
    st.text() | st.dictionaries(st.sampled_from(sorted(yaml.safe_load(STANDARD))), st.text() | st.integers()).map(str)
)
def test_no_text_raises_anything_but_a_calibration_error(text: str) -> None:
    with pytest.raises(CalibrationError):
        Calibration.from_yaml(text)


def test_locations(tmp_path) -> None:
    path = tmp_path / "camera 1.yaml"
    path.write_text(STANDARD)
    expected = Calibration.from_yaml(STANDARD)
    assert_equal(read_calibration(str(path)), expected)
    assert_equal(read_calibration(f"file://{str(path).replace(' ', '%20')}"), expected)
    with pytest.raises(CalibrationError, match="nowhere"):
        read_calibration(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(CalibrationError, match="must be a path"):
        calibration_path("http://example.com/camera.yaml")
    with pytest.raises(CalibrationError, match="no_such_package"):
        calibration_path("package://no_such_package/camera.yaml")


def test_a_package_url_is_looked_up_in_the_ament_index(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ament_index_python", reason="needs the ament index of ROS 2")
    marker = tmp_path / "share/ament_index/resource_index/packages/my_robot"
    marker.parent.mkdir(parents=True)
    marker.touch()
    (tmp_path / "share/my_robot").mkdir()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert calibration_path("package://my_robot/config/c.yaml") == tmp_path / "share/my_robot/config/c.yaml"


@given(calibrations(), st.integers(1, 4096), st.integers(1, 4096), st.floats(-1, 1), st.floats(-1, 1))
def test_a_ray_keeps_its_place_in_the_resized_image(
    calibration: Calibration, width: int, height: int, x: float, y: float
) -> None:
    resized = calibration.resized(width, height)
    scale = np.array([width / calibration.width, height / calibration.height])
    for before, after, point in (
        (calibration.camera_matrix, resized.camera_matrix, [x, y, 1.0]),
        (calibration.projection, resized.projection, [x, y, 1.0, 1.0]),
    ):
        pixel_before, pixel_after = (matrix @ point for matrix in (before, after))
        # An image's edges lie half a pixel outside the centres of its outermost pixels.
        expected = (pixel_before[:2] + 0.5) * scale - 0.5
        np.testing.assert_allclose(pixel_after[:2], expected, rtol=1e-9, atol=1e-6)
    assert resized.distortion == calibration.distortion


def test_the_assumed_field_of_view_spans_the_image_from_edge_to_edge() -> None:
    calibration = Calibration.from_field_of_view(640, 480, 60.0)
    focal, center = calibration.camera_matrix[0, 0], calibration.camera_matrix[0, 2]
    for edge, degrees in ((-0.5, -30.0), (639.5, 30.0)):
        assert math.degrees(math.atan2(edge - center, focal)) == pytest.approx(degrees)
    assert calibration.camera_matrix[1, 1] == focal


def test_only_an_image_of_the_calibrated_shape_fits() -> None:
    calibration = Calibration.from_field_of_view(1280, 960, 60.0)
    assert calibration.fits(640, 480)
    assert calibration.fits(2560, 1920)
    assert Calibration.from_field_of_view(2964, 2000, 60.0).fits(741, 500)
    assert not calibration.fits(1280, 720)
    assert not calibration.fits(480, 640)
