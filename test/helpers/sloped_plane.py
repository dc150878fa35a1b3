"""A textured plane that recedes upward: it has the same depth from wherever a camera stands beside it."""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera

WIDTH, HEIGHT = 320, 240
CAMERA = Camera(WIDTH, HEIGHT, float(WIDTH), float(WIDTH), (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
SLOPE = 1.5
STEP = 0.03
"""Meters that the camera moves to the right from image to image."""


def slope() -> np.ndarray:
    """Return the depth of the plane."""
    y = (np.arange(HEIGHT) - CAMERA.cy) / CAMERA.fy
    return np.repeat((2.0 / (1 + SLOPE * y))[:, np.newaxis], WIDTH, axis=1)


def picture(position: float) -> np.ndarray:
    """Return what a camera sees of it, RGB, from a position to the right in meters."""
    depth = slope()
    x = (np.arange(WIDTH) - CAMERA.cx) / CAMERA.fx * depth + position
    texture = cv2.resize(np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8), (2048, 2048))
    gray = cv2.remap(
        texture,
        ((200 * x + 600) % 2048).astype(np.float32),
        ((300 * depth) % 2048).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    return np.repeat(gray[..., np.newaxis], 3, axis=2)
