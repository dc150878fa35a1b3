"""The run of `bag`: read a recording in order, compute the outputs of each image, and write them after it."""

from __future__ import annotations

import functools
import itertools
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.commands.bag_outcome import Outcome
from depth_anything_ros.commands.bag_topics import BagTopics
from depth_anything_ros.data.bag_copy import MessageCopier
from depth_anything_ros.data.bag_output import BagOutput
from depth_anything_ros.geometry.frame_tree import FrameTree
from depth_anything_ros.processing.frame_settings import FrameSettings
from depth_anything_ros.processing.outputs import SCALE, TOPICS
from depth_anything_ros.processing.recorded_camera import RecordedCamera, StartedFrame
from depth_anything_ros.processing.recorded_messages import KINDS, MessageWriter, as_ros2_info
from depth_anything_ros.processing.recorded_sensors import RecordedFrames, RecordedOdometry, TreePoses
from depth_anything_ros.processing.scale_measurements import CameraPoses, ScaleMeasurements
from depth_anything_ros.processing.scale_parameters import ScaleMeasuring
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.background import CallLater, ReadAhead
from depth_anything_ros.system.progress import progress_bar

LOOKAHEAD = 100_000_000
"""Nanoseconds of messages after an image that are read before it is computed: the largest delay of a measurement."""
MAX_BEHIND = 300_000_000
"""Maximum nanoseconds from an image until its outputs are computed, because sensors buffer few measurements."""
MAX_WAITING = 1 << 29
"""Maximum bytes of waiting messages. The look-ahead stops there."""
READ_AHEAD = 16
"""Messages that are read while an image is computed."""
WRITTEN_LATER = 16
"""Messages that are written while an image is computed."""


class BagRun:
    """Computes the outputs of one camera of a bag.

    Args:
        reader: Reader of the bag.
        estimator: The model.
        halves: The same model for each of several parallel images, from `load_halves`.
        settings: Settings of the frames.
        measuring: Settings for the scale from sensors.
        topics: The topics to use.
        saved: The outputs to write.
        namespace: Namespace of the output topics.
    """

    def __init__(
        self,
        reader: Any,
        estimator: Estimator,
        halves: list[Estimator],
        settings: FrameSettings,
        measuring: ScaleMeasuring,
        topics: BagTopics,
        saved: Collection[str],
        namespace: str,
    ) -> None:
        self._reader, self._topics, self._saved = reader, topics, saved
        self._prefix = f"/{namespace.strip('/')}/" if namespace.strip("/") else "/"
        self._tree = FrameTree()
        self._is_stopped = False
        self._handlers: dict[str, Callable[[Any], None]] = {}
        measurements = self._connect(measuring, settings) if settings.scale.state == "measured" else None
        base = topics.image.removesuffix("/compressed")
        uses_images = measuring.odometry == "images"
        self._camera = RecordedCamera(estimator, halves, settings, base, saved, measurements, uses_images)
        if topics.info is not None:
            self._handlers[topics.info] = self._with_info(self._handlers.get(topics.info))
        self._messages = MessageWriter(settings.depth.stride, settings.depth.colored)

    def _connect(self, measuring: ScaleMeasuring, settings: FrameSettings) -> ScaleMeasurements:
        """Give the sensors' messages to their handlers."""
        topics, frames = self._topics, RecordedFrames(self._tree, measuring.extrinsics)
        poses: CameraPoses | None = None
        if measuring.odometry == "tf":
            poses = TreePoses(self._tree, measuring.odom_frame)
        elif topics.odometry is not None:
            poses = odometry = RecordedOdometry(topics.odometry, frames)
            self._handlers[topics.odometry] = odometry.add
        measurements = ScaleMeasurements(
            measuring.sources,
            frames,
            lambda: settings.parameters,
            poses,
            lambda: topics.imu is not None,
            topics.depth_info or "camera_info",
            {source: topic for topic, source in topics.sensors.items()},
        )
        handlers = {
            "depth_image": measurements.on_depth,
            "point_cloud": measurements.on_points,
            "laser_scan": measurements.on_scan,
            "range": measurements.on_range,
        }
        self._handlers |= {topic: handlers[source] for topic, source in topics.sensors.items()}
        if topics.imu is not None:
            self._handlers[topics.imu] = measurements.on_imu
        if topics.depth_info is not None:
            self._handlers[topics.depth_info] = lambda info: measurements.on_depth_info(as_ros2_info(info))
        for topic in topics.transforms:
            is_static = topic.rpartition("/")[2] == "tf_static"
            self._handlers[topic] = functools.partial(self._tree.add, is_static=is_static)
        return measurements

    def _with_info(self, other: Callable[[Any], None] | None) -> Callable[[Any], None]:
        """Return the handler of camera_info; the same topic may belong to an aligned depth image too."""

        def take(message: Any) -> None:
            self._camera.infos.put(as_ros2_info(message))
            if other is not None:
                other(message)

        return take

    def stop(self) -> None:
        """Stop after the current image. For a signal handler."""
        self._is_stopped = True

    def run(self, output: BagOutput, copies: bool) -> Outcome:
        """Write all messages.

        Args:
            output: The bag to write.
            copies: Whether the messages of the recording are copied.

        Returns:
            The outcome of the run.

        Raises:
            OSError: The bag cannot be written.
        """
        outcome = Outcome(self._topics.images)
        names = {name: self._prefix + (SCALE if name == SCALE else TOPICS[name]) for name in self._saved}
        copier = MessageCopier(self._reader, output, set(names.values())) if copies else None
        for name, topic in names.items():
            output.add_topic(topic, KINDS[SCALE if name == SCALE else TOPICS[name]], self._messages.typestore)
        for topic, reason in (copier.uncopied if copier is not None else {}).items():
            outcome.reasons[topic] = [f"not copied: {reason}"]
        self._take_static(outcome)
        bar = progress_bar("computing", "images", self._topics.images)
        at_once = self._camera.at_once
        with bar, CallLater(WRITTEN_LATER) as later, ThreadPoolExecutor(at_once, "network") as network:
            started: deque[_Started] = deque()
            for connection, time, content, image in self._ordered(outcome, copies):
                while started and time - started[0].time > MAX_BEHIND:
                    self._write(started.popleft(), output, later, outcome)
                if image is not None:
                    started.append(self._start(image, time, network, outcome))
                    if len(started) > at_once:
                        self._write(started.popleft(), output, later, outcome)
                    bar.update(1)
                if copier is not None:
                    write = functools.partial(self._copy, copier, connection, time, content, outcome)
                    started[-1].after.append(write) if started else later.call(write)
            for one in started:
                self._write(one, output, later, outcome)
        for note in self._camera.notes:
            print(note, file=sys.stderr)
        return outcome

    def _take_static(self, outcome: Outcome) -> None:
        """Read /tf_static first, because it may be recorded late."""
        if not self._topics.transforms & self._handlers.keys():
            return
        static = [one for one in self._reader.connections if one.topic.rpartition("/")[2] == "tf_static"]
        for connection, time, content in self._reader.messages(static) if static else ():
            self._handle(connection, time, content, outcome)

    def _ordered(self, outcome: Outcome, copies: bool) -> Iterator[tuple[Any, int, bytes, Any]]:
        """Yield connection, time and bytes of each message, with the message itself if it is an image.

        A message is handled when it is read. It is yielded after the messages of the look-ahead have been handled too.
        """
        waiting: deque[tuple[Any, int, bytes, Any]] = deque()
        size = 0
        with ReadAhead(self._read(outcome, copies), READ_AHEAD) as messages:
            for connection, time, content in messages:
                image = self._handle(connection, time, content, outcome)
                waiting.append((connection, time, content, image))
                size += len(content)
                while waiting and (time - waiting[0][1] >= LOOKAHEAD or size > MAX_WAITING):
                    size -= len(waiting[0][2])
                    yield waiting.popleft()
        while waiting and not self._is_stopped:
            yield waiting.popleft()
        outcome.is_interrupted = self._is_stopped

    def _read(self, outcome: Outcome, copies: bool) -> Iterator[tuple[Any, int, bytes]]:
        """Yield the messages of the recording until it ends, is damaged, or the user stops."""
        read = self._topics.read()
        connections = [one for one in self._reader.connections if copies or one.topic in read]
        messages = self._reader.messages(connections)
        while not self._is_stopped:
            try:
                one = next(messages, None)
            except Exception as error:  # rosbags raises errors of any kind
                outcome.stopped = f"{type(error).__name__}: {error}"
                return
            if one is None:
                return
            yield one

    def _handle(self, connection: Any, time: int, content: bytes, outcome: Outcome) -> Any:
        """Pass a message to its handler; return it if it is an image."""
        is_image = connection.topic == self._topics.image
        handler = self._handlers.get(connection.topic)
        if not is_image and handler is None:
            return None
        try:
            message = self._reader.deserialize(content, connection.msgtype)
            if handler is not None:
                handler(message)
        except Exception as error:  # rosbags raises errors of any kind for damaged messages
            outcome.skip(connection.topic, time, f"damaged: {error}")
            outcome.failed += is_image
            return None
        return message if is_image else None

    def _copy(self, copier: MessageCopier, connection: Any, time: int, content: bytes, outcome: Outcome) -> None:
        try:
            copier.copy(connection, time, content)
        except OSError:
            raise
        except Exception as error:  # rosbags raises errors of any kind for damaged messages
            outcome.skip(connection.topic, time, f"not copied: {error}")

    def _start(self, image: Any, time: int, network: Executor, outcome: Outcome) -> _Started:
        """Give an image to the model, which may still work on the one before."""
        started = _Started(time)
        with self._counting(time, outcome):
            started.frame = self._camera.prepare(image)
            started.estimate = network.submit(self._camera.estimate, started.frame)
        return started

    def _write(self, started: _Started, output: BagOutput, later: CallLater, outcome: Outcome) -> None:
        """Write an image, its outputs, and then the messages recorded after it."""
        after = iter(started.after)
        for write in itertools.islice(after, 1):  # the image
            later.call(write)
        if started.frame is not None and started.estimate is not None:
            with self._counting(started.time, outcome):
                started.estimate.result()
                frame = self._camera.finish(started.frame)
                for topic, content in self._messages.serialized(frame):
                    later.call(output.write, self._prefix + topic, started.time, content)
                later.call(self._camera.release, started.frame)
                outcome.done += 1
                if frame.problem:
                    outcome.incomplete[frame.problem] = outcome.incomplete.get(frame.problem, 0) + 1
        for write in after:
            later.call(write)

    @contextmanager
    def _counting(self, time: int, outcome: Outcome) -> Iterator[None]:
        """Count an image as failed if the block cannot use it."""
        try:
            yield
        except (ValueError, ModelError) as error:
            outcome.failed += 1
            outcome.skip(self._topics.image, time, error)


@dataclass
class _Started:
    """An image in progress.

    Attributes:
        time: Time of receipt in nanoseconds.
        frame: The frame, or None if it cannot be used.
        estimate: The pending result of the model.
        after: Write functions of the image's message and the messages that follow it.
    """

    time: int
    frame: StartedFrame | None = None
    estimate: Future[None] | None = None
    after: list[Callable[[], None]] = field(default_factory=list)
