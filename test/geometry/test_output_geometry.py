"""The camera_info of the outputs: exact for every size, and a pinhole's if the image is rectified."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from ros_messages import camera_info
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.output_geometry import CameraInfoError, GeometryCache, OutputGeometry, camera_of


def geometry(info, image_size=(480, 640), output_size=(480, 640), rectified=True, rectify=True) -> OutputGeometry:
    return GeometryCache("/camera/image_raw").geometry(info, image_size, output_size, rectified, rectify)


def test_rectified_image_gets_rectified_camera_info_in_every_field():
    info = camera_info()
    result = geometry(info).info
    assert result.p.tolist() == info.p.tolist()  # with the baseline in it
    assert result.k.reshape(3, 3).tolist() == info.p.reshape(3, 4)[:, :3].tolist()
    assert (result.distortion_model, result.d.tolist()) == ("plumb_bob", [0.0] * 5)
    assert result.r.tolist() == np.eye(3).ravel().tolist()
    assert result.header == Header()  # this frame's header is the publisher's business
    assert info == camera_info()  # the given message is left alone


def test_output_size_scales_camera_info_exactly():
    info = camera_info()
    result = geometry(info, output_size=(120, 320))
    scaled, p = result.info, info.p
    assert (scaled.width, scaled.height) == (320, 120)
    expected = [p[0] / 2, 0, (p[2] + 0.5) / 2 - 0.5, p[3] / 2, 0, p[5] / 4, (p[6] + 0.5) / 4 - 0.5, 0, 0, 0, 1, 0]
    assert scaled.p == pytest.approx(expected)
    assert result.camera == camera_of(scaled) == Camera(320, 120, *(scaled.p[index] for index in (0, 5, 2, 6)))


def test_raw_image_with_rectify_off_has_geometry_of_k():
    result = geometry(camera_info(), rectified=False, rectify=False)
    assert result.camera == Camera(640, 480, 500.5, 502.5, 321.25, 239.75)
    assert np.array_equal(result.info.r, np.eye(3).ravel())
    assert np.array_equal(result.info.k.reshape(3, 3), result.info.p.reshape(3, 4)[:, :3])
    assert result.info.d.tolist() == camera_info().d.tolist()
    assert result.rectifier is None


def test_raw_image_without_distortion_is_not_rectified():
    result = geometry(camera_info(d=[0.0] * 5), rectified=False)
    assert result.rectifier is None
    assert result.camera == Camera(640, 480, 500.5, 502.5, 321.25, 239.75)


def test_raw_image_with_distortion_is_rectified_to_p():
    result = geometry(camera_info(), output_size=(240, 320), rectified=False)
    assert result.rectifier.size == (480, 640)
    assert result.info == geometry(camera_info(), output_size=(240, 320)).info
    assert result.valid is None or result.valid.shape == (240, 320)


def test_zero_p_falls_back_to_k():
    assert geometry(camera_info(p=[0.0] * 12)).camera == Camera(640, 480, 500.5, 502.5, 321.25, 239.75)


def test_geometry_cache_recomputes_only_on_changed_calibration():
    cache, arguments = GeometryCache(), ((480, 640), (480, 640), False, True)
    first = cache.geometry(camera_info(), *arguments)
    later = camera_info()
    later.header.stamp.sec = 5
    assert cache.geometry(later, *arguments) is first
    zoomed = camera_info(k=[600.0, 0.0, 320.0, 0.0, 600.0, 240.0, 0.0, 0.0, 1.0])
    assert cache.geometry(zoomed, *arguments) is not first


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("d", [0.1, -0.2, 0.0, 0.0, 0.01]),
        ("p", [480.0, 0.0, 318.0, 0.0, 0.0, 481.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        ("r", cv2.Rodrigues(np.array([0.01, 0.0, 0.0]))[0].ravel()),
        ("distortion_model", "rational_polynomial"),
        ("roi", RegionOfInterest(x_offset=1, width=640, height=480)),
    ],
)
def test_geometry_cache_recomputes_on_change_of_each_field(field, value):
    cache, arguments = GeometryCache(), ((480, 640), (120, 160), True, True)
    first = cache.geometry(camera_info(), *arguments)
    assert cache.geometry(camera_info(**{field: value}), *arguments) is not first


def test_geometry_cache_survives_rejected_camera_info():
    cache, arguments = GeometryCache(), ((480, 640), (120, 160), True, True)
    first = cache.geometry(camera_info(), *arguments)
    with pytest.raises(CameraInfoError):
        cache.geometry(camera_info(k=[0.0] * 9), *arguments)
    assert cache.geometry(camera_info(), *arguments) is first


def test_raw_image_with_rotation_only_is_rectified():
    rotation = cv2.Rodrigues(np.array([0.02, -0.01, 0.03]))[0]
    result = geometry(camera_info(d=[], distortion_model="", r=rotation.ravel()), rectified=False)
    assert result.rectifier is not None
    assert result.camera == Camera(640, 480, 480.0, 481.0, 318.0, 241.0)
    assert not result.valid.all()


@pytest.mark.parametrize("fields", [{"r": [0.0] * 9}, {"p": [0.0] * 12, "r": cv2.Rodrigues(np.ones(3))[0].ravel()}])
def test_zero_r_or_r_without_p_is_ignored(fields):
    """Zeros are no rotation, and R without P has no image to rotate into."""
    result = geometry(camera_info(d=[0.0] * 5, **fields), rectified=False)
    assert result.rectifier is None


def test_equidistant_lens_with_zero_coefficients_is_rectified():
    info = camera_info(distortion_model="equidistant", d=[0.0] * 4)
    assert geometry(info, rectified=False).rectifier is not None


@pytest.mark.parametrize("name", ["fisheye", "Kannala Brandt4", "kannala_brandt", "equidistant"])
def test_fisheye_ray_lands_at_opencv_pixel_for_each_model_name(name):
    """With a fifth coefficient of zero, as a T265 has. The rectifier's maps are asked for the ray at 40 degrees."""
    k = np.array([[285.0, 0.0, 421.0], [0.0, 286.0, 399.0], [0.0, 0.0, 1.0]])
    d = [-0.006, 0.04, -0.038, 0.006]
    p = [200.0, 0.0, 424.0, 0.0, 0.0, 200.0, 400.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info = camera_info(848, 800, distortion_model=name, d=[*d, 0.0], k=k.ravel(), p=p)
    rectifier = geometry(info, (800, 848), (800, 848), rectified=None).rectifier
    u = round(424 + 200 * np.tan(np.radians(40)))
    expected = cv2.fisheye.projectPoints(
        np.array([[[(u - 424) / 200, 0.0, 1.0]]]), np.zeros(3), np.zeros(3), k, np.array(d)
    )
    picture = np.zeros((800, 848, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(848) // 4, np.arange(800)[:, np.newaxis] // 4
    out = np.empty_like(picture)
    rectifier.apply(picture, out)
    assert out[400, u, :2] == pytest.approx(expected[0][0, 0] / 4, abs=1)


@pytest.mark.parametrize(
    ("name", "distortion"),
    [("", [0.1, -0.2, 0.0, 0.0, 0.0]), ("plumb_bob", [0.1, -0.2, *[0.0] * 6]), ("radtan", [0.1, -0.2, 0.0, 0.0])],
)
def test_equivalent_distortion_names_give_equal_rectification(name, distortion):
    expected = geometry(camera_info(), output_size=(240, 320), rectified=None)
    result = geometry(camera_info(distortion_model=name, d=distortion), output_size=(240, 320), rectified=None)
    assert result.info == expected.info
    picture = np.random.default_rng(2).integers(0, 256, (480, 640, 3), np.uint8)
    outs = [np.empty_like(picture), np.empty_like(picture)]
    for each, out in zip((result, expected), outs, strict=True):
        each.rectifier.apply(picture, out)
    assert np.array_equal(*outs)


@pytest.mark.parametrize(
    ("fields", "doubt"),
    [
        ({}, None),
        ({"p": [0.0] * 12}, "P is zero"),
        ({"p": [480.0, 0.0, 900.0, 0.0, 0.0, 480.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]}, "cx is 900, outside the image"),
        ({"p": [3.6, 0.0, 320.0, 0.0, 0.0, 3.6, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]}, "is it in pixels"),
        ({"d": [1e9, 0.0, 0.0, 0.0, 0.0]}, "only 0.0 % of the image rectified by camera_info is visible to the camera"),
    ],
)
def test_improbable_camera_info_has_doubt(fields, doubt):
    said = geometry(camera_info(**fields), rectified="d" not in fields).doubt
    assert said is None if doubt is None else doubt in said


def test_roi_away_from_principal_point_has_no_doubt():
    roi = RegionOfInterest(x_offset=400, y_offset=40, width=200, height=300)
    assert geometry(camera_info(roi=roi), (300, 200), (300, 200)).doubt is None


def test_distorted_crop_is_rectified_in_its_own_pixels():
    """Rectifying the crop is cropping what was rectified, if the crop holds all that is needed."""
    random = np.random.default_rng(4)
    sensor = cv2.GaussianBlur(random.integers(0, 256, (480, 640, 3), np.uint8), (0, 0), 6)
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=400, height=300, do_rectify=True)
    whole, crop = (
        geometry(camera_info(), rectified=False),
        geometry(camera_info(roi=roi), (300, 400), (300, 400), False),
    )
    expected, result = np.empty((480, 640, 3), np.uint8), np.empty((300, 400, 3), np.uint8)
    whole.rectifier.apply(sensor, expected)
    crop.rectifier.apply(sensor[40:340, 100:500], result)
    seen = np.ones((300, 400), bool) if crop.valid is None else crop.valid
    inner = cv2.erode(seen.astype(np.uint8), np.ones((5, 5))) > 0
    assert inner.mean() > 0.8
    assert np.abs(result.astype(int) - expected[40:340, 100:500])[inner].max() <= 1


def test_camera_info_applies_binning_and_roi():
    """Sensor pixels 100 … 499 across, binned by 2: sensor pixel 100.5 lies at the center of image pixel 0."""
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=400, height=300)
    result = geometry(camera_info(roi=roi, binning_x=2, binning_y=3), (100, 200), (100, 200))
    by_hand = Camera(640, 480, 480.0, 481.0, 318.0, 241.0).cropped(100, 40, 400, 300).resized(200, 100)
    camera = result.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(
        (by_hand.fx, by_hand.fy, by_hand.cx, by_hand.cy)
    )
    info = result.info
    assert (info.width, info.height, info.binning_x, info.binning_y) == (200, 100, 0, 0)
    assert info.roi == RegionOfInterest()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"k": [0.0] * 9}, "uncalibrated"),
        ({"width": 641}, "for 641x480 pixels, but the image has 640x480"),
        ({"width": 0, "height": 0}, "for 0x0 pixels"),
        ({"binning_x": 2, "binning_y": 2}, "for 320x240 pixels"),
        ({"k": [float("nan")] * 9}, "not finite"),
        ({"p": [500.0, 0.0, float("inf"), 0.0, 0.0, 500.0, *[0.0] * 6]}, "not finite"),
        ({"distortion_model": "thin_prism_fisheye"}, "set rectify to false"),
        ({"d": [0.1] * 6}, "set rectify to false"),
        ({"distortion_model": "omni", "d": [0.0] * 4}, "'omni', must be one of: plumb_bob"),
        ({"distortion_model": "", "d": [0.1] * 4}, "set distortion_model to equidistant for a fisheye lens"),
        (
            {"k": [-500.0, 0.0, 320.0, 0.0, -500.0, 240.0, 0.0, 0.0, 1.0]},
            "in K of camera_info are -500 and -500, but must be positive",
        ),
        (
            {"p": [-500.0, 0.0, 320.0, 0.0, 0.0, -500.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]},
            "in P of camera_info are -500 and -500",
        ),
        (
            {"p": [500.0, 0.0, 320.0, 0.0, 0.0, 0.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]},
            "in P of camera_info are 500 and 0",
        ),
        ({"p": [500.0, 0.0, 0.0, 0.0, 0.0, 500.0, 0.0, 0.0, 320.0, 240.0, 1.0, 0.0]}, "is P transposed"),
        ({"k": [1000.0, 0.0, 640.0, 0.0, 1000.0, 480.0, 0.0, 0.0, 2.0]}, "last row of K"),
        ({"r": [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]}, "no rotation"),
    ],
)
def test_unusable_camera_info_raises_camera_info_error(fields, complaint):
    with pytest.raises(CameraInfoError, match=complaint):
        geometry(camera_info(**fields), rectified=False)


@pytest.mark.parametrize("rectified", [True, False])
def test_zero_last_row_of_k_and_p_is_accepted(rectified):
    whole = camera_info()
    k, p = whole.k.tolist(), whole.p.tolist()
    result = geometry(camera_info(k=[*k[:8], 0.0], p=[*p[:10], 0.0, 0.0]), rectified=rectified)
    assert result.info == geometry(whole, rectified=rectified).info


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(240, 320), (480, 640), (960, 1280)])
@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize(("focal", "center"), [(1e-300, 9.0), (5e-324, 9.0), (1.7e308, 9.0), (500.0, 1.7e308)])
def test_extreme_intrinsics_raise_camera_info_error(focal, center, size, rectified):
    info = camera_info(p=[focal, 0.0, center, 0.0, 0.0, 500.0, 9.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    with pytest.raises(CameraInfoError, match="calibrate the camera"):
        geometry(info, output_size=size, rectified=rectified)


def test_rectified_image_accepts_unknown_distortion_model():
    result = geometry(camera_info(distortion_model="thin_prism_fisheye"), rectified=True)
    assert (result.rectifier, result.info.distortion_model) == (None, "plumb_bob")
