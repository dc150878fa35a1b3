"""Sparse patterns that are the same everywhere, and depth completed from them."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.completion import NO_NETWORK, complete, nearest_depth, score_completion
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.sparse_patterns import check_pattern, sparse_points
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.scale.references import references

CAMERA = Camera(320, 96, 180.0, 180.0, 159.5, 45.5)
KNOWN = np.random.default_rng(0).random((96, 320)) < 0.6


def test_points_are_these_on_every_machine():
    found = sparse_points("points 5", "kitti/a.png", np.ones((96, 320), bool))
    assert found.tolist() == FIVE
    assert sparse_points("points 5", "kitti/b.png", np.ones((96, 320), bool)).tolist() != FIVE


FIVE = [[144, 12], [231, 25], [211, 46], [113, 54], [23, 94]]


def test_points_are_known_distinct_and_spread():
    found = sparse_points("points 500", "void/1", KNOWN)
    assert len(np.unique(found, axis=0)) == 500
    assert KNOWN[found[:, 1], found[:, 0]].all()
    quadrants = np.bincount(2 * (found[:, 1] >= 48) + (found[:, 0] >= 160))
    assert quadrants.min() > 90
    few = np.zeros_like(KNOWN)
    few[3, 4:7] = True
    assert sparse_points("points 500", "void/1", few).tolist() == [[4, 3], [5, 3], [6, 3]]


def test_fewer_points_are_not_a_part_of_more():
    """Each pattern is drawn by itself, as the published ones are."""
    some, more = (set(map(tuple, sparse_points(f"points {count}", "x", KNOWN))) for count in (150, 1500))
    assert not some <= more


def test_lines_are_those_of_a_lidar():
    found = {count: sparse_points(f"lines {count}", "kitti/1", KNOWN, CAMERA) for count in (64, 16, 8)}
    sets = {count: set(map(tuple, points)) for count, points in found.items()}
    assert sets[8] < sets[16] < sets[64]
    elevation = np.degrees(np.arctan2(45.5 - found[8][:, 1], np.hypot(found[8][:, 0] - 159.5, 180.0)))
    spacing = 26.8 / 63
    line = (elevation + 24.8) / spacing
    assert np.abs(line - np.rint(line)).max() <= 0.5
    assert (np.rint(line).astype(int) % 8 == 0).all()
    columns, counts = np.unique(found[8][:, 0] + 1000 * np.rint(line).astype(int), return_counts=True)
    assert counts.max() == 1  # one for each line and column
    assert len(columns) > 300


@pytest.mark.parametrize("pattern", ["points", "points 0", "dots 5", "lines 7", "points -3"])
def test_invalid_patterns_are_named(pattern):
    with pytest.raises(ValueError, match=f"pattern is '{pattern}'"):
        check_pattern(pattern)
    with pytest.raises(ValueError, match="'lines 8' needs the intrinsics of the camera"):
        sparse_points("lines 8", "a", KNOWN)


def room(seed: int = 0) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-1, 1, 320), np.linspace(-1, 1, 96))
    return 3 + x + 0.5 * np.sin(3 * y + seed) + (x > 0.3)


def test_network_of_exact_shape_gives_exact_depth():
    depth = room()
    pixels = sparse_points("points 500", "a", np.ones(depth.shape, bool))
    points = references(pixels, depth[pixels[:, 1], pixels[:, 0]])
    for values, output in ((0.3 / depth + 0.02, "inverse_depth"), (1.7 * depth, "depth")):
        completed = complete(values, output, points)
        assert np.median(np.abs(completed / depth - 1)) < 0.01
    wrong = depth * (1 + 0.15 * np.sin(5 * np.linspace(0, 1, 320)))
    local = complete(1 / wrong, "inverse_depth", points)
    assert np.mean(np.abs(local / depth - 1)) < 0.5 * np.mean(np.abs(wrong / depth - 1))  # the local correction


def test_without_a_fit_the_nearest_point_counts():
    depth = room()
    pixels = sparse_points("points 50", "a", np.ones(depth.shape, bool))
    points = references(pixels, depth[pixels[:, 1], pixels[:, 0]])
    nearest = nearest_depth(points, depth.shape)
    np.testing.assert_allclose(nearest[pixels[:, 1], pixels[:, 0]], points.depth)
    u, v = 100, 40
    closest = np.argmin(np.hypot(*(pixels - (u, v)).T))
    assert nearest[v, u] == pytest.approx(points.depth[closest])
    constant = complete(np.full(depth.shape, np.nan), "inverse_depth", points)
    np.testing.assert_array_equal(constant, nearest)


@pytest.mark.parametrize("workers", [1, 3])
def test_rows_of_each_pattern(workers):
    frames = []
    for number in range(3):
        image = np.full((96, 320, 3), number, np.uint8)
        frames.append(LabeledImage(f"made/{number}", image, room(number).astype(np.float32), CAMERA))
    empty = np.full((96, 320), np.nan, np.float32)
    empty[0, :3] = 1.0
    frames.append(LabeledImage("made/few", frames[0].image, empty, CAMERA))
    model = ScoredModel("net", lambda image: 1 / room(int(image[0, 0, 0])), "inverse_depth")
    baseline = ScoredModel("constant", lambda image: np.ones((96, 320)), "inverse_depth", is_baseline=True)
    said, seen = [], []
    rules = SetRules(patterns=("points 150", "lines 16"), min_depth=0.1, max_depth=10.0)
    found = score_completion(
        [model, baseline], frames, rules, lambda frame, *_: seen.append(frame.name), said.append, workers
    )
    assert list(found) == ["points 150", "lines 16"]
    for rows in found.values():
        assert [row.model for row in rows] == ["net", NO_NETWORK]
        assert list(rows[0].images) == ["made/0", "made/1", "made/2"]
        assert rows[0].scores.abs_rel < 0.01 < rows[1].scores.abs_rel
    assert said == ["made/few: the points of 'points 150' leave no pixel to score"]
    assert seen == ["made/0", "made/1", "made/2"]
