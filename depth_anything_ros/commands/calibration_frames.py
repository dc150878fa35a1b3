"""The frames of a recording and the measurements around them, for `calibrate`."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.calibration_camera import CameraModel
from depth_anything_ros.data.bag_index import TopicIndex
from depth_anything_ros.data.bag_messages import Recording, Stamped
from depth_anything_ros.data.bag_topics import Topics
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.camera_messages import image_geometry
from depth_anything_ros.geometry.frame_tree import FrameTree
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.scale.calibration import MAX_DELAY, Frame, Measurement
from depth_anything_ros.scale.clock_check import WINDOW
from depth_anything_ros.scale.ground import from_ground
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.sensor_messages import (
    View,
    cloud_references,
    depth_references,
    range_references,
    scan_references,
    up_of,
)
from depth_anything_ros.system.progress import progress_bar

_NO_VALUES = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class Ground:
    """The ground as a source.

    Attributes:
        height: Height of the camera above the ground, meters.
        pitch: Degrees by which the camera looks down, without an IMU.
    """

    height: float
    pitch: float


@dataclass
class Collected:
    """The frames and measurements of a recording.

    Attributes:
        frames: Frames in the order of time.
        measurements: Measurements by source, in the order of time.
        failed: Reason for each image that could not be used.
    """

    frames: list[Frame] = field(default_factory=list)
    measurements: dict[str, list[Measurement]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def choose_frames(index: dict[str, TopicIndex], topics: Topics, count: int, has_ground: bool) -> list[float]:
    """Return the times of frames, evenly spread over the images that have a measurement.

    Args:
        index: Index of the recording.
        topics: The topics to use.
        count: Maximum number of frames.
        has_ground: Whether the ground is a source. It measures every image.

    Raises:
        CommandError: No image has a measurement of the same time.
    """
    images = sorted(set(index[topics.image].times))
    stamps = [sorted(index[topic].times) for topic in topics.sources.values()]
    usable = [time for time in images if has_ground or any(_gap(near, time) <= MAX_DELAY for near in stamps)]
    if not usable:
        nearest = min(_gap(near, time) for near in stamps for time in images)
        raise CommandError(
            f"no message of {', '.join(topics.sources.values())} is within {MAX_DELAY} s of an image; the nearest is "
            f"{nearest:.2f} s away: check that both use the same clock"
        )
    chosen = np.unique(np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int))
    return [usable[place] for place in chosen]


class Collector:
    """A reader of the images and measurements at chosen times.

    Args:
        index: Index of the recording.
        topics: The topics to use.
        camera: Camera of the images.
        tree: Transforms.
        extrinsics: Extrinsics of the sensor; None: from ``tree``.
        ground: The ground as a source, or None.
    """

    def __init__(
        self,
        index: dict[str, TopicIndex],
        topics: Topics,
        camera: CameraModel,
        tree: FrameTree,
        extrinsics: Transform | None,
        ground: Ground | None,
    ) -> None:
        self._index, self._topics, self._camera, self._tree = index, topics, camera, tree
        self._extrinsics, self._ground = extrinsics, ground
        self._depth_cameras: dict[tuple[int, int], Camera] = {}
        self._imus: list[Stamped] = []

    def collect(self, recording: Recording, times: Sequence[float], estimator: Estimator) -> Collected:
        """Return the frames of some times with the measurements around them.

        Args:
            recording: Recording to read.
            times: Times of the frames, in order.
            estimator: the model.
        """
        names = {topic: source for source, topic in self._topics.sources.items()}
        collected = Collected(measurements={source: [] for source in self._topics.sources})
        wanted = set(times)
        topics = {self._camera.topic, *names, *filter(None, [self._topics.imu])}
        with progress_bar("calibrating", "frames", len(times)) as bar:
            for one in recording.messages(topics):
                if one.topic == self._camera.topic:
                    if one.time in wanted:
                        wanted.remove(one.time)
                        self._add_frame(one, estimator, collected)
                        bar.update(1)
                elif one.topic == self._topics.imu:
                    if _gap(times, one.time) <= MAX_DELAY:
                        self._imus.append(one)
                elif _gap(times, one.time) <= (MAX_DELAY if names[one.topic] == "range" else WINDOW):
                    collected.measurements[names[one.topic]].append(self._measurement(names[one.topic], one, estimator))
        collected.frames.sort(key=lambda frame: frame.time)
        if self._ground is not None:
            collected.measurements["ground_plane"] = [
                self._on_ground(self._ground, frame) for frame in collected.frames
            ]
        for measurements in collected.measurements.values():
            measurements.sort(key=lambda measurement: measurement.time)
        return collected

    def _add_frame(self, one: Stamped, estimator: Estimator, collected: Collected) -> None:
        try:
            image = self._camera.decode(one.message)
            collected.frames.append(self._camera.frame(one.time, image, estimator))
        except (ValueError, ModelError) as error:
            collected.failed.append(f"the image at {one.time:.3f} s cannot be used: {error}")

    def _measurement(self, source: str, one: Stamped, estimator: Estimator) -> Measurement:
        """Return a measurement. Clouds and depth images become references immediately, because they are large."""
        nearest_is_largest = not estimator.record.predicts_depth
        try:
            to_camera = self._to_camera(one)
            if source == "range":

                def convert(values: np.ndarray) -> References:
                    return range_references(
                        one.message, to_camera, View(self._camera.small, values, nearest_is_largest)
                    )

                return Measurement(one.time, to_camera, convert)
            view = View(self._camera.small, _NO_VALUES, nearest_is_largest)
            known = self._references(source, one.message, to_camera, view)
        except (ValueError, LookupError) as error:
            return Measurement(one.time, Transform.identity(), _failing(str(error)))
        return Measurement(one.time, to_camera, partial(_constant, known))

    def _references(self, source: str, message: Any, to_camera: Transform, view: View) -> References:
        if source == "depth_image":
            return depth_references(message, self._depth_camera(message), to_camera, view)
        return (cloud_references if source == "point_cloud" else scan_references)(message, to_camera, view)

    def _depth_camera(self, message: Any) -> Camera:
        size = message.height, message.width
        if size not in self._depth_cameras:
            assert self._topics.depth_info is not None  # `choose_topics` found it
            info = self._index[self._topics.depth_info].first
            self._depth_cameras[size] = image_geometry(info, size, True).camera
        return self._depth_cameras[size]

    def _to_camera(self, one: Stamped) -> Transform:
        if self._extrinsics is not None:
            return self._extrinsics
        return self._tree.transform(one.frame_id, self._camera.frame_id, one.time)

    def _on_ground(self, ground: Ground, frame: Frame) -> Measurement:
        pitch = math.radians(ground.pitch)
        up = np.array([0.0, -math.cos(pitch), -math.sin(pitch)])
        if self._topics.imu is not None:
            near = [one for one in self._imus if abs(one.time - frame.time) < MAX_DELAY]
            if not near:
                return _ground_failing(frame, f"the IMU gives no message within {MAX_DELAY} s of the image")
            try:
                gravity = np.mean([up_of(one.message) for one in near], axis=0)
                up = self._to_camera(near[-1]).rotation @ gravity
            except (ValueError, LookupError) as error:
                return _ground_failing(frame, str(error))
        known = from_ground(frame.camera, up, ground.height, time=frame.time)
        return Measurement(frame.time, Transform.identity(), partial(_constant, known))


def _gap(times: Sequence[float], time: float) -> float:
    """Return the seconds between a time and the nearest one in a sorted list."""
    place = bisect_left(times, time)
    return min((abs(near - time) for near in times[max(place - 1, 0) : place + 1]), default=math.inf)


def _constant(known: References, values: np.ndarray) -> References:
    return known


def _failing(reason: str) -> Callable[[np.ndarray], References]:
    def convert(values: np.ndarray) -> References:
        raise ValueError(reason)

    return convert


def _ground_failing(frame: Frame, reason: str) -> Measurement:
    return Measurement(frame.time, Transform.identity(), _failing(reason))
