"""Local correction of depth by the residuals of references after one scale and shift.

The residuals in ln Z are splatted into grids over the image and ln Z, from coarse to fine. Each level corrects the
residuals of the coarser ones (multilevel approximation: Lee, Wolberg and Shin 1997). The grid is bilateral (Chen, Paris
and Durand 2007), so a correction stays on its surface. Cells shrink toward zero if few references support them. So the
correction fades away from the references and does not extrapolate beyond their range of depth. At each level a
reference counts less if it is far from the coarser levels, because it may be an outlier among its neighbors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.scale.robust_statistics import BLOCK, USUAL_COUNT, USUAL_SIGMA, blocks_of

LEVELS = ((4, 3, 0.5), (8, 6, 0.2), (16, 12, 0.05), (32, 24, 0.02), (64, 48, 0.01))
"""Columns and rows of each grid, and its shrinkage: as many references move a cell by half of their residual."""
BINS = 4
"""Cells over ln Z."""
MIN_RANGE = 0.2
"""Smallest range of ln Z that the bins cover, so that one flat wall does not become four layers of noise."""
SUPPORT_WIDTH = 160
"""Columns, about, of the map of support."""
MIN_REFERENCES = 20
"""Fewer references are not worth a local correction."""
REDESCENT = 36.0
"""Squared residual, in standard deviations of the remaining residuals, at which a weight falls to a quarter."""
MIN_LEFT = 0.02
"""Smallest standard deviation of a level's remaining residuals, in ln Z. All closer references count."""
_SELF = 0.07
"""Average share of its own weight at a reference after splatting and smoothing."""
_BLUR = np.array([0.25, 0.5, 0.25])
_BLUR_LAYERS = (0.5 * np.eye(BINS) + 0.25 * (np.eye(BINS, k=1) + np.eye(BINS, k=-1))).astype(np.float32)
_BLUR_LAYERS[0, 0] = _BLUR_LAYERS[-1, -1] = 0.75


@dataclass(frozen=True)
class LocalError:
    """The network's error after the local correction.

    Attributes:
        support: float32 (h, w), 1 at the references and 0 far from them, at a lower resolution than the depth.
        near: relative standard deviation of depth at the references, measured with each of them left out.
        far: relative standard deviation of depth without a correction.
    """

    support: np.ndarray
    near: float
    far: float

    def faded(self, weight: float) -> LocalError:
        """Return the error of a correction that is applied with a weight from 0 to 1."""
        return LocalError(self.support * np.float32(weight), self.near, self.far)


class LocalField:
    """A correction of ln Z over the image, from the residuals of references.

    Args:
        size: (height, width) of the depth map.
        pixels: float64 (N, 2), u and v of the references.
        log_depth: float64 (N,), ln Z of the scaled network at the references.
        residuals: float64 (N,), ln Z of the references less ``log_depth``.
    """

    def __init__(self, size: tuple[int, int], pixels: np.ndarray, log_depth: np.ndarray, residuals: np.ndarray) -> None:
        height, width = size
        self._size, self._pixels = size, pixels
        few = len(pixels) // 50  # farther and nearer than these, references share the last bin
        ordered = np.partition(log_depth, (few, len(pixels) - 1 - few))
        self._low, high = float(ordered[few]), float(ordered[-1 - few])
        self._step = max(high - self._low, MIN_RANGE) / (BINS - 1)
        u, v = (pixels[:, 0] + 0.5) / width, (pixels[:, 1] + 0.5) / height
        layers = _linear(self._layer(log_depth), BINS)
        left = np.asarray(residuals, np.float64)
        others = np.ones(len(left))  # share of the field at each reference that other references determine
        field: np.ndarray | None = None
        for columns, rows, shrinkage in LEVELS:
            cells, shares = _corners(
                _linear(v * rows - 0.5, rows), _linear(u * columns - 0.5, columns), columns, layers
            )
            weights = _weights(left)
            weighted = shares * weights
            mass = _splat(cells, weighted, (rows, columns))
            total = _splat(cells, weighted * left, (rows, columns))
            level = total / (mass + np.float32(shrinkage))
            left = left - (level.reshape(-1)[cells] * shares).sum(axis=0)
            field = level if field is None else cv2.resize(field, (columns, rows)) + level
            around = (mass.reshape(-1)[cells] * shares).sum(axis=0)
            others *= 1 - np.minimum(_SELF * weights / (around + shrinkage), 0.95)
        assert field is not None  # there are levels
        self._field = field
        self._near = _bounded_rms(left / others)
        self._far = _far_error(np.asarray(residuals, np.float64), blocks_of(pixels, width))

    def error(self) -> LocalError:
        """Return the network's error after the correction, over the image.

        Errors of one network are alike within `BLOCK` of the image's width, so the support falls with that length.
        """
        height, width = self._size
        stride = max(1, round(width / SUPPORT_WIDTH))
        away = np.full((-(-height // stride), -(-width // stride)), 255, np.uint8)
        cells = (self._pixels / stride).astype(np.intp)
        away[cells[:, 1].clip(0, away.shape[0] - 1), cells[:, 0].clip(0, away.shape[1] - 1)] = 0
        distance = cv2.distanceTransform(away, cv2.DIST_L2, 3)
        support = cv2.exp(distance * np.float32(-stride / (BLOCK * width)))
        return LocalError(support, self._near, max(self._far, self._near))

    def correction(self, log_depth: np.ndarray) -> np.ndarray:
        """Return the correction to add to ln Z, float32 (h, w).

        Args:
            log_depth: float32 (h, w), ln Z of the scaled network over the whole image, at any resolution. +Inf and NaN
                are allowed; the correction there means nothing.
        """
        height, width = log_depth.shape
        field = cv2.resize(self._field, (width, height), interpolation=cv2.INTER_LINEAR).reshape(-1)
        layer = self._layer(log_depth)
        lower = layer.astype(np.int32)
        first = lower + np.arange(0, height * width * BINS, BINS, dtype=np.int32).reshape(height, width)
        below, above = field[first], field[first + 1]
        return below + (layer - lower.astype(np.float32)) * (above - below)

    def _layer(self, log_depth: np.ndarray) -> np.ndarray:
        """Return the position in the bins, from 0 to just below the last."""
        position = (log_depth - np.float32(self._low)) * np.float32(1 / self._step)
        return np.nan_to_num(np.clip(position, 0, np.float32(BINS - 1.001)), copy=False)


def _weights(left: np.ndarray) -> np.ndarray:
    """Return weights (N,) that fall toward zero for residuals much larger than most."""
    return 1 / (1 + left**2 / (REDESCENT * _sigma(left) ** 2)) ** 2


def _sigma(left: np.ndarray) -> float:
    """Return the standard deviation of most residuals."""
    sizes = np.abs(left)
    middle = len(sizes) // 2
    return max(1.48 * float(np.partition(sizes, middle)[middle]), MIN_LEFT)


def _bounded_rms(residuals: np.ndarray) -> float:
    """Return the root mean square, to which a residual adds no more than three standard deviations of most."""
    return math.sqrt(float(np.mean(np.minimum(residuals**2, (3 * _sigma(residuals)) ** 2))))


def _far_error(residuals: np.ndarray, blocks: np.ndarray) -> float:
    """Return the root mean square, shrunk to that of a usual network if the references cover few blocks."""
    count = int(np.count_nonzero(np.bincount(blocks)))
    total = count * float(np.mean(residuals**2)) + USUAL_COUNT * USUAL_SIGMA**2
    return math.sqrt(total / (count + USUAL_COUNT))


_Linear = tuple[np.ndarray, np.ndarray]


def _linear(position: np.ndarray, count: int) -> _Linear:
    """Return the two cells around each of N positions along one axis, and their shares, both (2, N)."""
    position = np.minimum(np.maximum(position, 0), count - 1.001)
    cells, shares = np.empty((2, len(position)), np.intp), np.empty((2, len(position)))
    cells[0] = position  # rounds down
    np.add(cells[0], 1, out=cells[1])
    np.subtract(position, cells[0], out=shares[1])
    np.subtract(1, shares[1], out=shares[0])
    return cells, shares


def _corners(rows: _Linear, columns: _Linear, width: int, layers: _Linear) -> _Linear:
    """Return the flat indices of the 8 cells around each of N positions, and their shares, both (8, N)."""
    cells = (rows[0][:, np.newaxis] * width + columns[0])[:, :, np.newaxis] * BINS + layers[0]
    shares = (rows[1][:, np.newaxis] * columns[1])[:, :, np.newaxis] * layers[1]
    return cells.reshape(8, -1), shares.reshape(8, -1)


def _splat(cells: np.ndarray, shares: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Add shares to cells, float32 (rows, columns, BINS), smoothed by (1 2 1) / 4 along each axis."""
    grid = np.bincount(cells.reshape(-1), shares.reshape(-1), size[0] * size[1] * BINS).astype(np.float32)
    grid = (grid.reshape(-1, BINS) @ _BLUR_LAYERS).reshape(*size, BINS)
    return cv2.sepFilter2D(grid, -1, _BLUR, _BLUR, borderType=cv2.BORDER_REPLICATE)
