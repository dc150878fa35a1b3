"""Rectification of raw images: the image of a pinhole camera without distortion at the same position.

The distortion models are those of `sensor_msgs/CameraInfo`, with OpenCV's formulas: plumb_bob (Brown's radial and
tangential terms), rational_polynomial (with thin prism and tilted sensor for 12 or 14 coefficients) and equidistant
(Kannala and Brandt, "A generic camera model", TPAMI 2006, as in `cv2.fisheye`). Pixel centers are at integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.polynomial import Polynomial

from depth_anything_ros.geometry.distortion import DISTORTION_COEFFICIENTS, distortion_of
from depth_anything_ros.images.pixel_layout import as_rgb, stored

MODELS = ("plumb_bob", "rational_polynomial", "equidistant")
"""The supported distortion models."""

_TILE_ROWS = 64  # rows whose rays are traced together, so that large images need no gigabytes of float64
_FARTHEST = 1e3  # tangent of the largest useful ray angle, 89.94 degrees
_TINY = np.finfo(np.float64).tiny


def needs_rectification(
    distortion: Sequence[float] | np.ndarray, rectification: np.ndarray, distortion_model: str = "plumb_bob"
) -> bool:
    """Return whether a raw image differs from the rectified one in more than focal lengths and principal point.

    A fisheye lens always does, even with zero or missing coefficients.

    Args:
        distortion: coefficients (n,); any that is not zero needs rectification.
        rectification: R (3, 3); any but the identity needs rectification.
        distortion_model: of sensor_msgs.
    """
    if distortion_model in ("equidistant", "thin_prism_fisheye"):
        return True
    return bool(np.any(np.asarray(distortion) != 0)) or not np.array_equal(rectification, np.eye(3))


def is_rotation(matrix: np.ndarray) -> bool:
    """Return whether a matrix (3, 3) is a rotation, to a tolerance of 0.001, since files round it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3) and np.linalg.det(matrix) > 0)


class Rectifier:
    """Rectifies images of one raw camera into one pinhole camera. The constructor computes the maps.

    Args:
        distortion_model: one of `MODELS`, or an alias that `distortion_of` knows.
        camera_matrix: K (3, 3) of the raw image, pixels; its skew counts as zero, as in OpenCV.
        distortion: D in OpenCV's order; trailing zeros may be missing or surplus.
        rectification: R (3, 3), the rotation from the raw camera's frame to the rectified one's.
        projection: P[:3, :3] of the rectified image, pixels.
        size: (height, width) of both images.

    Attributes:
        size: as given.
        valid: bool (H, W), False where a rectified pixel's ray misses the raw image or exceeds the range of the
            model, so that it is no measurement; None if every pixel is valid.

    Raises:
        ValueError: the model is unsupported, or a number is missing, surplus, not finite or invalid.
    """

    def __init__(
        self,
        distortion_model: str,
        camera_matrix: np.ndarray,
        distortion: np.ndarray,
        rectification: np.ndarray,
        projection: np.ndarray,
        size: tuple[int, int],
    ) -> None:
        self.size = size
        model, self._distortion = _checked_distortion(distortion_model, distortion)
        self._is_equidistant = model == "equidistant"
        self._camera_matrix = _checked_matrix("camera matrix", camera_matrix)
        self._projection = _checked_matrix("projection", projection)
        self._rectification = _checked_matrix("rectification", rectification)
        if not is_rotation(self._rectification):
            raise ValueError(f"rectification is no rotation: {self._rectification.tolist()}")
        positions, self.valid = self._trace(size)
        self._maps = cv2.convertMaps(positions[..., 0], positions[..., 1], cv2.CV_16SC2)
        self._remapped: np.ndarray | None = None

    def apply(self, image: np.ndarray, out: np.ndarray) -> None:
        """Rectify an image.

        Gray, BGR and four-channel images seen as RGB are remapped in their memory layout. An ``out`` with the layout
        of ``image`` is fastest, or `remap`.

        Args:
            image: uint8 (H, W, 3) of any strides.
            out: takes the result, uint8 (H, W, 3) of any strides.

        Raises:
            ValueError: wrong size or dtype.
        """
        for name, array in (("image", image), ("out", out)):
            if array.shape != (*self.size, 3) or array.dtype != np.uint8:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, must be uint8 {(*self.size, 3)}")
        source, target = stored(image), stored(out)
        if source.order == target.order and np.may_share_memory(target.pixels, out):
            self.remap(source.pixels, target.pixels)
            return
        if self._remapped is None or self._remapped.shape != source.pixels.shape:
            self._remapped = np.empty(source.pixels.shape, np.uint8)
        self.remap(source.pixels, self._remapped)
        np.copyto(out, as_rgb(self._remapped, source.order))

    def remap(self, pixels: np.ndarray, out: np.ndarray) -> None:
        """Rectify pixels in their memory layout. Pixels that the camera did not see repeat the nearest seen ones.

        A black border would mislead the network.

        Args:
            pixels: uint8 (H, W) or (H, W, channels); only the rows may be padded.
            out: takes the result, of the same kind.
        """
        cv2.remap(pixels, *self._maps, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Rectify values that must not be mixed, such as depth, by nearest neighbor.

        Args:
            values: float32 of the image's size.

        Returns:
            float32 of the same size; NaN where the raw camera saw nothing.
        """
        positions, _ = self._trace(self.size)
        x, y = np.ascontiguousarray(positions[..., 0], np.float32), np.ascontiguousarray(positions[..., 1], np.float32)
        return cv2.remap(values, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(float("nan"),))

    def valid_at(self, size: tuple[int, int]) -> np.ndarray | None:
        """Return `valid` for the rectified image resized to ``size`` (H, W), traced again; None if all is valid."""
        return self.valid if size == self.size else self._trace(size)[1]

    def _trace(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the positions of the rectified image's pixels in the raw image, and which of them it contains.

        The rectified image is resized to ``size``. Positions are float32 (H, W, 2) of (u, v), clamped to the raw
        image; the mask is bool (H, W) or None, as `valid`.
        """
        (height, width), (raw_height, raw_width) = size, self.size
        directions = np.linalg.inv(self._projection @ self._rectification)
        u = (np.arange(width) + 0.5) * (raw_width / width) - 0.5
        rows = (np.arange(height) + 0.5) * (raw_height / height) - 0.5
        last = np.array([raw_width - 1, raw_height - 1])
        project = _project_equidistant if self._is_equidistant else _project_polynomial
        positions, valid = np.empty((height, width, 2), np.float32), np.empty((height, width), bool)
        for top in range(0, height, _TILE_ROWS):
            tile = slice(top, top + _TILE_ROWS)
            v = rows[tile, np.newaxis]
            x, y, z = (axis[0] * u + axis[1] * v + axis[2] for axis in directions)
            pixels, seen = project(x, y, z, self._camera_matrix, self._distortion)
            inside = (pixels >= -0.5) & (pixels <= last + 0.5)
            valid[tile] = seen & inside[..., 0] & inside[..., 1]
            positions[tile] = np.clip(pixels, 0, last)
        return positions, None if valid.all() else valid


def _project_polynomial(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, camera_matrix: np.ndarray, distortion: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (h, w, 2) of rays x, y, z (h, w) through a polynomial lens, and which rays it describes.

    The polynomials do not describe rays behind the camera, or rays so far out that they fold back into the image.
    Such rays get the pixels of the last valid ray in the same direction.
    """
    limit = _unfolded_radius(distortion)
    across = np.hypot(x, y)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        radius = np.where(z > 0, across / z, np.inf)
    shrink = np.minimum(radius, min(0.999999 * limit, _FARTHEST)) / np.maximum(across, _TINY)
    x, y = _distort(x * shrink, y * shrink, distortion)
    (fx, _, cx), (_, fy, cy) = camera_matrix[:2]
    return np.stack([fx * x + cx, fy * y + cy], axis=-1), radius < limit


def _distort(x: np.ndarray, y: np.ndarray, distortion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Apply a polynomial distortion of 4 to 14 coefficients to points (x, y) at z = 1.

    `cv2.projectPoints` computes the same, but takes ten times as long because it computes derivatives.
    """
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, *tilt = np.concatenate([distortion, np.zeros(14)])[:14]
    xx, yy, xy = x * x, y * y, 2 * x * y
    s = xx + yy
    radial = (1 + s * (k1 + s * (k2 + s * k3))) / (1 + s * (k4 + s * (k5 + s * k6)))
    x, y = (
        x * radial + p1 * xy + p2 * (s + 2 * xx) + s * (s1 + s * s2),
        y * radial + p1 * (s + 2 * yy) + p2 * xy + s * (s3 + s * s4),
    )
    if not any(tilt):
        return x, y
    tilted = [axis[0] * x + axis[1] * y + axis[2] for axis in _tilt_matrix(*tilt)]
    return tilted[0] / tilted[2], tilted[1] / tilted[2]


def _tilt_matrix(about_x: float, about_y: float) -> np.ndarray:
    """Return the homography (3, 3) of a tilted sensor (Scheimpflug); the angles are OpenCV's tauX, tauY in radians."""
    cos_x, sin_x, cos_y, sin_y = math.cos(about_x), math.sin(about_x), math.cos(about_y), math.sin(about_y)
    rotation_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    rotation_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    rotation = rotation_y @ rotation_x
    (_, _, xz), (_, _, yz), (_, _, zz) = rotation
    return np.array([[zz, 0, -xz], [0, zz, -yz], [0, 0, 1]]) @ rotation


def _project_equidistant(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, camera_matrix: np.ndarray, distortion: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Do as `_project_polynomial` for an equidistant lens, which may see sideways and backwards.

    A ray at the angle t from the optical axis is imaged t * (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8) focal lengths
    from the principal point.
    """
    k1, k2, k3, k4 = distortion
    limit = min(_first_root(Polynomial([1, 3 * k1, 5 * k2, 7 * k3, 9 * k4])), math.pi)
    across = np.hypot(x, y)
    angle = np.arctan2(across, z)
    shown = np.minimum(angle, limit)
    squared = shown * shown
    distance = shown * (1 + squared * (k1 + squared * (k2 + squared * (k3 + squared * k4))))
    stretch = distance / np.maximum(across, _TINY)
    (fx, _, cx), (_, fy, cy) = camera_matrix[:2]
    return np.stack([fx * x * stretch + cx, fy * y * stretch + cy], axis=-1), angle < limit


def _unfolded_radius(distortion: np.ndarray) -> float:
    """Return the radius, as a tangent, up to which a polynomial's radial part grows; infinite if it always does.

    Calibration determines the polynomials within the image only. Beyond it, high orders often turn back and would
    project rays from far outside into the image.
    """
    k1, k2, _, _, k3, k4, k5, k6 = np.concatenate([distortion, np.zeros(8)])[:8]
    # With s = r^2, `slope` has the sign of the derivative of the distorted radius r * above(s) / below(s).
    above, below = Polynomial([1, k1, k2, k3]), Polynomial([1, k4, k5, k6])
    slope = above * below + Polynomial([0, 2]) * (above.deriv() * below - above * below.deriv())
    return min(_first_root(slope), _first_root(below))


def _first_root(polynomial: Polynomial) -> float:
    """Return the square root of the smallest positive root of a polynomial in r^2; infinite if there is none."""
    roots = polynomial.trim().roots()
    real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
    return math.sqrt(real.min()) if real.size else math.inf


def _checked_distortion(name: str, distortion: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the model and D as float64 (n,), of a valid length."""
    model, coefficients = distortion_of(name, np.asarray(distortion, np.float64).ravel().tolist())
    if model not in MODELS:
        raise ValueError(f"distortion_model is {name!r}, must be one of: {', '.join(MODELS)}")
    return model, np.array(coefficients or [0.0] * DISTORTION_COEFFICIENTS[model][0])


def _checked_matrix(name: str, matrix: np.ndarray) -> np.ndarray:
    """Return the matrix as float64 (3, 3)."""
    matrix = np.array(matrix, np.float64)
    if matrix.shape != (3, 3):
        raise ValueError(f"{name} has shape {matrix.shape}, must be (3, 3)")
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < _TINY:
        raise ValueError(f"{name} is not finite or cannot be inverted: {matrix.tolist()}")
    return matrix
