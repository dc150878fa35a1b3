"""Trace the network to an ONNX graph without its weights."""

from __future__ import annotations

import copy
import io
import warnings
from dataclasses import replace

import onnx
import torch

from depth_anything_ros import __version__
from depth_anything_ros.export.inference_graph import InferenceGraph
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord
from depth_anything_ros.zoo.seal import BLANK, KEYS

OPSET = 17
"""The first opset with LayerNormalization as one operator. Split into several, it overflows in half precision."""

INPUT = "image"
BATCH = "batch"


class ExportError(RuntimeError):
    """A network cannot be exported, or the graph does not compute the same as the network."""


def inference_copy(network: DepthAnything) -> DepthAnything:
    """Return a copy of the network on the CPU, in float32, for inference."""
    return copy.deepcopy(network).cpu().float().eval().requires_grad_(False)


def exported_record(network: DepthAnything, record: ModelRecord, size: tuple[int, int]) -> ModelRecord:
    """Return the record for a graph of one size.

    Args:
        network: to export.
        record: must describe the network.
        size: (height, width) of the graph's input.

    Raises:
        ExportError: the record describes another network.
    """
    for name in ("encoder", "version", "max_depth"):
        if getattr(record, name) != getattr(network, name):
            raise ExportError(
                f"the record of {record.name!r} has {name} {getattr(record, name)!r}, "
                f"but the network has {getattr(network, name)!r}"
            )
    if record.confidence is not None:
        raise ExportError(
            f"the record of {record.name!r} has confidence {record.confidence!r}, but the network has no such output"
        )
    if (record.is_metric, record.predicts_depth) != (network.max_depth is not None,) * 2:
        raise ExportError(f"the record of {record.name!r} has output {record.output!r}, but the network's differs")
    return replace(record, input="uint8_nhwc", input_size=size, files=())


def trace(graph: InferenceGraph, record: ModelRecord) -> onnx.ModelProto:
    """Return the graph as ONNX. Weights and buffers are its inputs, with their names in ``graph.state_dict()``.

    It uses PyTorch's TorchScript exporter, since graphs of the newer exporter are slower in ONNX Runtime.

    Args:
        graph: to trace.
        record: from `exported_record`; gives the input size and goes into the metadata.
    """
    height, width = record.input_size
    image = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # the older exporter is used on purpose
        warnings.filterwarnings("ignore", message="Constant folding")  # `fold_constants` does it later
        torch.onnx.export(
            graph,
            (image,),
            stream,
            dynamo=False,
            opset_version=OPSET,
            export_params=False,
            do_constant_folding=False,
            input_names=[INPUT],
            output_names=[record.output],
            dynamic_axes={INPUT: {0: BATCH}, record.output: {0: BATCH}},
        )
    model = onnx.load_model_from_string(stream.getvalue())
    _describe(model, record)
    return model


def take_weight_inputs(model: onnx.ModelProto) -> list[str]:
    """Remove every input except the image from the graph, and return their names."""
    inputs = list(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend(value for value in inputs if value.name == INPUT)
    return [value.name for value in inputs if value.name != INPUT]


def _describe(model: onnx.ModelProto, record: ModelRecord) -> None:
    """Write the record, the package version, room for a seal and the exact output shape into the graph."""
    model.producer_name, model.producer_version = "depth_anything_ros", __version__
    model.graph.name = record.name
    del model.graph.value_info[:]
    # Far apart: one before the weights, the other after them.
    model.doc_string = BLANK
    onnx.helper.set_model_props(model, {METADATA_KEY: record.to_json(), KEYS[0]: BLANK})
    dimensions = model.graph.output[0].type.tensor_type.shape.dim
    for dimension, value in zip(dimensions[1:], record.input_size, strict=True):
        dimension.ClearField("dim_param")
        dimension.dim_value = value
