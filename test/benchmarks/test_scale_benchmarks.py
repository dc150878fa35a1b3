"""Recorded frames: each pattern of references, and the rings of a lidar, scored away from the references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from depth_anything_ros.scale.fit import ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS, log_depth
from depth_anything_ros.scale.sensor_points import from_points, visible

STRUCTURED = ("laser", "patch", "floor", "rings 4", "rings 16")
RANDOM = ("random 30", "random 150", "random 500")
INVERSE = KINDS["inverse_affine"]


@pytest.fixture(autouse=True)
def _benchmarks(repository: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the modules of `benchmarks/` importable; without the recorded frames the tests are skipped."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))


@pytest.mark.parametrize("kind", [*STRUCTURED, *RANDOM])
def test_good_network_beats_least_squares_and_interpolation(kind: str) -> None:
    """An exact network with errors of a stated size, on two frames that no setting was chosen on."""
    import scale
    from scale_frames import SETS, degraded

    scores = scale.run(SETS[0], slice(60, 100, 30), degraded(0.05), [5], scale.METHODS, [kind])[kind]
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    assert means[scale.OPTIMUM] == pytest.approx(0.05, abs=0.01)
    assert means["robust fit + local"] < means["no network"]
    assert means["robust fit + local"] < means["least squares in 1/Z"]
    if kind in RANDOM or "rings" in kind:
        assert means["robust fit + local"] < 0.8 * means[scale.OPTIMUM]


def test_bundled_model_with_rings_beats_its_affine_optimum_and_interpolation() -> None:
    import scale
    from scale_frames import SETS, bundled

    scores = scale.run(SETS[0], slice(60, 100, 20), bundled("tiny"), [5], scale.METHODS, ["rings 4"])["rings 4"]
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    assert means["robust fit + local"] < 0.8 * means[scale.OPTIMUM]
    assert means["robust fit + local"] < means["no network"]


def _with_nearer_neighbor(pixels: np.ndarray, z: np.ndarray, distance: int = 8) -> np.ndarray:
    """Return which points have a point at least 10 % nearer within some pixels."""
    first, second = cKDTree(pixels).query_pairs(distance, p=np.inf, output_type="ndarray").T
    found = np.zeros(len(z), bool)
    found[first[z[second] < 0.9 * z[first]]] = True
    found[second[z[first] < 0.9 * z[second]]] = True
    return found


def test_occlusion_test_removes_what_a_z_buffer_misses() -> None:
    """Behind the cars of dense traffic the lidar sees what the camera cannot. No two points share a pixel there."""
    import scale_lidar

    frame = scale_lidar.load(11)
    points = frame.points[frame.points[:, 2] > 1]
    buffered = points[visible(points, frame.camera, checks_occlusion=False)]
    flat = np.rint(frame.camera.project(buffered)).astype(int) @ (1, frame.camera.width)
    order = np.lexsort((buffered[:, 2], flat))
    buffered = buffered[order[np.unique(flat[order], return_index=True)[1]]]  # the nearest point of each pixel
    left = buffered[visible(buffered, frame.camera)]
    behind = _with_nearer_neighbor(frame.camera.project(buffered), buffered[:, 2]).mean()
    behind_left = _with_nearer_neighbor(frame.camera.project(left), left[:, 2]).mean()
    assert behind > 0.05
    assert behind_left == 0
    assert len(left) > 0.7 * len(buffered)


def test_one_ring_of_a_lidar_scales_better_than_least_squares() -> None:
    import scale_lidar
    from scale_frames import bundled
    from scale_methods import least_squares

    network, errors = bundled("tiny"), []
    for number in (11, 31):
        frame = scale_lidar.load(number)
        output = network(frame.image, np.empty(0), number)
        is_kept = np.isin(frame.rings, scale_lidar.kept_rings(1))
        known = from_points(frame.points[is_kept], frame.camera)
        found = fit(INVERSE, output, known, Prior())
        assert isinstance(found, ScaleFit)
        seen = visible(frame.points, frame.camera)
        seen = seen[~is_kept[seen] & (frame.points[seen, 2] < 80)]
        pixels, z = np.rint(frame.camera.project(frame.points[seen])).astype(int), frame.points[seen, 2]
        robust = np.exp(log_depth(INVERSE, output, found.log_a, found.b))
        errors.append(
            [scale_lidar.score(depth, pixels, z)[0] for depth in (robust, least_squares(output, known))],
        )
    robust_error, squares_error = np.mean(errors, axis=0)
    assert robust_error < 0.6 * squares_error


def test_drift_of_single_images_is_a_spread_without_a_rate() -> None:
    import scale_drift

    from depth_anything_ros import Estimator

    cells = [cell.strip() for cell in scale_drift.row("realsense_shelf", Estimator("tiny")).split("|")]
    assert (cells[1], cells[2], cells[6]) == ("realsense_shelf", "10", "")
    assert 0.01 < float(cells[5]) < 0.2
