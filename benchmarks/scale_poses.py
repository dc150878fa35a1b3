"""Compares the poses of the 30 Hz kitchen with its images, which limits the accuracy of motion there.

Features with the true depth of one frame are tracked for 20 frames. They tell the camera's motion (perspective n
points), whose distance and rotation are compared with the poses. Features that are triangulated with the
poses, without that depth, give a depth that is compared with the true one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from scale_over_time import Moment, moments

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.fit import Refusal
from depth_anything_ros.scale.two_view import MotionReferences
from depth_anything_ros.scale.visual_odometry import VisualOdometry

FOCALS = (525.0, 585.0)
"""Of the color camera, and of the depth camera, in pixels."""
PARTS = (slice(0, 140), slice(140, 200))
FRAMES = 20
STEP = 10
MIN_DISTANCE = 0.05
"""Meters that the poses must have traveled, for a comparison of distances."""


def motion_by_depth(camera: Camera, chosen: Sequence[Moment]) -> Transform | None:
    """Return the motion from the first frame to the last by the true depth of the first; None if features are lost."""
    tracker = VisualOdometry(camera, chosen[0].gray, np.log(chosen[0].depth), 1, Transform.identity())
    found = None
    for moment in chosen[1:]:
        found = tracker.track(moment.gray)
        if found is None:
            return None
    return found


def comparison(camera: Camera, part: Sequence[Moment]) -> tuple[list[float], list[float]]:
    """Return the distances by depth over those of the poses, and the differences in rotation in degrees."""
    ratios, angles = [], []
    for start in range(0, len(part) - FRAMES, STEP):
        chosen = part[start : start + FRAMES + 1]
        found, stated = motion_by_depth(camera, chosen), chosen[0].pose.inverse() @ chosen[-1].pose
        if found is None:
            continue
        angles.append(math.degrees((stated.inverse() @ found).angle))
        distance = float(np.linalg.norm(stated.translation))
        if distance > MIN_DISTANCE:
            ratios.append(float(np.linalg.norm(found.translation)) / distance)
    return ratios, angles


def triangulated(camera: Camera, part: Sequence[Moment]) -> float:
    """Return the median of triangulated depth over true depth."""
    tracked, ratios = MotionReferences(camera), []
    for moment in part:
        known = tracked.add(moment.gray, moment.pose, moment.time)
        if not isinstance(known, Refusal):
            u, v = np.rint(known.pixels).astype(int).T
            ratios += list(known.depth / moment.depth[np.clip(v, 0, 479), np.clip(u, 0, 639)])
    return float(np.nanmedian(ratios))


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    everything = moments("sevenscenes_redkitchen_30hz", None)
    print(
        "| focal length | frames | distance by depth / by the poses | rotation differs by | triangulated / true depth |"
    )
    print("|---|---|---|---|---|")
    for focal in FOCALS:
        camera = Camera(640, 480, focal, focal, 320.0, 240.0)
        for part in PARTS:
            ratios, angles = comparison(camera, everything[part])
            distance = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""
            rotation = f"{np.median(angles):.1f}°, at most {max(angles):.1f}°"
            depth = f"{triangulated(camera, everything[part]):.2f}"
            print(
                f"| {focal:.0f} px | {part.start} to {part.stop - 1} | {distance} | {rotation} | {depth} |", flush=True
            )


if __name__ == "__main__":
    main()
