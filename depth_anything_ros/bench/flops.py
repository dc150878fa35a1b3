"""How many floating-point operations a graph does for one image: those of its matrix products and convolutions.

A multiplication and an addition count as two. Everything else (softmax, norms, resizing) is left out, as is usual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, ValueInfoProto, shape_inference

Shape = tuple[int, ...]


def count_flops(path: Path, batch_shape: Shape) -> int:
    """The operations of one run of an .onnx file on a batch of ``batch_shape``.

    What depends on weights alone is not counted: a runtime computes it once, when it loads the graph. Weights that
    lie in other files are not read.

    Raises:
        ValueError: the shape of a product is not known before the graph is run.
    """
    model = onnx.load(path, load_external_data=False)
    weights = {value.name for value in model.graph.initializer}
    (image,) = [value for value in model.graph.input if value.name not in weights]
    _fix_shape(image, batch_shape)
    for value in model.graph.output:  # as exported they may claim a batch of another size
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
        raise ValueError(f"the graph's input has {len(dimensions)} sides, the batch {len(shape)}")
    for dimension, side in zip(dimensions, shape, strict=True):
        dimension.ClearField("dim_param")
        dimension.dim_value = side


def _shapes(graph: GraphProto) -> dict[str, Shape]:
    """Shapes by name; those of which a side is not known are left out."""
    shapes = {value.name: tuple(value.dims) for value in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(side.HasField("dim_value") for side in tensor.shape.dim):
            shapes[value.name] = tuple(side.dim_value for side in tensor.shape.dim)
    return shapes


def _constants(graph: GraphProto) -> set[str]:
    """Names of the values that no input of the graph has a part in; nodes stand in the order they run in."""
    constants = {value.name for value in graph.initializer} | {""}
    for node in graph.node:
        if constants.issuperset(node.input):
            constants.update(node.output)
    return constants


def _shape(node: NodeProto, name: str, shapes: Mapping[str, Shape]) -> Shape:
    if name not in shapes:
        raise ValueError(f"{node.op_type} {node.name!r}: the shape of {name!r} is not known before it is run")
    return shapes[name]


def _matrix_product(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Each element of the output sums over the first factor's last axis, which for Gemm may be its first."""
    first = _shape(node, node.input[0], shapes)
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2 * math.prod(_shape(node, node.output[0], shapes)) * first[0 if transposed else -1]


def _convolution(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Each element of the output sums over a kernel (out, in / groups, height, width) without its first axis."""
    kernel = _shape(node, node.input[1], shapes)
    return 2 * math.prod(_shape(node, node.output[0], shapes)) * math.prod(kernel[1:])


def _transposed_convolution(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Each element of the input is spread by a kernel (in, out / groups, height, width) without its first axis."""
    kernel = _shape(node, node.input[1], shapes)
    return 2 * math.prod(_shape(node, node.input[0], shapes)) * math.prod(kernel[1:])


_COUNTS = {
    "MatMul": _matrix_product,
    "Gemm": _matrix_product,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
}
