"""Names in the log what keeps all of a camera's images from becoming depth, if it lasts."""

from __future__ import annotations

import time

from depth_anything_ros.nodes.depth_stream import DepthStream
from depth_anything_ros.nodes.image_input import ImageInput
from depth_anything_ros.nodes.lasting_cause import LastingCause

LASTING = 5.0
"""Seconds in which no image comes, or not one of several goes through, before that is named."""
FEWEST = 3
"""Images in that time that are worth a line."""


class StreamWatch:
    """Looks at one camera's counts over `LASTING` seconds, again and again.

    A cause is named once until another takes its place or images go through again.
    """

    def __init__(self, stream: DepthStream) -> None:
        self._stream = stream
        self._log = stream.log
        self._lasting = LastingCause(patience=1)
        self._begin()

    def look(self) -> None:
        """To be called every so often, in the executor's thread."""
        self._stream.look_around()
        if time.monotonic() - self._since < LASTING:
            return
        cause, text = self._trouble()
        if self._lasting.is_news(cause):
            self._log.warning(f"{self._stream.name}: {text}" if self._stream.name else text)
        self._begin()

    def _begin(self) -> None:
        self._before, self._since = self._stream.statistics.snapshot(), time.monotonic()

    def _trouble(self) -> tuple[str | None, str]:
        """What stands in the way of every image, in a word and in a line; None where nothing does."""
        before, counts = self._before, self._stream.statistics.snapshot()
        images = self._stream.input
        received = counts.received - before.received
        if not received:
            silence = images.silence
            if silence is None or silence < LASTING:
                return None, ""
            return images.why_silent, silence_text(images, silence)
        lost = {cause: count - before.dropped.get(cause, 0) for cause, count in counts.dropped.items()}
        lost = {cause: count for cause, count in lost.items() if count}
        if received < FEWEST or not lost or counts.published > before.published or counts.ignored > before.ignored:
            return None, ""
        cause = max(lost, key=lost.get)
        causes = ", ".join(f"{count} {name}" for name, count in sorted(lost.items()))
        seconds = time.monotonic() - self._since
        text = f"not one of {received} images of the last {seconds:.0f} s on {images.source} became depth: {causes}"
        detail = counts.details[cause]
        return cause, f"{text}. {cause}: {detail}" if detail else text


def silence_text(images: ImageInput, seconds: float) -> str:
    """What to say where no image has come for so many seconds."""
    return (
        f"no image for {seconds:.0f} s on {images.image_topic}, which {images.publishers} publish: {images.why_silent}"
    )
