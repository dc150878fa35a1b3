"""The comparison: loads the candidates one by one, then measures them in turns, round after round."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depth_anything_ros.bench.candidates import TRANSFORMERS, select
from depth_anything_ros.bench.gemm import environment
from depth_anything_ros.bench.process import ChildDiedError, ChildProcess
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.memory import gpu_mebibytes
from depth_anything_ros.zoo.cache import CACHE_VARIABLE

GEMM_SECONDS = 0.6
"""Maximum seconds for each measurement of the processor's peak."""


@dataclass(frozen=True)
class BenchOptions:
    """The settings of a comparison.

    Args:
        model: a name, file or folder.
        record: a JSON file, for a model without one.
        encoder: compare a model of this size with random weights instead of ``model``.
        size: (height, width) of the network's input; None for the best for ``image``.
        image: (height, width) of the camera's image.
        backends: the requested ones; empty for all.
        precisions: the requested ones; empty for all.
        transformers: whether to compare Hugging Face's implementation too.
        threads: of CPU backends; None for their own choice.
        rate: frames per second of the fixed-rate measurement.
        rounds: how often each candidate is measured.
        seconds: of each candidate in each mode and round.
    """

    model: str = "tiny"
    record: str | None = None
    encoder: str | None = None
    size: tuple[int, int] | None = None
    image: tuple[int, int] = (480, 640)
    backends: Sequence[str] = ()
    precisions: Sequence[str] = ()
    transformers: bool = False
    threads: int | None = None
    rate: float = 30.0
    rounds: int = 3
    seconds: float = 5.0


@dataclass
class Candidate:
    """A candidate and its results so far. Memory is in MiB.

    ``status`` is "not measured" (yet), "measured", "refused" (by the gate or by itself), "failed" or "unavailable". The
    last three have a ``reason``. ``ready`` is the answer of its process after loading. ``first_start_seconds`` is the
    load time including the engine build, if one was needed. ``bursts`` and ``streams`` are the answers of each round,
    see `child.Turns`.
    """

    choice: BackendChoice
    status: str = "not measured"
    reason: str = ""
    ready: dict[str, Any] = field(default_factory=dict)
    first_start_seconds: float | None = None
    bursts: list[dict[str, Any]] = field(default_factory=list)
    streams: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, float | None] = field(default_factory=dict)
    process: ChildProcess | None = None

    def end(self, status: str, reason: str) -> None:
        """Remove it from the comparison.

        Args:
            status: as above.
            reason: for the report.
        """
        self.status, self.reason = status, reason
        self.stop()

    def stop(self) -> None:
        """End its process, if it has one."""
        if self.process is not None:
            self.process.stop()
            self.process = None


class Comparison:
    """One run of the benchmark. Results can be read at any time, also after an interruption.

    Args:
        settings: of the comparison.
        report: receives progress, one line per call.

    Attributes:
        model: the answer of `child.prepare`; empty before.
        candidates: all of them, including failed ones.
        absent: the reason of each backend that is no candidate, by name.
        gemm: GFLOP/s of each library, for each measurement.
    """

    def __init__(self, settings: BenchOptions, report: Callable[[str], None]) -> None:
        self.settings = settings
        self.model: dict[str, Any] = {}
        self.candidates: list[Candidate] = []
        self.absent: dict[str, str] = {}
        self.gemm: list[dict[str, float]] = []
        self._report = report
        self._named = {"model": settings.model, "record": settings.record}
        self._environment: dict[str, str] = {}

    def run(self) -> None:
        """Run the comparison. Its processes always end with it.

        Raises:
            ModelError: the model, or its reference backend, is unusable.
            ValueError: a requested backend or precision does not exist.
        """
        with contextlib.ExitStack() as stack:
            if self.settings.encoder is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="depth_anything_ros_bench_"))
                self._named = {"model": folder, "record": None}
                self._environment[CACHE_VARIABLE] = str(Path(folder) / "cache")  # engines of random weights are useless
            self._prepare()
            gemm = ChildProcess({"job": "gemm", "threads": self.settings.threads}, environment(self.settings.threads))
            stack.callback(gemm.stop)
            stack.callback(lambda: [candidate.stop() for candidate in self.candidates])
            self._measure_gemm(gemm)
            for candidate in self.candidates:
                self._load(candidate)
            for turn in range(self.settings.rounds):
                for candidate in self.candidates:
                    if candidate.process is not None:
                        self._report(f"round {turn + 1} of {self.settings.rounds}: {candidate.choice}")
                        self._measure(candidate)
                        self._measure_gemm(gemm)

    def _prepare(self) -> None:
        settings = self.settings
        self._report(f"preparing {settings.encoder or settings.model}")
        job = {
            "job": "prepare",
            **self._named,
            "size": settings.size,
            "image": settings.image,
            "encoder": settings.encoder,
            "folder": self._named["model"],
        }
        try:
            process = ChildProcess(job, self._environment)
        except ChildDiedError as error:
            raise ModelError(f"{settings.encoder or settings.model} cannot be prepared: its process {error}") from error
        process.stop()
        if reason := process.ready.get("refused") or process.ready.get("unavailable"):
            raise ModelError(reason)
        self.model = process.ready
        has_weights = self.model["has_weights"]
        chosen, self.absent = select(settings.backends, settings.precisions, self.model["has_graphs"], has_weights)
        if settings.transformers and has_weights:
            chosen.append(TRANSFORMERS)
        elif settings.transformers:
            self.absent[TRANSFORMERS.backend] = "the model has no checkpoint"
        self.candidates = [Candidate(choice) for choice in chosen]

    def _load(self, candidate: Candidate) -> None:
        """Start its process. Restart it after an engine build, which needs more memory than running."""
        self._report(f"loading {candidate.choice}")
        self._start(candidate)
        if (candidate.ready.get("engine") or {}).get("built_now"):
            candidate.first_start_seconds = candidate.ready["load_seconds"]
            if candidate.process is not None:
                candidate.stop()
                self._start(candidate)

    def _start(self, candidate: Candidate) -> None:
        job = {
            "job": "candidate",
            "backend": candidate.choice.backend,
            "precision": candidate.choice.precision,
            **self._named,
            "size": self.model["size"],
            "image": self.settings.image,
            "threads": self.settings.threads,
        }
        try:
            candidate.process = ChildProcess(job, self._environment)
        except ChildDiedError as error:
            candidate.end("failed", f"its process {error}")
            return
        candidate.ready = candidate.process.ready
        for status in ("unavailable", "refused"):
            if status in candidate.ready:
                candidate.end(status, candidate.ready[status])
                return
        verdict = candidate.ready["gate"]
        # Random weights have outliers that trained ones do not have: the gate then says nothing about the engine.
        if verdict and verdict["fault"] and self.settings.encoder is None:
            candidate.end("refused", verdict["fault"])

    def _measure(self, candidate: Candidate) -> None:
        seconds = self.settings.seconds
        try:
            burst = candidate.process.ask({"do": "back_to_back", "seconds": seconds})
            stream = candidate.process.ask({"do": "fixed_rate", "rate": self.settings.rate, "seconds": seconds})
            memory = candidate.process.ask({"do": "memory"})
        except ChildDiedError as error:
            candidate.end("failed", f"its process {error}")
            return
        candidate.memory = {**memory, "gpu": gpu_mebibytes(candidate.process.pid)}
        candidate.streams.append(stream)
        candidate.bursts.append(burst)
        candidate.status = "measured"

    def _measure_gemm(self, gemm: ChildProcess) -> None:
        try:
            self.gemm.append(gemm.ask({"seconds": min(GEMM_SECONDS, self.settings.seconds)}))
        except ChildDiedError as error:
            raise ModelError(f"the processor's peak cannot be measured: its process {error}") from error
