"""Engines in the cache: loaded again, refused where they must be, and built once where two processes want one."""

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
"""Built often; larger ones would show no more."""
DRY_SMALL = Plan("tiny", (56, 70), "mixed")


def check_stored_engines(place: StepContext, results: Results) -> None:
    """All of it, each part by itself."""
    plan = DRY_SMALL if place.is_dry else SMALL
    with part(results, "an engine is loaded again"):
        _reload(plan, place, results)
    with part(results, "engines that are refused"):
        _refusals(plan, place, results)
    with part(results, "two processes"):
        _two_processes(plan, place, results)


def _open(plan: Plan, place: StepContext) -> Engine:
    path = graph(weights_of(plan, place), plan.size)
    (engine,) = Estimator(path, "tensorrt", precision=plan.precision, gated=False, fallback=False).engines()
    return engine


def _reload(plan: Plan, place: StepContext, results: Results) -> None:
    _open(plan, place)
    started = time.perf_counter()
    engine = _open(plan, place)
    results.check("an engine in the cache is not built again", not engine.is_new)
    results.add("An engine from the cache", seconds=time.perf_counter() - started)


def _refusals(plan: Plan, place: StepContext, results: Results) -> None:
    """Damaged, stale and foreign ones, and those that TensorRT refuses, are built anew; what is no plan is refused."""
    engine = _open(plan, place)
    path = engine.path(PLAN)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again = _open(plan, place)
    results.check("an engine that was cut short is built anew", again.is_new)
    _replace_plan(again.folder, b"not a plan" * 100)
    again = _open(plan, place)
    results.check("a plan that TensorRT refuses is built anew", again.is_new)
    for name, other in {"library": "tensorrt 1.0", "device": "another GPU 1.0"}.items():
        sidecar = json.loads((again.folder / SIDECAR).read_text())
        sidecar["key"][name] = other
        (again.folder / SIDECAR).write_text(json.dumps(sidecar))
        again = _open(plan, place)
        results.check(f"an engine of another {name} is built anew", again.is_new)
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


def _two_processes(plan: Plan, place: StepContext, results: Results) -> None:
    """Both want an engine that is not there yet: one builds it, the other waits for it."""
    path, cache = graph(weights_of(plan, place), plan.size), place.folder / "shared cache"
    command = [sys.executable, "-m", "benchmarks.gpu.one_of_two", str(path), plan.precision, str(place.folder)]
    command += ["--dry"] if place.is_dry else []
    environment = {**os.environ, "DEPTH_ANYTHING_ROS_CACHE": str(cache)}
    started = time.perf_counter()
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    limit = max(5.0, results.seconds_left / 2)
    said = [json.loads((one.communicate(timeout=limit)[0].splitlines() or ["{}"])[-1]) for one in both]
    results.add("Two processes at once", seconds=time.perf_counter() - started)
    results.check(
        "two processes build one engine", sorted(one.get("is_new") for one in said) == [False, True], f"{said}"
    )
    same = said[0].get("map") == said[1].get("map")
    results.check("two processes give the same map", same and "map" in said[0])
