"""A recording as a set of images with depth: the truth is a depth camera's or a lidar's."""

from __future__ import annotations

import atexit
import logging
import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from depth_anything_ros.data.bag_messages import Stamped
from depth_anything_ros.data.bag_topics import (
    COMPRESSED,
    IMAGE,
    INFO,
    SOURCES,
    TRANSFORMS,
    TopicIndex,
    check_topic,
    depth_info_of,
    guess_image,
    guess_truth,
    info_beside,
    peek_index,
)
from depth_anything_ros.data.bags import bag_reader
from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.image_set import SampleParts
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.camera_messages import ImageGeometry, distorts, image_geometry
from depth_anything_ros.geometry.frame_tree import FrameTree, FrameTreeError
from depth_anything_ros.geometry.rectified_choice import choose_rectified
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.images.image_messages import ImageDecoder
from depth_anything_ros.scale.sensor_messages import depth_of, points_of
from depth_anything_ros.scale.sensor_points import SAME_PLACE, visible

_log = logging.getLogger(__name__)
MAX_GAP = 0.05
"""Seconds between an image and its truth; images without a truth so near are left out."""
_MAX_OPEN = 4
_POINTS = SOURCES["point_cloud"][1]


@dataclass(frozen=True)
class BagTruth:
    """The topics of a recording; None leaves the choice to their types.

    Attributes:
        image: of the camera.
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
class BagDepthSet(DepthSet):
    """Images of a ROS 2 or ROS 1 bag with the depth of another sensor in it. A frame is called by its nanoseconds.

    A depth image of the same frame and size is taken as it is; its camera's other pixels, and a lidar's points, are
    projected into the image. A point counts where the camera sees it (`scale.sensor_points.visible`), and the nearest
    one of each pixel.
    """

    name: str = "bag"
    title: str = "a ROS bag"
    terms: str = "yours"
    homepage: str = ""
    images: str = "."
    truth: BagTruth = field(default_factory=BagTruth)

    def names(self, root: Path) -> Iterator[str]:
        """Return the images that have a truth, in the order of time. A warning counts the others.

        A depth sensor may be slower than the camera, so that some images have none. Raises `DataError` if the bag
        cannot be used.
        """
        recording = _opened(root, self.truth)
        if recording.frames and recording.without:
            _log.warning(
                "%s: left out %d of %d images without a message of %s within %g s, the first at %.3f s",
                *(root, len(recording.without), len(recording.without) + len(recording.frames), recording.topic),
                *(MAX_GAP, recording.without[0]),
            )
        return iter(recording.frames)

    def unpaired(self, root: Path) -> list[str]:
        """Return the topics with damaged messages."""
        return [f"{self.name}: {text}" for text in _opened(root, self.truth).damaged]

    def empty_message(self, root: Path) -> str:
        """Return the error message for a recording without frames."""
        recording = _opened(root, self.truth)
        return f"{root}: no image of {recording.image} has a message of {recording.topic} within {MAX_GAP} s"

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read an image, rectified if necessary, with its depth, time and pose.

        Args:
            root: the bag.
            name: the frame.

        Raises:
            DataError: a message is missing or damaged, or TF does not connect the sensors.
        """
        recording = _opened(root, self.truth)
        try:
            return recording.read(f"{self.name}/{name}", name)
        except (ValueError, LookupError) as error:
            raise DataError(f"{root}: the image at {1e-9 * int(name):.3f} s cannot be scored: {error}") from error

    def parts(self, root: Path, name: str) -> SampleParts:
        """Bags are not packed. Raises `DataError`."""
        raise DataError(f"{root} is a bag, which is scored, not packed")

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the bag: one file, or the files of its folder.

        Args:
            root: the bag.
            name: the frame.
        """
        return tuple(sorted(root.iterdir())) if root.is_dir() else (root,)


class _Recording:
    """An open bag with the times of its frames. Thread-safe."""

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
        info = truth.info or info_beside(self.image)
        check_topic(name, index, info, (INFO,), "--camera-info")
        self.topic = truth.depth or guess_truth(name, index, self.image)
        check_topic(name, index, self.topic, (IMAGE, _POINTS), "--truth")
        first = index[self.image]
        self._frame_id, described = first.frame_id, index[info].first
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
        times: dict[str, list[tuple[float, int]]] = {self.image: [], self.topic: []}
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
        for time, received in sorted(times[self.image]):
            place = bisect_left(truths, (time, 0))
            near = truths[max(place - 1, 0) : place + 1]
            best = min(near, key=lambda one: abs(one[0] - time), default=None)
            if best is None or abs(best[0] - time) > MAX_GAP:
                self.without.append(time)
            else:
                self.frames[str(received)] = (received, best[1])

    def read(self, title: str, name: str) -> LabeledImage:
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
        is_beside = bool(np.linalg.norm(to_camera.translation) > SAME_PLACE)
        return projected(to_camera.apply(points), self._geometry.camera, is_beside)

    def _pose(self, picture: Stamped) -> np.ndarray | None:
        """Return the camera's pose in the highest frame of TF; None if it has none."""
        try:
            pose = self._tree.transform(picture.frame_id, self._tree.root_of(picture.frame_id), picture.time)
        except FrameTreeError:
            return None
        is_root = self._tree.root_of(picture.frame_id) == picture.frame_id.lstrip("/")
        return None if is_root else np.vstack([np.column_stack([pose.rotation, pose.translation]), [0, 0, 0, 1]])


def projected(points: np.ndarray, camera: Camera, is_beside: bool) -> np.ndarray:
    """Return the depth of the nearest visible point in each pixel, float32 (H, W) in meters; NaN without one.

    Args:
        points: (N, 3), meters in the optical frame.
        camera: the camera.
        is_beside: whether the sensor looks from another place, so that points may be occluded.
    """
    points = np.asarray(points, np.float64)
    points = points[visible(points, camera, is_beside)]
    columns, rows = np.rint(camera.project(points)).astype(np.intp).T
    depth = np.full((camera.height, camera.width), np.inf)
    inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    np.minimum.at(depth, (rows[inside], columns[inside]), points[inside, 2])
    return np.where(np.isfinite(depth), depth, np.nan).astype(np.float32)


def _points_of_depth(depth: np.ndarray, camera: Camera) -> np.ndarray:
    rows, columns = np.nonzero(np.isfinite(depth) & (depth > 0))
    return camera.back_project(np.stack([columns, rows], axis=1), depth[rows, columns])


_recordings: dict[tuple[Path, int], _Recording] = {}
"""The bags that this process read last."""


def _opened(root: Path, truth: BagTruth) -> _Recording:
    key = root, id(truth)
    if key not in _recordings:
        while len(_recordings) >= _MAX_OPEN:
            _recordings.pop(next(iter(_recordings))).close()
        _recordings[key] = _Recording(root, truth)
    return _recordings[key]


@atexit.register
def _close_all() -> None:
    while _recordings:
        _recordings.popitem()[1].close()
