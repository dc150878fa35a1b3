"""The product mp4 of `predict`: a video with the image and its depth side by side."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.api.prediction import Prediction
from depth_anything_ros.images.file_kinds import VIDEO_SUFFIXES
from depth_anything_ros.images.frame_reader import FileImage, unused_stem
from depth_anything_ros.images.video_files import VideoFile
from depth_anything_ros.system.atomic_file import partial_of
from depth_anything_ros.visualization.side_by_side import SteadyColors, side_by_side

CODEC = "mp4v"
"""MPEG-4: every build of OpenCV writes it, and every player reads it."""


class DepthVideos:
    """Writes one video for each input video, while its frames come one after the other.

    The video of drive.avi is drive.mp4. A repeated name gets _2, _3, … appended.

    Args:
        folder: for the videos.
        every: of the input's frames, each ``every``-th is used.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder, every
        self._position: int | None = None  # of the present input
        self._stems: set[str] = set()
        self._path, self._partial = folder, folder
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._colors = SteadyColors()

    def add(self, frame: FileImage, prediction: Prediction) -> str | None:
        """Add a frame; return the name of its video, or None if the input is no video.

        Raises:
            OSError: the video cannot be written.
            ValueError: the frame has another size than those before.
        """
        if frame.source.suffix.lower() not in VIDEO_SUFFIXES:
            return None
        if frame.position != self._position:
            self.close()
            self._begin(frame, prediction.image.shape[:2])
        if prediction.image.shape[:2] != self._size:
            raise ValueError("its size changes, so it is not in the mp4")
        picture = side_by_side(prediction.image, self._colors(prediction.nearness()))
        assert self._writer is not None  # `_begin` opened it
        self._writer.write(np.ascontiguousarray(picture[..., ::-1]))
        return self._path.name

    def close(self) -> None:
        """Finish the present video. Does nothing without one. Raises `OSError` if it cannot be written."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            os.replace(self._partial, self._path)
            self._partial.parent.rmdir()

    def discard(self) -> None:
        """Remove an unfinished video."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            shutil.rmtree(self._partial.parent, ignore_errors=True)

    def _begin(self, frame: FileImage, size: tuple[int, int]) -> None:
        stem = unused_stem(frame.source.stem, self._stems)
        self._stems.add(stem)
        self._position, self._size, self._colors = frame.position, size, SteadyColors()
        self._path = self._folder / f"{stem}.mp4"
        self._partial = partial_of(self._path) / self._path.name  # OpenCV chooses the format by the extension
        self._partial.parent.mkdir()
        rate = VideoFile(frame.source).rate / self._every
        code = cv2.VideoWriter.fourcc(*CODEC)
        self._writer = cv2.VideoWriter(str(self._partial), code, rate, (2 * size[1], size[0]))
        if not self._writer.isOpened():
            self._writer = None
            raise OSError(f"{self._path} cannot be written as a video by this build of OpenCV")
