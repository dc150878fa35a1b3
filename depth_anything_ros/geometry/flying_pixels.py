"""Flying pixels: points that hang in the air between a near and a far surface, where network and resizing blur an edge.

They mark free space as occupied in every map. Statistical filters on unorganised clouds find them by searching for
neighbors; on the grid of the depth map the neighbors are known, and a few passes over the image suffice.
"""

from __future__ import annotations

import cv2
import numpy as np

_BAND_PIXELS = 110_000  # planes of so many stay near the processor
_CANDIDATES = 1 << 14  # looked at together
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

    Few pixels can fly: between the pixels a span before and behind, w must change by more than twice the tolerance. Two
    passes along each axis find these candidates; the criterion itself is computed for them alone. The map is padded and
    read as one long row, so that a step along either axis is a shift by a fixed number of pixels.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[int, int], int] | None = None

    def __call__(self, depth: np.ndarray, threshold: float, reach: int) -> np.ndarray:
        """Which pixels fly, uint8 (H, W) of 0 and 1, its rows padded; valid until the next call.

        ``depth`` float32 (H, W) in metres. +Inf is infinitely far; NaN, -Inf and what is not positive are unknown: they
        do not fly, nor does a pixel that is to be compared with them. ``threshold``: how far a pixel must be from both
        surfaces, relative to its own inverse depth. ``reach``: how many pixels of the map one of the network's became,
        at least 1. Raises `ValueError` for a threshold or reach that is out of range.
        """
        if not threshold >= 0 or reach < 1:
            raise ValueError(f"threshold is {threshold}, must not be negative; reach is {reach}, must be at least 1")
        span = -(-3 * reach // 2)
        self._fit(depth.shape, span)
        margin, (height, width) = 2 * span, depth.shape
        self._flying.fill(0)
        with np.errstate(all="ignore"):  # a depth of next to nothing is next to infinitely near
            self._invert(depth, margin)
            for top in range(0, height, self._rows):
                self._mark_band(top, min(top + self._rows, height), margin, span, np.float32(threshold))
        return self._flying[:, margin : margin + width]

    def _fit(self, shape: tuple[int, int], span: int) -> None:
        """Makes the scratch arrays for maps of this shape."""
        if self._key == (shape, span):
            return
        height, width = shape
        columns = width + 4 * span
        self._rows = min(max(_BAND_PIXELS // columns, 1), height)
        self._inverse = np.zeros((height + 4 * span, columns), np.float32)
        self._bounds, self._changes = np.empty((2, self._rows * columns), np.float32)
        self._candidates = np.empty(self._rows * columns, bool)
        self._flying = np.empty((height, columns), np.uint8)
        self._key = shape, span

    def _invert(self, depth: np.ndarray, margin: int) -> None:
        """Writes inverse depth, NaN where unknown, and ``margin`` more pixels on every side.

        Beyond the map's border the slope of its outermost pixels goes on, as it does on a plane.
        """
        inner = self._inverse[margin:-margin, margin:-margin]
        np.divide(np.float32(1), depth, out=inner)
        if not depth.min() > 0:  # NaN is not, either
            np.copyto(inner, np.float32(np.nan), where=depth <= 0)
        _extend(self._inverse[margin:-margin].T, margin)
        _extend(self._inverse[:, margin:-margin], margin)

    def _mark_band(self, top: int, bottom: int, margin: int, span: int, threshold: np.float32) -> None:
        """Marks what flies in rows ``top`` to ``bottom``."""
        inverse, columns = self._inverse.reshape(-1), self._inverse.shape[1]
        start, count = (margin + top) * columns, (bottom - top) * columns
        bounds = self._bounds[:count]
        np.multiply(inverse[start : start + count], np.float32(2 * _SLACK) * threshold, out=bounds)
        beside = bounds.reshape(-1, columns)
        beside[:, :margin] = beside[:, -margin:] = np.inf  # beside the map nothing flies
        flying = self._flying.reshape(-1)[top * columns : bottom * columns]
        for step in (span, span * columns):
            candidates = self._find_candidates(inverse[start - step :], bounds, 2 * step)
            for first in range(0, candidates.size, _CANDIDATES):
                part = candidates[first : first + _CANDIDATES]
                flying[_between_surfaces(inverse[start - 2 * step :], part, step, threshold)] = 1

    def _find_candidates(self, inverse: np.ndarray, bounds: np.ndarray, distance: int) -> np.ndarray:
        """Where inverse depth changes by more than the bounds over a distance."""
        changes, candidates = self._changes[: bounds.size], self._candidates[: bounds.size]
        before, behind = inverse[: bounds.size], inverse[distance:][: bounds.size]
        cv2.absdiff(before[np.newaxis], behind[np.newaxis], dst=changes[np.newaxis])
        np.greater(changes, bounds, out=candidates)
        return np.flatnonzero(candidates)


def _between_surfaces(inverse: np.ndarray, candidates: np.ndarray, step: int, threshold: np.float32) -> np.ndarray:
    """Those of the candidates that lie beyond what the one surface reaches, and short of what the other does.

    ``inverse`` is flat, and begins two steps before the pixel from which the candidates count. Seen so that w grows, w
    lies above the surface before it by the change up to it less max(the change before that, 0), and below the surface
    behind it likewise. Most candidates lie on the surface before them, and are dropped by magnitudes alone.
    """
    far_before, before, here = (inverse[shift * step :].take(candidates) for shift in (0, 1, 2))
    change, change_before = here - before, before - far_before
    tolerance = threshold * here
    leaves = np.flatnonzero(np.minimum(np.abs(change), np.abs(change - change_before)) > tolerance)
    candidates, here, tolerance, change, change_before = (
        values.take(leaves) for values in (candidates, here, tolerance, change, change_before)
    )
    behind, far_behind = (inverse[shift * step :].take(candidates) for shift in (3, 4))
    sign = np.sign(change)
    above = sign * change - np.maximum(sign * change_before, 0)
    below = sign * (behind - here) - np.maximum(sign * (far_behind - behind), 0)
    return candidates[(above > tolerance) & (below > tolerance)]


def _extend(plane: np.ndarray, margin: int) -> None:
    """Continues the rows in the middle straight on into ``margin`` rows at both ends."""
    next_but_one = min(margin + 1, len(plane) - margin - 1)
    _continue(plane[margin], plane[next_but_one], plane[margin - 1 :: -1])
    _continue(plane[-margin - 1], plane[-next_but_one - 1], plane[len(plane) - margin :])


def _continue(last: np.ndarray, previous: np.ndarray, out: np.ndarray) -> None:
    """Fills rows ``out``, nearest first, on the straight lines from ``previous`` through ``last``."""
    steps = np.arange(1, len(out) + 1, dtype=np.float32)[:, np.newaxis]
    values = steps * (last - previous)
    np.add(values, last, out=out)
