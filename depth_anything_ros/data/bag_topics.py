"""The topics of a recording: given by options, or chosen by their types and names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from depth_anything_ros.data.bag_index import COMPRESSED, IMAGE, IMU, INFO, SOURCES, TopicIndex
from depth_anything_ros.data.bags import skip_reason
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.own_topics import is_own
from depth_anything_ros.images.image_messages import is_compressed

_DEPTH_ENCODINGS = ("32FC1", "16UC1", "mono16")


@dataclass(frozen=True)
class Requested:
    """The topics on the command line; None leaves the choice to `choose_topics`.

    Attributes:
        image: Topic of the camera's images.
        info: Topic of their camera_info.
        sources: Topic of each requested source, by a key of `SOURCES`.
        imu: Topic of the IMU, for the direction of gravity.
        has_other: Whether there is a source without such a topic: the ground, or the camera's motion.
    """

    image: str | None
    info: str | None
    sources: dict[str, str]
    imu: str | None
    has_other: bool


@dataclass(frozen=True)
class Topics:
    """The topics that are used.

    Attributes:
        image: Topic of the camera's images.
        info: Topic of their camera_info.
        sources: Topic of each source, by a key of `SOURCES`.
        depth_info: Topic of the depth image's camera_info, or None.
        imu: Topic of the IMU, or None.
        notes: Automatic choices, one line each.
    """

    image: str
    info: str
    sources: dict[str, str]
    depth_info: str | None
    imu: str | None
    notes: tuple[str, ...]


def choose_topics(name: str, index: dict[str, TopicIndex], requested: Requested) -> Topics:
    """Return the topics to use.

    Args:
        name: Name of the recording, for errors.
        index: from `read_index`.
        requested: the options.

    Raises:
        DataError: a topic is missing or has the wrong type, or the choice is ambiguous.
    """
    notes = []
    image = requested.image
    if image is None:
        image = guess_image(name, index, requested.sources.get("depth_image"))
        notes.append(f"image: {image}")
    check_topic(name, index, image, (IMAGE, COMPRESSED), "--image")
    info = requested.info or driver_info_topic(image)
    if requested.info is None and info not in index:
        present = _listed(topic for topic, one in index.items() if one.kind == INFO)
        raise DataError(f"{name} has no camera_info on {info}: record it, or give --camera-info ({present})")
    check_topic(name, index, info, (INFO,), "--camera-info")
    sources = dict(requested.sources)
    for source, topic in sources.items():
        option, kind = SOURCES[source]
        check_topic(name, index, topic, (kind,), f"--{option}")
    if not sources and not requested.has_other:
        sources = guess_sources(index, image)
        notes += [f"{source}: {topic}" for source, topic in sources.items()]
    if not sources and not requested.has_other:
        wanted = ", ".join(f"--{option}" for option, _ in SOURCES.values())
        raise DataError(
            f"{name} has no reference: no depth image, point cloud, laser scan or range. Record one ({wanted}), or "
            "give --camera-height for the ground, or --odometry for the camera's motion"
        )
    if requested.imu is not None:
        check_topic(name, index, requested.imu, (IMU,), "--imu")
    depth_info = depth_info_of(name, index, sources["depth_image"], image, info) if "depth_image" in sources else None
    return Topics(image, info, sources, depth_info, requested.imu, tuple(notes))


def check_topic(name: str, index: dict[str, TopicIndex], topic: str, kinds: Collection[str], option: str) -> None:
    """Check that a topic has messages of one of some types.

    Args:
        name: Name of the recording, for errors.
        index: Index of the recording.
        topic: to check.
        kinds: the types.
        option: that named the topic, for errors.

    Raises:
        DataError: it does not; the message lists the topics that do.
    """
    if topic in index and index[topic].kind in kinds:
        return
    present = _listed(other for other, one in index.items() if one.kind in kinds)
    problem = f"has type {index[topic].kind}" if topic in index else "has no messages"
    raise DataError(f"{option} {topic} {problem} in {name}; topics of type {' or '.join(kinds)}: {present}")


def _listed(topics: Iterable[str]) -> str:
    return ", ".join(sorted(topics)) or "none"


def _base(topic: str) -> str:
    """Return an image topic without the suffix of its transport."""
    return topic.removesuffix("/compressed")


def driver_info_topic(topic: str) -> str:
    """Return the camera_info topic of an image topic, by the convention of ROS drivers."""
    return f"{_base(topic).rpartition('/')[0]}/camera_info"


def guess_image(name: str, index: dict[str, TopicIndex], depth: str | None) -> str:
    """Return the topic with pictures; one with a camera_info next to it comes first.

    Args:
        name: Name of the recording, for errors.
        index: Index of the recording.
        depth: topic of the depth image, which has no pictures; None if it is not given.

    Raises:
        DataError: there is none, or there are several.
    """
    pictures = [
        topic
        for topic, one in index.items()
        if one.kind in (IMAGE, COMPRESSED)
        and topic != depth
        and not is_own(topic, index)
        and skip_reason(topic, one.first) is None
    ]
    pictures = [topic for topic in pictures if topic == _base(topic) or _base(topic) not in pictures]
    with_info = [topic for topic in pictures if driver_info_topic(topic) in index]
    candidates = with_info or pictures
    if not candidates:
        raise DataError(f"{name} has no topic with pictures; its topics are {_listed(index)}")
    if len(candidates) > 1:
        raise DataError(f"{name} has several topics with pictures: choose one with --image ({_listed(candidates)})")
    return candidates[0]


def guess_sources(index: dict[str, TopicIndex], image: str) -> dict[str, str]:
    """Return the topic with the most messages for each kind of source.

    Args:
        index: Index of the recording.
        image: topic of the pictures, which is no source.
    """
    chosen = {}
    for source, (_, kind) in SOURCES.items():
        topics = [
            topic for topic, one in index.items() if one.kind == kind and topic != image and _is_reference(topic, index)
        ]
        if topics:
            chosen[source] = max(topics, key=lambda topic: ("aligned" in topic, index[topic].count, topic))
    return chosen


def guess_truth(name: str, index: dict[str, TopicIndex], image: str) -> str:
    """Return the topic with the true depth: the only depth image that is aligned, else the only depth image or cloud.

    Args:
        name: Name of the recording, for errors.
        index: Index of the recording.
        image: topic of the pictures.

    Raises:
        DataError: there is none, or there are several.
    """
    kinds = IMAGE, SOURCES["point_cloud"][1]
    topics = [
        topic for topic, one in index.items() if one.kind in kinds and topic != image and _is_reference(topic, index)
    ]
    aligned = [topic for topic in topics if "aligned" in topic]
    candidates = aligned if len(aligned) == 1 else topics
    if not candidates:
        raise DataError(f"{name} has no true depth: no depth image and no point cloud; its topics are {_listed(index)}")
    if len(candidates) > 1:
        raise DataError(f"{name} has several topics with true depth: choose one with --truth ({_listed(candidates)})")
    return candidates[0]


def _is_reference(topic: str, index: dict[str, TopicIndex]) -> bool:
    """Return whether a topic may tell depth: not this package's own output, and if it has images, depth images."""
    return not is_own(topic, index) and (index[topic].kind != IMAGE or _is_depth(topic, index[topic]))


def _is_depth(topic: str, one: TopicIndex) -> bool:
    is_depth = not is_compressed(one.first) and one.first.encoding in _DEPTH_ENCODINGS
    return is_depth and skip_reason(topic, one.first) is not None


def depth_info_of(name: str, index: dict[str, TopicIndex], depth: str, image: str, info: str | None) -> str:
    """Return the camera_info of a depth image: its own, or that of the picture if it is aligned to it.

    Args:
        name: Name of the recording, for errors.
        index: Index of the recording.
        depth: topic of the depth image.
        image: topic of the pictures.
        info: camera_info of the pictures; None without one.

    Raises:
        DataError: there is none.
    """
    own = driver_info_topic(depth)
    if own in index and index[own].kind == INFO:
        return own
    first, is_aligned = index[depth].first, index[depth].frame_id == index[image].frame_id
    if is_aligned and info is not None:
        described = index[info].first
        if (first.width, first.height) == (described.width, described.height):
            return info
    raise DataError(f"{name} has no camera_info on {own}, which belongs to the depth image {depth}: record it")
