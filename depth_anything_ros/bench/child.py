"""A process with one job of the benchmark, so that nothing loaded before affects a measurement.

    python -m depth_anything_ros.bench.child

The protocol is one line of JSON per message. The process reads its job from standard input, and answers on standard
output once it is ready. It then answers each command until the input ends. An answer with "refused" or "unavailable" is
the last one.
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
from depth_anything_ros.runtime.checked_networks import WEIGHTS_REFERENCE
from depth_anything_ros.runtime.errors import ModelError, UnavailableError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.runtime.model_files import find_model_files
from depth_anything_ros.system.memory import resident_mebibytes

Answer = dict[str, Any]
Commands = Callable[[dict[str, Any]], Answer]

WARM_UP = 2
"""Uncounted frames at the start of every turn."""


class Runner(Protocol):
    """Turns images into maps. ``runs`` holds start and end of each run of its network."""

    runs: list[tuple[float, float]]

    def estimate(self, image: np.ndarray, *, out: np.ndarray) -> np.ndarray:
        """Estimate the map of an image.

        Args:
            image: RGB uint8 (H, W, 3).
            out: takes the map, float32 of any size (h, w).
        """
        ...


def main() -> int:
    """Do the job in the first line of the input."""
    answers = _take_standard_output()
    job = json.loads(sys.stdin.readline())
    try:
        ready, commands = JOBS[job.pop("job")](**job)
    except UnavailableError as error:
        ready, commands = {"unavailable": str(error)}, None
    except ModelError as error:
        ready, commands = {"refused": str(error)}, None
    _send(answers, ready)
    for line in sys.stdin if commands else ():
        _send(answers, commands(json.loads(line)))
    return 0


def _take_standard_output() -> TextIO:
    """Return standard output for answers alone: the output of libraries goes to standard error from now on."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _send(answers: TextIO, answer: Answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def prepare(
    model: str, record: str | None, size: list[int] | None, image: list[int], encoder: str | None, folder: str | None
) -> tuple[Answer, None]:
    """Describe a model, and store the gate's reference outputs in the cache, so that no candidate computes them.

    Args:
        model: a name, file or folder.
        record: a JSON file, for a model without one.
        size: (height, width) of the network's input; None for the best for ``image``.
        image: (height, width) of the camera's image.
        encoder: writes a random model of this size into ``folder`` first.
        folder: for the random model.
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
    """Return the operations of one frame; None without a graph or the package to read it."""
    path = graphs.get(size, graphs.get(None))
    if path is None or find_spec("onnx") is None:
        return None
    from depth_anything_ros.bench.flops import count_flops

    try:
        return count_flops(path, read_graph(path).batch_shape(size))
    except ValueError as error:
        print(f"{path}: cannot count its operations: {error}", file=sys.stderr)
        return None


def measure_gemm(threads: int | None) -> tuple[Answer, Commands]:
    """Measure matrix products for the ``seconds`` of each command."""
    gemm = Gemm(threads)
    return {}, lambda command: gemm.measure(command["seconds"])


def load_candidate(
    backend: str,
    precision: str,
    model: str,
    record: str | None,
    size: list[int],
    image: list[int],
    threads: int | None,
) -> tuple[Answer, Commands]:
    """Load one candidate; commands then measure it.

    Args:
        backend: of `BACKENDS`, or "transformers".
        precision: of the backend.
        model: a name, file or folder.
        record: a JSON file, for a model without one.
        size: (height, width) of the network's input.
        image: (height, width) of the camera's image.
        threads: of a CPU backend; None for its own choice.
    """
    before = resident_mebibytes()
    started, started_at = time.perf_counter(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    answer: Answer = {"memory_before": before, "gate": None, "engine": None}
    if backend == "transformers":
        runner = _transformers(model, record, size, threads)
    else:
        timed_backend.register()
        runner = Estimator(
            model, backend, record, _tuple(size), threads, precision, gated=False, fallback=False
        )  # judged below, since the report needs the verdict's numbers
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
        from depth_anything_ros.bench.transformers_candidate import TransformersCandidate
    except ImportError as error:
        raise UnavailableError(f"transformers or PyTorch is not installed: {error}") from error
    files = find_model_files(model, record, weights=True)
    return TransformersCandidate(files.weights, files.record, _tuple(size), threads)


class Turns:
    """Answers a candidate's commands.

    ``back_to_back`` for ``seconds``: the seconds of each frame (before, within and after the network, whole), and
    their total. ``fixed_rate`` at a ``rate`` for ``seconds``: see `FixedRate`. ``memory``: MiB.
    """

    def __init__(self, runner: Runner, frame: Callable[[], object]) -> None:
        self._runner, self._frame = runner, frame

    def __call__(self, command: dict[str, Any]) -> Answer:
        """Answer one command."""
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
    "candidate": load_candidate,
}

if __name__ == "__main__":
    sys.exit(main())
