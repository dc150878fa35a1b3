"""From the network to an ONNX graph that does not hold its weights yet."""

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
"""The first with LayerNormalization as one operator; split up, it overflows in half precision."""

INPUT = "image"
BATCH = "batch"


class ExportError(RuntimeError):
    """A network cannot be exported, or what came out does not compute what the network computes."""


def inference_copy(network: DepthAnything) -> DepthAnything:
    """A copy of the network on the CPU, in float32, for inference."""
    return copy.deepcopy(network).cpu().float().eval().requires_grad_(False)


def exported_record(network: DepthAnything, record: ModelRecord, size: tuple[int, int]) -> ModelRecord:
    """The record as it is written into a graph of that size.

    Raises:
        ExportError: the record describes another network.
    """
    for name in ("encoder", "version", "max_depth"):
        if getattr(record, name) != getattr(network, name):
            raise ExportError(
                f"the record of {record.name!r} says {name} {getattr(record, name)!r}, "
                f"the network is {getattr(network, name)!r}"
            )
    if record.confidence is not None:
        raise ExportError(
            f"the record of {record.name!r} says confidence {record.confidence!r}, the network gives none"
        )
    if (record.is_metric, record.predicts_depth) != (network.max_depth is not None,) * 2:
        raise ExportError(f"the record of {record.name!r} says output {record.output!r}, the network's is not")
    return replace(record, input="uint8_nhwc", input_size=size, files=())


def trace(graph: InferenceGraph, record: ModelRecord) -> onnx.ModelProto:
    """The graph as ONNX, its weights and buffers being inputs under their names in ``graph.state_dict()``.

    Traced with PyTorch's TorchScript exporter: graphs of the newer one run slower in ONNX Runtime.
    """
    height, width = record.input_size
    image = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # this exporter is chosen on purpose
        warnings.filterwarnings("ignore", message="Constant folding")  # done after it, see `fold_constants`
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
    """Removes every input but the image from the graph and returns their names."""
    inputs = list(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend(value for value in inputs if value.name == INPUT)
    return [value.name for value in inputs if value.name != INPUT]


def _describe(model: onnx.ModelProto, record: ModelRecord) -> None:
    """Writes the record, this package's version and room for a seal into the graph, and its output's exact shape."""
    model.producer_name, model.producer_version = "depth_anything_ros", __version__
    model.graph.name = record.name
    del model.graph.value_info[:]
    # Far apart: the one before the weights, the other behind them.
    model.doc_string = BLANK
    onnx.helper.set_model_props(model, {METADATA_KEY: record.to_json(), KEYS[0]: BLANK})
    dimensions = model.graph.output[0].type.tensor_type.shape.dim
    for dimension, value in zip(dimensions[1:], record.input_size, strict=True):
        dimension.ClearField("dim_param")
        dimension.dim_value = value
