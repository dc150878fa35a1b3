"""Crops of a sample: image, depth and labels stay aligned in every crop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.data.sources import Sample
from depth_anything_ros.runtime.preprocessing import Preprocessor
from depth_anything_ros.training.input.crops import random_view
from depth_anything_ros.zoo.record import ModelRecord

SIDES = st.integers(1, 250)
STEPS = st.sampled_from([14, 28, 42, 70, 98])
SEEDS = st.integers(0, 2**32)


def coordinates(height: int, width: int) -> Sample:
    """A sample whose pixels encode their position: red and depth's thousands the row, green and depth the column."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, np.full_like(rows, 77)], axis=-1).astype(np.uint8)
    return Sample(
        "one", image, (1000 * rows + columns).astype(np.float32), (rows % 7 + 10 * (columns % 5)).astype(np.uint8)
    )


def view(sample: Sample, size: tuple[int, int], smallest: float, seed: int) -> Sample:
    return random_view(sample, size, smallest, np.random.default_rng(seed))


def rows_and_columns(viewed: Sample) -> tuple[np.ndarray, np.ndarray]:
    """The row and column of the sample that each pixel's depth comes from."""
    return np.divmod(viewed.inverse_depth.astype(int), 1000)


@settings(max_examples=100)
@given(height=SIDES, width=SIDES, size=st.tuples(STEPS, STEPS), smallest=st.floats(0.05, 1.0), seed=SEEDS)
def test_crop_keeps_image_depth_and_labels_aligned(height, width, size, smallest, seed):
    viewed = view(coordinates(height, width), size, smallest, seed)
    assert viewed.image.shape == (*size, 3)
    assert viewed.image.dtype == np.uint8
    rows, columns = rows_and_columns(viewed)
    # The nearest pixel is half a pixel off at most, so is a mean of pixels; bicubic adds less than half a pixel at the
    # edges, and colors are whole numbers.
    assert np.abs(viewed.image[..., 0].astype(int) - rows).max() <= 2
    assert np.abs(viewed.image[..., 1].astype(int) - columns).max() <= 2
    assert (viewed.image[..., 2] == 77).all()
    np.testing.assert_array_equal(viewed.labels, rows % 7 + 10 * (columns % 5))


@settings(max_examples=100)
@given(height=SIDES, width=SIDES, size=st.tuples(STEPS, STEPS), smallest=st.floats(0.05, 1.0), seed=SEEDS)
def test_crop_keeps_aspect_ratio_and_minimum_size(height, width, size, smallest, seed):
    rows, columns = rows_and_columns(view(coordinates(height, width), size, smallest, seed))
    assert (rows == rows[:, :1]).all()  # neither turned nor sheared
    assert (columns == columns[:1]).all()
    assert (np.diff(rows[:, 0]) >= 0).all()  # never upside down
    assert (np.diff(columns[0]) >= 0).all() or (np.diff(columns[0]) <= 0).all()
    # From the first to the last pixel lie size - 1 steps of the crop's scale; the crop and both ends are rounded.
    down = np.ptp(rows[:, 0]) / (size[0] - 1)
    across = np.ptp(columns[0]) / (size[1] - 1)
    slack = 1.5 / (size[0] - 1) + 1.5 / (size[1] - 1)
    assert abs(down - across) <= slack
    largest = min(height / size[0], width / size[1])
    assert smallest * largest - slack <= down <= largest + slack


@given(height=SIDES, width=SIDES, size=st.tuples(STEPS, STEPS), seed=SEEDS)
def test_largest_crop_spans_one_side(height, width, size, seed):
    rows, columns = rows_and_columns(view(coordinates(height, width), size, 1.0, seed))
    share = min(height / size[0], width / size[1])
    spans = [
        seen.min() <= share / 2 and seen.max() >= side - 1 - share / 2
        for seen, side, requested in ((rows, height, size[0]), (columns, width, size[1]))
        if side / requested == share
    ]
    assert all(spans)


@pytest.mark.parametrize("axis", [0, 1])
def test_crop_positions_cover_image_uniformly(axis):
    """Of an image with one side twice the step's: 43 places from one edge to the other."""
    sides = (84, 42) if axis == 0 else (42, 84)
    first = set()
    for seed in range(400):
        seen = rows_and_columns(view(coordinates(*sides), (42, 42), 1.0, seed))
        first.add(int(seen[axis].min()))
        assert np.ptp(seen[axis]) == 41
        assert np.ptp(seen[1 - axis]) == 41
    assert first == set(range(43))


def test_half_of_views_are_flipped():
    mirrored = 0
    for seed in range(400):
        _, columns = rows_and_columns(view(coordinates(20, 20), (14, 14), 0.5, seed))
        mirrored += columns[0, 0] > columns[0, -1]
    assert 160 < mirrored < 240  # 4 standard deviations


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.1, 1.0), SEEDS)
def test_resizing_invents_no_depth_and_no_label(height, width, smallest, seed):
    generator = np.random.default_rng(seed)
    depth = generator.choice(np.array([np.nan, 0.0, 0.01, 123.4], np.float32), (height, width))
    labels = generator.choice(np.array([0, 3, 149, 255], np.uint8), (height, width))
    sample = Sample("one", np.zeros((height, width, 3), np.uint8), depth, labels)
    viewed = view(sample, (28, 42), smallest, seed)
    assert viewed.inverse_depth.dtype == np.float32
    assert viewed.labels.dtype == np.uint8
    assert set(viewed.inverse_depth[~np.isnan(viewed.inverse_depth)]) <= set(depth[~np.isnan(depth)])
    assert np.isnan(depth).any() or not np.isnan(viewed.inverse_depth).any()
    assert set(viewed.labels.flat) <= set(labels.flat)


def test_image_of_step_size_is_unchanged_or_flipped():
    generator = np.random.default_rng(0)
    sample = Sample("one", generator.integers(0, 256, (28, 42, 3), dtype=np.uint8))
    seen = {view(sample, (28, 42), 1.0, seed).image.tobytes() for seed in range(20)}
    assert seen == {sample.image.tobytes(), sample.image[:, ::-1].tobytes()}


def test_shrinking_averages_all_pixels():
    """Pixels black and white by turns become gray, not a pattern of their own: four or five of nine are white."""
    board = np.indices((126, 126)).sum(0) % 2 * 255
    sample = Sample("one", np.repeat(board[..., None], 3, axis=-1).astype(np.uint8))
    assert np.abs(view(sample, (42, 42), 1.0, 0).image.astype(int) - 127.5).max() < 16


def test_small_image_is_enlarged_smoothly():
    image = np.full((2, 2, 3), 50, np.uint8)
    image[:, 1] = 200
    enlarged = view(Sample("one", image), (14, 14), 1.0, 0).image[0, :, 0].astype(int)
    assert sorted({enlarged[0], enlarged[-1]}) == pytest.approx([50, 200], abs=20)  # bicubic overshoots
    assert np.abs(np.diff(enlarged)).max() < 40


@pytest.mark.parametrize("size", [(28, 28), (70, 70), (98, 98), (196, 196), (252, 252)])
def test_training_pixels_equal_runtime_preprocessing(size):
    """Shrunk by less and by more than half, and enlarged."""
    image = np.random.default_rng(1).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    fed = Preprocessor(ModelRecord("any", "inverse_depth", "MIT"), size)(image)[0]
    seen = {view(Sample("one", image), size, 1.0, seed).image.tobytes() for seed in range(20)}
    assert seen == {fed.tobytes(), fed[:, ::-1].tobytes()}


@given(st.integers(1, 60), st.integers(1, 60), SEEDS)
def test_equal_generators_give_equal_views(height, width, seed):
    one, other = (view(coordinates(height, width), (28, 28), 0.3, seed) for _ in range(2))
    for ours, theirs in zip(vars(one).values(), vars(other).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_missing_depth_stays_missing_and_sample_unchanged():
    sample = coordinates(40, 50)
    before = sample.image.copy()
    viewed = view(Sample("name", sample.image), (14, 14), 0.5, 1)
    assert (viewed.name, viewed.inverse_depth, viewed.labels) == ("name", None, None)
    viewed.image[:] = 0
    np.testing.assert_array_equal(sample.image, before)
