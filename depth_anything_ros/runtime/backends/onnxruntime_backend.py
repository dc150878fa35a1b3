"""ONNX Runtime on the CPU: runs wherever its wheel installs, and needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from depth_anything_ros.runtime.errors import ModelError

LOG_ERRORS_ONLY = 3
ELEMENT_TYPES = {"uint8_nhwc": "tensor(uint8)", "float_nchw": "tensor(float)"}


class OnnxRuntimeBackend:
    """A session of ONNX Runtime around a graph with one image input and one map output."""

    name = "onnxruntime"

    def __init__(self, session: onnxruntime.InferenceSession, path: Path) -> None:
        self._session = session
        self._path = path
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{path}: has {len(inputs)} inputs, a monocular depth network has one")
        self._input = inputs[0].name
        self._output = session.get_outputs()[0].name
        self.layout, self.input_size = _layout_and_size(inputs[0].shape, inputs[0].type, path)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `Backend.run`. A channel axis of one, which many networks leave in their output, is dropped."""
        try:
            (maps,) = self._session.run([self._output], {self._input: batch})
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise ModelError(f"{self._path}: ONNX Runtime failed: {error}") from error
        if maps.ndim == 4:
            channel = 1 if maps.shape[1] == 1 else 3
            if maps.shape[channel] == 1:
                maps = maps.squeeze(channel)
        if maps.ndim != 3 or len(maps) != len(batch):
            raise ModelError(f"{self._path}: output has shape {maps.shape}, expected ({len(batch)}, height, width)")
        return maps.astype(np.float32, copy=False)


def load(path: Path, threads: int | None = None) -> OnnxRuntimeBackend:
    """Loads an .onnx file, with its external data if it has any. Raises `ModelError`."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
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


def _layout_and_size(
    shape: Sequence[int | str | None], element_type: str, path: Path
) -> tuple[str, tuple[int, int] | None]:
    """The layout and fixed (height, width), if any, that an input of this shape and type asks for."""
    for layout, channel_axis, sides in (("uint8_nhwc", 3, slice(1, 3)), ("float_nchw", 1, slice(2, 4))):
        if element_type != ELEMENT_TYPES[layout] or len(shape) != 4:
            continue
        if shape[channel_axis] != 3 and isinstance(shape[channel_axis], int):
            continue
        size = tuple(shape[sides])
        return layout, size if all(isinstance(side, int) for side in size) else None
    raise ModelError(
        f"{path}: its input is {element_type} {list(shape)}; "
        "needed is uint8 [N, H, W, 3] or float [N, 3, H, W] (half-precision graphs must keep a float input)"
    )
