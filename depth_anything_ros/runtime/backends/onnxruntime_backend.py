"""ONNX Runtime: on the CPU of every platform with a wheel, and on NVIDIA GPUs through its execution providers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from depth_anything_ros.runtime.backends.interface import MAX_BATCH, LoadRequest, drop_channel
from depth_anything_ros.runtime.backends.onnxruntime_providers import add_provider
from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.cuda import packages as cuda_packages
from depth_anything_ros.runtime.engines.cache import Engine, EngineCache
from depth_anything_ros.runtime.engines.onnxruntime_int8 import quantize
from depth_anything_ros.runtime.errors import ModelError, UnavailableError, UnavailablePrecisionError, in_a_line
from depth_anything_ros.system.lru_cache import LruCache

LOG_ERRORS_ONLY = 3
LIBRARY = f"onnxruntime {onnxruntime.__version__}"
GRAPH = "model.onnx"
"""Name of an engine's file."""


class OnnxRuntimeBackend:
    """A session of a graph with one image input.

    After the first run, outputs are bound to this object's memory, so that a frame allocates nothing.

    Args:
        session: the session.
        path: of its file, for errors.
        engine: see `Backend`.
        depth: name of the output with the map; default: the first.
        confidence: name of the output with the confidence, or None.
        batches: see `Backend`.
    """

    resizes = False

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        path: Path,
        engine: Engine | None,
        depth: str | None = None,
        confidence: str | None = None,
        batches: bool = False,
    ) -> None:
        self.engine, self.batches, self.gives_confidence = engine, batches, confidence is not None
        self._session, self._path = session, path
        self._input = session.get_inputs()[0].name
        self._depth, self._confidence = depth or session.get_outputs()[0].name, confidence
        self._bound: LruCache[tuple, tuple[onnxruntime.IOBinding, list[np.ndarray]]]
        self._bound = LruCache(2 * MAX_BATCH)  # with and without the confidence

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run a batch, see `Backend.run`."""
        (maps,) = self._run(batch, self._depth)
        return drop_channel(maps, len(batch), self._path)

    def run_both(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run a batch, see `ConfidenceBackend.run_both`."""
        assert self._confidence is not None  # callers check `gives_confidence`
        maps, confidences = self._run(batch, self._depth, self._confidence)
        return (
            drop_channel(maps, len(batch), self._path),
            drop_channel(confidences, len(batch), self._path, "confidence"),
        )

    def _run(self, batch: np.ndarray, *names: str) -> list[np.ndarray]:
        try:
            binding, outputs = self._bound.obtain((batch.shape, names), lambda: self._bind(batch, names))
            binding.bind_cpu_input(self._input, batch)
            self._session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class
            raise ModelError(f"{self._path}: ONNX Runtime failed: {in_a_line(error)}") from error
        return outputs

    def _bind(self, batch: np.ndarray, names: tuple[str, ...]) -> tuple[onnxruntime.IOBinding, list[np.ndarray]]:
        """Bind the outputs to arrays; one run determines their sizes."""
        outputs = self._session.run(list(names), {self._input: batch})
        binding = self._session.io_binding()
        for name, output in zip(names, outputs, strict=True):
            binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(output))
        return binding, outputs


def check(request: LoadRequest) -> None:
    """Check the request's device. Raises `UnavailableError` if ONNX Runtime has no such device here."""
    add_provider(onnxruntime.SessionOptions(), request)


def load(request: LoadRequest) -> OnnxRuntimeBackend:
    """Create a session on the request's device. Raises `ModelError`, or `UnavailableError` without that device."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS_ONLY
    # Spinning threads take the processor from the camera and the middleware. Without spinning, a frame costs half the
    # CPU time, and arrives sooner on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if request.threads is not None:
        options.intra_op_num_threads = request.threads
    providers = add_provider(options, request)
    engine = _engine(request)
    path = engine.path(GRAPH) if engine else request.graph.path
    try:
        # No fallback: it would silently use another provider with other settings.
        session = onnxruntime.InferenceSession(str(path), options, providers=providers or None, enable_fallback=0)
    except Exception as error:  # as above
        if request.device:
            raise ModelError(f"{path}: {request.choice.backend} cannot run it: {in_a_line(error)}") from error
        raise ModelError(
            f"{path}: {LIBRARY} cannot load it; it is damaged, or has operators, an opset or an ONNX version that this "
            f"release does not support: {in_a_line(error)}"
        ) from error
    started = session.get_providers()
    fell_back = providers[0][0] not in started if providers else started == ["CPUExecutionProvider"]
    if fell_back:
        raise UnavailableError(
            f"{LIBRARY} could not start {request.choice.backend}; see its output above. It needs CUDA and cuDNN of "
            f"the release that it was built for; this driver supports pip install {cuda_packages.onnxruntime_gpu()}"
        )
    # TensorRT would build another engine for each batch size. In int8, the activation ranges are those of the batch.
    batches = request.device in ("", "cuda") and request.choice.precision != "int8"
    return OnnxRuntimeBackend(session, path, engine, request.depth_output, request.record.confidence, batches)


def _engine(request: LoadRequest) -> Engine | None:
    """Return the graph in another precision, built if needed; None for fp32.

    INT8 is for this kind of processor, half precision for every GPU.
    """
    precision = request.choice.precision
    if precision == "fp32":
        return None
    build = _build_int8 if precision == "int8" else _build_typed
    key = request.engine_key(LIBRARY, f"cpu {processor()}" if precision == "int8" else "any GPU")
    return EngineCache().obtain(key, lambda folder: build(request, folder / GRAPH), request.building.rebuild)


def _build_int8(request: LoadRequest, path: Path) -> None:
    quantize(request.graph.path, path)


def _build_typed(request: LoadRequest, path: Path) -> None:
    try:
        import onnx

        from depth_anything_ros.runtime.engines.half_precision import typed_graph
    except ImportError as error:
        raise UnavailablePrecisionError(
            f"building a half-precision graph needs the package onnx (pip install onnx): {error}"
        ) from error
    model = typed_graph(request.graph.path, request.choice.precision)
    onnx.save(model, path, save_as_external_data=True, location=f"{GRAPH}.weights")
