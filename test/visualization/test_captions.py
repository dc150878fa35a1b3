"""Captions are below the image that they describe, leave it unchanged, and fit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.visualization.captions import INK, LINE, PAPER, RULE, captioned, footed, legend, strip
from depth_anything_ros.visualization.colormap import colorize, ramp


def ink_of(picture: np.ndarray) -> int:
    return int((np.abs(picture.astype(int) - PAPER).max(axis=2) > 60).sum())


@given(text=st.text(max_size=300), width=st.integers(40, 400))
def test_strip_has_requested_width_and_margins(text, width):
    picture = strip(text, width)
    assert picture.shape == (LINE * (text.count("\n") + 1), width, 3)
    assert (picture[:, :4] == PAPER).all()
    assert (picture[:, -2:] == PAPER).all()


def test_long_text_keeps_beginning_and_end():
    whole = strip("beginning of a very long name and its end", 600)
    cut = strip("beginning of a very long name and its end", 160)
    assert np.array_equal(cut[:, :60], whole[:, :60])
    end = np.flatnonzero((whole != PAPER).any(axis=(0, 2)))[-1]
    cut_end = np.flatnonzero((cut != PAPER).any(axis=(0, 2)))[-1]
    assert np.array_equal(cut[:, cut_end - 15 : cut_end], whole[:, end - 15 : end])


def test_caption_leaves_image_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (50, 200, 3), dtype=np.uint8)
    picture = captioned(image, "one\ntwo")
    assert np.array_equal(picture[:50], image)
    assert picture.shape == (50 + 2 * LINE, 200, 3)
    assert ink_of(picture[50 : 50 + LINE]) > 0
    assert ink_of(picture[50 + LINE :]) > 0


def test_explanation_wraps_and_narrow_image_is_widened():
    image = np.full((20, 100, 3), 200, np.uint8)
    colors = legend(ramp(), "far", "near")
    picture = footed(image, "words that need more than one line of a hundred pixels, so many are they", [colors])
    assert picture.shape[1] == colors.shape[1]
    assert np.array_equal(picture[:20, :100], image)
    assert (picture[20] == INK).all()
    lines = picture[20 + RULE : -LINE]
    assert len(lines) >= 2 * LINE
    assert np.array_equal(picture[-LINE:], colors)


def test_legend_shows_colors_from_lowest_to_highest():
    picture = legend(ramp(), "far", "near")
    row = picture[LINE // 2].astype(int)
    colored = np.flatnonzero(np.ptp(row, axis=1) > 30)
    far, near = row[colored[3]], row[colored[-4]]
    assert far[2] > far[0]
    assert near[0] > near[2]


def test_ramp_equals_colors_of_maps():
    assert np.array_equal(ramp(), colorize(np.arange(256.0)[None], 0, 255)[0])


@pytest.mark.parametrize("text", ["δ1 = 0.7 µm", ""])
def test_missing_letters_of_font_are_no_error(text):
    assert cv2.imencode(".png", strip(text, 200))[0]
