"""TensorRT on NVIDIA GPUs, desktop and Jetson: engines are built once per machine, verified and cached."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import packages as cuda_packages
from depth_anything_ros.runtime.cuda.driver import CudaDevice
from depth_anything_ros.runtime.engines.cache import Engine, EngineCache
from depth_anything_ros.runtime.errors import ModelError, StaleEngineError, UnavailableError

PLAN = "plan"
"""Name of an engine's file."""

OLDEST = (8, 6)
"""The first release with all required calls, and with a normalization layer."""

log = logging.getLogger(__name__)


class TensorRtBackend:
    """An engine on the first GPU. It takes camera images one by one and resizes them on the GPU."""

    batches = False

    def __init__(self, stored: Engine, device: CudaDevice, depth: str | None, confidence: str | None) -> None:
        from depth_anything_ros.runtime.backends.tensorrt_engine import TensorRtEngine

        self.engine = stored
        path = stored.path(PLAN)
        try:
            serialized = path.read_bytes()
        except FileNotFoundError as error:
            raise StaleEngineError(f"{path}: another process has just replaced it") from error
        self._runner = TensorRtEngine(serialized, device, depth, confidence)
        self.resizes, self.gives_confidence = self._runner.resizes_on_device, self._runner.gives_confidence
        self.estimate, self.run_both = self._runner.estimate, self._runner.run_both
        self.computes_in_half, self.inspected = self._runner.computes_in_half, self._runner.inspected

    def check_precision(self, precision: str) -> None:
        """Reject a new engine whose layers all compute in fp32, although ``precision`` is lower.

        It would be as slow as fp32 without anybody noticing. Raises `ModelError` then.
        """
        if precision == "fp32" or not self.engine.is_new or self.computes_in_half() is not False:
            return
        fault = f"TensorRT built no layer in half precision, although {precision} was requested"
        self.engine.reject(fault)
        raise ModelError(fault)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run a batch, see `Backend.run`."""
        return self._runner.run(batch)


def check(request: LoadRequest) -> CudaDevice:
    """Return the GPU for engines. Raises `UnavailableError` if there is none, or no driver that supports it."""
    # Must come before any use of TensorRT: without a driver, release 8.6 ends the process.
    devices = cuda_driver.devices()
    if not devices:
        raise UnavailableError(f"TensorRT needs an NVIDIA GPU: {cuda_driver.why_none()}")
    import tensorrt

    _check_release(tensorrt.__version__, devices[0].integrated)
    from depth_anything_ros.runtime.backends.tensorrt_messages import warn_of_known_defects
    from depth_anything_ros.runtime.cuda.memory import check_bindings

    warn_of_known_defects(tensorrt.__version__, request.record.encoder is not None)
    check_bindings()  # must come before a build of minutes for an engine that could not run
    return devices[0]


def _check_release(version: str, is_jetson: bool) -> None:
    """Raise `UnavailableError` for a release without the required calls."""
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        newer = "install JetPack 6 or later" if is_jetson else f"pip install {cuda_packages.tensorrt()}"
        raise UnavailableError(f"TensorRT {version} is too old, {OLDEST[0]}.{OLDEST[1]} or later is required: {newer}")


def load(request: LoadRequest) -> TensorRtBackend:
    """Load the engine from the cache, or build it. Raises `ModelError`, `UnavailableError` without a GPU."""
    device, cache = check(request), EngineCache()
    import tensorrt

    library = f"tensorrt {tensorrt.__version__}"
    gpu = f"{device.name} {device.compute_capability}"

    def build(folder: Path) -> None:
        # This module needs the package onnx, which a stored engine does not.
        from depth_anything_ros.runtime.engines.tensorrt_build import build_plan

        serialized = build_plan(
            request.graph.path,
            request.choice.precision,
            request.graph.batch_shape(request.size),
            timing_cache=cache.folder / "timing" / f"{library} {gpu}".replace(" ", "_"),
            workspace=request.building.workspace,
            report=request.building.report,
        )
        (folder / PLAN).write_bytes(serialized)

    key = request.engine_key(library, gpu)
    stored = cache.obtain(key, build, request.building.rebuild)
    outputs = request.depth_output, request.record.confidence
    try:
        backend = TensorRtBackend(stored, device, *outputs)
    except StaleEngineError as error:
        if stored.is_new:
            raise
        log.warning("engine %s is intact but TensorRT rejects it (%s); rebuilding it", stored.folder.name, error)
        backend = TensorRtBackend(cache.obtain(key, build, rebuild=True), device, *outputs)
    backend.check_precision(request.choice.precision)
    return backend
