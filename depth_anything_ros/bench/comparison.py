"""The comparison itself: loads the contenders one by one, then has them measured in turns, round after round."""

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
from depth_anything_ros.runtime.backends import BackendChoice
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.memory import gpu_mebibytes
from depth_anything_ros.zoo.cache import CACHE_VARIABLE

GEMM_SECONDS = 0.6
"""How long the processor's peak is looked for, at most, each time."""


@dataclass(frozen=True)
class BenchOptions:
    """What is compared, and how.

    ``encoder`` stands for random weights of that size in the place of ``model``. ``size``: the network's (height,
    width), None for the one that the model takes for an image of ``image`` (height, width). ``backends`` and
    ``precisions`` are those named, empty for all. ``seconds`` are those of each contender in each mode and round.
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
    """One of those that are compared, and what is known of it by now.

    ``status``: "not measured" (yet), "measured", "refused" (by the gate, or by itself), "failed" or "unavailable",
    with the ``reason`` for the last three. ``ready``: what its process said when it had loaded.
    ``first_start_seconds``: how long it took to load with the engine built on the way, where one had to be.
    ``bursts`` and ``streams`` are the answers of the rounds, see `child.Turns`. Memory is in MiB.
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
        """Takes it out of the comparison."""
        self.status, self.reason = status, reason
        self.stop()

    def stop(self) -> None:
        """Ends its process, if it has one."""
        if self.process is not None:
            self.process.stop()
            self.process = None


class Comparison:
    """One run of the benchmark; what was measured can be read at any time, also after an interruption.

    Args:
        settings: see there.
        report: is told what happens, a line each.

    Attributes:
        model: what `child.prepare` found out; empty before.
        contenders: all of them, those that failed too.
        absent: why a backend is no contender, by its name.
        gemm: GFLOP/s of each library whenever they were measured.
    """

    def __init__(self, settings: BenchOptions, report: Callable[[str], None]) -> None:
        self.settings = settings
        self.model: dict[str, Any] = {}
        self.contenders: list[Candidate] = []
        self.absent: dict[str, str] = {}
        self.gemm: list[dict[str, float]] = []
        self._report = report
        self._named = {"model": settings.model, "record": settings.record}
        self._environment: dict[str, str] = {}

    def run(self) -> None:
        """Compares. However it ends, its processes end with it.

        Raises:
            ModelError: the model, or the reference on it, is unusable.
            ValueError: what is named does not exist.
        """
        with contextlib.ExitStack() as stack:
            if self.settings.encoder is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="depth_anything_ros_bench_"))
                self._named = {"model": folder, "record": None}
                self._environment[CACHE_VARIABLE] = str(Path(folder) / "cache")  # engines of noise are worth nothing
            self._prepare()
            gemm = ChildProcess({"job": "gemm", "threads": self.settings.threads}, environment(self.settings.threads))
            stack.callback(gemm.stop)
            stack.callback(lambda: [contender.stop() for contender in self.contenders])
            self._measure_gemm(gemm)
            for contender in self.contenders:
                self._load(contender)
            for turn in range(self.settings.rounds):
                for contender in self.contenders:
                    if contender.process is not None:
                        self._report(f"round {turn + 1} of {self.settings.rounds}: {contender.choice}")
                        self._measure(contender)
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
        self.contenders = [Candidate(choice) for choice in chosen]

    def _load(self, contender: Candidate) -> None:
        """Starts its process; anew if that built an engine, for building needs more memory than running."""
        self._report(f"loading {contender.choice}")
        self._start(contender)
        if (contender.ready.get("engine") or {}).get("built_now"):
            contender.first_start_seconds = contender.ready["load_seconds"]
            if contender.process is not None:
                contender.stop()
                self._start(contender)

    def _start(self, contender: Candidate) -> None:
        job = {
            "job": "contend",
            "backend": contender.choice.backend,
            "precision": contender.choice.precision,
            **self._named,
            "size": self.model["size"],
            "image": self.settings.image,
            "threads": self.settings.threads,
        }
        try:
            contender.process = ChildProcess(job, self._environment)
        except ChildDiedError as error:
            contender.end("failed", f"its process {error}")
            return
        contender.ready = contender.process.ready
        for status in ("unavailable", "refused"):
            if status in contender.ready:
                contender.end(status, contender.ready[status])
                return
        verdict = contender.ready["gate"]
        # Weights drawn at random have outliers that trained ones have not: the gate says nothing of an engine then.
        if verdict and verdict["fault"] and self.settings.encoder is None:
            contender.end("refused", verdict["fault"])

    def _measure(self, contender: Candidate) -> None:
        seconds = self.settings.seconds
        try:
            burst = contender.process.ask({"do": "back_to_back", "seconds": seconds})
            stream = contender.process.ask({"do": "fixed_rate", "rate": self.settings.rate, "seconds": seconds})
            memory = contender.process.ask({"do": "memory"})
        except ChildDiedError as error:
            contender.end("failed", f"its process {error}")
            return
        contender.memory = {**memory, "gpu": gpu_mebibytes(contender.process.pid)}
        contender.streams.append(stream)
        contender.bursts.append(burst)
        contender.status = "measured"

    def _measure_gemm(self, gemm: ChildProcess) -> None:
        try:
            self.gemm.append(gemm.ask({"seconds": min(GEMM_SECONDS, self.settings.seconds)}))
        except ChildDiedError as error:
            raise ModelError(f"the processor's peak cannot be measured: its process {error}") from error
