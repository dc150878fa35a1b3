"""Buffers and recorded work on the GPU for each kind of frame, kept for the most recent kinds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from cuda.bindings import runtime as cudart

from depth_anything_ros.runtime.cuda.graph import RepeatedWork
from depth_anything_ros.runtime.cuda.memory import StagingBuffer

MIN_PATHS = 4
"""Kinds of frames whose buffers and CUDA graph are always kept."""
MAX_PATHS = 32
"""Most kinds that are kept, within `MAX_BYTES`: enough for many cameras, but not for every crop."""
MAX_BYTES = 256 << 20
"""Most bytes of pinned memory, which the system cannot use otherwise; 18 frames of 1920x1080."""


class Stage(NamedTuple):
    """A part of a frame's work: "upload", "resize in", "engine", "resize out" or "download"; ``enqueue`` starts it."""

    name: str
    enqueue: Callable[[cudart.cudaStream_t], object]


@dataclass(frozen=True)
class FramePath:
    """A path through the GPU: fill ``source.host``, run ``work``, read ``result.host`` and ``confidence.host``.

    ``stages`` are the parts of the work. ``resources`` frees everything.
    """

    source: StagingBuffer
    result: StagingBuffer
    confidence: StagingBuffer | None
    stages: Sequence[Stage]
    work: RepeatedWork
    resources: ExitStack

    @property
    def nbytes(self) -> int:
        """Bytes of pinned memory."""
        buffers = (self.source, self.result, self.confidence)
        return sum(buffer.host.nbytes for buffer in buffers if buffer is not None)


class FramePaths:
    """The paths of the most recent kinds of frames, within the limits above."""

    def __init__(self) -> None:
        self._paths: OrderedDict[tuple, FramePath] = OrderedDict()

    def obtain(self, key: tuple, make: Callable[[], FramePath]) -> FramePath:
        """Return the path for a kind of frame.

        Args:
            key: identifies the kind.
            make: creates the path if it is new.
        """
        if key in self._paths:
            self._paths.move_to_end(key)
            return self._paths[key]
        self._paths[key] = make()
        self._drop_oldest()
        return self._paths[key]

    def close(self) -> None:
        """Free every path's buffers and graph."""
        while self._paths:
            self._paths.popitem()[1].resources.close()

    def _drop_oldest(self) -> None:
        """Free the oldest paths until the rest is within the limits."""
        while len(self._paths) > MIN_PATHS and (
            len(self._paths) > MAX_PATHS or sum(path.nbytes for path in self._paths.values()) > MAX_BYTES
        ):
            _, oldest = self._paths.popitem(last=False)
            oldest.resources.close()
