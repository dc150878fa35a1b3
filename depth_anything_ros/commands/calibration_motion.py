"""The camera's motion as a source, for `calibrate`: features are tracked through all images of a recording."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from functools import partial

import numpy as np

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.commands.calibration_camera import CameraModel
from depth_anything_ros.commands.calibration_frames import Collected
from depth_anything_ros.data.bag_messages import Recording, Stamped
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.images.gray import gray_at
from depth_anything_ros.processing.recorded_sensors import RecordedOdometry
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.scale.calibration import Frame, Measurement
from depth_anything_ros.scale.fit import Refusal
from depth_anything_ros.scale.metric_scale import MOTION
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.two_view import MotionReferences
from depth_anything_ros.system.progress import progress_bar
from depth_anything_ros.system.reason_counts import join_reasons

MAX_WAITING = 100
"""Maximum number of images that wait for newer odometry."""


def collect_motion(
    recording: Recording,
    camera: CameraModel,
    topic: str,
    odometry: RecordedOdometry,
    estimator: Estimator,
    spacing: float,
    total: int,
) -> Collected:
    """Return the frames that motion measures. Without any, return the last image with the most common reason.

    Args:
        recording: The recording to read.
        camera: Camera of the images.
        topic: Topic of the odometry.
        odometry: Buffer for its messages.
        estimator: The model.
        spacing: Minimum seconds between two frames.
        total: Number of images, for the progress.
    """
    collected, tracked = Collected(measurements={MOTION: []}), MotionReferences(camera.small)
    reasons: Counter[str] = Counter()
    latest: tuple[float, np.ndarray] | None = None
    with progress_bar("tracking", "images", total) as bar:
        for one in _images_with_odometry(recording, camera.topic, topic, odometry):
            bar.update(1)
            try:
                image = camera.decode(one.message)
                gray, latest = gray_at(image, camera.small_size), (one.time, image)
                known = tracked.add(gray, odometry.pose(one.message.header), one.time)
                if isinstance(known, Refusal):
                    reasons[known.reason] += 1
                elif not collected.frames or one.time - collected.frames[-1].time >= spacing:
                    _add(collected, camera.frame(one.time, image, estimator), known)
            except (ValueError, ModelError) as error:
                collected.failed.append(f"the image at {one.time:.3f} s cannot be used: {error}")
            except LookupError as error:
                reasons[str(error)] += 1
    if not collected.frames and latest is not None:
        counts = join_reasons(reasons)
        reason = max(counts, key=lambda text: counts[text], default="no image can be used")
        _add(collected, camera.frame(*latest, estimator), Refusal(reason))
    return collected


def _images_with_odometry(
    recording: Recording, images: str, topic: str, odometry: RecordedOdometry
) -> Iterator[Stamped]:
    """Yield each image after odometry of its time has been read, if the recording has it."""
    waiting: deque[Stamped] = deque()
    for one in recording.messages({images, topic}):
        if one.topic == topic:
            odometry.add(one.message)
            while waiting and waiting[0].time <= one.time:
                yield waiting.popleft()
        else:
            waiting.append(one)
            if len(waiting) > MAX_WAITING:
                yield waiting.popleft()
    yield from waiting


def _add(collected: Collected, frame: Frame, known: References | Refusal) -> None:
    collected.frames.append(frame)
    collected.measurements[MOTION].append(Measurement(frame.time, Transform.identity(), partial(_converted, known)))


def _converted(known: References | Refusal, values: np.ndarray) -> References:
    if isinstance(known, Refusal):
        raise ValueError(known.reason)
    return known
