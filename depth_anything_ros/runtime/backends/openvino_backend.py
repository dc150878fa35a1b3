"""OpenVINO on the CPU: the fastest there on x86-64, and reads our ONNX as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from depth_anything_ros.runtime.backends import drop_channel, layout_and_size
from depth_anything_ros.runtime.errors import ModelError

ELEMENT_TYPES = {"u8": "uint8", "f32": "float32"}


class OpenVinoBackend:
    """A graph that OpenVINO compiles for each shape it meets: fixed shapes run faster than free ones."""

    name = "openvino"
    precision = "fp32"

    def __init__(self, core: openvino.Core, model: openvino.Model, path: Path, threads: int | None) -> None:
        self._core, self._model, self._path = core, model, path
        # Left to itself OpenVINO takes bfloat16 where the processor has instructions for it, without a word.
        self._settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._requests: dict[tuple[int, ...], openvino.InferRequest] = {}
        if len(model.inputs) != 1:
            raise ModelError(f"{path}: has {len(model.inputs)} inputs, a monocular depth network has one")
        image = model.input(0)
        partial = image.partial_shape
        if partial.rank.is_dynamic:
            raise ModelError(f"{path}: its input has no known number of axes")
        shape = [None if side.is_dynamic else side.get_length() for side in partial]
        element_type = image.element_type.get_type_name()
        self.layout, self.input_size = layout_and_size(shape, ELEMENT_TYPES.get(element_type, element_type), path)
        self.metadata = _metadata(model)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `Backend.run`."""
        try:
            results = self._request(batch.shape).infer([batch], share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise ModelError(f"{self._path}: OpenVINO failed: {error}") from error
        return drop_channel(results[0], len(batch), self._path)

    def _request(self, shape: tuple[int, ...]) -> openvino.InferRequest:
        if shape not in self._requests:
            model = self._model.clone()
            model.reshape(list(shape))
            compiled = self._core.compile_model(model, "CPU", self._settings)
            self._requests[shape] = compiled.create_infer_request()
        return self._requests[shape]


def load(path: Path, threads: int | None = None) -> OpenVinoBackend:
    """Reads an .onnx file, with its external data if it has any. Raises `ModelError`."""
    core = openvino.Core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ModelError(f"{path}: OpenVINO cannot read it, truncated or damaged: {error}") from error
    return OpenVinoBackend(core, model, path, threads)


def _metadata(model: openvino.Model) -> dict[str, str]:
    """What the ONNX file's metadata_props say; OpenVINO keeps them under "framework"."""
    information = model.get_rt_info()
    if "framework" not in information:
        return {}
    return {name: value.astype(str) for name, value in information["framework"].items()}
