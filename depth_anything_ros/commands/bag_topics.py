"""The topics of a recording for `bag`: images, camera_info, and the sensors for the scale."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from depth_anything_ros.commands import CommandError
from depth_anything_ros.data.bag_index import COMPRESSED, IMAGE, IMU, INFO, SOURCES, TRANSFORMS, TopicIndex, peek_index
from depth_anything_ros.data.bag_topics import check_topic, depth_info_of, driver_info_topic, guess_image, guess_sources
from depth_anything_ros.processing.scale_parameters import ScaleMeasuring

ODOMETRY = "nav_msgs/msg/Odometry"
SOURCE_OPTIONS = {**{source: option for source, (option, _) in SOURCES.items()}, "ground_plane": "camera_height"}
"""The option of each source."""


@dataclass(frozen=True)
class BagTopics:
    """The topics that are used.

    Attributes:
        image: Topic of the camera's images.
        info: Topic of their camera_info, or None.
        images: Number of images.
        sensors: Source of the scale, by topic.
        depth_info: Topic of the depth image's camera_info, or None.
        imu: Topic of the IMU for the direction of gravity, or None.
        odometry: Topic of the odometry, or None.
        transforms: Topics of TF.
        notes: Automatic choices, one line each.
    """

    image: str
    info: str | None
    images: int
    sensors: dict[str, str]
    depth_info: str | None
    imu: str | None
    odometry: str | None
    transforms: frozenset[str]
    notes: tuple[str, ...]

    def read(self) -> set[str]:
        """Return all topics whose messages are needed."""
        named = {self.image, self.info, self.depth_info, self.imu, self.odometry}
        return {*filter(None, named), *self.sensors, *self.transforms}


def choose_bag_topics(name: str, reader: Any, args: argparse.Namespace, measuring: ScaleMeasuring) -> BagTopics:
    """Return the topics to use.

    Args:
        name: Name of the bag, for errors.
        reader: Reader of the bag.
        args: The command's options.
        measuring: Settings for the scale from sensors.

    Raises:
        DataError: a topic is missing or has the wrong type, or the choice is ambiguous.
        CommandError: a source has no topic.
    """
    index, notes = peek_index(reader), []
    image = args.image
    if image is None:
        image = guess_image(name, index, args.depth)
        notes.append(f"image: {image}")
    check_topic(name, index, image, (IMAGE, COMPRESSED), "--image")
    info = args.camera_info or driver_info_topic(image)
    if args.camera_info is not None:
        check_topic(name, index, info, (INFO,), "--camera-info")
    elif info not in index:
        present = ", ".join(sorted(topic for topic, one in index.items() if one.kind == INFO)) or "none"
        notes.append(f"no camera_info on {info}, so no cloud; give --camera-info if another topic has it: {present}")
        info = None
    sensors = _sensors(name, index, args, measuring, image)
    given = {args.points, args.depth, args.scan, args.range}
    notes += [f"{source}: {topic}" for topic, source in sensors.items() if topic not in given]
    depth = next((topic for topic, source in sensors.items() if source == "depth_image"), None)
    if args.imu is not None:
        check_topic(name, index, args.imu, (IMU,), "--imu")
    kinds = {one.topic: one.msgtype for one in reader.connections if one.msgcount}
    return BagTopics(
        image,
        info,
        index[image].count,
        sensors,
        None if depth is None else depth_info_of(name, index, depth, image, info),
        args.imu,
        choose_odometry(name, kinds, args.odometry) if measuring.odometry == "topic" else None,
        frozenset(topic for topic, kind in kinds.items() if kind in TRANSFORMS),
        tuple(notes),
    )


def _sensors(
    name: str, index: dict[str, TopicIndex], args: argparse.Namespace, measuring: ScaleMeasuring, image: str
) -> dict[str, str]:
    """Return the source of each topic: given by an option, else the one with the most messages of its type."""
    sensors, guessed = {}, guess_sources(index, image)
    for source in measuring.sources:
        if source not in SOURCES:
            continue
        option, kind = SOURCES[source]
        topic = getattr(args, option) or guessed.get(source)
        if topic is None:
            raise CommandError(f"scale.source has {source}, but {name} has no topic of type {kind}: give --{option}")
        check_topic(name, index, topic, (kind,), f"--{option}")
        sensors[topic] = source
    return sensors


def choose_odometry(name: str, kinds: dict[str, str], given: str | None) -> str:
    """Return the topic of the odometry: the given one, or the only one. Raises `CommandError`.

    Args:
        name: Name of the recording, for errors.
        kinds: the type of each topic.
        given: by the option; None for none.
    """
    topics = sorted(topic for topic, kind in kinds.items() if kind == ODOMETRY)
    if given in topics:
        return given
    if given is None and len(topics) == 1:
        return topics[0]
    if given is not None:
        fault = f"has no messages on {given} of"
    else:
        fault = "has several topics of" if topics else "has no topic of"
    raise CommandError(f"{name} {fault} {ODOMETRY}: choose one with --odometry ({', '.join(topics) or 'none'})")
