"""ONNX Runtime on the CPU: runs wherever its wheel installs, and needs nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from depth_anything_ros.runtime.backends import drop_channel, layout_and_size
from depth_anything_ros.runtime.errors import ModelError

LOG_ERRORS_ONLY = 3
ELEMENT_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxRuntimeBackend:
    """A session of ONNX Runtime around a graph with one image input and one map output."""

    name = "onnxruntime"
    precision = "fp32"

    def __init__(self, session: onnxruntime.InferenceSession, path: Path) -> None:
        self._session = session
        self._path = path
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{path}: has {len(inputs)} inputs, a monocular depth network has one")
        self._input = inputs[0].name
        self._output = session.get_outputs()[0].name
        shape = [side if isinstance(side, int) else None for side in inputs[0].shape]
        element_type = ELEMENT_TYPES.get(inputs[0].type, inputs[0].type)
        self.layout, self.input_size = layout_and_size(shape, element_type, path)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `Backend.run`."""
        try:
            (maps,) = self._session.run([self._output], {self._input: batch})
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise ModelError(f"{self._path}: ONNX Runtime failed: {error}") from error
        return drop_channel(maps, len(batch), self._path)


def load(path: Path, threads: int | None = None) -> OnnxRuntimeBackend:
    """Loads an .onnx file, with its external data if it has any. Raises `ModelError`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS_ONLY
    # Threads that spin while they wait take the processor from the camera's and the middleware's: without it a frame
    # costs half the CPU time, and comes sooner on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(f"{path}: not a readable ONNX file, truncated or damaged: {error}") from error
    return OnnxRuntimeBackend(session, path)
