"""A process that does one job for the benchmark: what it measures is disturbed by nothing loaded before.

    python -m depth_anything_ros.bench.child

Speaks JSON, a line each: reads the job from standard input and answers on standard output once it is ready, then
answers command after command until the input ends. An answer with "refused" or "unavailable" is the last one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TextIO

import cv2
import numpy as np

from depth_anything_ros.bench import timed_backend
from depth_anything_ros.bench.gemm import Gemm
from depth_anything_ros.bench.measurement import back_to_back, fixed_rate
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import REFERENCE
from depth_anything_ros.runtime.errors import ModelError, UnavailableError
from depth_anything_ros.runtime.estimator import WEIGHTS_REFERENCE, Estimator
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.runtime.model_files import find_model_files
from depth_anything_ros.system.memory import resident_mebibytes

Answer = dict[str, Any]
Commands = Callable[[dict[str, Any]], Answer]

WARM_UP = 2
"""Frames at the start of every turn that are not counted."""


class Runner(Protocol):
    """Something that turns images into maps; ``runs``: when each run of its network began and ended."""

    runs: list[tuple[float, float]]

    def estimate(self, image: np.ndarray, *, out: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) to the map in ``out``, float32 of any size (h, w)."""
        ...


def main() -> int:
    """Does the job that stands in the first line of the input."""
    answers = _take_standard_output()
    job = json.loads(sys.stdin.readline())
    try:
        ready, commands = JOBS[job.pop("job")](**job)
    except UnavailableError as error:
        ready, commands = {"unavailable": str(error)}, None
    except ModelError as error:
        ready, commands = {"refused": str(error)}, None
    _say(answers, ready)
    for line in sys.stdin if commands else ():
        _say(answers, commands(json.loads(line)))
    return 0


def _take_standard_output() -> TextIO:
    """Standard output for our answers alone: what libraries print there goes to standard error from now on."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _say(answers: TextIO, answer: Answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def prepare(
    model: str, record: str | None, size: list[int] | None, image: list[int], encoder: str | None, folder: str | None
) -> tuple[Answer, None]:
    """Learns what a model is, and leaves the gate's reference outputs in the cache, so that no contender loads more.

    With ``encoder`` a random model is written into ``folder`` first.
    """
    if encoder is not None:
        from depth_anything_ros.bench.random_model import write_random_model

        write_random_model(encoder, tuple(size), Path(folder))
        model = folder
    files = find_model_files(model, record, weights=True)
    reference = REFERENCE if files.graphs else WEIGHTS_REFERENCE
    estimator = Estimator(model, reference.backend, record, size=_tuple(size), gated=False)
    network_size = estimator.input_size_for(*image)
    estimator.judge(network_size)
    answer = {
        "name": estimator.record.name,
        "origin": files.origin,
        "size": network_size,
        "flops": _flops(files.graphs, network_size),
        "has_graphs": bool(files.graphs),
        "has_weights": files.weights is not None,
    }
    return answer, None


def _tuple(size: list[int] | None) -> tuple[int, int] | None:
    return None if size is None else (size[0], size[1])


def _flops(graphs: dict[tuple[int, int] | None, Path], size: tuple[int, int]) -> int | None:
    """Operations of one frame, None where there is no graph, or nothing to read it with."""
    path = graphs.get(size, graphs.get(None))
    if path is None or find_spec("onnx") is None:
        return None
    from depth_anything_ros.bench.flops import count_flops

    try:
        return count_flops(path, read_graph(path).batch_shape(size))
    except ValueError as error:
        print(f"{path}: its operations cannot be counted: {error}", file=sys.stderr)
        return None


def measure_gemm(threads: int | None) -> tuple[Answer, Commands]:
    """Products of matrices, whenever a command asks for some ``seconds`` of them."""
    gemm = Gemm(threads)
    return {}, lambda command: gemm.measure(command["seconds"])


def contend(
    backend: str,
    precision: str,
    model: str,
    record: str | None,
    size: list[int],
    image: list[int],
    threads: int | None,
) -> tuple[Answer, Commands]:
    """Loads one contender; commands then have it measured."""
    before = resident_mebibytes()
    started, started_at = time.perf_counter(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    answer: Answer = {"memory_before": before, "gate": None, "engine": None}
    if backend == "transformers":
        runner = _transformers(model, record, size, threads)
    else:
        timed_backend.register()
        runner = Estimator(
            model, backend, record, _tuple(size), threads, precision, gated=False, fallback=False
        )  # not gated by itself, but judged below: the verdict is wanted in numbers
        runner.runs = timed_backend.RUNS
    answer["load_seconds"] = time.perf_counter() - started
    if isinstance(runner, Estimator):
        answer["gate"] = asdict(runner.judge(_tuple(size)))
        for engine in runner.engines():
            sidecar = engine.sidecar
            answer["engine"] = {"build_seconds": sidecar["build_seconds"], "built_now": sidecar["built"] >= started_at}
    height, width = image
    camera_image = cv2.resize(gate.images()[0], (width, height))
    out = np.empty((height, width), np.float32)
    return answer, Turns(runner, lambda: runner.estimate(camera_image, out=out))


def _transformers(model: str, record: str | None, size: list[int], threads: int | None) -> Runner:
    try:
        from depth_anything_ros.bench.transformers_candidate import TransformersContender
    except ImportError as error:
        raise UnavailableError(f"transformers or PyTorch is not installed: {error}") from error
    files = find_model_files(model, record, weights=True)
    return TransformersContender(files.weights, files.record, _tuple(size), threads)


class Turns:
    """Answers a contender's commands.

    ``back_to_back`` for some ``seconds``: the frames' seconds (before, within and after the network, whole), and
    those of all. ``fixed_rate`` at a ``rate`` for some ``seconds``: see `FixedRate`. ``memory``: MiB.
    """

    def __init__(self, runner: Runner, frame: Callable[[], object]) -> None:
        self._runner, self._frame = runner, frame

    def __call__(self, command: dict[str, Any]) -> Answer:
        """Answers one command."""
        if command["do"] == "memory":
            return {"resident": resident_mebibytes(), "peak": resident_mebibytes(peak=True)}
        for _ in range(WARM_UP):
            self._frame()
        if command["do"] == "fixed_rate":
            return asdict(fixed_rate(self._frame, command["rate"], command["seconds"]))
        return self._back_to_back(command["seconds"])

    def _back_to_back(self, seconds: float) -> Answer:
        frames: list[tuple[float, float]] = []
        self._runner.runs.clear()

        def timed() -> None:
            began = time.perf_counter()
            self._frame()
            frames.append((began, time.perf_counter()))

        total = back_to_back(timed, seconds)
        parts = [
            (run_began - began, run_ended - run_began, ended - run_ended, ended - began)
            for (began, ended), (run_began, run_ended) in zip(frames, self._runner.runs, strict=True)
        ]
        return {"frames": parts, "seconds": total}


JOBS: dict[str, Callable[..., tuple[Answer, Commands | None]]] = {
    "prepare": prepare,
    "gemm": measure_gemm,
    "contend": contend,
}

if __name__ == "__main__":
    sys.exit(main())
