"""Run a TensorRT plan, with the calls that TensorRT 8.6 to 11 have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import SupportsInt

import numpy as np
import tensorrt as trt

from depth_anything_ros.runtime.backends.interface import drop_channel
from depth_anything_ros.runtime.backends.tensorrt_messages import MESSAGES
from depth_anything_ros.runtime.errors import ModelError, StaleEngineError
from depth_anything_ros.runtime.graph_ports import Port, layout_and_size

PLAN = Path("TensorRT plan")
"""The path in errors about a plan's tensors: a plan is bytes and has no file name."""

MAX_ELEMENT_SIZE = 8
"""Bytes of TensorRT's largest element type."""


class Plan:
    """A deserialized plan with one input and fixed shapes, on the current GPU.

    Create one only if `cuda_driver.devices` lists a GPU: TensorRT 8.6 crashes the process otherwise.

    Args:
        serialized: from TensorRT's builder, for this TensorRT and this kind of GPU.
        depth: name of the output with the map; required only if there are several.
        confidence: name of the output with the confidence, or None.

    Attributes:
        layout: "uint8_nhwc" or "float_nchw", as in `Graph.layout`.
        input_dtype: NumPy's name of the input's element type, "uint8" or "float32"; the maps' is float32.
        input_shape: (N, H, W, 3) or (N, 3, H, W).
        input_size: (H, W).
        output_shape: of the network, possibly with a channel axis of length one.
        map_shape: (N, h, w) of the map.
        confidence: as given.
        confidence_shape: (N, h, w) of the confidence, None without one.
        other_outputs: bytes of memory for every output except the map, by name.

    Raises:
        StaleEngineError: the plan is for another TensorRT or GPU, or damaged.
        ModelError: it is not a depth network with fixed shapes.
    """

    def __init__(self, serialized: bytes, depth: str | None = None, confidence: str | None = None) -> None:
        MESSAGES.take_errors()  # discards those of an earlier plan
        try:
            self._runtime = runtime = trt.Runtime(MESSAGES)
        except TypeError as error:  # from the bindings, if the constructor returns null
            raise ModelError(f"TensorRT does not start: {MESSAGES.take_errors()}") from error
        self._engine = engine = runtime.deserialize_cuda_engine(serialized)
        if engine is None:
            raise StaleEngineError(
                f"the TensorRT plan is damaged, or was built for another GPU or TensorRT than {trt.__version__}; "
                f"rebuild it: {MESSAGES.take_errors()}"
            )
        self._input, self._output, others = _names(engine, depth, confidence)
        dtypes = {trt.DataType.UINT8: "uint8", trt.DataType.FLOAT: "float32"}
        dtype = engine.get_tensor_dtype(self._input)
        self.input_dtype = dtypes.get(dtype, str(dtype))
        self.input_shape, self.output_shape = (_shape(engine, name) for name in (self._input, self._output))
        self.layout, self.input_size = layout_and_size(
            Port(self._input, self.input_dtype, tuple(self.input_shape)), PLAN
        )
        self.map_shape = _map_shape(engine, self._output, self.input_shape[0], "output")
        self.confidence = confidence
        self.confidence_shape: tuple[int, ...] | None = None
        if confidence is not None:
            self.confidence_shape = _map_shape(engine, confidence, self.input_shape[0], "confidence")
        self.other_outputs = {name: prod(_shape(engine, name)) * MAX_ELEMENT_SIZE for name in others}
        self._context = engine.create_execution_context()
        if self._context is None:
            raise ModelError(f"the GPU has not enough memory for this plan: {MESSAGES.take_errors()}")

    def enqueue(self, source: int, target: int, others: Mapping[str, int], stream: SupportsInt) -> None:
        """Enqueue one execution on a CUDA stream.

        Args:
            source: device address of the batch.
            target: device address for the map.
            others: device addresses for each of `other_outputs`, since TensorRT computes unused outputs too.
            stream: the stream, or its handle.

        Raises:
            ModelError: TensorRT rejects the execution.
        """
        context = self._context
        if not (
            context.set_tensor_address(self._input, source)
            and context.set_tensor_address(self._output, target)
            and all(context.set_tensor_address(name, address) for name, address in others.items())
            and context.execute_async_v3(int(stream))
        ):
            raise ModelError(f"TensorRT cannot run the plan: {MESSAGES.take_errors()}")

    def computes_in_half(self) -> bool | None:
        """Return whether any layer returns half precision, by TensorRT's inspector; None if it reports no types.

        On some GPUs a builder that may use half precision silently builds float32 (NVIDIA/TensorRT#4590).
        """
        return computes_in_half(self.inspected())

    def inspected(self) -> str:
        """Return the report of TensorRT's inspector about the layers, as JSON; "" without one."""
        inspector = self._engine.create_engine_inspector()
        report = inspector.get_engine_information(trt.LayerInformationFormat.JSON) if inspector else None
        return report or ""

    def close(self) -> None:
        """Free TensorRT's objects, each before the one that it depends on."""
        self._context = None
        self._engine = None
        self._runtime = None


def computes_in_half(report: str) -> bool | None:
    """Return whether a layer returns half precision, by the inspector's JSON report; None if it has no types."""
    try:
        layers = json.loads(report)["Layers"]
    except (ValueError, KeyError, TypeError):
        return None
    outputs = [output for one in layers if isinstance(one, dict) for output in one.get("Outputs", ())]
    types = [str(output["Format/Datatype"]).lower() for output in outputs if "Format/Datatype" in output]
    floats = [name for name in types if "float" in name or "fp" in name or "half" in name]
    return any("half" in name or "fp16" in name for name in floats) if floats else None


def _names(engine: trt.ICudaEngine, depth: str | None, confidence: str | None) -> tuple[str, str, list[str]]:
    """Return the names of the only input, of the map, and of all other outputs. Raises `ModelError`."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
    if len(inputs) != 1 or not outputs:
        raise ModelError(
            f"the TensorRT plan has {len(inputs)} inputs and {len(outputs)} outputs, but a monocular depth network "
            "has one input and at least one output"
        )
    if confidence is not None and confidence not in outputs:
        raise ModelError(f"the TensorRT plan has no output {confidence!r} for the confidence, only {outputs}")
    maps = [name for name in outputs if name != confidence]
    if depth is None or depth not in maps:
        if len(maps) != 1:
            raise ModelError(f"the TensorRT plan has the outputs {outputs}, but the record does not name the depth")
        (depth,) = maps
    return inputs[0], depth, [name for name in outputs if name != depth]


def _map_shape(engine: trt.ICudaEngine, name: str, count: int, kind: str) -> tuple[int, ...]:
    """Return the (N, h, w) of an output, called ``kind`` in errors. Raises `ModelError`."""
    dtype = engine.get_tensor_dtype(name)
    if dtype != trt.DataType.FLOAT:
        raise ModelError(f"the TensorRT plan's {kind} is {dtype}, must be float32")
    return drop_channel(np.broadcast_to(np.float32(0), _shape(engine, name)), count, PLAN, kind).shape


def _shape(engine: trt.ICudaEngine, name: str) -> tuple[int, ...]:
    """Return the shape of an input or output. Raises `ModelError`."""
    shape = tuple(engine.get_tensor_shape(name))
    if any(side < 1 for side in shape):
        raise ModelError(f"the TensorRT plan's tensor {name!r} has the shape {shape}: build it for a fixed shape")
    return shape
