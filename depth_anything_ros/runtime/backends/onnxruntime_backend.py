"""ONNX Runtime: on the CPU wherever its wheel installs, and on NVIDIA GPUs through its execution providers."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from depth_anything_ros.runtime import cuda_driver
from depth_anything_ros.runtime.backends import LoadRequest, drop_channel
from depth_anything_ros.runtime.engines import onnxruntime_int8
from depth_anything_ros.runtime.engines.cache import Engine, EngineCache
from depth_anything_ros.runtime.errors import ModelError, UnavailableError

LOG_ERRORS_ONLY = 3
LIBRARY = f"onnxruntime {onnxruntime.__version__}"

PROVIDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}),
    "tensorrt": ("TensorrtExecutionProvider", {}),
    "tensorrt_rtx": ("NvTensorRTRTXExecutionProvider", {}),
}
"""Execution providers, with their options, by what stands behind the colon of a backend's name."""


class OnnxRuntimeBackend:
    """A session around a graph with one image input, whose first output is the map.

    Outputs are bound to memory of our own once their size is known, so that a frame allocates nothing.
    """

    def __init__(self, session: onnxruntime.InferenceSession, path: Path, engine: Engine | None) -> None:
        self.engine = engine
        self._session, self._path = session, path
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._bound: dict[tuple[int, ...], tuple[onnxruntime.IOBinding, np.ndarray]] = {}

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `Backend.run`."""
        try:
            if batch.shape not in self._bound:
                self._bound[batch.shape] = self._bind(batch)
            binding, output = self._bound[batch.shape]
            binding.bind_cpu_input(self._input, batch)
            self._session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise ModelError(f"{self._path}: ONNX Runtime failed: {error}") from error
        return drop_channel(output, len(batch), self._path)

    def _bind(self, batch: np.ndarray) -> tuple[onnxruntime.IOBinding, np.ndarray]:
        """A binding whose output is an array of ours; its size is learnt by running once."""
        (output,) = self._session.run([self._output], {self._input: batch})
        binding = self._session.io_binding()
        binding.bind_ortvalue_output(self._output, onnxruntime.OrtValue.ortvalue_from_numpy(output))
        return binding, output


def load(request: LoadRequest) -> OnnxRuntimeBackend:
    """Makes a session, on the request's device. Raises `ModelError`, or `UnavailableError` where it has none."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS_ONLY
    # Threads that spin while they wait take the processor from the camera's and the middleware's: without it a frame
    # costs half the CPU time, and comes sooner on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if request.threads is not None:
        options.intra_op_num_threads = request.threads
    providers = _providers(request.device)
    engine = _engine(request)
    path = engine.path(onnxruntime_int8.GRAPH) if engine else request.graph.path
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # as above
        raise ModelError(f"{path}: not a readable ONNX file, truncated or damaged: {error}") from error
    wanted = providers[0][0]
    if wanted not in session.get_providers():  # it falls back to the CPU without a word
        raise UnavailableError(f"ONNX Runtime could not start its {wanted}; see what it printed above")
    return OnnxRuntimeBackend(session, path, engine)


def _providers(device: str) -> list[tuple[str, dict[str, Any]]]:
    """The provider of a device, and behind it the CPU for what it cannot do."""
    cpu = ("CPUExecutionProvider", {})
    if not device:
        return [cpu]
    name, settings = PROVIDERS[device]
    if name not in onnxruntime.get_available_providers():
        raise UnavailableError(f"this build of ONNX Runtime has no {name}: install onnxruntime-gpu in its place")
    if not cuda_driver.devices():
        raise UnavailableError(f"{name} needs an NVIDIA GPU: {cuda_driver.why_none()}")
    return [(name, settings), cpu]


def _engine(request: LoadRequest) -> Engine | None:
    """The graph in another precision than its own, built if need be."""
    precision, graph = request.choice.precision, request.graph.path
    if precision == "fp32":
        return None
    if precision == "int8":
        key = request.engine_key(LIBRARY, f"cpu {platform.machine()}")
        return EngineCache().obtain(key, lambda folder: onnxruntime_int8.build(graph, folder), request.building.anew)
    raise ValueError(precision)
