"""TensorRT for real: engines built, gated and run, refused where they must be, and what a frame costs beside them."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import tracemalloc
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.gpu.calls import DIFFERING, Watched
from benchmarks.gpu.models import Plan, graph, weights_of
from benchmarks.gpu.parts import correlated, correlation, faster, median_ms, part
from benchmarks.gpu.precisions import noted_precisions
from benchmarks.gpu.results import Results
from benchmarks.gpu.stage_times import device_bytes_free, enqueue_all, stage_ms
from benchmarks.gpu.stand_ins import TESTS, for_cuda
from benchmarks.gpu.steps import StepContext
from benchmarks.gpu.stored_engines import check_stored_engines
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends.tensorrt_backend import PLAN
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.estimator import Estimator

MIN_CORRELATION = {"fp32": 0.9999, "mixed": 0.99, "fp16": 0.99}
"""With ONNX Runtime's map, for random weights, whose features hardly vary; the bundled model passes the whole gate."""


MIN_SPEEDUP = 1.3
"""How many times as fast as in fp32 an engine in half precision must be: else it is fp32 too (NVIDIA/TensorRT#4590)."""

FIRST = Plan("vits", (308, 406), "fp16")
FURTHER = (
    Plan("vits", (308, 406), "fp32"),
    Plan("vitl", (518, 518), "mixed"),
    Plan("vitl", (518, 518), "fp32"),
    Plan("vitb", (518, 518), "mixed"),
    Plan("vitb", (518, 518), "fp32"),
    Plan("vits", (308, 406), "mixed"),
)
DRY_FIRST = Plan("tiny", (56, 70), "fp16")
DRY_FURTHER = (Plan("tiny", (56, 70), "fp32"),)


def run(place: StepContext, results: Results) -> None:
    """See the module."""
    os.environ["DEPTH_ANYTHING_ROS_CACHE"] = str(place.folder / "cache")
    logging.basicConfig(level=logging.INFO)
    with for_cuda(place):
        if not _starts(results):
            return
        with Watched() as watched, noted_precisions(results):
            _run_all(place, results, watched)


def _run_all(place: StepContext, results: Results, watched: Watched) -> None:
    """Every part by itself, in order of worth."""
    built: dict[Plan, Estimator] = {}
    first, further = (DRY_FIRST, DRY_FURTHER) if place.is_dry else (FIRST, FURTHER)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3) if place.is_dry else (480, 640, 3), np.uint8)
    with part(results, "the first engine"):
        built[first] = _build(first, place, results)
        with part(results, "what a frame costs"):
            _frames(built[first], image, 5 if place.is_dry else 200, results)
    with part(results, "half precision is faster"):
        built[further[0]] = _build(further[0], place, results)
        _compare_speeds(built, further[0], place, results)
    with part(results, "the bundled model passes the gate"):
        _bundled(results)
    check_stored_engines(place, results)
    with part(results, "several images at once"):
        _batches(results, image)
    with part(results, "a graph of any size"):
        _any_size(place, results, image)
    for name, call in DIFFERING.items():
        ran = "executed" if watched.has_run(call) else "not executed"
        results.add("TensorRT's calls that differ between releases", call=name, releases=call.releases, here=ran)
    for plan in further[1:]:
        with part(results, f"{plan.encoder} in {plan.precision}"):
            built[plan] = _build(plan, place, results)
            _compare_speeds(built, plan, place, results)


def _starts(results: Results) -> bool:
    """Whether TensorRT is here and makes a builder: where not, one line says so, and the time is left to others."""
    try:
        tensorrt = importlib.import_module("tensorrt")
        messages = importlib.import_module("depth_anything_ros.runtime.backends.tensorrt_messages").MESSAGES
        if hasattr(tensorrt, "Builder"):  # the stand-in builds otherwise
            tensorrt.Builder(messages)
    except Exception as error:
        results.check("TensorRT starts", False, f"{type(error).__name__}: {error}")
        return False
    results.note(f"TensorRT {tensorrt.__version__}.")
    return True


def _build(plan: Plan, place: StepContext, results: Results) -> Estimator:
    """Builds, compares with ONNX Runtime, and times."""
    path, started = graph(weights_of(plan, place), plan.size), time.perf_counter()
    estimator = Estimator(path, "tensorrt", precision=plan.precision, gated=False, fallback=False)
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
    results.judge(name, ours, correlated(theirs, MIN_CORRELATION[plan.precision]))
    return estimator


def _bundled(results: Results) -> None:
    for precision in ("fp16", "mixed", "fp32"):
        with part(results, f"the bundled model passes the gate in {precision}"):
            estimator = Estimator("tiny", "tensorrt", precision=precision, fallback=False)
            estimator.load_for(480, 640)
            results.add("The gate, with the bundled model", precision=precision, verdict=estimator.gate_result)


def _compare_speeds(built: dict[Plan, Estimator], newest: Plan, place: StepContext, results: Results) -> None:
    """Of two engines of a network and a size that is in fp32 must be the slower one, by the engine's own time."""
    for half, full in combinations(sorted(built, key=lambda plan: plan.precision == "fp32"), 2):
        if newest not in (half, full) or half[:2] != full[:2] or full.precision != "fp32":
            continue
        image = gate.images()[0][: newest.size[0], : newest.size[1]]
        engines = {plan: _engine(built[plan], image) for plan in (half, full)}
        taken: dict[Plan, list[float]] = {plan: [] for plan in engines}
        for _ in range(3):
            for plan, engine in engines.items():
                taken[plan].append(stage_ms(engine, image, 20 if place.is_dry else 100)["engine"])
        times = np.array([np.median(taken[plan]) for plan in (half, full)])
        results.judge(f"{half.encoder} is faster in {half.precision} than in fp32", times, faster(MIN_SPEEDUP))


def _engine(estimator: Estimator, image: np.ndarray) -> Any:
    """The bare engine, through which a frame has gone."""
    from depth_anything_ros.runtime.backends.tensorrt_engine import TensorRtEngine

    (stored,) = estimator.engines()
    engine = TensorRtEngine(stored.path(PLAN).read_bytes(), cuda_driver.devices()[0])
    engine.estimate(image)
    return engine


def _frames(estimator: Estimator, image: np.ndarray, rounds: int, results: Results) -> None:
    """The whole frame, the bare engine, each stage, with and without a CUDA graph, and what a frame allocates."""
    out = np.empty(image.shape[:2], np.float32)
    estimator.estimate(image, out=out)
    engine = _engine(estimator, image)
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


def _any_size(place: StepContext, results: Results, image: np.ndarray) -> None:
    """A graph whose size is free builds nothing before the first image, and then one engine, for its size."""
    sys.path.insert(0, str(TESTS))
    from small_graphs import red_graph, relative_record, save_graph

    record = relative_record(input_size=(24, 24), input_multiple=2)
    path = save_graph(red_graph(None, record), place.folder / "free.onnx")
    estimator = Estimator(path, "tensorrt", precision="fp16", fallback=False)
    results.check("the claim of any size is proved without an engine", estimator.waits_for_image)
    expected = Estimator(path, "onnxruntime").estimate(image)
    judged = correlated(expected, 0.99)
    results.judge("a graph of any size gives what ONNX Runtime gives", estimator.estimate(image).copy(), judged)
    results.check("one engine is built for the first image", len(estimator.engines()) == 1)


def _batches(results: Results, image: np.ndarray) -> None:
    """Images of several sizes, with the bundled model, whose graphs have several."""
    estimator = Estimator("tiny", "tensorrt", precision="fp16", gated=False, fallback=False)
    images = [image, image[::-1], image[: image.shape[0] // 2]]
    together = estimator.estimate_batch(images)
    alone = [estimator.estimate(one) for one in images]
    least = min(correlation(one, other) for one, other in zip(together, alone, strict=True))
    results.check("images together give what they give alone", least > 0.9999, f"correlation {least:.6f}")
