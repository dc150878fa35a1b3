"""A recording as a set of images with depth: the truth is a depth camera's or a lidar's."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.image_set import SampleParts
from depth_anything_ros.evaluation.bag_recording import MAX_GAP, BagTruth, Stated, TruthRecording

_log = logging.getLogger(__name__)
_MAX_OPEN = 4


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

    def stated_topics(self, root: Path) -> tuple[str, str] | None:
        """Return the topics of depth and its σ that the bag has beside the truth; None without them.

        Args:
            root: the bag.
        """
        return _opened(root, self.truth).stated

    def stated(self, root: Path, name: str) -> Stated | None:
        """Return depth and σ that the bag has for an image; None without them.

        Args:
            root: the bag.
            name: the frame.

        Raises:
            DataError: a message is damaged.
        """
        try:
            return _opened(root, self.truth).stated_at(name)
        except ValueError as error:
            raise DataError(f"{root}: the depth at {1e-9 * int(name):.3f} s cannot be read: {error}") from error

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


_recordings: dict[tuple[Path, int], TruthRecording] = {}
"""The bags that this process read last."""


def _opened(root: Path, truth: BagTruth) -> TruthRecording:
    key = root, id(truth)
    if key not in _recordings:
        while len(_recordings) >= _MAX_OPEN:
            _recordings.pop(next(iter(_recordings))).close()
        _recordings[key] = TruthRecording(root, truth)
    return _recordings[key]


@atexit.register
def _close_all() -> None:
    while _recordings:
        _recordings.popitem()[1].close()
