"""Flying pixels: points that hang in the air between a near and a far surface, where network and resizing blur an edge.

They mark free space as occupied in every map. Statistical filters on unorganised clouds find them by searching for
neighbours; on the grid of the depth map the neighbours are known, and a few passes over the image suffice.
"""

from __future__ import annotations

import cv2
import numpy as np

UNEXPLAINED = 2.5
"""A change is a jump if it is so many times what the slope of the surface beside it would make it."""


class FlyingPixelFilter:
    """Finds the flying pixels of one depth map after another; keeps its scratch arrays. For one thread.

    Works on inverse depth, which on a plane, however oblique, is affine in the pixel coordinates. So the change across
    a pixel, from ``reach`` before it to ``reach`` behind it along its row or column, is compared with the change over
    as many pixels before and behind that: on a plane all three agree; on a blurred edge the middle one stands out.
    """

    def __init__(self) -> None:
        self._inverse: np.ndarray | None = None

    def __call__(self, depth: np.ndarray, threshold: float, reach: int) -> np.ndarray:
        """Which pixels fly, uint8 (H, W) of 0 and 1; valid until the next call.

        ``depth`` float32 (H, W) in metres; +Inf is infinitely far, NaN and -Inf are unknown and make no edge.
        ``threshold``: the least change of inverse depth that counts, relative to the pixel's own. ``reach``: pixels
        from the middle of a blurred edge to its rim, at least 1; about as many as one pixel of the network became.
        """
        self._fit(depth.shape)
        inverse, flying = self._inverse, self._flying
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            np.divide(np.float32(1), depth, out=inverse)
        # 1 / -Inf is -0: unknown too, and as NaN it fails every comparison below.
        np.isinf(depth, out=self._unknown.view(bool))
        np.less(depth, 0, out=self._flying.view(bool))
        cv2.bitwise_and(self._unknown, self._flying, dst=self._unknown)
        np.copyto(inverse, np.float32(np.nan), where=self._unknown.view(bool))
        flying.fill(0)
        np.multiply(inverse, np.float32(threshold), out=self._least)
        self._mark(inverse, self._least, flying, reach)
        self._mark(inverse.T, self._least.T, flying.T, reach)
        return flying

    def _mark(self, inverse: np.ndarray, least: np.ndarray, flying: np.ndarray, reach: int) -> None:
        """Marks in ``flying`` what stands out along the rows."""
        width = inverse.shape[1]
        span = 2 * reach
        if width < 3 * span + 1:
            return
        change = np.abs(inverse[:, span:] - inverse[:, :-span])  # at u: from u to u + span
        middle = change[:, span:-span]
        beside = np.fmin(change[:, : -2 * span], change[:, 2 * span :])
        inner = slice(3 * reach, width - 3 * reach)
        with np.errstate(invalid="ignore"):
            found = (middle > least[:, inner]) & (middle > UNEXPLAINED * beside)
        flying[:, inner] |= found

    def _fit(self, shape: tuple[int, int]) -> None:
        if self._inverse is None or self._inverse.shape != shape:
            self._inverse, self._least = np.empty(shape, np.float32), np.empty(shape, np.float32)
            self._flying, self._unknown = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
