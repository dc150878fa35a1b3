"""A TensorRT plan made ready to run, by calls that TensorRT 8.6 to 11 have in common."""

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
"""What errors about its tensors call it: a plan is bytes and has no name."""

MAX_ELEMENT_SIZE = 8
"""Bytes of the largest type of element that TensorRT has."""


class Plan:
    """A deserialized plan with one input and fixed shapes, on the current GPU.

    Make one only where `cuda_driver.devices` has found a GPU: TensorRT 8.6 crashes the process elsewhere.

    Args:
        serialized: what TensorRT's builder made, for this TensorRT and this kind of GPU.
        depth: the name of the output that is the map; needed only where there are several.
        confidence: the name of the one that is its confidence, if there is one.

    Attributes:
        layout: "uint8_nhwc" or "float_nchw", as in `Backend.layout`.
        input_dtype: NumPy's name of its input's elements, "uint8" or "float32"; its maps' are float32.
        input_shape: (N, H, W, 3) or (N, 3, H, W).
        input_size: (H, W).
        output_shape: as the network has it, a channel axis of one perhaps in it.
        map_shape: its output's (N, h, w).
        confidence: as above.
        confidence_shape: its confidence's (N, h, w), None where there is none.
        others: every output but the map by name, with the bytes of memory that it needs.

    Raises:
        StaleEngineError: the plan is of another TensorRT or GPU, or damaged.
        ModelError: it is no depth network with fixed shapes.
    """

    def __init__(self, serialized: bytes, depth: str | None = None, confidence: str | None = None) -> None:
        MESSAGES.take_errors()  # an earlier plan's
        try:
            self._runtime = runtime = trt.Runtime(MESSAGES)
        except TypeError as error:  # the bindings' answer to a constructor that returns null
            raise ModelError(f"TensorRT does not start: {MESSAGES.take_errors()}") from error
        self._engine = engine = runtime.deserialize_cuda_engine(serialized)
        if engine is None:
            raise StaleEngineError(
                f"the TensorRT plan is damaged, or made for another GPU or TensorRT than {trt.__version__}; "
                f"build it anew: {MESSAGES.take_errors()}"
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
        self.others = {name: prod(_shape(engine, name)) * MAX_ELEMENT_SIZE for name in others}
        self._context = engine.create_execution_context()
        if self._context is None:
            raise ModelError(f"the GPU's memory does not suffice for this plan: {MESSAGES.take_errors()}")

    def enqueue(self, source: int, target: int, others: Mapping[str, int], stream: SupportsInt) -> None:
        """Puts one execution on a CUDA stream.

        Args:
            source: device address of the batch.
            target: device address for the map.
            others: device addresses for each of `others`: TensorRT computes what nobody asks for, too.
            stream: the stream, or its handle.

        Raises:
            ModelError: TensorRT refuses.
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
        """Whether any layer gives half-precision numbers, by TensorRT's inspector; None where it says nothing of types.

        On some GPUs a builder that may use half precision silently builds float32 (NVIDIA/TensorRT#4590).
        """
        return computes_in_half(self.inspected())

    def inspected(self) -> str:
        """What TensorRT's inspector tells of the layers, as JSON; "" where it tells nothing."""
        inspector = self._engine.create_engine_inspector()
        told = inspector.get_engine_information(trt.LayerInformationFormat.JSON) if inspector else None
        return told or ""

    def close(self) -> None:
        """Frees what TensorRT holds, in the order in which one part needs the next."""
        self._context = None
        self._engine = None
        self._runtime = None


def computes_in_half(told: str) -> bool | None:
    """Whether a layer gives half-precision numbers, of what TensorRT's inspector told as JSON; None where none says."""
    try:
        layers = json.loads(told)["Layers"]
    except (ValueError, KeyError, TypeError):
        return None
    outputs = [output for one in layers if isinstance(one, dict) for output in one.get("Outputs", ())]
    types = [str(output["Format/Datatype"]).lower() for output in outputs if "Format/Datatype" in output]
    known = [name for name in types if "float" in name or "fp" in name or "half" in name]
    return any("half" in name or "fp16" in name for name in known) if known else None


def _names(engine: trt.ICudaEngine, depth: str | None, confidence: str | None) -> tuple[str, str, list[str]]:
    """The names of the only input, of the map, and of all other outputs. Raises `ModelError`."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
    if len(inputs) != 1 or not outputs:
        raise ModelError(
            f"the TensorRT plan has {len(inputs)} inputs and {len(outputs)} outputs, "
            "a monocular depth network has one of each"
        )
    if confidence is not None and confidence not in outputs:
        raise ModelError(f"the TensorRT plan has no output {confidence!r} for the confidence, only {outputs}")
    maps = [name for name in outputs if name != confidence]
    if depth is None or depth not in maps:
        if len(maps) != 1:
            raise ModelError(f"the TensorRT plan has the outputs {outputs}, none of which is named as the depth")
        (depth,) = maps
    return inputs[0], depth, [name for name in outputs if name != depth]


def _map_shape(engine: trt.ICudaEngine, name: str, count: int, kind: str) -> tuple[int, ...]:
    """The (N, h, w) of an output, which errors call ``kind``. Raises `ModelError`."""
    dtype = engine.get_tensor_dtype(name)
    if dtype != trt.DataType.FLOAT:
        raise ModelError(f"the TensorRT plan's {kind} is {dtype}, needed is float32")
    return drop_channel(np.broadcast_to(np.float32(0), _shape(engine, name)), count, PLAN, kind).shape


def _shape(engine: trt.ICudaEngine, name: str) -> tuple[int, ...]:
    """The shape of an input or output. Raises `ModelError`."""
    shape = tuple(engine.get_tensor_shape(name))
    if any(side < 1 for side in shape):
        raise ModelError(f"the TensorRT plan's tensor {name!r} has the shape {shape}: build it for a fixed shape")
    return shape
