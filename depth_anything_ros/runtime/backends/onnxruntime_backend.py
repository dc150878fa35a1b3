"""ONNX Runtime: on the CPU wherever its wheel installs, and on NVIDIA GPUs through its execution providers."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnxruntime

from depth_anything_ros.runtime.backends import LoadRequest, drop_channel
from depth_anything_ros.runtime.backends.onnxruntime_providers import add_provider
from depth_anything_ros.runtime.engines.cache import Engine, EngineCache
from depth_anything_ros.runtime.engines.onnxruntime_int8 import quantise
from depth_anything_ros.runtime.errors import ModelError, UnavailableError, UnavailablePrecisionError

LOG_ERRORS_ONLY = 3
LIBRARY = f"onnxruntime {onnxruntime.__version__}"
GRAPH = "model.onnx"
"""The file of an engine."""


class OnnxRuntimeBackend:
    """A session around a graph with one image input, whose first output is the map.

    Outputs are bound to memory of our own once their size is known, so that a frame allocates nothing.
    """

    resizes = False

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
    providers = add_provider(options, request)
    engine = _engine(request)
    path = engine.path(GRAPH) if engine else request.graph.path
    try:
        # No fallback: it would be to another provider, with other settings, and without a word.
        session = onnxruntime.InferenceSession(str(path), options, providers=providers or None, enable_fallback=0)
    except Exception as error:  # as above
        if request.device:
            raise ModelError(f"{path}: {request.choice.backend} cannot run it: {error}") from error
        raise ModelError(f"{path}: not a readable ONNX file, truncated or damaged: {error}") from error
    started = session.get_providers()
    fell_back = providers[0][0] not in started if providers else started == ["CPUExecutionProvider"]
    if fell_back:
        raise UnavailableError(f"ONNX Runtime could not start {request.choice.backend}; see what it printed above")
    return OnnxRuntimeBackend(session, path, engine)


def _engine(request: LoadRequest) -> Engine | None:
    """The graph in another precision than its own, built if need be; the same for every GPU."""
    precision = request.choice.precision
    if precision == "fp32":
        return None
    build = _build_int8 if precision == "int8" else _build_typed
    key = request.engine_key(LIBRARY, platform.machine() if precision == "int8" else "any GPU")
    return EngineCache().obtain(key, lambda folder: build(request, folder / GRAPH), request.building.anew)


def _build_int8(request: LoadRequest, path: Path) -> None:
    quantise(request.graph.path, path)


def _build_typed(request: LoadRequest, path: Path) -> None:
    try:
        import onnx

        from depth_anything_ros.runtime.engines.half_precision import typed_graph
    except ImportError as error:
        raise UnavailablePrecisionError(f"building a half-precision graph needs the package onnx: {error}") from error
    model = typed_graph(request.graph.path, request.choice.precision)
    onnx.save(model, path, save_as_external_data=True, location=f"{GRAPH}.weights")
