"""The floating-point operations of a graph for one image: its matrix products and convolutions.

A multiplication and an addition count as two. Everything else (softmax, norms, resizing) is not counted, as usual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, ValueInfoProto, shape_inference

Shape = tuple[int, ...]


def count_flops(path: Path, batch_shape: Shape) -> int:
    """Count the operations of one run of an .onnx file.

    Operations on weights alone are not counted, since a runtime computes them once, at load time. External weight
    files are not read.

    Args:
        path: the .onnx file.
        batch_shape: shape of the input.

    Raises:
        ValueError: the shape of a product is unknown before the graph runs.
    """
    model = onnx.load(path, load_external_data=False)
    weights = {value.name for value in model.graph.initializer}
    (image,) = [value for value in model.graph.input if value.name not in weights]
    _fix_shape(image, batch_shape)
    for value in model.graph.output:  # exported shapes may be for another batch size
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = _shapes(graph)
    constants = _constants(graph)
    return sum(
        _COUNTS[node.op_type](node, shapes)
        for node in graph.node
        if node.op_type in _COUNTS and node.output[0] not in constants
    )


def _fix_shape(value: ValueInfoProto, shape: Shape) -> None:
    dimensions = value.type.tensor_type.shape.dim
    if len(dimensions) != len(shape):
        raise ValueError(f"the graph's input has {len(dimensions)} dimensions, the batch {len(shape)}")
    for dimension, side in zip(dimensions, shape, strict=True):
        dimension.ClearField("dim_param")
        dimension.dim_value = side


def _shapes(graph: GraphProto) -> dict[str, Shape]:
    """Return shapes by name, without those with an unknown dimension."""
    shapes = {value.name: tuple(value.dims) for value in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(side.HasField("dim_value") for side in tensor.shape.dim):
            shapes[value.name] = tuple(side.dim_value for side in tensor.shape.dim)
    return shapes


def _constants(graph: GraphProto) -> set[str]:
    """Return the names of values that no input affects; nodes are in execution order."""
    constants = {value.name for value in graph.initializer} | {""}
    for node in graph.node:
        if constants.issuperset(node.input):
            constants.update(node.output)
    return constants


def _shape(node: NodeProto, name: str, shapes: Mapping[str, Shape]) -> Shape:
    if name not in shapes:
        raise ValueError(f"{node.op_type} {node.name!r}: the shape of {name!r} is unknown before the graph runs")
    return shapes[name]


def _matrix_product(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Each output element sums over the first factor's last axis; for a transposed Gemm over its first."""
    first = _shape(node, node.input[0], shapes)
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2 * math.prod(_shape(node, node.output[0], shapes)) * first[0 if transposed else -1]


def _convolution(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Each output element sums over a kernel (out, in / groups, height, width) without its first axis."""
    kernel = _shape(node, node.input[1], shapes)
    return 2 * math.prod(_shape(node, node.output[0], shapes)) * math.prod(kernel[1:])


def _transposed_convolution(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Each input element spreads over a kernel (in, out / groups, height, width) without its first axis."""
    kernel = _shape(node, node.input[1], shapes)
    return 2 * math.prod(_shape(node, node.input[0], shapes)) * math.prod(kernel[1:])


_COUNTS = {
    "MatMul": _matrix_product,
    "Gemm": _matrix_product,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
}
