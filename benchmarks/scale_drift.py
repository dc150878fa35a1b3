"""Measures how much and how fast the scale of a model changes over a recording, relative or metric.

The frames are the same as in benchmarks/scale_over_time.py, plus the RealSense shelf. 150 random references scale each
frame. The spread is the spread of a typical depth with the median scale of all frames. `calibrate` measures the same
rate.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scale_frames import frames, measure, pattern, scored

from depth_anything_ros import Estimator
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import Frame, FrameFit, Measurement, fit_frames
from depth_anything_ros.scale.drift import drift_of
from depth_anything_ros.scale.kinds import KINDS, log_depth

PERIODS = {"sevenscenes_redkitchen": 1 / 3, "sevenscenes_redkitchen_30hz": 1 / 30, "realsense_shelf": math.nan}
"""Seconds between the frames of each set; NaN: they do not follow each other."""
CAMERA = Camera(640, 480, 525.0, 525.0, 320.0, 240.0)


def fits_of(name: str, estimator: Estimator) -> list[FrameFit]:
    """Return the fits to the frames of a set."""
    seen, measurements = [], []
    for number, (image, depth) in enumerate(frames(name, slice(None))):
        rng, time = np.random.default_rng(number), number * (1.0 if math.isnan(PERIODS[name]) else PERIODS[name])
        known = replace(measure(depth, pattern("random 150", scored(depth), rng), rng), time=time)
        seen.append(Frame(time, np.asarray(estimator.estimate(image), np.float32), CAMERA, image))
        measurements.append(Measurement(time, Transform.identity(), lambda _, known=known: known))
    fits, _ = fit_frames(KINDS[estimator.record.scale_model], seen, measurements)
    return fits


def row(name: str, estimator: Estimator) -> str:
    """Return the figures of a set as a row of a table."""
    kind, fits = KINDS[estimator.record.scale_model], fits_of(name, estimator)
    log_a, b = (float(np.median([getattr(one.result, what) for one in fits])) for what in ("log_a", "b"))
    change = [
        np.median(log_depth(kind, one.x, one.result.log_a, one.result.b) - log_depth(kind, one.x, log_a, b))
        for one in fits
    ]
    rate = None if math.isnan(PERIODS[name]) else drift_of(kind, fits).rate
    spread = [f"{np.std([one.result.log_a for one in fits]):.2f}", f"{np.std(change):.2f}"]
    cells = [f"{math.exp(log_a):.2f}", *spread, "" if rate is None else f"{rate:.2f}"]
    return f"| {name} | {len(fits)} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help="model to scale (default: tiny)")
    parser.add_argument("--record", help="its record, for an .onnx file without one")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    estimator = Estimator(args.model, record=args.record)
    print(
        "| set | frames | median a | spread of ln a | spread of ln Z | its change in 1 s |\n|---|---|---|---|---|---|"
    )
    for name in PERIODS:
        print(row(name, estimator), flush=True)


if __name__ == "__main__":
    main()
