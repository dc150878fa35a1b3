"""TensorRT for real: engines built, gated and run, refused where they must be, and what a frame costs beside them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.gpu.calls import DIFFERING, Watched
from benchmarks.gpu.models import Size, checkpoint, graph
from benchmarks.gpu.parts import correlated, correlation, median_ms, part
from benchmarks.gpu.results import Results
from benchmarks.gpu.stage_times import device_bytes_free, enqueue_all, stage_ms
from benchmarks.gpu.stand_ins import for_cuda
from benchmarks.gpu.steps import Place
from depth_anything_ros.runtime import cuda_driver, gate
from depth_anything_ros.runtime.backends.tensorrt_backend import PLAN
from depth_anything_ros.runtime.engines.cache import SIDECAR
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator

LEAST_CORRELATION = {"fp32": 0.9999, "mixed": 0.99, "fp16": 0.99}
"""With ONNX Runtime's map, for random weights, whose features hardly vary; the bundled model passes the whole gate."""


@dataclass(frozen=True)
class Plan:
    """What is built: an encoder, a network size, a precision."""

    encoder: str
    size: Size
    precision: str


FIRST = Plan("vits", (308, 406), "fp16")
FURTHER = (
    Plan("vits", (308, 406), "fp32"),
    Plan("vitl", (518, 518), "mixed"),
    Plan("vitb", (518, 518), "mixed"),
    Plan("vits", (308, 406), "mixed"),
    Plan("vitl", (518, 518), "fp32"),
    Plan("vitb", (518, 518), "fp32"),
)
DRY_FIRST = Plan("tiny", (56, 70), "fp16")
DRY_FURTHER = (Plan("tiny", (56, 70), "fp32"),)


def run(place: Place, results: Results) -> None:
    """See the module."""
    os.environ["DEPTH_ANYTHING_ROS_CACHE"] = str(place.folder / "cache")
    logging.basicConfig(level=logging.INFO)
    with for_cuda(place), Watched() as watched:
        first, further = (DRY_FIRST, DRY_FURTHER) if place.is_dry else (FIRST, FURTHER)
        image = np.random.default_rng(0).integers(0, 256, (96, 128, 3) if place.is_dry else (480, 640, 3), np.uint8)
        with part(results, "the first engine"):
            estimator = _build(first, place, results)
            with part(results, "what a frame costs"):
                _frames(estimator, image, 5 if place.is_dry else 200, results)
        with part(results, "the bundled model passes the gate"):
            _bundled(results)
        with part(results, "an engine is loaded again"):
            _reload(first, place, results)
        with part(results, "engines that are refused"):
            _refusals(first, place, results)
        with part(results, "two processes"):
            _two_processes(first, place, results)
        with part(results, "several images at once, and any size"):
            _batches(place, results, image)
        for plan in further:
            with part(results, f"{plan.encoder} in {plan.precision}"):
                _build(plan, place, results)
    for name, call in DIFFERING.items():
        ran = "executed" if watched.has_run(call) else "not executed"
        results.add("TensorRT's calls that differ between releases", call=name, releases=call.releases, here=ran)


def _weights(plan: Plan, place: Place) -> Path:
    return checkpoint(plan.encoder, place.folder.parent / "models", place.encoder)


def _open(plan: Plan, place: Place) -> Estimator:
    path = graph(_weights(plan, place), plan.size)
    return Estimator(path, "tensorrt", precision=plan.precision, gated=False, fallback=False)


def _build(plan: Plan, place: Place, results: Results) -> Estimator:
    """Builds, compares with ONNX Runtime, and times."""
    path, started = graph(_weights(plan, place), plan.size), time.perf_counter()
    estimator = _open(plan, place)
    seconds = time.perf_counter() - started
    reference = Estimator(path, "onnxruntime", precision="fp32", measured=False)
    image = gate.images()[0][: plan.size[0], : plan.size[1]]
    ours, theirs = estimator.estimate(image).copy(), reference.estimate(image)
    worst = float(np.abs(ours - theirs).max() / np.ptp(theirs))
    size = sum(file.stat().st_size for engine in estimator.engines() for file in engine.folder.iterdir())
    results.add(
        "Engines",
        model=plan.encoder,
        size=f"{plan.size[0]}x{plan.size[1]}",
        precision=plan.precision,
        build_s=seconds,
        MiB=size / 2**20,
        frame_ms=median_ms(lambda: estimator.estimate(image), 5 if place.is_dry else 100),
        correlation=correlation(ours, theirs),
        worst=worst,
    )
    name = f"{plan.encoder} in {plan.precision} gives what ONNX Runtime gives"
    results.judge(name, ours, correlated(theirs, LEAST_CORRELATION[plan.precision]))
    return estimator


def _bundled(results: Results) -> None:
    for precision in ("fp16", "mixed", "fp32"):
        with part(results, f"the bundled model passes the gate in {precision}"):
            estimator = Estimator("tiny", "tensorrt", precision=precision, fallback=False)
            estimator.load_for(480, 640)
            results.add("The gate, with the bundled model", precision=precision, verdict=estimator.gate_result)


def _frames(estimator: Estimator, image: np.ndarray, rounds: int, results: Results) -> None:
    """The whole frame, the bare engine, each stage, with and without a CUDA graph, and what a frame allocates."""
    from depth_anything_ros.runtime.backends.tensorrt_engine import TensorRtEngine

    out = np.empty(image.shape[:2], np.float32)
    estimator.estimate(image, out=out)
    (stored,) = estimator.engines()
    engine = TensorRtEngine(stored.path(PLAN).read_bytes(), cuda_driver.devices()[0])
    engine.estimate(image)
    batch = np.zeros((1, *engine.input_size, 3), np.uint8)
    whole = median_ms(lambda: estimator.estimate(image, out=out), rounds)
    rows = {
        "frame": whole,
        "frame without a CUDA graph": median_ms(lambda: enqueue_all(engine, image), rounds),
        "batch in, map out": median_ms(lambda: engine.run(batch), rounds),
        **{f"{name}, on the GPU": value for name, value in stage_ms(engine, image, rounds).items()},
    }
    for name, value in rows.items():
        results.add("A frame", part=name, ms=value, share=value / whole)
    free = device_bytes_free()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(rounds):
        estimator.estimate(image, out=out)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    results.add(
        "What a frame allocates",
        GPU_bytes=(free - device_bytes_free()) / rounds,
        kept_bytes=(after - before) / rounds,
        peak_KiB=(peak - before) / 1024,
    )
    results.check("a frame takes none of the GPU's memory", device_bytes_free() == free)


def _reload(plan: Plan, place: Place, results: Results) -> None:
    started = time.perf_counter()
    (engine,) = _open(plan, place).engines()
    results.check("an engine in the cache is not built again", not engine.is_new)
    results.add("An engine from the cache", seconds=time.perf_counter() - started)


def _refusals(plan: Plan, place: Place, results: Results) -> None:
    """A damaged engine is built anew; one that is whole but not TensorRT's too; bytes that are none are refused."""
    (engine,) = _open(plan, place).engines()
    path = engine.path(PLAN)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (again,) = _open(plan, place).engines()
    results.check("an engine that was cut short is built anew", again.is_new)
    _replace_plan(again.folder, b"not a plan" * 100)
    (again,) = _open(plan, place).engines()
    results.check("a plan that TensorRT refuses is built anew", again.is_new)
    from depth_anything_ros.runtime.backends.tensorrt_engine import TensorRtEngine

    try:
        TensorRtEngine(b"not a plan" * 100, cuda_driver.devices()[0])
    except ModelError as error:
        results.check("bytes that are no plan are refused in words", "build it anew" in str(error), str(error))
    else:
        results.check("bytes that are no plan are refused in words", False, "they were taken")


def _replace_plan(folder: Path, content: bytes) -> None:
    """Puts other bytes in the place of a plan, with a sidecar that says that they are whole."""
    (folder / PLAN).write_bytes(content)
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar["files"][PLAN] = hashlib.sha256(content).hexdigest()
    (folder / SIDECAR).write_text(json.dumps(sidecar))


def _two_processes(plan: Plan, place: Place, results: Results) -> None:
    """Both want an engine that is not there yet: one builds it, the other waits for it."""
    path, cache = graph(_weights(plan, place), plan.size), place.folder / "shared cache"
    command = [sys.executable, "-m", "benchmarks.gpu.one_of_two", str(path), plan.precision, str(place.folder)]
    command += ["--dry"] if place.is_dry else []
    environment = {**os.environ, "DEPTH_ANYTHING_ROS_CACHE": str(cache)}
    started = time.perf_counter()
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [json.loads((one.communicate(timeout=results.seconds_left)[0].splitlines() or ["{}"])[-1]) for one in both]
    results.add("Two processes at once", seconds=time.perf_counter() - started)
    results.check(
        "two processes build one engine", sorted(one.get("is_new") for one in said) == [False, True], f"{said}"
    )
    same = said[0].get("map") == said[1].get("map")
    results.check("two processes give the same map", same and "map" in said[0])


def _batches(place: Place, results: Results, image: np.ndarray) -> None:
    """Images of several sizes, with the bundled model, whose graphs have several."""
    estimator = Estimator("tiny", "tensorrt", precision="fp16", gated=False, fallback=False)
    images = [image, image[::-1], image[: image.shape[0] // 2]]
    together = estimator.estimate_batch(images)
    alone = [estimator.estimate(one) for one in images]
    least = min(correlation(one, other) for one, other in zip(together, alone, strict=True))
    results.check("images together give what they give alone", least > 0.9999, f"correlation {least:.6f}")
