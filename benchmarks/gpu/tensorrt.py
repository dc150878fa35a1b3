"""TensorRT on a real GPU: engines are built, judged, run and rejected, and frames are timed."""

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
"""Relative to ONNX Runtime's map, for random weights, whose features hardly vary. The bundled model passes the gate."""


MIN_SPEEDUP = 1.3
"""Minimum speedup of an engine in half precision over fp32: below it, it runs in fp32 (NVIDIA/TensorRT#4590)."""

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


def run(context: StepContext, results: Results) -> None:
    """Build, check and time engines. A dry run uses stand-ins."""
    os.environ["DEPTH_ANYTHING_ROS_CACHE"] = str(context.folder / "cache")
    logging.basicConfig(level=logging.INFO)
    with for_cuda(context):
        if not _starts(results):
            return
        with Watched() as watched, noted_precisions(results):
            _run_all(context, results, watched)


def _run_all(context: StepContext, results: Results, watched: Watched) -> None:
    """Run every part, the most important first."""
    built: dict[Plan, Estimator] = {}
    first, further = (DRY_FIRST, DRY_FURTHER) if context.is_dry else (FIRST, FURTHER)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3) if context.is_dry else (480, 640, 3), np.uint8)
    with part(results, "the first engine"):
        built[first] = _build(first, context, results)
        with part(results, "what a frame costs"):
            _frames(built[first], image, 5 if context.is_dry else 200, results)
    with part(results, "half precision is faster"):
        built[further[0]] = _build(further[0], context, results)
        _compare_speeds(built, further[0], context, results)
    with part(results, "the bundled model passes the gate"):
        _bundled(results)
    check_stored_engines(context, results)
    with part(results, "several images at once"):
        _batches(results, image)
    with part(results, "a graph without a fixed size"):
        _any_size(context, results, image)
    for name, call in DIFFERING.items():
        ran = "executed" if watched.has_run(call) else "not executed"
        results.add("TensorRT's calls that differ between releases", call=name, releases=call.releases, here=ran)
    for plan in further[1:]:
        with part(results, f"{plan.encoder} in {plan.precision}"):
            built[plan] = _build(plan, context, results)
            _compare_speeds(built, plan, context, results)


def _starts(results: Results) -> bool:
    """Return whether TensorRT can create a builder. If not, one line reports it, and other steps get the time."""
    try:
        tensorrt = importlib.import_module("tensorrt")
        messages = importlib.import_module("depth_anything_ros.runtime.backends.tensorrt_messages").MESSAGES
        if hasattr(tensorrt, "Builder"):  # not in the stand-in
            tensorrt.Builder(messages)
    except Exception as error:
        results.check("TensorRT starts", False, f"{type(error).__name__}: {error}")
        return False
    results.note(f"TensorRT {tensorrt.__version__}.")
    return True


def _build(plan: Plan, context: StepContext, results: Results) -> Estimator:
    """Build an engine, compare it with ONNX Runtime, and time it."""
    path, started = graph(weights_of(plan, context), plan.size), time.perf_counter()
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
        frame_ms=median_ms(lambda: estimator.estimate(image), 5 if context.is_dry else 100),
        correlation=correlation(ours, theirs),
        worst=worst,
    )
    name = f"{plan.encoder} in {plan.precision} matches ONNX Runtime"
    results.judge(name, ours, correlated(theirs, MIN_CORRELATION[plan.precision]))
    return estimator


def _bundled(results: Results) -> None:
    for precision in ("fp16", "mixed", "fp32"):
        with part(results, f"the bundled model passes the gate in {precision}"):
            estimator = Estimator("tiny", "tensorrt", precision=precision, fallback=False)
            estimator.load_for(480, 640)
            results.add("The gate, with the bundled model", precision=precision, verdict=estimator.gate_result)


def _compare_speeds(built: dict[Plan, Estimator], newest: Plan, context: StepContext, results: Results) -> None:
    """Check that of two engines of one network and size the one in fp32 is slower, by the engine's own time."""
    for half, full in combinations(sorted(built, key=lambda plan: plan.precision == "fp32"), 2):
        if newest not in (half, full) or half[:2] != full[:2] or full.precision != "fp32":
            continue
        image = gate.images()[0][: newest.size[0], : newest.size[1]]
        engines = {plan: _engine(built[plan], image) for plan in (half, full)}
        taken: dict[Plan, list[float]] = {plan: [] for plan in engines}
        for _ in range(3):
            for plan, engine in engines.items():
                taken[plan].append(stage_ms(engine, image, 20 if context.is_dry else 100)["engine"])
        times = np.array([np.median(taken[plan]) for plan in (half, full)])
        results.judge(f"{half.encoder} is faster in {half.precision} than in fp32", times, faster(MIN_SPEEDUP))


def _engine(estimator: Estimator, image: np.ndarray) -> Any:
    """Return the bare engine, after one frame."""
    from depth_anything_ros.runtime.backends.tensorrt_engine import TensorRtEngine

    (stored,) = estimator.engines()
    engine = TensorRtEngine(stored.path(PLAN).read_bytes(), cuda_driver.devices()[0])
    engine.estimate(image)
    return engine


def _frames(estimator: Estimator, image: np.ndarray, rounds: int, results: Results) -> None:
    """Time the whole frame, the bare engine and each stage, with and without a CUDA graph; measure allocations."""
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
    results.check("a frame allocates no GPU memory", device_bytes_free() == free)


def _any_size(context: StepContext, results: Results, image: np.ndarray) -> None:
    """Check that a graph without a fixed size builds no engine before the first image, and then one for its size."""
    sys.path.insert(0, str(TESTS))
    from small_graphs import red_graph, relative_record, save_graph

    record = relative_record(input_size=(24, 24), input_multiple=2)
    path = save_graph(red_graph(None, record), context.folder / "free.onnx")
    estimator = Estimator(path, "tensorrt", precision="fp16", fallback=False)
    results.check("support of any size is checked without an engine", estimator.waits_for_image)
    expected = Estimator(path, "onnxruntime").estimate(image)
    judged = correlated(expected, 0.99)
    results.judge("a graph without a fixed size matches ONNX Runtime", estimator.estimate(image).copy(), judged)
    results.check("one engine is built for the first image", len(estimator.engines()) == 1)


def _batches(results: Results, image: np.ndarray) -> None:
    """Compare a batch of images of several sizes with single images; the bundled model has several graphs."""
    estimator = Estimator("tiny", "tensorrt", precision="fp16", gated=False, fallback=False)
    images = [image, image[::-1], image[: image.shape[0] // 2]]
    together = estimator.estimate_batch(images)
    single = [estimator.estimate(one) for one in images]
    least = min(correlation(one, other) for one, other in zip(together, single, strict=True))
    results.check("a batch gives the maps of single images", least > 0.9999, f"correlation {least:.6f}")
