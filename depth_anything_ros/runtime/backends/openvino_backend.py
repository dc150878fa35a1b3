"""OpenVINO: the fastest backend on x86-64 processors. Also runs on Intel's GPUs and NPUs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import openvino

from depth_anything_ros.runtime.backends.interface import MAX_BATCH, LoadRequest, drop_channel
from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.engines import openvino_int8
from depth_anything_ros.runtime.engines.cache import Engine, EngineCache
from depth_anything_ros.runtime.errors import ModelError, UnavailableError, UnavailablePrecisionError, in_a_line
from depth_anything_ros.system.lru_cache import LruCache

LIBRARY = f"openvino {openvino.get_version()}"
DEVICES = {"": "CPU", "gpu": "GPU", "npu": "NPU"}

ARITHMETIC = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""OpenVINO's name for the arithmetic of layers that are not quantized. By default it silently uses bfloat16."""


@cache
def core() -> openvino.Core:
    """Return this process's only core, which is never freed.

    On a processor with AMX, each core allocates a signal stack for its thread and takes it back when it is freed. If
    several cores are freed out of order, a freed stack stays in use, and the next SIGINT crashes the process.
    """
    return openvino.Core()


class OpenVinoBackend:
    """A graph that is compiled for each batch shape, since fixed shapes run faster than free ones."""

    resizes = False

    def __init__(
        self, model: openvino.Model, settings: dict[str, object], request: LoadRequest, engine: Engine | None = None
    ) -> None:
        confidence = request.record.confidence
        self.engine, self.gives_confidence = engine, confidence is not None
        self.batches = engine is None  # INT8 engines are built for one image
        self._model, self._settings = model, settings
        self._path, self._device = request.graph.path, DEVICES[request.device]
        self._depth = self._index(request.depth_output) if len(model.outputs) > 1 else 0
        self._confidence = -1 if confidence is None else self._index(confidence)
        self._requests: LruCache[tuple[int, ...], openvino.InferRequest] = LruCache(MAX_BATCH)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run a batch, see `Backend.run`."""
        (maps,) = self._infer(batch, self._depth)
        return drop_channel(maps, len(batch), self._path)

    def run_both(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run a batch, see `ConfidenceBackend.run_both`."""
        maps, confidences = self._infer(batch, self._depth, self._confidence)
        return (
            drop_channel(maps, len(batch), self._path),
            drop_channel(confidences, len(batch), self._path, "confidence"),
        )

    def _index(self, name: str | None) -> int:
        for index, output in enumerate(self._model.outputs):
            if name in output.names:
                return index
        raise ModelError(f"{self._path}: OpenVINO finds no output {name!r}")

    def _infer(self, batch: np.ndarray, *outputs: int) -> list[np.ndarray]:
        try:
            request = self._requests.obtain(batch.shape, lambda: self._request(batch.shape))
            results = request.infer([batch], share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise ModelError(f"{self._path}: OpenVINO failed: {in_a_line(error)}") from error
        return [results[index] for index in outputs]

    def _request(self, shape: tuple[int, ...]) -> openvino.InferRequest:
        return core().compile_model(fixed(self._model, shape), self._device, self._settings).create_infer_request()


def check(request: LoadRequest) -> None:
    """Check the request's device and precision. Raises `UnavailableError` if OpenVINO has no such device here."""
    precision, device = request.choice.precision, DEVICES[request.device]
    available = core().available_devices
    if device not in {name.partition(".")[0] for name in available}:
        raise UnavailableError(f"OpenVINO finds no {device} here, only {', '.join(available)}")
    if precision == "bf16" and not _has_bfloat16(device):
        # Emulated bfloat16 was measured forty times as slow as fp32.
        raise UnavailablePrecisionError(
            f"this processor ({processor()}) has no bfloat16 arithmetic; request fp32, or no precision"
        )


def load(request: LoadRequest) -> OpenVinoBackend:
    """Read a graph for the request's device. Raises `ModelError`, or `UnavailableError` if the device is missing."""
    check(request)
    precision, device = request.choice.precision, DEVICES[request.device]
    # The layers of an INT8 engine that are not quantized use the fastest arithmetic available.
    arithmetic = "bf16" if precision == "int8" and _has_bfloat16(device) else ARITHMETIC[precision]
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": arithmetic}
    if request.threads is not None and device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = request.threads
        settings["ENABLE_CPU_PINNING"] = False  # otherwise two networks of one thread share the first core
    if precision != "int8":
        return OpenVinoBackend(_read(request.graph.path), settings, request)
    shape = request.graph.batch_shape(request.size)
    engine = EngineCache().obtain(
        request.engine_key(LIBRARY, str(processor())),
        lambda folder: openvino_int8.build(request, fixed(_read(request.graph.path), shape), folder),
        request.building.rebuild,
    )
    return OpenVinoBackend(_read(engine.path(openvino_int8.IR)), settings, request, engine)


def _has_bfloat16(device: str) -> bool:
    """Return whether OpenVINO and the device compute in bfloat16. OpenVINO ignores what the environment disables."""
    offered = "BF16" in core().get_property(device, "OPTIMIZATION_CAPABILITIES")
    return offered and (device != "CPU" or processor().bf16)


def fixed(model: openvino.Model, shape: tuple[int, ...]) -> openvino.Model:
    """Return a copy of the model for one input shape.

    Args:
        model: with free sides.
        shape: of its input.
    """
    model = model.clone()
    model.reshape(list(shape))
    return model


def _read(path: Path) -> openvino.Model:
    try:
        return core().read_model(path)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: OpenVINO cannot read it; it is damaged, or has operators that this release does not support: "
            f"{in_a_line(error)}"
        ) from error
