"""Flying pixels: points that hang in the air between a near and a far surface, where network and resizing blur an edge.

They mark free space as occupied in every map. Statistical filters on unorganised clouds find them by searching for
neighbours; on the grid of the depth map the neighbours are known, and a few passes over the image suffice.
"""

from __future__ import annotations

import cv2
import numpy as np

_TILE_PIXELS = 200_000  # planes of so many stay near the processor; with fewer rows their margins cost more
_BAND_ROWS = 96  # so many rows are looked at together for where pixels may fly


class FlyingPixelFilter:
    """Finds the flying pixels of one depth map after another; keeps its scratch arrays. For one thread.

    Works on inverse depth w, which on a plane, however oblique, is affine in the pixel coordinates. A pixel is compared
    with the surfaces before and behind it along its row or column: each is known by the pixels one and two spans away,
    and reaches to anywhere between the value of the nearer of them and the straight line through both. A pixel flies
    where w lies above what one surface reaches and below what the other does, by more than a tolerance.

    So planes up to grazing angles, creases, round objects and the sides of a sharp step are kept, for one of the two
    surfaces explains them or both leave the pixel on the same side; as are poles and gaps, nearer or farther than
    what is on both sides. A span is one and a half times the reach, which removes ramps of up to three times the reach.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[int, int], int] | None = None

    def __call__(self, depth: np.ndarray, threshold: float, reach: int) -> np.ndarray:
        """Which pixels fly, uint8 (H, W) of 0 and 1; valid until the next call.

        ``depth`` float32 (H, W) in metres. +Inf is infinitely far; NaN, -Inf and what is not positive are unknown: they
        do not fly, nor does a pixel that is to be compared with them. ``threshold``: how far a pixel must be from both
        surfaces, relative to its own inverse depth. ``reach``: how many pixels of the map one of the network's became,
        at least 1. Raises `ValueError` for a threshold or reach that is out of range.
        """
        if not threshold >= 0 or reach < 1:
            raise ValueError(f"threshold is {threshold}, must not be negative; reach is {reach}, must be at least 1")
        span = -(-3 * reach // 2)
        self._fit(depth.shape, span)
        height = depth.shape[0]
        for top in range(0, height, self._rows):
            self._mark_tile(depth, top, min(top + self._rows, height), np.float32(threshold), span)
        return self._flying

    def _fit(self, shape: tuple[int, int], span: int) -> None:
        """Makes the scratch arrays for maps of this shape."""
        if self._key == (shape, span):
            return
        height, width = shape
        rows, margin = min(max(_TILE_PIXELS // width, 32), height), 2 * span
        self._rows = rows
        self._padded = np.empty((rows + 2 * margin, width + 2 * margin), np.float32)
        self._changes = np.empty((4, self._padded.size), np.float32)
        self._tolerances = np.empty((3, rows, width), np.float32)
        self._masks = np.empty((2, rows, width), np.uint8)
        self._unknown = np.empty((rows + 2 * margin, width), bool)
        self._flying = np.empty(shape, np.uint8)
        self._key = shape, span

    def _mark_tile(self, depth: np.ndarray, top: int, bottom: int, threshold: np.float32, span: int) -> None:
        """Fills rows ``top`` to ``bottom`` of the result."""
        margin, rows, width = 2 * span, bottom - top, depth.shape[1]
        padded = self._pad(depth, top, bottom, margin)
        np.multiply(padded[margin:-margin, margin:-margin], threshold, out=self._tolerances[0, :rows])
        flying = self._flying[top:bottom]
        flying.fill(0)
        self._mark_axis(padded[margin:-margin], 1, span, flying)
        self._mark_axis(padded[:, margin : margin + width], 0, span, flying)
        cv2.min(flying, 1, dst=flying)

    def _pad(self, depth: np.ndarray, top: int, bottom: int, margin: int) -> np.ndarray:
        """Inverse depth of the rows, NaN where unknown, with ``margin`` more pixels on every side.

        Beyond the map's border the slope of its outermost pixels goes on, as it does on a plane.
        """
        height, width = depth.shape
        first, last = max(top - margin, 0), min(bottom + margin, height)
        above, below = first - (top - margin), bottom + margin - last
        padded = self._padded[: bottom - top + 2 * margin]
        rows = padded[above : above + last - first]
        inverse = rows[:, margin : margin + width]
        unknown = self._unknown[: last - first]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            np.divide(np.float32(1), depth[first:last], out=inverse)
            np.less_equal(depth[first:last], 0, out=unknown)
        if unknown.any():
            np.copyto(inverse, np.float32(np.nan), where=unknown)
        with np.errstate(invalid="ignore", over="ignore"):  # a depth of next to nothing is next to infinitely near
            _extend(rows.T, margin, margin)
            _extend(padded[:, margin : margin + width], above, below)
        return padded

    def _mark_axis(self, inverse: np.ndarray, axis: int, span: int, flying: np.ndarray) -> None:
        """Adds to ``flying`` what lies between the surfaces before and behind it along one axis.

        ``inverse`` has two spans more than ``flying`` at both ends of that axis. With d(u) = w(u) - w(u - span), w
        lies above the surface before it by d(u) - max(d(u - span), 0), and below that behind it by
        d(u + span) - max(d(u + 2 span), 0); and likewise the other way round with -d.
        """
        candidates = self._candidates(inverse, axis, span, flying.shape)
        for top in range(0, len(flying), _BAND_ROWS):
            x, y, width, height = cv2.boundingRect(candidates[top : top + _BAND_ROWS])
            if width:
                rows, columns = slice(top + y, top + y + height), slice(x, x + width)
                reach = slice(x, x + width + 4 * span) if axis else slice(top + y, top + y + height + 4 * span)
                part = inverse[rows, reach] if axis else inverse[reach, columns]
                self._mark_box(part, axis, span, flying, (rows, columns))

    def _mark_box(
        self, inverse: np.ndarray, axis: int, span: int, flying: np.ndarray, box: tuple[slice, slice]
    ) -> None:
        """`_mark_axis` for a part of the tile, whose own part of the inverse depth is given."""
        flying = flying[box]
        tolerance, doubled, negative = self._tolerances[(slice(None), *box)]
        np.add(tolerance, tolerance, out=doubled)  # as the changes are below
        np.negative(doubled, out=negative)
        before, after = self._masks[(slice(None), *box)]
        length = flying.shape[axis]
        change, size, rise, fall = (self._scratch(index, flying, axis, length + 3 * span) for index in range(4))
        ahead, behind = _part(inverse, axis, span, length + 3 * span), _part(inverse, axis, 0, length + 3 * span)
        cv2.subtract(ahead, behind, dst=change)
        cv2.absdiff(ahead, behind, dst=size)
        cv2.add(size, change, dst=rise)  # 2 max(d, 0); unlike a maximum it passes NaN on
        cv2.subtract(size, change, dst=fall)  # 2 max(-d, 0)
        excess = self._scratch(0, flying, axis, length + 2 * span)
        for moved in (rise, fall):
            cv2.subtract(
                _part(moved, axis, span, length + 2 * span), _part(moved, axis, 0, length + 2 * span), dst=excess
            )
            cv2.compare(_part(excess, axis, 0, length), doubled, cv2.CMP_GT, dst=before)
            cv2.compare(_part(excess, axis, 2 * span, length), negative, cv2.CMP_LT, dst=after)
            cv2.bitwise_and(before, after, dst=before)
            cv2.bitwise_or(flying, before, dst=flying)

    def _candidates(self, inverse: np.ndarray, axis: int, span: int, shape: tuple[int, int]) -> np.ndarray:
        """Not zero where a pixel differs from those a span before and behind it by more than the tolerance.

        Others cannot fly. Few pixels pass, and this is much less work than the rest.
        """
        length = shape[axis]
        changed = self._scratch(1, self._flying[: shape[0]], axis, length + span)
        cv2.absdiff(
            _part(inverse, axis, 2 * span, length + span), _part(inverse, axis, span, length + span), dst=changed
        )
        tolerance = self._tolerances[0, : shape[0]]
        before, after = self._masks[:, : shape[0]]
        cv2.compare(_part(changed, axis, 0, length), tolerance, cv2.CMP_GT, dst=before)
        cv2.compare(_part(changed, axis, span, length), tolerance, cv2.CMP_GT, dst=after)
        cv2.bitwise_and(before, after, dst=before)
        return before

    def _scratch(self, index: int, like: np.ndarray, axis: int, length: int) -> np.ndarray:
        """A contiguous float32 plane of the shape of ``like``, but ``length`` pixels along the axis."""
        shape = (like.shape[0], length) if axis else (length, like.shape[1])
        return self._changes[index, : shape[0] * shape[1]].reshape(shape)


def _extend(plane: np.ndarray, before: int, after: int) -> None:
    """Writes the first ``before`` and the last ``after`` rows as straight continuations of those between."""
    if before:
        ends = plane[before], plane[min(before + 1, len(plane) - after - 1)]
        _continue(*ends, plane[before - 1 :: -1])
    if after:
        ends = plane[-after - 1], plane[max(len(plane) - after - 2, before)]
        _continue(*ends, plane[len(plane) - after :])


def _continue(last: np.ndarray, previous: np.ndarray, out: np.ndarray) -> None:
    """Fills rows ``out``, nearest first, on the straight lines from ``previous`` through ``last``."""
    steps = np.arange(1, len(out) + 1, dtype=np.float32)[:, np.newaxis]
    np.multiply(steps, last - previous, out=out)
    out += last


def _part(plane: np.ndarray, axis: int, start: int, length: int) -> np.ndarray:
    """``length`` rows (axis 0) or columns (axis 1) of a plane from ``start`` on."""
    return plane[:, start : start + length] if axis else plane[start : start + length]
