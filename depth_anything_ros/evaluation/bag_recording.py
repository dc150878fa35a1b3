"""An open recording: its images, each with the message of another sensor that is its true depth."""

from __future__ import annotations

import threading
from bisect import bisect_left
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.data.bag_index import COMPRESSED, IMAGE, INFO, SOURCES, TRANSFORMS, TopicIndex, peek_index
from depth_anything_ros.data.bag_messages import Stamped
from depth_anything_ros.data.bag_topics import check_topic, depth_info_of, driver_info_topic, guess_image, guess_truth
from depth_anything_ros.data.bags import bag_reader
from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.own_topics import stated_topics
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.camera_messages import ImageGeometry, distorts, image_geometry
from depth_anything_ros.geometry.frame_tree import FrameTree, FrameTreeError
from depth_anything_ros.geometry.rectified_choice import choose_rectified
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.images.image_messages import ImageDecoder
from depth_anything_ros.scale.sensor_messages import depth_of, points_of
from depth_anything_ros.scale.sensor_points import SAME_PLACE, visible

MAX_GAP = 0.05
"""Seconds between an image and its truth; images without a truth so near are left out."""
_POINTS = SOURCES["point_cloud"][1]


@dataclass(frozen=True)
class BagTruth:
    """The topics of a recording; None leaves the choice to their types.

    Attributes:
        image: Topic of the camera's images.
        info: its camera_info.
        depth: a depth image or a point cloud, the truth.
        rectified: whether the images are rectified; None: the topic's name decides.
        extrinsics: from the sensor's frame to the camera's optical frame; None: TF.
    """

    image: str | None = None
    info: str | None = None
    depth: str | None = None
    rectified: bool | None = None
    extrinsics: Transform | None = None


@dataclass(frozen=True)
class Stated:
    """Depth of an image in the bag with its σ, as `bag` or a live node wrote it; float32 (H, W), meters."""

    depth: np.ndarray
    sigma: np.ndarray


class TruthRecording:
    """An open bag with the times of its frames. Thread-safe.

    Args:
        path: the bag.
        truth: its topics.

    Attributes:
        frames: times of receipt of the image and of its truth in nanoseconds, by the frame's name.
        without: times in seconds of the images without a truth.
        damaged: topics with damaged messages, one line each.
        image: the topic of the images.
        topic: the topic of the truth.
        stated: the topics of depth and its σ, as `bag` or a live node wrote them; None without them.

    Raises:
        DataError: the bag cannot be used.
    """

    def __init__(self, path: Path, truth: BagTruth) -> None:
        self._stack, self._lock = ExitStack(), threading.Lock()
        self._truth, self._tree = truth, FrameTree()
        self.frames: dict[str, tuple[int, int]] = {}
        self.without: list[float] = []
        self.damaged: list[str] = []
        self._reader = self._stack.enter_context(bag_reader(path))
        try:
            index = peek_index(self._reader)
            self._choose(str(path), index)
            self._pair(self._read_times())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the bag."""
        self._stack.close()

    def _choose(self, name: str, index: dict[str, TopicIndex]) -> None:
        truth = self._truth
        given = truth.depth if truth.depth in index and index[truth.depth].kind == IMAGE else None
        self.image = truth.image or guess_image(name, index, given)
        check_topic(name, index, self.image, (IMAGE, COMPRESSED), "--image")
        info = truth.info or driver_info_topic(self.image)
        check_topic(name, index, info, (INFO,), "--camera-info")
        self.topic = truth.depth or guess_truth(name, index, self.image)
        check_topic(name, index, self.topic, (IMAGE, _POINTS), "--truth")
        first = index[self.image]
        self._frame_id, described = first.frame_id, index[info].first
        self.stated = stated_topics(index, self._frame_id)
        choice = choose_rectified(truth.rectified, self.image.removesuffix("/compressed"), distorts(described))
        size = ImageDecoder().decode(first.first).shape[:2]
        self._size = size
        self._geometry: ImageGeometry = image_geometry(described, size, choice.rectified)
        self._depth_camera: Camera | None = None
        self._is_registered = False
        if index[self.topic].kind == IMAGE:
            sample = index[self.topic]
            depth_size = sample.first.height, sample.first.width
            self._is_registered = sample.frame_id == self._frame_id and depth_size == size
            if not self._is_registered:
                depth_info = depth_info_of(name, index, self.topic, self.image, info)
                self._depth_camera = image_geometry(index[depth_info].first, depth_size, True).camera

    def _read_times(self) -> dict[str, list[tuple[float, int]]]:
        """Return stamp and time of receipt of each image and truth, and read TF."""
        topics = self.image, self.topic, *(self.stated or ())
        times: dict[str, list[tuple[float, int]]] = {topic: [] for topic in topics}
        connections = [one for one in self._reader.connections if one.topic in times or one.msgtype in TRANSFORMS]
        damaged: dict[str, int] = {}
        for connection, received, content in self._reader.messages(connections):
            try:
                message = self._reader.deserialize(content, connection.msgtype)
            except Exception:  # rosbags raises errors of any kind
                damaged[connection.topic] = damaged.get(connection.topic, 0) + 1
                continue
            if connection.msgtype in TRANSFORMS:
                self._tree.add(message, connection.topic.rpartition("/")[2] == "tf_static")
            else:
                stamped = Stamped.of(connection.topic, message, 1e-9 * received)
                times[connection.topic].append((stamped.time, received))
        self.damaged = [f"{count} messages of {topic} are damaged" for topic, count in damaged.items()]
        return times

    def _pair(self, times: dict[str, list[tuple[float, int]]]) -> None:
        """Find the truth that is nearest in time to each image."""
        truths = sorted(times[self.topic])
        self._stated_at = [dict(times[topic]) for topic in self.stated or ()]
        for time, received in sorted(times[self.image]):
            place = bisect_left(truths, (time, 0))
            near = truths[max(place - 1, 0) : place + 1]
            best = min(near, key=lambda one: abs(one[0] - time), default=None)
            if best is None or abs(best[0] - time) > MAX_GAP:
                self.without.append(time)
            else:
                self.frames[str(received)] = (received, best[1])

    def read(self, title: str, name: str) -> LabeledImage:
        """Return a frame.

        Args:
            title: its name in messages.
            name: a key of `frames`.

        Raises:
            DataError: a message is missing, or unlike the first one.
            ValueError: a message is damaged.
            LookupError: TF does not connect the sensors.
        """
        image_time, truth_time = self.frames[name]
        with self._lock:
            picture, truth = self._message(self.image, image_time), self._message(self.topic, truth_time)
        image = np.ascontiguousarray(ImageDecoder().decode(picture.message))
        if image.shape[:2] != self._size:
            raise DataError(f"it has {image.shape[1]}x{image.shape[0]} pixels, unlike the first one")
        rectifier, camera = self._geometry.rectifier, self._geometry.camera
        if rectifier is not None:
            raw, image = image, np.empty_like(image)
            rectifier.apply(raw, image)
        depth = self._depth(truth, picture)
        if rectifier is not None and self._is_registered:
            depth = rectifier.nearest(depth)
        if rectifier is not None and rectifier.valid is not None:
            depth = np.where(rectifier.valid, depth, np.float32(np.nan))
        return LabeledImage(title, image, depth, camera, picture.time, self._pose(picture))

    def stated_at(self, name: str) -> Stated | None:
        """Return depth and σ with the stamp of an image; None without them.

        Args:
            name: a key of `frames`.

        Raises:
            ValueError: a message is damaged.
        """
        image_time, _ = self.frames[name]
        if self.stated is None:
            return None
        with self._lock:
            time = self._message(self.image, image_time).time
            received = [times.get(time) for times in self._stated_at]
            if None in received:
                return None
            found = [self._message(topic, at) for topic, at in zip(self.stated, received, strict=True)]
        return Stated(*(depth_of(one.message) for one in found))

    def _message(self, topic: str, received: int) -> Stamped:
        connections = [one for one in self._reader.connections if one.topic == topic]
        for connection, _, content in self._reader.messages(connections, start=received, stop=received + 1):
            message = self._reader.deserialize(content, connection.msgtype)
            return Stamped.of(topic, message, 1e-9 * received)
        raise DataError(f"{topic} has no message at {1e-9 * received:.3f} s")

    def _depth(self, truth: Stamped, picture: Stamped) -> np.ndarray:
        """Return the depth of the truth in the image, float32 (H, W); NaN where it has none."""
        if self._is_registered:
            depth = depth_of(truth.message)
            if depth.shape != self._size:
                raise DataError(f"its depth image has {depth.shape[1]}x{depth.shape[0]} pixels")
            return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
        to_camera = self._truth.extrinsics
        if to_camera is None:
            to_camera = self._tree.transform(truth.frame_id, picture.frame_id, truth.time)
        if self._depth_camera is None:
            points = points_of(truth.message)
        else:
            points = _points_of_depth(depth_of(truth.message), self._depth_camera)
        checks_occlusion = bool(np.linalg.norm(to_camera.translation) > SAME_PLACE)
        return projected(to_camera.apply(points), self._geometry.camera, checks_occlusion)

    def _pose(self, picture: Stamped) -> np.ndarray | None:
        """Return the camera's pose in the highest frame of TF; None if it has none."""
        try:
            pose = self._tree.transform(picture.frame_id, self._tree.root_of(picture.frame_id), picture.time)
        except FrameTreeError:
            return None
        is_root = self._tree.root_of(picture.frame_id) == picture.frame_id.lstrip("/")
        return None if is_root else np.vstack([np.column_stack([pose.rotation, pose.translation]), [0, 0, 0, 1]])


def projected(points: np.ndarray, camera: Camera, checks_occlusion: bool) -> np.ndarray:
    """Return the depth of the nearest visible point in each pixel, float32 (H, W) in meters; NaN without one.

    Args:
        points: (N, 3), meters in the optical frame.
        camera: the camera.
        checks_occlusion: whether points may be occluded, because the sensor is not at the camera's position.
    """
    points = np.asarray(points, np.float64)
    points = points[visible(points, camera, checks_occlusion)]
    columns, rows = np.rint(camera.project(points)).astype(np.intp).T
    depth = np.full((camera.height, camera.width), np.inf)
    inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    np.minimum.at(depth, (rows[inside], columns[inside]), points[inside, 2])
    return np.where(np.isfinite(depth), depth, np.nan).astype(np.float32)


def _points_of_depth(depth: np.ndarray, camera: Camera) -> np.ndarray:
    rows, columns = np.nonzero(np.isfinite(depth) & (depth > 0))
    return camera.back_project(np.stack([columns, rows], axis=1), depth[rows, columns])
