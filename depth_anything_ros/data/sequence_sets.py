"""Frames in a row, with their times and poses, for scores over time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from depth_anything_ros.data.depth_files import Picture
from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.path_pattern import PathPattern


@dataclass(frozen=True)
class SequenceSet(DepthSet):
    """Frames of one camera at a constant rate; the number in a frame's name counts them.

    Attributes:
        rate: frames per second.
        poses: the pattern of text files with a camera-to-world matrix (4, 4), meters; "" for none.
    """

    rate: float = 30.0
    poses: str = ""

    @cached_property
    def _poses(self) -> PathPattern:
        return PathPattern(self.poses, {**self.fields, **self.selection})

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read an image with depth, time and pose.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        frame, fields = super().read(root, name), self._fields(name)
        number = re.search(r"\d+", fields["frame"])
        if number is None:
            raise DataError(f"{root / name} has no number, so its time is unknown")
        pose = _read_pose(root / self._poses.path(fields)) if self.poses else None
        return replace(frame, time=int(number.group()) / self.rate, pose=pose)


def _read_pose(path: Path) -> np.ndarray:
    """Read a matrix float64 (4, 4). Raises `DataError`, naming the file."""
    try:
        pose = np.loadtxt(path, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the pose {path}: {error}") from error
    try:
        return checked_pose(pose)
    except ValueError as error:
        raise DataError(f"{path} is not the pose of a camera: {error}") from error


def checked_pose(pose: np.ndarray) -> np.ndarray:
    """Return a camera-to-world matrix, float64 (4, 4). Raises `ValueError` if it is none."""
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or abs(np.linalg.det(pose[:3, :3]) - 1) > 0.05:
        raise ValueError("it needs 4 rows of 4 numbers, with a rotation")
    return pose


SEQUENCES = (
    SequenceSet(
        name="sevenscenes_redkitchen_30hz",
        title="7-Scenes, red kitchen, consecutive frames (Shotton et al., CVPR 2013)",
        terms="non-commercial",
        homepage="https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes",
        images="frame-{frame}.color.jpg",
        depths="frame-{frame}.depth.png",
        read_depth=Picture(0.001, invalid=(0, 65535)),
        camera=(585.0, 585.0, 320.0, 240.0),
        is_complete=True,
        rate=30.0,
        poses="frame-{frame}.pose.txt",
    ),
)
"""Sequences that `evaluate` scores over time."""
