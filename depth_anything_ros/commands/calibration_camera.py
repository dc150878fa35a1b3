"""The camera of a recording, for `calibrate`: its images without distortion, and the network's output for them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.commands import CommandError
from depth_anything_ros.data.bag_index import TopicIndex
from depth_anything_ros.data.bag_topics import Topics
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.camera_messages import ImageGeometry, distorts, image_geometry
from depth_anything_ros.geometry.rectified_choice import choose_rectified
from depth_anything_ros.images.image_messages import ImageDecoder
from depth_anything_ros.images.intensity import AUTO
from depth_anything_ros.scale.calibration import Frame

MAX_WIDTH = 640
"""Maximum width in pixels at which images are compared."""


@dataclass(frozen=True)
class CameraModel:
    """The camera of the images.

    Attributes:
        topic: Topic of the images.
        frame_id: Optical frame of the camera.
        size: (height, width) of the images.
        geometry: Conversion of the images to those of a pinhole camera.
        small: The pinhole camera at the size of the network's output in this command.
    """

    topic: str
    frame_id: str
    size: tuple[int, int]
    geometry: ImageGeometry
    small: Camera

    @property
    def small_size(self) -> tuple[int, int]:
        """The (height, width) of the network's output."""
        return self.small.height, self.small.width

    def decode(self, message: Any) -> np.ndarray:
        """Return an image without distortion, RGB uint8 (H, W, 3).

        Args:
            message: a sensor_msgs Image or CompressedImage.

        Raises:
            ValueError: The image cannot be decoded, or its size differs from the first one.
        """
        image = np.ascontiguousarray(ImageDecoder(AUTO).decode(message))
        if image.shape[:2] != self.size:
            raise ValueError(f"the image has {image.shape[1]}x{image.shape[0]} pixels, unlike the first one")
        if self.geometry.rectifier is not None:
            raw, image = image, np.empty_like(image)
            self.geometry.rectifier.apply(raw, image)
        return image

    def frame(self, time: float, image: np.ndarray, estimator: Estimator) -> Frame:
        """Return an image with the network's output.

        Args:
            time: seconds.
            image: from `decode`.
            estimator: the model.

        Raises:
            ValueError: the image is too small.
            ModelError: the model fails.
        """
        prediction = estimator(image, camera=self.geometry.camera, size=self.small_size)
        values, rectifier = prediction.values, self.geometry.rectifier
        if rectifier is not None and (valid := rectifier.valid_at(self.small_size)) is not None:
            values = np.where(valid, values, np.float32(np.nan))
        return Frame(time, values, self.small, prediction.image)


def camera_model(index: dict[str, TopicIndex], topics: Topics, rectified: bool | None) -> CameraModel:
    """Return the camera of the images, and print whether they count as raw.

    Args:
        index: Index of the recording.
        topics: The topics to use.
        rectified: Whether the images are rectified; None: the topic's name decides.

    Raises:
        CommandError: The camera_info does not fit the images.
    """
    first, info = index[topics.image], index[topics.info].first
    choice = choose_rectified(rectified, topics.image.removesuffix("/compressed"), distorts(info))
    try:
        size = ImageDecoder(AUTO).decode(first.first).shape[:2]
        geometry = image_geometry(info, size, choice.rectified)
    except ValueError as error:
        raise CommandError(f"{topics.info}: {error}") from error
    action = " and is rectified here" if geometry.rectifier is not None else ""
    print(f"{choice.text}{action}", file=sys.stderr)
    if geometry.doubt is not None:
        print(f"{topics.info}: {geometry.doubt}", file=sys.stderr)
    height, width = size
    small = geometry.camera.resized(MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
    return CameraModel(topics.image, first.frame_id, size, geometry, small if width > MAX_WIDTH else geometry.camera)
