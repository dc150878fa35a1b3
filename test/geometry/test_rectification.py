"""Rectification: maps against OpenCV's, pixels outside the lens, folds, channel orders and errors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_anything_ros.geometry.rectification import Rectifier, needs_rectification

K = np.array([[240.0, 0.0, 157.3], [0.0, 236.0, 121.8], [0.0, 0.0, 1.0]])
ROTATION = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
SIZE = (240, 320)
LENSES = {
    "barrel": ("plumb_bob", [-0.32, 0.13, 0.001, -0.002, -0.025]),
    "four": ("plumb_bob", [-0.25, 0.05, 0.001, -0.002]),
    "rational": ("rational_polynomial", [0.5, 0.1, 0.0005, 0.0003, 0.01, 0.8, 0.3, 0.05]),
    "prism": ("rational_polynomial", [0.5, 0.1, 0.0005, 0.0003, 0.01, 0.8, 0.3, 0.05, 0.01, 0.02, -0.01, 0.03]),
    "tilted": (
        "rational_polynomial",
        [0.5, 0.1, 0.0005, 0.0003, 0.01, 0.8, 0.3, 0.05, 0.01, 0.02, -0.01, 0.03, 0.05, -0.08],
    ),
    "fisheye": ("equidistant", [0.02, -0.01, 0.003, -0.001]),
}


def rectifier(model: str, distortion: list[float], projection=K, rotation=ROTATION, size=SIZE) -> Rectifier:
    return Rectifier(model, K, np.array(distortion), rotation, projection, size)


def smooth_image(seed: int = 3, size: tuple[int, int] = SIZE) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)


@pytest.mark.parametrize("lens", LENSES)
def test_rectified_image_matches_opencv(lens):
    model, distortion = LENSES[lens]
    make = cv2.fisheye.initUndistortRectifyMap if model == "equidistant" else cv2.initUndistortRectifyMap
    u, v = make(K, np.array(distortion), ROTATION, K, SIZE[::-1], cv2.CV_32FC1)
    image, out = smooth_image(), np.empty((*SIZE, 3), np.uint8)
    rectified = rectifier(model, distortion)
    rectified.apply(image, out)
    expected = cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(out.astype(int) - expected).max() <= 2  # OpenCV's float maps interpolate finer than in 32nds
    inside = (u >= -0.5) & (u <= SIZE[1] - 0.5) & (v >= -0.5) & (v <= SIZE[0] - 0.5)
    valid = np.ones(SIZE, bool) if rectified.valid is None else rectified.valid
    assert np.count_nonzero(valid != inside) <= 2  # float32 rounding on the very edge


def test_pixels_outside_lens_are_invalid_and_filled():
    wide = K / [[2], [2], [1]] + np.array([[0, 0, 78.6], [0, 0, 60.9], [0, 0, 0]])  # sees twice as much as the lens
    rectified = rectifier("plumb_bob", [0.0] * 4, wide, np.eye(3))
    out = np.empty((*SIZE, 3), np.uint8)
    rectified.apply(np.full((*SIZE, 3), 200, np.uint8), out)
    assert np.all(out == 200)
    u, v = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    raw_u, raw_v = 2 * (u - wide[0, 2]) + K[0, 2], 2 * (v - wide[1, 2]) + K[1, 2]
    inside = (raw_u >= -0.5) & (raw_u <= SIZE[1] - 0.5) & (raw_v >= -0.5) & (raw_v <= SIZE[0] - 0.5)
    assert np.array_equal(rectified.valid, inside)


def test_fully_visible_image_has_no_mask():
    assert rectifier("plumb_bob", [0.0] * 5, rotation=np.eye(3)).valid is None


@pytest.mark.parametrize("size", [(120, 160), (480, 640), (97, 211)])
def test_valid_at_other_size_matches_resized_mask(size):
    """Pixels are judged by their own rays, so that it agrees with a resized mask but for the border's pixels."""
    rectified = rectifier("plumb_bob", [0.3, 0.1, 0.0, 0.0])
    valid = rectified.valid_at(size)
    resized = cv2.resize(rectified.valid.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    sure = (resized < 0.01) | (resized > 0.99)
    assert np.array_equal(valid[sure], resized[sure] > 0.5)
    assert np.array_equal(rectified.valid_at(SIZE), rectified.valid)


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", [-0.5, 0.0, 0.0, 0.0]),  # turns back at r = sqrt(2 / 3)
        ("plumb_bob", [-0.4, 0.25, 0.0, 0.0, -0.06]),
        ("rational_polynomial", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0]),  # r / (1 + r^4 / 2)
        ("rational_polynomial", [0.0, 0.0, 0.0, 0.0, 0.0, -0.5, 0.0, 0.0]),  # has a pole
        ("equidistant", [-0.2, 0.0, 0.0, 0.0]),
    ],
)
def test_folded_distortion_is_invalid_after_turning_point(model, distortion):
    """A camera that sees nearly everything: along every row distorted radii must grow wherever pixels are valid."""
    far = np.array([[20.0, 0.0, 160.0], [0.0, 20.0, 120.0], [0.0, 0.0, 1.0]])
    raw = np.array([[60.0, 0.0, 160.0], [0.0, 60.0, 120.0], [0.0, 0.0, 1.0]])
    rectified = Rectifier(model, raw, np.array(distortion), np.eye(3), far, SIZE)
    radii = np.arange(SIZE[1] - 160) / 20.0
    if model == "equidistant":
        pixels = cv2.fisheye.distortPoints(
            np.stack([radii, 0 * radii], axis=-1)[:, np.newaxis], raw, np.array(distortion)
        )
    else:
        points = np.stack([radii, 0 * radii, 1 + 0 * radii], axis=-1)
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), raw, np.array(distortion))
    distorted = pixels[:, 0, 0]
    turn = int(np.argmax(np.diff(distorted) <= 0))  # the last pixel before radii shrink
    assert turn > 5
    row, inside = rectified.valid[120, 160:], distorted <= SIZE[1] - 0.5
    assert np.array_equal(row[:turn], inside[:turn])
    assert not row[turn + 2 :].any()


def test_rays_beyond_ninety_degrees_are_handled():
    """An equidistant lens may look behind; polynomials say nothing of what is there."""
    behind = cv2.Rodrigues(np.array([0.0, np.pi / 2, 0.0]))[0]
    for model, distortion in (LENSES["fisheye"], LENSES["barrel"], LENSES["rational"]):
        for rotation in (behind, behind @ behind):
            rectified = rectifier(model, distortion, rotation=rotation)
            rectified.apply(smooth_image(), np.empty((*SIZE, 3), np.uint8))
            assert not rectified.valid.all()
    ideal = Rectifier(
        "equidistant", K / [[4], [4], [1]] + [[0, 0, 118], [0, 0, 91], [0, 0, 0]], np.zeros(4), behind, K, SIZE
    )
    assert ideal.valid is None  # it sees 150 degrees to the side


def views(rgb: np.ndarray) -> dict[str, np.ndarray]:
    """The same colors in the layouts of cameras."""
    height, width = rgb.shape[:2]
    bgr, alpha = np.ascontiguousarray(rgb[..., ::-1]), np.full((height, width, 1), 9, np.uint8)
    padded = np.zeros((height, 3 * width + 7), np.uint8)
    padded[:, : 3 * width] = rgb.reshape(height, -1)
    return {
        "rgb": rgb,
        "bgr": bgr[..., ::-1],
        "rgba": np.concatenate([rgb, alpha], axis=2)[..., :3],
        "bgra": np.concatenate([bgr, alpha], axis=2)[..., 2::-1],
        "padded": np.lib.stride_tricks.as_strided(padded, rgb.shape, (padded.strides[0], 3, 1)),
        "upside down": np.ascontiguousarray(rgb[::-1])[::-1],
        "mirrored": np.ascontiguousarray(rgb[:, ::-1])[:, ::-1],
        "planes": np.ascontiguousarray(rgb.transpose(2, 0, 1)).transpose(1, 2, 0),
    }


@pytest.mark.parametrize("target", ["rgb", "bgr", "bgra", "planes"])
@pytest.mark.parametrize("source", ["rgb", "bgr", "rgba", "bgra", "padded", "upside down", "mirrored", "planes"])
def test_every_channel_layout_rectifies_equally(source, target):
    image = smooth_image()
    rectified = rectifier(*LENSES["barrel"])
    expected = np.empty_like(image)
    rectified.apply(image, expected)
    for _ in range(2):  # scratch images are used again
        out = views(np.zeros_like(image))[target]
        rectified.apply(views(image)[source], out)
        assert np.array_equal(out, expected)


def test_gray_image_stays_gray_after_rectification():
    gray = np.ascontiguousarray(smooth_image()[..., 0])
    rectified = rectifier(*LENSES["barrel"])
    out, expected = np.empty((*SIZE, 3), np.uint8), np.empty((*SIZE, 3), np.uint8)
    rectified.apply(np.broadcast_to(gray[..., np.newaxis], (*SIZE, 3)), out)
    rectified.apply(np.repeat(gray[..., np.newaxis], 3, axis=2), expected)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("size", [(1, 7), (9, 1)])
def test_smallest_images_can_be_rectified(size):
    rectified = rectifier(*LENSES["barrel"], size=size)
    for layout in ("rgb", "rgba", "bgr"):
        rectified.apply(views(np.zeros((*size, 3), np.uint8))[layout], np.empty((*size, 3), np.uint8))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"distortion_model": "thin_prism_fisheye"}, "'thin_prism_fisheye', must be one of: plumb_bob"),
        ({"distortion_model": "omni"}, "'omni', must be one of: plumb_bob"),
        ({"distortion": np.full(8, 0.1)}, "8 distortion coefficients, plumb_bob has 4 or 5; coefficient 8 is 0.1"),
        ({"distortion_model": "equidistant", "distortion": np.full(5, 0.1)}, "equidistant has 4; coefficient 5 is 0.1"),
        ({"distortion": np.array([0.1, np.nan, 0, 0, 0])}, "distortion coefficients are not finite"),
        ({"camera_matrix": np.full((3, 3), np.inf)}, "camera matrix is not finite"),
        ({"projection": np.zeros((3, 3))}, "cannot be inverted"),
        ({"projection": np.zeros((3, 4))}, r"has shape \(3, 4\)"),
        ({"rectification": 2 * np.eye(3)}, "no rotation"),
        ({"rectification": np.diag([-1.0, 1.0, 1.0])}, "no rotation"),
    ],
)
def test_invalid_rectifier_arguments_raise(changes, complaint):
    arguments = {
        "distortion_model": "plumb_bob",
        "camera_matrix": K,
        "distortion": np.zeros(5),
        "rectification": np.eye(3),
        "projection": K,
        "size": SIZE,
    }
    with pytest.raises(ValueError, match=complaint):
        Rectifier(**{**arguments, **changes})


def test_image_of_other_size_or_dtype_raises():
    rectified = rectifier(*LENSES["barrel"])
    image = np.zeros((*SIZE, 3), np.uint8)
    with pytest.raises(ValueError, match="image is uint8"):
        rectified.apply(image[1:], image)
    with pytest.raises(ValueError, match="out is float32"):
        rectified.apply(image, image.astype(np.float32))


def test_needs_rectification_depends_on_distortion_and_rotation():
    assert not needs_rectification(np.zeros(5), np.eye(3))
    assert not needs_rectification([], np.eye(3).tolist())
    assert needs_rectification([0, 0, 1e-9, 0], np.eye(3))
    assert needs_rectification(np.zeros(5), ROTATION)
    assert needs_rectification(np.zeros(4), np.eye(3), "equidistant")
    assert needs_rectification([], np.eye(3), "equidistant")
