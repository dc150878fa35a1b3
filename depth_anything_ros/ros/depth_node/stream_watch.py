"""Warns if none of a camera's images becomes depth for a while."""

from __future__ import annotations

import time

from depth_anything_ros.ros.depth_node.camera_stream import CameraStream
from depth_anything_ros.ros.depth_node.frame_statistics import REPLACED, Snapshot
from depth_anything_ros.ros.depth_node.persistent_warning import PersistentWarning
from depth_anything_ros.ros.io.image_input import ImageInput

WINDOW = 5.0
"""Seconds without an image, or with no image processed, before a warning."""
MIN_IMAGES = 3
"""Minimum number of images to judge, without those above max_rate. Fewer images wait for the next ones."""


class StreamWatch:
    """Checks one camera's counts every `WINDOW` seconds, or every `MIN_IMAGES` images at low rates.

    A persistent cause is logged once. A cause that returns is logged again, but less and less often: see
    `PersistentWarning`.
    """

    def __init__(self, stream: CameraStream) -> None:
        self._stream = stream
        self._causes = PersistentWarning(patience=1)
        self._begin()

    def look(self) -> None:
        """Check the counts. Called periodically in the executor's thread."""
        self._stream.refresh_input()
        now, silence = time.monotonic(), self._stream.input.silence
        if self._stream.statistics.snapshot().received == self._before.received:
            self._images_since = now  # the first ones may still wait for their camera_info, TF and the model
        if silence is not None and silence < WINDOW:
            silence = None
        is_early = now - self._images_since < self._window()
        if now - self._since < WINDOW or (silence is None and (is_early or self._is_undecided())):
            return
        cause, text = self._loss() if silence is None else self._silence(silence)
        if self._causes.should_report(cause):
            self._stream.log.warning(text)
        self._begin()

    def _window(self) -> float:
        """Return the seconds before a verdict; more than `WINDOW` if max_rate lets few images through."""
        rate = self._stream.parameters.max_rate
        return max(WINDOW, MIN_IMAGES / rate) if rate else WINDOW

    def _begin(self) -> None:
        self._before, self._since = self._stream.statistics.snapshot(), time.monotonic()
        self._images_since = self._since

    def _is_undecided(self) -> bool:
        """Return whether no image has been processed, but there were too few to judge."""
        before, counts = self._before, self._stream.statistics.snapshot()
        due = counts.received - before.received - (counts.skipped - before.skipped)
        return 0 < due < MIN_IMAGES and not self._goes_through(counts)

    def _goes_through(self, counts: Snapshot) -> bool:
        return counts.published > self._before.published or counts.ignored > self._before.ignored

    def _silence(self, seconds: float) -> tuple[str, str]:
        """Return why no image arrives, as a cause and as a line."""
        images = self._stream.input
        return images.why_silent, silence_text(images, seconds)

    def _loss(self) -> tuple[str | None, str]:
        """Return why all images are lost, as a cause and as a line; None if some are processed or none is lost."""
        before, counts = self._before, self._stream.statistics.snapshot()
        lost = {cause: count - before.dropped.get(cause, 0) for cause, count in counts.dropped.items()}
        lost = {cause: count for cause, count in lost.items() if count}
        if not lost or self._goes_through(counts):
            return None, ""
        # A frame that a newer one replaced explains nothing if the newer one is lost too.
        cause = max(lost, key=lambda name: (name != REPLACED, lost[name]))
        causes = ", ".join(f"{count} {name}" for name, count in sorted(lost.items()))
        received, seconds = counts.received - before.received, time.monotonic() - self._images_since
        text = (
            f"none of {received} images in the last {seconds:.0f} s on {self._stream.input.source} became depth: "
            f"{causes}"
        )
        detail = counts.details[cause]
        return cause, f"{text}. {cause}: {detail}" if detail else text


def silence_text(images: ImageInput, seconds: float) -> str:
    """Return the warning about a camera that is silent for some seconds."""
    return (
        f"no image for {seconds:.0f} s on {images.image_topic}, published by {images.publishers}: {images.why_silent}"
    )
