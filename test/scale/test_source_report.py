"""One pair for many frames, and which source to trust, on scenes of known scale."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scale_scenes import HEIGHT, WIDTH, A, B, blocks, observe, scene

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import (
    Frame,
    Measurement,
    depth_uncertainty,
    fit_frames,
    fixed_pair,
    residuals_by_range,
)
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.references import References, references
from depth_anything_ros.scale.source_report import disagreements, examine, most_reliable

INVERSE = KINDS["inverse_affine"]
CAMERA = Camera.from_field_of_view(WIDTH, HEIGHT, 60.0)


def given(known: References, values: np.ndarray) -> References:
    return known


def frame(time: float, output: np.ndarray) -> Frame:
    return Frame(time, output, CAMERA, np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def measurement(time: float, known: References) -> Measurement:
    return Measurement(time, Transform.identity(), partial(given, known))


def recording(count: int, factors: list[float] | None = None, outliers: float = 0.0, rate: float = 10.0):
    """Frames of different scenes; the network's output is divided by a factor, so that a is multiplied by it."""
    frames, measurements = [], []
    for number in range(count):
        output, depth = scene(number, error=0.02)
        factor = factors[number] if factors else 1.0
        frames.append(frame(number / rate, (output / factor).astype(np.float32)))
        measurements.append(measurement(number / rate, observe(depth, 300, number, outliers)))
    return frames, measurements


def test_pair_of_steady_frames_is_exact_and_adequate() -> None:
    report = examine(INVERSE, "point_cloud", "/points", *recording(8, outliers=0.3))
    assert report.pair is not None
    assert math.exp(report.pair.log_a) == pytest.approx(A, rel=0.03)
    assert report.pair.b == pytest.approx(B, abs=0.02)
    assert report.pair.depth_spread < 0.02
    assert report.allows_fixed_pair
    assert 0.15 < report.outliers < 0.35


@pytest.mark.parametrize("name", ["inverse_affine", "metric"])
def test_errors_that_all_references_share_are_in_the_uncertainty(name: str) -> None:
    """Those of the baseline; and those of a rotation, which shifts all inverse depths, whatever the model predicts."""
    kind, (frames, measurements) = KINDS[name], recording(3)
    if name == "metric":
        frames = [replace(one, values=1 / (A * one.values + B)) for one in frames]
    fits, _ = fit_frames(kind, frames, measurements)
    alone = depth_uncertainty(kind, fits)
    depth = float(np.median([np.median(one.known.depth) for one in fits]))
    for errors, expected in (({"pose_sigma": 0.2}, 0.2), ({"shift_sigma": 0.1}, 0.1 * depth)):
        shared = [replace(one, known=replace(one.known, **errors)) for one in fits]
        assert depth_uncertainty(kind, shared) == pytest.approx(math.hypot(alone, expected), rel=0.05)


def test_pair_of_changing_scale_is_not_adequate() -> None:
    """Ln a changes by 0.3 to both sides: a fixed pair errs by that, each frame's own does not."""
    factors = [math.exp(0.3 * (-1) ** number) for number in range(8)]
    report = examine(INVERSE, "point_cloud", "/points", *recording(8, factors))
    assert report.pair is not None
    assert not report.allows_fixed_pair
    assert report.pair.log_a_spread == pytest.approx(0.3, abs=0.05)
    assert report.pair.depth_spread == pytest.approx(0.3, abs=0.08)
    assert report.error < 0.03
    assert report.pair.error > 0.2  # on frames that the pair was not found on


def test_one_frame_in_a_hundred_does_not_move_the_pair() -> None:
    factors = [1.0] * 11 + [3.0]
    fits, _ = fit_frames(INVERSE, *recording(12, factors))
    assert math.exp(fixed_pair(INVERSE, fits).log_a) == pytest.approx(A, rel=0.05)


def test_two_frames_are_too_few_to_judge() -> None:
    report = examine(INVERSE, "point_cloud", "/points", *recording(2))
    assert not report.allows_fixed_pair
    assert "fewer than 5 frames" in report.clock.text
    assert "fewer than 5 frames" in report.extrinsics.text


def test_reasons_that_differ_in_numbers_count_as_one() -> None:
    frames, measurements = recording(4)
    late = [
        measurement(one.time + 0.2 + 0.01 * number, one.convert(frames[0].values))
        for number, one in enumerate(measurements)
    ]
    report = examine(INVERSE, "point_cloud", "/points", [frames[0], frame(9.0, frames[1].values)], late)
    assert report.fits == []
    assert report.pair is None
    assert list(report.refusal_counts.values()) == [2]
    assert most_reliable([report]) is None


def test_surest_source_sees_most_of_the_image() -> None:
    """A source with one exact point per frame has the smallest residual, but says little about the image."""
    frames, measurements = recording(6)
    points = [measurement(one.time, one.convert(frames[0].values).take(np.arange(1))) for one in measurements]
    few = examine(INVERSE, "range", "/range", frames, points)
    many = examine(INVERSE, "point_cloud", "/points", frames, measurements)
    rare = examine(INVERSE, "laser_scan", "/scan", frames, measurements[:2])
    assert most_reliable([few, rare, many]) is many
    assert many.uncertainty < few.uncertainty


def test_still_view_shows_no_offset() -> None:
    output, depth = scene(1, error=0.02)
    frames = [frame(number / 10, output) for number in range(12)]
    measurements = [measurement(number / 10, observe(depth, 300, 1)) for number in range(12)]
    check = examine(INVERSE, "point_cloud", "/points", frames, measurements).clock
    assert not check.is_seen
    assert "undetermined" in check.text


def test_trend_of_the_noise_is_no_offset() -> None:
    """The agreement improves up to the largest offset tried: that is no minimum, and its error is not zero."""
    output, depth = scene(1, error=0.02)
    rng = np.random.default_rng(2)
    frames = [frame(number / 10, output) for number in range(12)]
    measurements = []
    for number in range(12):
        known = observe(depth, 300, 1)
        noise = np.exp(rng.normal(0, 0.16 - 0.012 * number, len(known)))
        measurements.append(measurement(number / 10, replace(known, depth=known.depth * noise)))
    check = examine(INVERSE, "point_cloud", "/points", frames, measurements).clock
    assert not check.is_seen
    assert check.text.startswith("unclear: agreement improves up to the largest offset tried (+0.2 s")


def test_error_of_a_range_is_found() -> None:
    """The network sees what is 3 to 4 m away a tenth too near; no scale and shift explains that."""
    frames, measurements = [], []
    for number in range(4):
        rng = np.random.default_rng(number)
        depth = blocks(np.exp(rng.uniform(0, 2, (HEIGHT // 40, WIDTH // 40))))
        output = ((1 / depth - B) / A).astype(np.float32)
        true = np.where((depth > 2.7) & (depth < 3.6), depth / 0.9, depth)
        frames.append(frame(number, output))
        measurements.append(measurement(number, observe(true, 400, number)))
    fits, _ = fit_frames(INVERSE, frames, measurements)
    bins = {part.nearest: part for part in residuals_by_range(fits)}
    assert bins[3.0].median == pytest.approx(-0.1, abs=0.03)
    assert all(abs(part.median) < 0.03 for nearest, part in bins.items() if nearest != 3.0)


def test_ground_and_range_are_not_checked() -> None:
    frames, measurements = recording(6)
    for name in ("ground_plane", "range"):
        report = examine(INVERSE, name, "", frames, measurements)
        assert report.clock.text.startswith("not checked: ")
        assert report.extrinsics.text.startswith("not checked: ")


def test_frame_without_surface_is_refused() -> None:
    frames, _ = recording(1)
    none = references(np.zeros((0, 2)), np.zeros(0))
    fits, refusals = fit_frames(INVERSE, frames, [measurement(0.0, none)])
    assert fits == []
    assert refusals == ["it sees no surface in the image"]


def test_ground_is_an_assumption_that_a_sensor_overrules() -> None:
    """The ground agrees better with itself than the lidar does, at a wrong height; the difference is reported."""
    frames, measurements = recording(6)
    noisy = [
        measurement(one.time, observe(scene(number, error=0.02)[1], 300, number, noise=0.1))
        for number, one in enumerate(measurements)
    ]
    wrong = [
        measurement(one.time, observe(1.4 * scene(number, error=0.02)[1], 300, number))
        for number, one in enumerate(measurements)
    ]
    lidar = examine(INVERSE, "point_cloud", "/points", frames, noisy)
    ground = examine(INVERSE, "ground_plane", "", frames, wrong)
    assert most_reliable([ground, lidar]) is lidar
    assert most_reliable([ground]) is ground
    (sentence,) = disagreements(INVERSE, [ground, lidar])
    assert "ground_plane and point_cloud disagree" in sentence
    assert "height and pitch" in sentence
    assert disagreements(INVERSE, [lidar, lidar]) == []
