"""The camera_info YAML: exact round trip, named errors, and resizing that keeps the camera."""

from __future__ import annotations

import contextlib
import math

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.geometry.calibration import Calibration, CalibrationError, calibration_path, read_calibration
from depth_anything_ros.geometry.distortion import DISTORTION_COEFFICIENTS
from depth_anything_ros.geometry.rectification import Rectifier

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
        rectification=cv2.Rodrigues(np.array(draw(st.lists(st.floats(-4, 4), min_size=3, max_size=3))))[0],
        projection=np.array([[fx, 0, cx, draw(finite)], [0, fy, cy, 0], [0, 0, 1, 0]]),
        name=draw(st.text("abcdefgh_/0123456789", min_size=1).filter(lambda name: not name.isdigit())),
    )


def assert_equal(one: Calibration, other: Calibration) -> None:
    for name in ("width", "height", "distortion", "distortion_model", "name"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("camera_matrix", "rectification", "projection"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


@given(calibrations())
def test_calibration_round_trip_through_yaml_is_exact(calibration: Calibration) -> None:
    assert_equal(Calibration.from_yaml(calibration.to_yaml()), calibration)


def test_standard_calibration_file_is_read() -> None:
    calibration = Calibration.from_yaml(STANDARD)
    assert (calibration.width, calibration.height, calibration.name) == (640, 480, "narrow_stereo")
    assert calibration.distortion == (-0.36, 0.12, 1e-05, -2e-04, 0.0)
    np.testing.assert_array_equal(calibration.camera_matrix, [[525.5, 0, 319.5], [0, 526.25, 239.5], [0, 0, 1]])
    np.testing.assert_array_equal(calibration.projection[0], [500, 0, 320, -60.5])


def test_missing_optional_fields_get_defaults() -> None:
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
        ("plumb_bob", "omni", "distortion_model is 'omni', which is not supported"),
        ("plumb_bob", "plumb_bob\ncamera_model: fisheye", "'plumb_bob', but camera_model is 'fisheye'"),
        ("plumb_bob", "radtan\ncamera_model: omni", "camera_model is 'omni', which is not supported"),
        ("-2e-04, 0]", "-2e-04, 0, 0.5]", "distortion_coefficients: 6 distortion coefficients, plumb_bob has 4 or 5"),
        ("[500, 0, 320, ", "[0, 0, 320, ", "projection_matrix has a focal length that is not positive"),
        ("[500, 0, 320, -60.5, 0, 510, 240, 0, 0, 0, 1, 0]", str([0] * 12), "leave it out if"),
        (
            "526.25, 239.5, 0, 0, 1]",
            "-526.25, 239.5, 0, 0, 1]",
            "focal length that is not positive (525.5 and -526.25)",
        ),
        ("[525.5, 0, 319.5, 0, 526.25, 239.5, 0, 0, 1]", "[525.5, 0, 0, 0, 526.25, 0, 319.5, 239.5, 1]", "transposed"),
        ("[1, 0, 0, 0, 1, 0, 0, 0, 1]", "[2, 0, 0, 0, 2, 0, 0, 0, 2]", "2.0]] is no rotation; leave it out"),
        ("[1, 0, 0, 0, 1, 0, 0, 0, 1]", "[1, 0, 0, 0, 1, 0, 0, 0, -1]", "-1.0]] is no rotation; leave it out"),
        ("distortion_coefficients", "distortion_coefficents", "rename it to distortion_coefficients"),
        ("distortion_coefficients", "dist_coeffs", "rename it to distortion_coefficients"),
        ("[-0.36, ", "[.inf, ", "distortion_coefficients"),
        ("image_width: 640", "image_width: [640", "not valid YAML"),
    ],
)
def test_invalid_calibration_field_is_named(tmp_path, old: str, new: str, named: str) -> None:
    assert old in STANDARD
    path = tmp_path / "camera.yaml"
    path.write_text(STANDARD.replace(old, new, 1))
    with pytest.raises(CalibrationError) as error:
        read_calibration(str(path))
    assert named in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


FISHEYE, FISHEYE_FOCALS = [-0.012, 0.041, -0.038, 0.0061], "[350, 0, 319.5, 0, 351,"


@pytest.mark.parametrize(
    "lines",
    [
        "camera_model: fisheye",
        "camera_model: equidistant",
        "distortion_model: fisheye",
        "distortion_model: fisheye\ncamera_model: pinhole",
        "distortion_model: equidistant\ncamera_model: IMX219",
        "distortion_model: ''\nmodel_type: KANNALA_BRANDT",
        "lens: fisheye",
        "distortion_type: equidistant\nboard_type: charuco",
        "fisheye: true",
    ],
)
@pytest.mark.parametrize("zeros", [0, 1])
def test_fisheye_calibration_is_read_as_equidistant(lines: str, zeros: int) -> None:
    """A ray at 40 degrees lands where OpenCV's fisheye model puts it."""
    text = STANDARD.replace("distortion_model: plumb_bob", lines).replace(
        "[525.5, 0, 319.5, 0, 526.25,", FISHEYE_FOCALS
    )
    calibration = Calibration.from_yaml(text.replace("[-0.36, 0.12, 1e-05, -2e-04, 0]", str(FISHEYE + [0.0] * zeros)))
    assert (calibration.distortion_model, calibration.distortion) == ("equidistant", tuple(FISHEYE))
    k, still = calibration.camera_matrix, np.zeros(3)
    ray = np.array([[[math.tan(math.radians(40)), 0.0, 1.0]]])
    expected = cv2.fisheye.projectPoints(ray, still, still, k, np.array(FISHEYE))[0][0, 0]
    # The rectified camera looks along that ray: its middle pixel shows where the ray lands in the raw image.
    turn = cv2.Rodrigues(np.array([0.0, -math.radians(40), 0.0]))[0]
    middle = np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]])
    raw = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(raw, tuple(expected.round().astype(int).tolist()), 3, (255, 255, 255), -1)
    out = np.empty_like(raw)
    Rectifier(calibration.distortion_model, k, np.array(calibration.distortion), turn, middle, (480, 640)).apply(
        raw, out
    )
    assert out[240, 320].tolist() == [255, 255, 255]
    assert not out[240, 330:].any()


@pytest.mark.parametrize("lines", ["camera_model: pinhole", "camera_model: plumb_bob", "distortion_model: radtan"])
def test_pinhole_synonyms_are_read_as_plumb_bob(lines: str) -> None:
    text = STANDARD.replace("distortion_model: plumb_bob", lines)
    for values, model in (([0.1, 0.2, 0.01, 0.02], "plumb_bob"), ([0.1, 0.2, 0.01, 0.02, 0.3], "plumb_bob")):
        calibration = Calibration.from_yaml(text.replace("[-0.36, 0.12, 1e-05, -2e-04, 0]", str(values)))
        assert (calibration.distortion_model, list(calibration.distortion)) == (model, values)


def test_calibration_without_model_is_read_if_unambiguous() -> None:
    text = STANDARD.replace("distortion_model: plumb_bob\n", "")
    assert Calibration.from_yaml(text).distortion_model == "plumb_bob"  # five coefficients
    eight = text.replace("-2e-04, 0]", "-2e-04, 0, 0.1, 0.2, 0.3]")
    assert Calibration.from_yaml(eight).distortion_model == "rational_polynomial"
    with pytest.raises(CalibrationError, match="set distortion_model to equidistant for a fisheye lens"):
        Calibration.from_yaml(text.replace("-2e-04, 0]", "-2e-04]"))
    assert Calibration.from_yaml(text.replace("[-0.36, 0.12, 1e-05, -2e-04, 0]", str([0] * 4))).distortion == ()


OST = """# oST version 5.0 parameters


[image]

width
640

height
480

[narrow_stereo]

camera matrix
525.500000 0.000000 319.500000
0.000000 526.250000 239.500000
0.000000 0.000000 1.000000

distortion
-0.360000 0.120000 0.000010 -0.000200 0.000000

rectification
1.000000 0.000000 0.000000
0.000000 1.000000 0.000000
0.000000 0.000000 1.000000

projection
500.000000 0.000000 320.000000 -60.500000
0.000000 510.000000 240.000000 0.000000
0.000000 0.000000 1.000000 0.000000
"""
ECHO = """header:
  stamp:
    sec: 1
    nanosec: 2
  frame_id: eye
height: 480
width: 640
distortion_model: plumb_bob
d:
- -0.36
- 0.12
- 1.0e-05
- -0.0002
- 0.0
k: [525.5, 0.0, 319.5, 0.0, 526.25, 239.5, 0.0, 0.0, 1.0]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [500.0, 0.0, 320.0, -60.5, 0.0, 510.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: false
---
header: [cut
"""
KALIBR = """cam0:
  cam_overlaps: []
  camera_model: pinhole
  distortion_coeffs: [-0.36, 0.12, 1.0e-05, -0.0002]
  distortion_model: radtan
  intrinsics: [525.5, 526.25, 319.5, 239.5]
  resolution: [640, 480]
  rostopic: /cam0/image_raw
"""


NESTED = "[[525.5, 0, 319.5], [0, 526.25, 239.5], [0, 0, 1]]"


def opencv_file(
    path, names: tuple[str, ...], model: str | None = None, distortion=(-0.36, 0.12, 1e-05, -2e-04, 0)
) -> str:
    """A file that OpenCV writes with these names."""
    width, height, matrix, coefficients = names
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write(width, 640)
    storage.write(height, 480)
    storage.write(matrix, np.array([[525.5, 0, 319.5], [0, 526.25, 239.5], [0, 0, 1]]))
    storage.write(coefficients, np.array([distortion]).T)
    if model:
        storage.write(*model)
    storage.release()
    return path.read_text()


@pytest.mark.parametrize(
    ("text", "projects"),
    [(OST, True), (ECHO, True), (ECHO.replace("\nd:", "\nD:").replace("\nk:", "\nK:"), True), (KALIBR, False)],
)
def test_calibration_files_of_other_tools_are_read(text: str, projects: bool) -> None:
    calibration, standard = Calibration.from_yaml(text), Calibration.from_yaml(STANDARD)
    assert (calibration.width, calibration.height, calibration.distortion_model) == (640, 480, "plumb_bob")
    assert calibration.distortion[:4] == standard.distortion[:4]
    np.testing.assert_array_equal(calibration.camera_matrix, standard.camera_matrix)
    if projects:
        np.testing.assert_array_equal(calibration.projection, standard.projection)


def test_alternative_field_layouts_are_read() -> None:
    standard = Calibration.from_yaml(KALIBR)
    for text in (
        KALIBR.replace("cam0:\n", "").replace("\n  ", "\n").replace("distortion_coeffs", "distortion_coefficients"),
        STANDARD[: STANDARD.index("rectification")].replace("[525.5, 0, 319.5, 0, 526.25, 239.5, 0, 0, 1]", NESTED),
    ):
        calibration = Calibration.from_yaml(text.strip())
        assert calibration.distortion[:4] == standard.distortion
        np.testing.assert_array_equal(calibration.camera_matrix, standard.camera_matrix)


@pytest.mark.parametrize("suffix", [".yml", ".xml"])
@pytest.mark.parametrize(
    "names",
    [
        ("image_width", "image_height", "camera_matrix", "distortion_coefficients"),
        ("image_Width", "image_Height", "Camera_Matrix", "Distortion_Coefficients"),
        ("width", "height", "M", "D"),
    ],
)
def test_opencv_file_storage_is_read(tmp_path, names: tuple[str, ...], suffix: str) -> None:
    calibration = Calibration.from_yaml(opencv_file(tmp_path / f"camera{suffix}", names))
    assert (calibration.width, calibration.distortion_model) == (640, "plumb_bob")
    assert calibration.distortion == (-0.36, 0.12, 1e-05, -2e-04, 0.0)
    for key, value in (("distortion_model", "fisheye"), ("fisheye_model", 1)):
        fisheye = opencv_file(tmp_path / f"fisheye{suffix}", names, (key, value), FISHEYE)
        assert Calibration.from_yaml(fisheye).distortion_model == "equidistant"
    with pytest.raises(CalibrationError, match="set distortion_model to equidistant for a fisheye lens"):
        Calibration.from_yaml(opencv_file(tmp_path / f"four{suffix}", names, distortion=FISHEYE))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (KALIBR + KALIBR.replace("cam0", "cam1"), r"camchain of 2 cameras \(cam0, cam1\)"),
        (KALIBR.replace("pinhole", "omni").replace("[525.5", "[0.9, 525.5"), "camera_model 'omni'"),
        (KALIBR.replace("pinhole", "omni"), "camera_model is 'omni', which is not supported"),
        (KALIBR.replace("radtan", "fov"), "'fov', must be one of"),
        ("projection_parameters: {k2: 0.1, mu: 500}\nimage_width: 9\n", "of camodocal or VINS"),
        ("%YAML:1.0\n---\nCamera.fx: 500.0\nCamera.fy: 500.0\n", "of ORB-SLAM"),
        (ECHO.replace("binning_x: 0", "binning_x: 2"), "binning"),
        (ECHO.replace("  width: 0", "  width: 320"), "region of interest"),
        (
            ECHO.replace("k: [525.5, 0.0, 319.5, 0.0, 526.25, 239.5, 0.0, 0.0, 1.0]", "k: " + str([0.0] * 9)),
            "calibrate",
        ),
        (OST + OST[OST.index("[narrow") :].replace("narrow_stereo", "right"), "oST file of 2 cameras"),
        (
            "%YAML:1.0\n---\nmodel_type: KANNALA_BRANDT\nimage_width: 9\n",
            "an OpenCV file with model_type",
        ),
        ("%YAML:1.0\n---\n[", "not a valid OpenCV file"),
        ("fx: 500.0\nfy: 500.0\n", "image_width, .*missing.*as camera_calibration does"),
    ],
)
def test_unreadable_calibration_is_named_with_fix(text: str, named: str) -> None:
    with pytest.raises(CalibrationError, match=named):
        Calibration.from_yaml(text)


@pytest.mark.parametrize("text", [STANDARD, OST, ECHO, KALIBR])
@given(start=st.integers(0, 900), junk=st.text(max_size=9))
def test_damaged_calibration_raises_only_calibration_error(text: str, start: int, junk: str) -> None:
    with contextlib.suppress(CalibrationError):
        Calibration.from_yaml(text[: start % len(text)] + junk + text[start % len(text) + len(junk) :])


@pytest.mark.parametrize(
    ("old", "new", "doubt"),
    [
        ("", "", None),
        ("319.5, 0, 526.25", "1319.5, 0, 526.25", "the principal point cx is 1319.5, outside the image of 640x480"),
        ("[525.5, 0, 319.5, 0, 526.25", "[3.6, 0, 319.5, 0, 3.6", "is it in pixels?"),
    ],
)
def test_improbable_calibration_has_doubt(old: str, new: str, doubt: str | None) -> None:
    said = Calibration.from_yaml(STANDARD.replace(old, new, 1)).doubt
    assert said is None if doubt is None else doubt in said


@given(
    st.text() | st.dictionaries(st.sampled_from(sorted(yaml.safe_load(STANDARD))), st.text() | st.integers()).map(str)
)
def test_arbitrary_text_raises_calibration_error(text: str) -> None:
    with pytest.raises(CalibrationError):
        Calibration.from_yaml(text)


def test_calibration_locations_are_resolved(tmp_path) -> None:
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


def test_package_url_is_resolved_in_ament_index(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ament_index_python", reason="needs the ament index of ROS 2")
    marker = tmp_path / "share/ament_index/resource_index/packages/my_robot"
    marker.parent.mkdir(parents=True)
    marker.touch()
    (tmp_path / "share/my_robot").mkdir()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert calibration_path("package://my_robot/config/c.yaml") == tmp_path / "share/my_robot/config/c.yaml"


@given(calibrations(), st.integers(1, 4096), st.integers(1, 4096), st.floats(-1, 1), st.floats(-1, 1))
def test_resized_calibration_keeps_rays(calibration: Calibration, width: int, height: int, x: float, y: float) -> None:
    resized = calibration.resized(width, height)
    scale = np.array([width / calibration.width, height / calibration.height])
    for before, after, point in (
        (calibration.camera_matrix, resized.camera_matrix, [x, y, 1.0]),
        (calibration.projection, resized.projection, [x, y, 1.0, 1.0]),
    ):
        pixel_before, pixel_after = (matrix @ point for matrix in (before, after))
        # An image's edges lie half a pixel outside the centers of its outermost pixels.
        expected = (pixel_before[:2] + 0.5) * scale - 0.5
        np.testing.assert_allclose(pixel_after[:2], expected, rtol=1e-9, atol=1e-6)
    assert resized.distortion == calibration.distortion


def test_field_of_view_spans_image_from_edge_to_edge() -> None:
    calibration = Calibration.from_field_of_view(640, 480, 60.0)
    focal, center = calibration.camera_matrix[0, 0], calibration.camera_matrix[0, 2]
    for edge, degrees in ((-0.5, -30.0), (639.5, 30.0)):
        assert math.degrees(math.atan2(edge - center, focal)) == pytest.approx(degrees)
    assert calibration.camera_matrix[1, 1] == focal


def test_calibration_fits_only_images_of_its_aspect_ratio() -> None:
    calibration = Calibration.from_field_of_view(1280, 960, 60.0)
    assert calibration.fits(640, 480)
    assert calibration.fits(2560, 1920)
    assert Calibration.from_field_of_view(2964, 2000, 60.0).fits(741, 500)
    assert not calibration.fits(1280, 720)
    assert not calibration.fits(480, 640)
