"""Corners of an image, and where they are in the next one."""

from __future__ import annotations

import cv2
import numpy as np

_REVISIT_ERROR = 1.0
"""Pixels: a feature that is tracked back must arrive this close to where it started."""
_WINDOW, _PYRAMID = (21, 21), 4


def find_features(gray: np.ndarray, count: int, spacing: int) -> np.ndarray:
    """Return corners, float32 (N, 2), pixels.

    Args:
        gray: uint8 (H, W).
        count: the largest number of corners.
        spacing: the smallest distance between two, pixels.
    """
    corners = cv2.goodFeaturesToTrack(gray, count, 0.005, spacing)
    return np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2).astype(np.float32)


def track_features(before: np.ndarray, after: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow features from one image to the next.

    Args:
        before: uint8 (H, W).
        after: uint8 (H, W).
        pixels: float32 (N, 2), in ``before``.

    Returns:
        Pixels (N, 2) in ``after``, and which of them are reliable, bool (N,): inside the image, and tracked back to
        where they were.
    """
    if not len(pixels):
        return pixels, np.zeros(0, bool)
    start = pixels.reshape(-1, 1, 2)
    moved, is_found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, start, start.copy(), winSize=_WINDOW, maxLevel=_PYRAMID
    )
    back, _, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, moved.copy(), winSize=_WINDOW, maxLevel=_PYRAMID)
    error = np.linalg.norm((back - start).reshape(-1, 2), axis=1)
    inside = ((moved >= 0) & (moved <= (after.shape[1] - 1, after.shape[0] - 1))).all(axis=2).ravel()
    return moved.reshape(-1, 2), (is_found.ravel() == 1) & (error < _REVISIT_ERROR) & inside
