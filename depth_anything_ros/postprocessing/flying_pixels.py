"""Flying pixels: points that hang in the air between a near and a far surface, where network and resizing blur an edge.

They mark free space as occupied in every map. Statistical filters on unorganized clouds find them by searching for
neighbors; on the grid of the depth map the neighbors are known, and a few passes over the image suffice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

MAX_REACH = 8
"""Output pixels to one of the network's, above which flying pixels are looked for no farther."""
_BAND_PIXELS = 110_000  # planes of so many stay near the processor
_LINE = 16  # floats in a line of the cache: rows that begin with one are written twice as fast
_DENSE = 8  # where one pixel in so many is a candidate, looking at all of them is faster
_SLACK = 0.99  # rounding must not hide a candidate


class FlyingPixelFilter:
    """Finds the flying pixels of one depth map after another; keeps its scratch arrays. For one thread.

    Works on inverse depth w, which on a plane, however oblique, is affine in the pixel coordinates. A pixel is compared
    with the surfaces before and behind it along its row or column: each is known by the pixels one and two spans away,
    and reaches to anywhere between the value of the nearer of them and the straight line through both. A pixel flies
    where w lies above what one surface reaches and below what the other does, by more than a tolerance.

    So planes up to grazing angles, creases, round objects and the sides of a sharp step are kept, for one of the two
    surfaces explains them or both leave the pixel on the same side; as are poles and gaps, nearer or farther than
    what is on both sides. A span is one and a half times the reach, which removes ramps of up to three times the reach.

    Few pixels can fly: w must leave the straight line through the pixels one and two spans before by more than the
    tolerance. Three passes along each axis find these candidates; the criterion itself is computed for them alone. The
    map is padded and read as one long row, so that a step along either axis is a shift by a fixed number of pixels.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[int, int], int] | None = None

    def __call__(self, depth: np.ndarray, threshold: float, reach: int) -> np.ndarray:
        """Which pixels fly, uint8 (H, W) of 0 and 1, its rows padded; valid until the next call.

        ``depth`` float32 (H, W) in meters. +Inf is infinitely far; NaN, -Inf and what is not positive are unknown: they
        do not fly, nor does a pixel that is to be compared with them. ``threshold``: how far a pixel must be from both
        surfaces, relative to its own inverse depth. ``reach``: how many pixels of the map one of the network's became,
        at least 1. Raises `ValueError` for a threshold or reach that is out of range.
        """
        if not threshold >= 0 or reach < 1:
            raise ValueError(f"threshold is {threshold}, must not be negative; reach is {reach}, must be at least 1")
        span = -(-3 * reach // 2)
        self._fit(depth.shape, span)
        self._flying.fill(0)
        with np.errstate(all="ignore"):  # a depth of next to nothing is next to infinitely near
            for top in range(0, depth.shape[0], self._rows):
                bottom = min(top + self._rows, depth.shape[0])
                self._invert(depth, top, bottom, 2 * span)
                self._mark_band(top, bottom, span, np.float32(threshold))
        return self._flying[:, self._inside]

    def _fit(self, shape: tuple[int, int], span: int) -> None:
        """Makes the scratch arrays for maps of this shape."""
        if self._key == (shape, span):
            return
        (height, width), left = shape, _whole_lines(2 * span)
        columns = left + _whole_lines(width + 2 * span)
        self._inside = slice(left, left + width)
        self._rows = min(max(_BAND_PIXELS // columns, 1), height)
        self._inverse = _aligned_plane(self._rows + 4 * span, columns)
        self._slopes = _aligned_plane(self._rows + span, columns).reshape(-1)
        self._bends, self._bounds = (_aligned_plane(self._rows, columns).reshape(-1) for _ in range(2))
        self._candidates = np.empty(self._rows * columns, bool)
        self._flying = np.empty((height, columns), np.uint8)
        self._key = shape, span

    def _invert(self, depth: np.ndarray, top: int, bottom: int, margin: int) -> None:
        """Writes inverse depth of rows ``top`` to ``bottom``, NaN where unknown, and of ``margin`` pixels around them.

        Beyond the map's border the slope of its outermost pixels goes on, as it does on a plane. What is farther beside
        the map stays NaN, and no candidate.
        """
        first, last = max(top - margin, 0), min(bottom + margin, depth.shape[0])
        above, below = first - (top - margin), bottom + margin - last
        band, inside = self._inverse[: bottom - top + 2 * margin], self._inside
        known = band[above : len(band) - below]
        inner = known[:, inside]
        np.divide(np.float32(1), depth[first:last], out=inner)
        if not depth[first:last].min() > 0:  # NaN is not, either
            np.copyto(inner, np.float32(np.nan), where=depth[first:last] <= 0)
        _extend(known[:, inside.start - margin : inside.stop + margin].T, margin, margin)
        _extend(band[:, inside], above, below)

    def _mark_band(self, top: int, bottom: int, span: int, threshold: np.float32) -> None:
        """Marks what flies in rows ``top`` to ``bottom``, whose inverse depth has been written."""
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
                found = _between_surfaces([around[shift * step :][:count] for shift in range(5)], threshold)
                found &= candidates  # so that what is beside the map stays out
                flying |= found.view(np.uint8)
            elif pixels.size:
                found = _between_surfaces([around[shift * step :].take(pixels) for shift in range(5)], threshold)
                flying[pixels[found]] = 1

    def _find_candidates(self, around: np.ndarray, bounds: np.ndarray, step: int) -> np.ndarray:
        """Where inverse depth bends by more than the bounds on the way to a pixel; ``around`` begins two steps before.

        The bend is the change over the last step less that over the step before, and both surfaces' share: the pixel
        lies above what the one before it reaches by no more.
        """
        slopes, bends = self._slopes[: bounds.size + step], self._bends[: bounds.size]
        np.subtract(around[step : step + slopes.size], around[: slopes.size], out=slopes)
        cv2.absdiff(slopes[np.newaxis, step:], slopes[np.newaxis, : bounds.size], dst=bends[np.newaxis])
        return np.greater(bends, bounds, out=self._candidates[: bounds.size])


def reach_of(size: tuple[int, int], network_size: tuple[int, int]) -> int:
    """How many pixels of a map of ``size`` (height, width) one of the network's became, at most `MAX_REACH`."""
    return min(max(math.ceil(side / network) for side, network in zip(size, network_size, strict=True)), MAX_REACH)


def _between_surfaces(w: Sequence[np.ndarray], threshold: np.float32) -> np.ndarray:
    """Which of some pixels lie beyond what the one surface reaches and short of what the other does, bool (N,).

    ``w``: inverse depth two spans before each pixel, one before, at the pixel, one and two behind. Seen so that w
    grows, w lies above the surface before it by the change up to it less max(the change before that, 0), and below the
    surface behind it likewise.
    """
    far_before, before, here, behind, far_behind = w
    tolerance, change = threshold * here, here - before
    sign = np.sign(change)
    above = sign * change - np.maximum(sign * (before - far_before), 0)
    below = sign * (behind - here) - np.maximum(sign * (far_behind - behind), 0)
    return (above > tolerance) & (below > tolerance)


def _whole_lines(count: int) -> int:
    """The next multiple of `_LINE`."""
    return -(-count // _LINE) * _LINE


def _aligned_plane(rows: int, columns: int) -> np.ndarray:
    """A contiguous float32 plane of NaN that begins with a line of the cache."""
    memory = np.full(rows * columns + _LINE, np.nan, np.float32)
    first = -memory.ctypes.data // memory.itemsize % _LINE
    return memory[first : first + rows * columns].reshape(rows, columns)


def _extend(plane: np.ndarray, before: int, behind: int) -> None:
    """Continues the rows in the middle straight on into the ``before`` first rows and the ``behind`` last ones."""
    first, last = before, len(plane) - behind - 1
    if before:
        _continue(plane[first], plane[min(first + 1, last)], plane[before - 1 :: -1])
    if behind:
        _continue(plane[last], plane[max(last - 1, first)], plane[last + 1 :])


def _continue(last: np.ndarray, previous: np.ndarray, out: np.ndarray) -> None:
    """Fills rows ``out``, nearest first, on the straight lines from ``previous`` through ``last``."""
    steps = np.arange(1, len(out) + 1, dtype=np.float32)[:, np.newaxis]
    values = steps * (last - previous)
    np.add(values, last, out=out)
