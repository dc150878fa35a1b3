"""How well a lidar of few rings scales a relative model on the road: ../shared/data/kitti_drive.

The Velodyne of KITTI has 64 rings. Rings in equal steps are kept, 16, 8, 4 or 1, and become references: one for each
cell, on the nearest surface, without points that the camera cannot see. Depth is scored at the visible points of the
other rings, up to 80 m, in the frames that the fit does not refuse. The odd frames are reported; no setting was chosen
on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scale_frames import DATA, affine_fit, bundled
from scale_methods import INVERSE, METHODS

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.fit import ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.sensor_points import from_points, visible

DRIVE = DATA / "kitti_drive"
RINGS = 64
COUNTS = (16, 8, 4, 1)
LIMITS = (1.0, 80.0)
"""Meters."""


@dataclass(frozen=True)
class LidarFrame:
    """One frame of the drive.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        camera: its intrinsics.
        points: float64 (N, 3), meters in the camera's optical frame.
        rings: int (N,), from 0 at the top.
    """

    image: np.ndarray
    camera: Camera
    points: np.ndarray
    rings: np.ndarray


def load(number: int) -> LidarFrame:
    """Read a frame of the drive by its number."""
    image = cv2.imread(str(sorted((DRIVE / "image_02").iterdir())[number]))[..., ::-1].copy()
    lines = (line.split(":") for line in (DRIVE / "calib.txt").read_text().splitlines() if ":" in line)
    calibration = {name: np.array(values.split(), float) for name, values in lines}
    projection = calibration["P2"].reshape(3, 4)
    intrinsics = projection[:, :3]
    rectify = Transform(calibration["R0_rect"].reshape(3, 3), np.linalg.solve(intrinsics, projection[:, 3]))
    to_camera = rectify @ Transform.from_matrix(calibration["Tr_velo_to_cam"].reshape(3, 4))
    scan = np.fromfile(DRIVE / "velodyne" / f"{number:010d}.bin", np.float32).reshape(-1, 4)[:, :3].astype(float)
    azimuth = np.arctan2(scan[:, 1], scan[:, 0])
    starts = (azimuth[:-1] < 0) & (azimuth[1:] >= 0)  # the file has one ring after the other, each from azimuth 0
    rings = np.concatenate([[0], np.cumsum(starts)])
    height, width = image.shape[:2]
    camera = Camera(width, height, intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2])
    return LidarFrame(image, camera, to_camera.apply(scan), rings)


def kept_rings(count: int) -> np.ndarray:
    """Return the numbers of that many rings in equal steps."""
    return np.linspace(0, RINGS, count + 2)[1:-1].astype(int)


def score(depth: np.ndarray | None, pixels: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    """Return AbsRel and the mean absolute error in meters."""
    assert depth is not None
    error = np.abs(np.clip(depth[pixels[:, 1], pixels[:, 0]], *LIMITS) - z)
    return float(np.mean(error / z)), float(np.mean(error))


@dataclass
class Scores:
    """The result for one number of rings.

    Attributes:
        errors: Errors of each column, AbsRel and the mean absolute error of each frame that is not refused.
        shares: references, the share of hidden points, and the share of references that disagree, of each such frame.
        refused: number of refused frames.
    """

    errors: dict[str, list[tuple[float, float]]]
    shares: list[tuple[float, float, float]]
    refused: int = 0


def score_frame(frame: LidarFrame, output: np.ndarray, count: int, scores: Scores) -> None:
    """Add the scores of a frame.

    Args:
        frame: the image and the points.
        output: float32 (H, W), inverse depth.
        count: rings to keep.
        scores: takes the result.
    """
    is_kept = np.isin(frame.rings, kept_rings(count))
    scan = frame.points[is_kept]
    known = from_points(scan, frame.camera)
    found = fit(INVERSE, output, known, Prior())
    if not isinstance(found, ScaleFit):
        scores.refused += 1
        return
    seen = visible(frame.points, frame.camera)
    seen = seen[~is_kept[seen] & (frame.points[seen, 2] < LIMITS[1])]
    pixels, z = np.rint(frame.camera.project(frame.points[seen])).astype(int), frame.points[seen, 2]
    a, b = affine_fit(output[pixels[:, 1], pixels[:, 0]].astype(float), z, LIMITS)
    scores.errors["affine optimum"].append(score(1 / np.maximum(a * output + b, 1e-3), pixels, z))
    for name, method in METHODS.items():
        scores.errors[name].append(score(method(output, known), pixels, z))
    inside, unhidden = visible(scan, frame.camera, checks_occlusion=False), visible(scan, frame.camera)
    scores.shares.append((len(known), 1 - len(unhidden) / len(inside), 1 - float(found.inliers.mean())))


def run(numbers: Sequence[int], model: str) -> str:
    """Return the table of frames in Markdown.

    Args:
        numbers: Numbers of the frames.
        model: Model of the zoo.
    """
    network, columns = bundled(model), ("affine optimum", *METHODS)
    scores = {count: Scores({name: [] for name in columns}, []) for count in COUNTS}
    for number in numbers:
        frame = load(number)
        output = network(frame.image, np.empty(0), number)
        for count in COUNTS:
            score_frame(frame, output, count, scores[count])
    head = "| rings | frames | references | hidden | outliers |"
    lines = [f"{head} {' | '.join(columns)} |", f"|---|{'---|' * (4 + len(columns))}"]
    for count, found in scores.items():
        references, hidden, outliers = np.mean(found.shares, axis=0)
        used = f"{len(found.shares)} of {len(found.shares) + found.refused}"
        means = [np.mean(found.errors[name], axis=0) for name in columns]
        cells = " | ".join(f"{relative:.3f}, {meters:.2f} m" for relative, meters in means)
        lines.append(
            f"| {count} | {used} | {references:.0f} | {100 * hidden:.0f} % | {100 * outliers:.0f} % | {cells} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help="model to scale (default: tiny)")
    parser.add_argument("--stride", type=int, default=1, help="use every n-th of the odd frames (default: 1)")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    print(run(range(1, 40, 2 * args.stride), args.model))


if __name__ == "__main__":
    main()
