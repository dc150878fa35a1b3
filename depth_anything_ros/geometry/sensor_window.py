"""Sensor pixels and image pixels: the region of interest and the binning of a camera_info.

A camera_info is any object with the fields of sensor_msgs/CameraInfo, from rclpy or rosbags.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Size = tuple[int, int]
"""(height, width) in pixels."""


def _window(info: Any) -> tuple[int, int, int, int]:
    """Return the region of the sensor that is read out: x, y, width, height in sensor pixels."""
    roi = info.roi
    if roi.width == 0 and roi.height == 0:  # by definition the whole sensor
        return 0, 0, info.width, info.height
    return roi.x_offset, roi.y_offset, roi.width, roi.height


def _binning(info: Any) -> tuple[int, int]:
    """Return the number of sensor pixels per image pixel, horizontally and vertically; 0 means 1."""
    return max(info.binning_x, 1), max(info.binning_y, 1)


def described_size(info: Any) -> Size:
    """Return the size of the image that a camera_info belongs to."""
    _, _, width, height = _window(info)
    binning_x, binning_y = _binning(info)
    return height // binning_y, width // binning_x


def pixel_transform(info: Any, output_size: Size) -> np.ndarray:
    """Return the matrix from sensor pixels to the pixels of a resized image.

    Args:
        info: camera_info of the image.
        output_size: (height, width) of the resized image.

    Returns:
        Float64 (3, 3); pixel centers are at integers.
    """
    x, y, _, _ = _window(info)
    binning_x, binning_y = _binning(info)
    height, width = described_size(info)
    scale_x, scale_y = output_size[1] / (width * binning_x), output_size[0] / (height * binning_y)
    return np.array(
        [
            [scale_x, 0.0, (0.5 - x) * scale_x - 0.5],
            [0.0, scale_y, (0.5 - y) * scale_y - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
