"""Which of several networks is the fastest here: a few frames of each in turn, once, and kept beside the engines.

No order of backends holds on every processor: OpenVINO's INT8 is twice as fast as its fp32 where there is VNNI, and
slower where there is not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from depth_anything_ros import __version__
from depth_anything_ros.runtime.backends.interface import BackendChoice, LoadRequest
from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.file_lock import locked
from depth_anything_ros.zoo.cache import cache_directory

BUDGET = 1.0
"""Seconds that all turns take together, but for the fewest."""
MIN_TURNS, MAX_TURNS = 3, 10
"""Frames of each, behind one that is not timed."""

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino")
"""What is installed under these names decides how fast a choice is."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """What a measurement answers, and all that its answer depends on.

    ``rivals``: the names of what is compared. ``processor`` and ``cores``: what it runs on. ``gated``: whether all of
    them passed the gate.
    """

    model: str
    graph_sha256: str
    weights_sha256: str
    size: tuple[int, int]
    rivals: tuple[str, ...]
    threads: int | None
    gated: bool
    processor: str
    cores: int
    packages: tuple[str, ...]
    depth_anything_ros: str = __version__

    def file_name(self) -> str:
        """Readable, and unique by a hash of the whole question."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.model}_{self.size[0]}x{self.size[1]}_{digest}.json"


class KeptAnswers:
    """Answers in the cache, each the seconds a frame by the rival's name, the fastest first."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_directory() / "choices"

    def read(self, question: Question) -> dict[str, float] | None:
        """The answer, or None if there is none, or it is damaged."""
        path = self._folder / question.file_name()
        try:
            seconds = json.loads(path.read_text())["seconds"]
            known = {name: float(value) for name, value in seconds.items() if name in question.rivals}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is damaged (%s): what is the fastest here is measured anew", path, error)
            return None
        return known or None

    def write(self, question: Question, seconds: Mapping[str, float]) -> None:
        """Keeps an answer; where that cannot be, a warning says that the next start measures again."""
        answer = {"question": asdict(question), "seconds": dict(seconds)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self._folder / question.file_name(), json.dumps(answer, indent=2).encode())
        except OSError as error:
            log.warning("what is the fastest here cannot be kept, and is measured at every start: %s", error)

    @contextmanager
    def asked_once(self, question: Question) -> Iterator[None]:
        """Lets one process at a time find the answer; those that wait then read it. Where no lock can be, all do."""
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._folder / question.file_name()))
            except OSError:
                log.debug("%s cannot be locked", self._folder)
            yield


def seconds_a_frame(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The median seconds of each call, taken in turns, the fastest first."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    begun = time.perf_counter()
    for turn in range(MAX_TURNS):
        if turn >= MIN_TURNS and time.perf_counter() - begun > BUDGET:
            break
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - started)
    medians = {name: median(values) for name, values in taken.items()}
    return dict(sorted(medians.items(), key=lambda item: item[1]))


def question_about(request: LoadRequest, rivals: Sequence[BackendChoice], gated: bool) -> Question:
    """What a measurement of these choices answers, of the request's graph at its size, here and now."""
    found = processor()
    return Question(
        model=request.record.name,
        graph_sha256=request.graph.sha256,
        weights_sha256=request.graph.weights_sha256,
        size=request.size,
        rivals=tuple(map(str, rivals)),
        threads=request.threads,
        gated=gated,
        processor=f"{found.name}: {found}",
        cores=usable_cores(),
        packages=_installed(),
    )


def _installed() -> tuple[str, ...]:
    """Name and version of what is installed, without importing it."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return tuple(found)
