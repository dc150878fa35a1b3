"""Engines in the cache: loaded again, rejected if invalid, and built once for two processes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu.models import Plan, graph, weights_of
from benchmarks.gpu.parts import part
from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import StepContext
from depth_anything_ros.runtime.backends.tensorrt_backend import PLAN
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.engines.cache import SIDECAR, Engine
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator

SMALL = Plan("tiny", (140, 182), "fp16")
"""Small, since it is built often."""
DRY_SMALL = Plan("tiny", (56, 70), "mixed")


def check_stored_engines(context: StepContext, results: Results) -> None:
    """Run all parts.

    Args:
        context: Context of the step.
        results: get the checks.
    """
    plan = DRY_SMALL if context.is_dry else SMALL
    with part(results, "an engine is loaded again"):
        _reload(plan, context, results)
    with part(results, "engines that are rejected"):
        _rejections(plan, context, results)
    with part(results, "two processes"):
        _two_processes(plan, context, results)


def _open(plan: Plan, context: StepContext) -> Engine:
    path = graph(weights_of(plan, context), plan.size)
    (engine,) = Estimator(path, "tensorrt", precision=plan.precision, gated=False, fallback=False).engines()
    return engine


def _reload(plan: Plan, context: StepContext, results: Results) -> None:
    _open(plan, context)
    started = time.perf_counter()
    engine = _open(plan, context)
    results.check("an engine in the cache is not built again", not engine.is_new)
    results.add("An engine from the cache", seconds=time.perf_counter() - started)


def _rejections(plan: Plan, context: StepContext, results: Results) -> None:
    """Check that damaged, stale, foreign and invalid engines are rebuilt, and that an invalid plan is rejected."""
    engine = _open(plan, context)
    path = engine.path(PLAN)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again = _open(plan, context)
    results.check("a truncated engine is rebuilt", again.is_new)
    _replace_plan(again.folder, b"not a plan" * 100)
    again = _open(plan, context)
    results.check("a plan that TensorRT rejects is rebuilt", again.is_new)
    for name, other in {"library": "tensorrt 1.0", "device": "another GPU 1.0"}.items():
        sidecar = json.loads((again.folder / SIDECAR).read_text())
        sidecar["key"][name] = other
        (again.folder / SIDECAR).write_text(json.dumps(sidecar))
        again = _open(plan, context)
        results.check(f"an engine of another {name} is rebuilt", again.is_new)
    from depth_anything_ros.runtime.backends.tensorrt_engine import TensorRtEngine

    try:
        TensorRtEngine(b"not a plan" * 100, cuda_driver.devices()[0])
    except ModelError as error:
        results.check("an invalid plan is rejected with an explanation", "rebuild it" in str(error), str(error))
    else:
        results.check("an invalid plan is rejected with an explanation", False, "it was accepted")


def _replace_plan(folder: Path, content: bytes) -> None:
    """Replace a plan, with a sidecar that declares the new bytes intact."""
    (folder / PLAN).write_bytes(content)
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar["files"][PLAN] = hashlib.sha256(content).hexdigest()
    (folder / SIDECAR).write_text(json.dumps(sidecar))


def _two_processes(plan: Plan, context: StepContext, results: Results) -> None:
    """Start two processes that need a missing engine: one builds it, the other waits for it."""
    path, cache = graph(weights_of(plan, context), plan.size), context.folder / "shared cache"
    command = [sys.executable, "-m", "benchmarks.gpu.one_of_two", str(path), plan.precision, str(context.folder)]
    command += ["--dry"] if context.is_dry else []
    environment = {**os.environ, "DEPTH_ANYTHING_ROS_CACHE": str(cache)}
    started = time.perf_counter()
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    limit = max(5.0, results.seconds_left / 2)
    answers = [json.loads((one.communicate(timeout=limit)[0].splitlines() or ["{}"])[-1]) for one in both]
    results.add("Two processes at once", seconds=time.perf_counter() - started)
    results.check(
        "two processes build one engine", sorted(one.get("is_new") for one in answers) == [False, True], f"{answers}"
    )
    same = answers[0].get("map") == answers[1].get("map")
    results.check("two processes give the same map", same and "map" in answers[0])
