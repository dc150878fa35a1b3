"""Rows of panels with titles, and grids of images."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.visualization.captions import LINE, strip
from depth_anything_ros.visualization.grid import grid, titled_row


def plain(level: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_grid_fills_rows_and_leaves_rest_black():
    picture = grid([plain(1), plain(2), plain(3)], 2)
    assert picture.shape == (8, 12, 3)
    assert [int(picture[y, x, 0]) for y, x in ((0, 0), (0, 6), (4, 0), (4, 6))] == [1, 2, 3, 0]


def test_grid_is_no_wider_than_its_images():
    assert grid([plain(1)], 3).shape == (4, 6, 3)


def test_titled_row_puts_title_below_each_panel():
    row = titled_row(["left", "right"], [plain(1, width=90), plain(2, width=120)])
    assert row.shape == (4 + LINE, 210, 3)
    np.testing.assert_array_equal(row[4:, :90], strip("left", 90))
    np.testing.assert_array_equal(row[4:, 90:], strip("right", 120))
    np.testing.assert_array_equal(row[:4, 90:], plain(2, width=120))


def test_panel_without_title_raises():
    with pytest.raises(ValueError, match="zip"):
        titled_row(["left"], [plain(1), plain(2)])
