"""TensorRT's half-precision graphs on the CPU, to measure their rounding errors without a GPU.

ONNX Runtime computes each operator in 32 bits there, and rounds the values between operators. A GPU that also sums in
half precision may be less accurate.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx

from depth_anything_ros.runtime.backends import BACKENDS, REFERENCE, BackendModule
from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from depth_anything_ros.runtime.backends.onnxruntime_backend import load as load_onnxruntime
from depth_anything_ros.runtime.engines.half_precision import typed_graph
from depth_anything_ros.runtime.graph import read_graph

NAME = "half-precision graph"


def load(request: LoadRequest) -> OnnxRuntimeBackend:
    """Load the backend; `depth_anything_ros.runtime.backends.load` calls this."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "typed.onnx"
        onnx.save(typed_graph(request.graph.path, request.choice.precision), path)
        return load_onnxruntime(replace(request, choice=REFERENCE, graph=read_graph(path)))


def register() -> None:
    """Register the backend for this process's estimators as `NAME`."""
    BACKENDS[NAME] = BackendModule(__name__, "onnx", ("fp16", "mixed"), None)
