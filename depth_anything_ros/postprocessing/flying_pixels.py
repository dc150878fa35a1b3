"""Flying pixels: points in the air between a near and a far surface, where network and resizing blur an edge.

In a costmap or an occupancy map they mark free space as occupied. Statistical filters on unorganized clouds must search
for neighbors. On the grid of the depth map the neighbors are known, and a few passes over the image suffice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

MAX_REACH = 8
"""Maximum search distance, in output pixels per network pixel."""
_BAND_PIXELS = 110_000  # planes of this size stay in the processor's cache
_LINE = 16  # floats per cache line: writing rows that begin with a line takes half the time
_DENSE = 8  # if one pixel in eight is a candidate, testing all pixels is faster
_SLACK = 0.99  # keeps rounding from hiding a candidate


class FlyingPixelFilter:
    """Finds the flying pixels of successive depth maps. It reuses its scratch arrays. For one thread.

    It works on inverse depth w, which on any plane, however oblique, is affine in the pixel coordinates. It compares a
    pixel with the surfaces before and behind it in its row or column. Two pixels, one and two spans away, describe
    each surface. The surface may reach any value between the nearer of them and the straight line through both. A
    pixel flies if w is above the reach of one surface and below the reach of the other, by more than a tolerance.

    This keeps planes up to grazing angles, creases, round objects and the sides of a sharp step: one of the surfaces
    explains them, or both leave the pixel on the same side. It also keeps poles and gaps, which are nearer or farther
    than both sides. A span is one and a half times the reach, which removes ramps of up to three times the reach.

    Few pixels can fly: w must differ from the straight line through the pixels one and two spans before by more than
    the tolerance. Three passes along each axis find these candidates, and only they are tested fully. The map is
    padded and read as one long row, so that a step along either axis is a shift by a fixed number of pixels.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[int, int], int] | None = None

    def __call__(self, depth: np.ndarray, threshold: float, reach: int) -> np.ndarray:
        """Return which pixels fly, uint8 (H, W) of 0 and 1, its rows padded; valid until the next call.

        Args:
            depth: float32 (H, W) in meters. +Inf is infinitely far. NaN, -Inf and values that are not positive are
                unknown: they do not fly, nor does a pixel whose test needs them.
            threshold: the parameter flying_pixels.threshold: minimum distance from both surfaces, relative to the
                pixel's own inverse depth.
            reach: number of map pixels per network pixel, at least 1.

        Raises:
            ValueError: the threshold or the reach is out of range.
        """
        if not threshold >= 0 or reach < 1:
            raise ValueError(f"threshold is {threshold}, must not be negative; reach is {reach}, must be at least 1")
        span = -(-3 * reach // 2)
        self._fit(depth.shape, span)
        self._flying.fill(0)
        with np.errstate(all="ignore"):  # a tiny depth may overflow its inverse
            for top in range(0, depth.shape[0], self._rows):
                bottom = min(top + self._rows, depth.shape[0])
                self._invert(depth, top, bottom, 2 * span)
                self._mark_band(top, bottom, span, np.float32(threshold))
        return self._flying[:, self._inside]

    def _fit(self, shape: tuple[int, int], span: int) -> None:
        """Allocate the scratch arrays for maps of this shape."""
        if self._key == (shape, span):
            return
        (height, width), left = shape, _whole_lines(2 * span)
        columns = left + _whole_lines(width + 2 * span)
        self._inside = slice(left, left + width)
        self._rows = min(max(_BAND_PIXELS // columns, 1), height)
        self._inverse = _aligned_plane(self._rows + 4 * span, columns)
        self._bends, self._bounds = (_aligned_plane(self._rows, columns).reshape(-1) for _ in range(2))
        self._candidates = np.empty(self._rows * columns, bool)
        self._flying = np.empty((height, columns), np.uint8)
        self._key = shape, span

    def _invert(self, depth: np.ndarray, top: int, bottom: int, margin: int) -> None:
        """Write inverse depth of rows ``top`` to ``bottom`` with a margin; NaN where unknown.

        Beyond the map's border the slope of its outermost pixels continues, as on a plane. Padding beyond ``margin``
        stays NaN, so that it has no candidates.
        """
        first, last = max(top - margin, 0), min(bottom + margin, depth.shape[0])
        above, below = first - (top - margin), bottom + margin - last
        band, inside = self._inverse[: bottom - top + 2 * margin], self._inside
        rows = band[above : len(band) - below]
        inner = rows[:, inside]
        np.divide(np.float32(1), depth[first:last], out=inner)
        if not depth[first:last].min() > 0:  # true for NaN as well
            np.copyto(inner, np.float32(np.nan), where=depth[first:last] <= 0)
        _extend(rows[:, inside.start - margin : inside.stop + margin].T, margin, margin)
        _extend(band[:, inside], above, below)

    def _mark_band(self, top: int, bottom: int, span: int, threshold: np.float32) -> None:
        """Mark the flying pixels of rows ``top`` to ``bottom``, whose inverse depth is written."""
        inverse, columns = self._inverse.reshape(-1), self._inverse.shape[1]
        start, count = 2 * span * columns, (bottom - top) * columns
        bounds = self._bounds[:count]
        np.multiply(inverse[start : start + count], np.float32(_SLACK) * threshold, out=bounds)
        flying = self._flying.reshape(-1)[top * columns : bottom * columns]
        for step in (span * columns, span):
            around = inverse[start - 2 * step : start + count + 2 * step]
            candidates = self._find_candidates(around, bounds, step)
            pixels = np.flatnonzero(candidates)
            if pixels.size > count // _DENSE:
                between = _between_surfaces([around[shift * step :][:count] for shift in range(5)], threshold)
                between &= candidates  # excludes the padding
                flying |= between.view(np.uint8)
            elif pixels.size:
                between = _between_surfaces([around[shift * step :].take(pixels) for shift in range(5)], threshold)
                flying[pixels[between]] = 1

    def _find_candidates(self, around: np.ndarray, bounds: np.ndarray, step: int) -> np.ndarray:
        """Return where inverse depth bends by more than the bounds up to a pixel; ``around`` starts two steps before.

        The bend is the change over the last step minus the change over the step before. It is part of both tests: a
        pixel is above the reach of the surface before it by at most the bend.
        """
        far_before, before, here = (around[np.newaxis, shift * step :][:, : bounds.size] for shift in range(3))
        bends = self._bends[np.newaxis, : bounds.size]
        cv2.addWeighted(before, 2, far_before, -1, 0, dst=bends)
        cv2.absdiff(bends, here, dst=bends)
        return np.greater(bends[0], bounds, out=self._candidates[: bounds.size])


def reach_of(size: tuple[int, int], network_size: tuple[int, int]) -> int:
    """Return the number of map pixels per network pixel, at most `MAX_REACH`.

    Args:
        size: (height, width) of the map.
        network_size: (height, width) of the network's input.
    """
    return min(max(math.ceil(side / network) for side, network in zip(size, network_size, strict=True)), MAX_REACH)


def _between_surfaces(w: Sequence[np.ndarray], threshold: np.float32) -> np.ndarray:
    """Return which pixels are beyond the reach of one surface and short of the other's, bool (N,).

    ``w`` is inverse depth two spans before each pixel, one before, at the pixel, one and two behind. Seen so that w
    grows, w is above the surface before it by the change up to it minus max(the change before that, 0). The surface
    behind it counts in the same way.
    """
    far_before, before, here, behind, far_behind = w
    tolerance, change = threshold * here, here - before
    sign = np.sign(change)
    above = sign * change - np.maximum(sign * (before - far_before), 0)
    below = sign * (behind - here) - np.maximum(sign * (far_behind - behind), 0)
    return (above > tolerance) & (below > tolerance)


def _whole_lines(count: int) -> int:
    """Return the next multiple of `_LINE`."""
    return -(-count // _LINE) * _LINE


def _aligned_plane(rows: int, columns: int) -> np.ndarray:
    """Return a contiguous float32 plane of NaN, aligned to a cache line."""
    memory = np.full(rows * columns + _LINE, np.nan, np.float32)
    first = -memory.ctypes.data // memory.itemsize % _LINE
    return memory[first : first + rows * columns].reshape(rows, columns)


def _extend(plane: np.ndarray, before: int, behind: int) -> None:
    """Continue the middle rows linearly into the ``before`` first rows and the ``behind`` last ones."""
    first, last = before, len(plane) - behind - 1
    if before:
        _continue(plane[first], plane[min(first + 1, last)], plane[before - 1 :: -1])
    if behind:
        _continue(plane[last], plane[max(last - 1, first)], plane[last + 1 :])


def _continue(last: np.ndarray, previous: np.ndarray, out: np.ndarray) -> None:
    """Fill rows ``out``, nearest first, on the straight lines from ``previous`` through ``last``."""
    steps = np.arange(1, len(out) + 1, dtype=np.float32)[:, np.newaxis]
    values = steps * (last - previous)
    np.add(values, last, out=out)
