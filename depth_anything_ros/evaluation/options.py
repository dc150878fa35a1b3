"""How models are evaluated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.protocol_files import check_options, find_protocol, protocol_names

PROTOCOLS = protocol_names()
USUAL_LIMIT = 10
"""Frames per set of an open protocol."""

RESUMABLE = ("depth", "video", "completion")
"""Tasks whose scores belong to frames or videos, so that they can be kept."""

Progress = Callable[[Sequence[str], str], Iterable[str]]
"""Yields the names of a set's frames and displays progress. Its second argument is the name of the set."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationOptions:
    """How models are scored.

    Attributes:
        limit: frames per set, evenly spaced; 0 for all; None for 10 in open protocols and for all in others.
        protocol: the name of a protocol. "full" scores every pixel with known depth, "published" the pixels that
            papers score; the others fix sets and frames.
        baselines: whether to score baselines too.
        pictures: a folder for SET.png, or None.
        gallery: whether to keep the worst and best images, for the page.
        progress: displays progress.
        warn: receives one line for each frame or set that is left out.
        workers: threads that score; the result is the same for any number.
        resume: a folder that keeps scores, so that an interrupted evaluation goes on; None for none.
        robot: what an obstacle is, to report what a robot needs to know; None to leave that out.
    """

    limit: int | None = None
    protocol: str = "full"
    baselines: bool = True
    pictures: Path | None = None
    gallery: bool = False
    progress: Progress = lambda names, _: names
    warn: Callable[[str], None] = log.warning
    workers: int = 1
    robot: ObstacleOptions | None = None
    resume: Path | None = None

    def __post_init__(self) -> None:
        """Check the options. Raises `ValueError` if one is invalid or contradicts the protocol."""
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"limit is {self.limit}, must be 0 or more")
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}, must be 1 or more")
        if self.resume is not None and (self.robot or self.pictures or self.gallery):
            raise ValueError(
                "resume keeps scores, not depth: leave out robot (flicker compares the depths of neighboring images), "
                "pictures and html (they show depth)"
            )
        if self.resume is not None and find_protocol(self.protocol).task not in RESUMABLE:
            raise ValueError(f"protocol {self.protocol} cannot be resumed")
        check_options(find_protocol(self.protocol), {"limit": self.limit or None})

    @property
    def frames(self) -> int:
        """Return the number of frames per set, 0 for all."""
        if self.limit is None:
            return USUAL_LIMIT if find_protocol(self.protocol).is_open else 0
        return self.limit
