"""Names in the log what keeps all of a camera's images from becoming depth, if it lasts."""

from __future__ import annotations

import time

from depth_anything_ros.ros.depth_node.camera_stream import CameraStream
from depth_anything_ros.ros.depth_node.frame_statistics import Snapshot
from depth_anything_ros.ros.depth_node.persistent_warning import PersistentWarning
from depth_anything_ros.ros.io.image_input import ImageInput

WINDOW = 5.0
"""Seconds in which no image comes, or not one of several goes through, before that is named."""
MIN_IMAGES = 3
"""Images, not counting those above max_rate, that are worth a verdict; fewer are counted on with the next ones."""


class StreamWatch:
    """Looks at one camera's counts over `WINDOW` seconds, or as long as `MIN_IMAGES` images take, again and again.

    A cause that lasts is named once; one that comes back is named again, but less and less often:
    see `PersistentWarning`.
    """

    def __init__(self, stream: CameraStream) -> None:
        self._stream = stream
        self._causes = PersistentWarning(patience=1)
        self._begin()

    def look(self) -> None:
        """To be called every so often, in the executor's thread."""
        self._stream.look_around()
        seconds, silence = time.monotonic() - self._since, self._stream.input.silence
        if silence is not None and silence < WINDOW:
            silence = None
        if seconds < WINDOW or (silence is None and (seconds < self._window() or self._is_undecided())):
            return
        cause, text = self._loss() if silence is None else self._silence(silence)
        if self._causes.should_report(cause):
            self._stream.log.warning(self._stream.named(text))
        self._begin()

    def _window(self) -> float:
        """Seconds to look at before a verdict: a low max_rate lets few images through, and those are what counts."""
        rate = self._stream.parameters.max_rate
        return max(WINDOW, MIN_IMAGES / rate) if rate else WINDOW

    def _begin(self) -> None:
        self._before, self._since = self._stream.statistics.snapshot(), time.monotonic()

    def _is_undecided(self) -> bool:
        """Whether some images have come, none of them has gone through, and they are too few to say that none does."""
        before, counts = self._before, self._stream.statistics.snapshot()
        due = counts.received - before.received - (counts.skipped - before.skipped)
        return 0 < due < MIN_IMAGES and not self._goes_through(counts)

    def _goes_through(self, counts: Snapshot) -> bool:
        return counts.published > self._before.published or counts.ignored > self._before.ignored

    def _silence(self, seconds: float) -> tuple[str, str]:
        """Why no image comes, as a cause and as a line."""
        images = self._stream.input
        return images.why_silent, silence_text(images, seconds)

    def _loss(self) -> tuple[str | None, str]:
        """What every image is lost for, in a word and in a line; None where some go through or none were lost."""
        before, counts = self._before, self._stream.statistics.snapshot()
        lost = {cause: count - before.dropped.get(cause, 0) for cause, count in counts.dropped.items()}
        lost = {cause: count for cause, count in lost.items() if count}
        if not lost or self._goes_through(counts):
            return None, ""
        cause = max(lost, key=lost.__getitem__)
        causes = ", ".join(f"{count} {name}" for name, count in sorted(lost.items()))
        received, seconds = counts.received - before.received, time.monotonic() - self._since
        text = (
            f"not one of {received} images of the last {seconds:.0f} s on {self._stream.input.source} became depth: "
            f"{causes}"
        )
        detail = counts.details[cause]
        return cause, f"{text}. {cause}: {detail}" if detail else text


def silence_text(images: ImageInput, seconds: float) -> str:
    """What to say where no image has come for so many seconds."""
    return (
        f"no image for {seconds:.0f} s on {images.image_topic}, which {images.publishers} publish: {images.why_silent}"
    )
