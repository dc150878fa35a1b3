"""The scale of a relative model over time: held without references, and measured by the camera's own motion.

Frames are the red kitchen of 7-Scenes in ../shared/data, at 3 and 30 Hz. Their poses serve as odometry, with an error
of 1 % of the distance. In the first trial 150 references scale one frame, and no further ones follow. In the second
trial the only references are features that are tracked between the images.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scale_frames import DATA, frames, measure, pattern
from scale_methods import INVERSE

from depth_anything_ros import Estimator
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import log_depth
from depth_anything_ros.scale.metric_scale import FrameScale, MetricScale
from depth_anything_ros.scale.two_view import MotionReferences

RATES = {"sevenscenes_redkitchen": 3.0, "sevenscenes_redkitchen_30hz": 30.0}
CAMERA = Camera(640, 480, 525.0, 525.0, 320.0, 240.0)
"""The color camera's: features and poses agree best at 525 px. The depth camera's 585 px would bias motion by 11 %."""
HELD = (0.0, 1 / 3, 1.0, 10 / 3)
"""Seconds after the last reference."""
HOLDING = ("nothing", "images", "odometry")
ODOMETRY_ERROR = 0.01


@dataclass(frozen=True)
class Moment:
    """One frame: time in seconds, the image in gray, the network's output, true depth in meters, the camera's pose."""

    time: float
    gray: np.ndarray
    output: np.ndarray
    depth: np.ndarray
    pose: Transform


def moments(name: str, model: str | None) -> list[Moment]:
    """Return the frames of a set; without a model, the output is empty."""
    estimator, found = None if model is None else Estimator(model), []
    poses = sorted((DATA / name).glob("*.pose.txt"))
    for number, ((image, depth), file) in enumerate(zip(frames(name, slice(None)), poses, strict=True)):
        output = np.zeros((0, 0), np.float32)
        if estimator is not None:
            output = np.asarray(estimator.estimate(image), np.float32)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        found.append(Moment(number / RATES[name], gray, output, depth, Transform.from_matrix(np.loadtxt(file))))
    return found


def depth_of(moment: Moment, found: FrameScale) -> np.ndarray:
    """Return the metric depth of a frame."""
    assert found.state is not None
    depth = np.exp(log_depth(INVERSE, moment.output, found.state.log_a, found.state.b))
    if found.factor is not None:
        depth = depth * cv2.resize(found.factor, depth.shape[::-1])
    return np.clip(depth, 0.1, 20)


def absrel(moment: Moment, depth: np.ndarray) -> float:
    """Return the error of a frame's depth."""
    valid = np.isfinite(moment.depth) & (moment.depth > 0.2) & (moment.depth < 10)
    return float(np.mean(np.abs(depth[valid] - moment.depth[valid]) / moment.depth[valid]))


def drifting(all_moments: Sequence[Moment], start: int, rng: np.random.Generator) -> list[Transform]:
    """Return the poses from a frame on, with an error of the odometry in each step."""
    poses = [all_moments[start].pose]
    for before, after in zip(all_moments[start:], all_moments[start + 1 :], strict=False):
        step = before.pose.inverse() @ after.pose
        scaled = Transform(step.rotation, step.translation * (1 + ODOMETRY_ERROR * rng.standard_normal()))
        poses.append(poses[-1] @ scaled)
    return poses


def hold(all_moments: Sequence[Moment], by: str, starts: Sequence[int]) -> str:
    """Return AbsRel at the times of `HELD`, and the stated error, as a row of a table.

    ``by``: one of `HOLDING`.
    """
    errors: dict[float, list[float]] = {seconds: [] for seconds in HELD}
    stated: dict[float, list[float]] = {seconds: [] for seconds in HELD}
    for start in starts:
        rng = np.random.default_rng(start)
        first = all_moments[start]
        valid = np.isfinite(first.depth) & (first.depth > 0.2) & (first.depth < 10)
        known = replace(measure(first.depth, pattern("random 150", valid, rng), rng), time=first.time)
        metric = MetricScale(INVERSE, Prior())
        metric.add("points", first.time, lambda *_, known=known: known)
        for moment, pose in zip(all_moments[start:], drifting(all_moments, start, rng), strict=True):
            known_pose, gray = pose if by == "odometry" else None, moment.gray if by == "images" else None
            found = metric.update(moment.output, CAMERA, moment.time, known_pose, gray)
            for seconds in HELD:
                if abs(moment.time - first.time - seconds) < 1e-6 and found.state is not None:
                    errors[seconds].append(absrel(moment, depth_of(moment, found)))
                    stated[seconds].append(found.state.sigma(INVERSE))
    cells = [f"{np.mean(errors[seconds]):.3f} (± {np.mean(stated[seconds]):.2f})" for seconds in HELD]
    return " | ".join(cells)


def motion(all_moments: Sequence[Moment]) -> str:
    """Return how close the scale by motion comes, once the camera has traveled 20 cm: several runs, as a table."""
    rows = ["| first frame | every | frames | within 15 % | median error | largest | normalized squared error |"]
    rows.append("|---|---|---|---|---|---|---|")
    for first, step in itertools.product((0, 40), (1, 2, 3)):
        metric, tracked = MetricScale(INVERSE, Prior()), MotionReferences(CAMERA)
        errors, sigmas, traveled = [], [], 0.0
        chosen = all_moments[first::step]
        poses = drifting(chosen, 0, np.random.default_rng(0))
        for moment, before, pose in zip(chosen, [poses[0], *poses], poses, strict=False):
            traveled += float(np.linalg.norm(pose.translation - before.translation))
            metric.add("motion", moment.time, lambda *_, m=moment, by=tracked, pose=pose: by.add(m.gray, pose, m.time))
            found = metric.update(moment.output, CAMERA, moment.time, pose)
            if traveled < 0.2 or found.state is None:
                continue
            valid = np.isfinite(moment.depth) & (moment.depth > 0.2)
            ratio = depth_of(moment, found)[valid] / moment.depth[valid]
            errors.append(abs(math.log(float(np.median(ratio)))))
            sigmas.append(found.state.sigma(INVERSE))
        squared = np.mean((np.array(errors) / np.array(sigmas)) ** 2)
        rows.append(
            f"| {first} | {step} | {len(errors)} | {100 * np.mean(np.array(errors) < math.log(1.15)):.0f} % "
            f"| {100 * np.median(errors):.1f} % | {100 * np.max(errors):.0f} % | {squared:.2f} |"
        )
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help="model to scale (default: tiny)")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    print(f"| set | carried by | {' | '.join(f'{seconds:.1f} s' for seconds in HELD)} |\n|---|---|{'---|' * len(HELD)}")
    for name, rate in RATES.items():
        seen = moments(name, args.model)
        last = len(seen) - round(HELD[-1] * rate)
        for by in HOLDING:
            print(f"| {name} | {by} | {hold(seen, by, range(0, last, max(last // 12, 1)))} |", flush=True)
    print(f"\nmotion\n\n{motion(seen)}")


if __name__ == "__main__":
    main()
