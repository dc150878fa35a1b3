"""Measure which of several networks is the fastest here, once, with a few frames in turns, and store the answer.

No order of backends holds on every processor: OpenVINO's INT8 is twice as fast as its fp32 with VNNI, and slower
without.
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
"""Seconds for all turns together, unless `MIN_TURNS` take longer."""
MIN_TURNS, MAX_TURNS = 3, 10
"""Frames per network, after one that is not timed."""

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino")
"""Packages whose version can change the speed of a choice."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """A measurement's subject, and all that its result depends on.

    Attributes:
        model: its name.
        graph_sha256: hash of the graph.
        weights_sha256: hash of the weights outside the graph.
        size: (height, width) of the input.
        rivals: names of the compared choices.
        threads: CPU threads, None for the backend's choice.
        gated: whether all of them passed the gate.
        processor: name and features.
        cores: usable by this process.
        packages: names and versions.
        depth_anything_ros: this package's version.
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
        """Return a readable name, unique by a hash of all fields."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.model}_{self.size[0]}x{self.size[1]}_{digest}.json"


class KeptAnswers:
    """Measured answers in the cache: seconds per frame by the rival's name, fastest first."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_directory() / "choices"

    def read(self, question: Question) -> dict[str, float] | None:
        """Return the stored answer, or None if it is missing or damaged."""
        path = self._folder / question.file_name()
        try:
            seconds = json.loads(path.read_text())["seconds"]
            valid = {name: float(value) for name, value in seconds.items() if name in question.rivals}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is damaged (%s): measuring again which choice is the fastest here", path, error)
            return None
        return valid or None

    def write(self, question: Question, seconds: Mapping[str, float]) -> None:
        """Store an answer. If that fails, log a warning that the next start measures again.

        Args:
            question: that was measured.
            seconds: per frame by the rival's name.
        """
        answer = {"question": asdict(question), "seconds": dict(seconds)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self._folder / question.file_name(), json.dumps(answer, indent=2).encode())
        except OSError as error:
            log.warning("the measured speeds cannot be stored, so every start measures again: %s", error)

    @contextmanager
    def exclusive(self, question: Question) -> Iterator[None]:
        """Let one process at a time measure; the waiting ones then read its answer. Without a lock, all measure."""
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._folder / question.file_name()))
            except OSError:
                log.debug("%s cannot be locked", self._folder)
            yield


def seconds_a_frame(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each call, run in turns, fastest first."""
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
    """Return the question that a measurement of these choices answers on this machine now.

    Args:
        request: gives the graph, the size and the threads.
        rivals: choices to compare.
        gated: whether they passed the gate.
    """
    cpu = processor()
    return Question(
        model=request.record.name,
        graph_sha256=request.graph.sha256,
        weights_sha256=request.graph.weights_sha256,
        size=request.size,
        rivals=tuple(map(str, rivals)),
        threads=request.threads,
        gated=gated,
        processor=f"{cpu.name}: {cpu}",
        cores=usable_cores(),
        packages=_installed(),
    )


def _installed() -> tuple[str, ...]:
    """Return names and versions of the installed packages, without importing them."""
    installed = []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return tuple(installed)
