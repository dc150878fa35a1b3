"""Convert graphs to half precision with explicit types, for compilers that take types from the graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from depth_anything_ros.runtime.engines.constant_folding import fold_constants
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.zoo.seal import KEYS

GRAPH_PRECISIONS = ("fp32", "fp16", "mixed")
HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT
INTEGERS = {TensorProto.INT32, TensorProto.INT64}
OLDEST_IR = 4
"""The first version of ONNX's format in which a weight need not also be an input."""

FLOAT32_INPUTS = {"Resize": {1, 2}, "Upsample": {1}}
"""Inputs, by position, with sampling positions instead of data: they are float32 for every data type."""
TYPE_ATTRIBUTES = {"to", "dtype", "output_dtype"}

NORMALIZATIONS = {"LayerNormalization", "GroupNormalization", "InstanceNormalization", "Softmax", "LogSoftmax"}
STATISTICS = {"ReduceMean", "Pow", "Sqrt"}
"""Operators of a LayerNormalization in opsets before 17. Its squares overflow in half precision."""
ELEMENTWISE = {"Add", "Sub", "Mul", "Div"}


def typed_graph(graph: Path, precision: str) -> onnx.ModelProto:
    """Read an .onnx file, embed its external data, evaluate its constants and give every tensor a fixed type.

    The input keeps its type (uint8 pixels or float32), and so does a float32 output. Constants are computed in float32
    and rounded once, at the end. Values too small for half precision become zero.

    Args:
        graph: the file.
        precision: "fp32" keeps the types. "fp16" converts every float32 tensor to float16, except where ONNX requires
            float32 and where numbers become integers, since half precision is not exact for sizes above 2048. "mixed"
            also computes the nodes of `float32_nodes` in float32.

    Returns:
        A graph in topological order without the shapes of its inner tensors, with the file's metadata.

    Raises:
        ValueError: the precision is unknown.
        ModelError: the file is missing or not ONNX, a weight overflows in half precision, or the graph has control flow
            or tensors of unknown type.
    """
    if precision not in GRAPH_PRECISIONS:
        raise ValueError(f"precision is {precision!r}, must be one of {', '.join(GRAPH_PRECISIONS)}")
    model, types = _read(graph)
    if precision == "fp32":
        return model
    kept = float32_nodes(model) if precision == "mixed" else set()
    kept |= _nodes_behind_integers(model, types)
    try:
        _HalfWriter(model, types, kept).rewrite()
    except ModelError as error:
        raise ModelError(f"{graph}: {error}") from error
    return model


def float32_nodes(model: onnx.ModelProto) -> set[str]:
    """Return the names of the nodes that "mixed" computes in float32.

    These are normalizations, softmax, and all nodes after the last Resize that a convolution follows. There the depth
    itself appears, and half precision's eleven significant bits are steps of 6 cm at 80 m. The convolution before that
    Resize stays in half precision, since later ones average its rounding. Without such a Resize, these are the last
    convolution and all nodes after it.
    """
    nodes = model.graph.node
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    last = convolutions[-1] if convolutions else len(nodes)
    resizes = [index for index, node in enumerate(nodes[:last]) if node.op_type in FLOAT32_INPUTS]
    kept = {nodes[last].name} if convolutions and not resizes else set()
    behind = set(nodes[resizes[-1] if resizes else last].output) if convolutions else set()
    statistics: set[str] = set()
    for node in nodes:
        in_head = not behind.isdisjoint(node.input)
        if in_head:
            behind.update(node.output)
        if node.op_type in STATISTICS:
            statistics.update(node.output)
        in_statistics = node.op_type in ELEMENTWISE and not statistics.isdisjoint(node.input)
        if in_head or in_statistics or node.op_type in NORMALIZATIONS | STATISTICS:
            kept.add(node.name)
    return kept


def _read(path: Path) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Return the model with constants evaluated and every node named, and the element types of its tensors."""
    try:
        model = onnx.load(path, load_external_data=False)
        # Before the weights are loaded: types do not need them, and with them the message can exceed protobuf's limit.
        types = _element_types(onnx.shape_inference.infer_shapes(model))
        onnx.load_external_data_for_model(model, str(path.parent))
        # The result becomes another file, which must not contain this file's seal.
        model.ClearField("doc_string")
        for entry in [entry for entry in model.metadata_props if entry.key in KEYS]:
            model.metadata_props.remove(entry)
    except (
        OSError,
        ValueError,
        DecodeError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise ModelError(f"{path}: not a readable ONNX file, truncated or damaged: {error}") from error
    graph = model.graph
    if not graph.node:  # an empty or foreign file can be a valid protobuf message
        raise ModelError(f"{path}: not an ONNX graph, or one without nodes")
    _reject_control_flow(path, graph.node)
    weights = {tensor.name for tensor in graph.initializer}
    images = [value for value in graph.input if value.name not in weights]
    del graph.input[:], graph.value_info[:]
    graph.input.extend(images)
    model.ir_version = max(model.ir_version, OLDEST_IR)
    fold_constants(model)
    for index, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return model, types


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def _reject_control_flow(path: Path, nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            raise ModelError(f"{path}: node {node.name!r} is control flow ({node.op_type}); export it without")


def _nodes_behind_integers(model: onnx.ModelProto, types: dict[str, int]) -> set[str]:
    """Return the names of the nodes that compute, from float32, an integer or the scale of a Resize."""
    producers = {name: node for node in model.graph.node for name in node.output}
    requested, nodes = [], set()
    for node in model.graph.node:
        requested += [name for slot, name in enumerate(node.input) if slot in FLOAT32_INPUTS.get(node.op_type, ())]
        if node.op_type == "Cast" and types.get(node.output[0]) in INTEGERS:
            nodes.add(node.name)
            requested += node.input
    while requested:
        name = requested.pop()
        if types.get(name) == FLOAT and name in producers and producers[name].name not in nodes:
            nodes.add(producers[name].name)
            requested += producers[name].input
    return nodes


class _HalfWriter:
    """A writer that copies a graph node by node, and adds a Cast if a tensor is required in another type.

    The float32 form of a tensor has the tensor's name, the half-precision form has that name and a suffix.
    """

    def __init__(self, model: onnx.ModelProto, types: dict[str, int], kept: set[str]) -> None:
        self._graph, self._types, self._kept = model.graph, types, kept
        self._versions = {entry.domain: entry.version for entry in model.opset_import}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._suffix = "/half"
        while any(name.endswith(self._suffix) for name in types):
            self._suffix += "_"
        self._present = {value.name for value in model.graph.input}
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []

    def rewrite(self) -> None:
        """Replace the graph's nodes and initializers. Raises `ModelError`."""
        for node in self._graph.node:
            self._convert(node)
        for value in self._graph.output:
            self._tensor(value.name, FLOAT)
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(self._initializers)

    def _convert(self, node: NodeProto) -> None:
        converted = NodeProto()
        converted.CopyFrom(node)
        del converted.input[:], converted.output[:]
        inputs, outputs = self._half_slots(node)
        for name, half in zip(node.input, inputs, strict=True):
            converted.input.append(self._tensor(name, HALF if half else FLOAT))
        for name, allowed in zip(node.output, outputs, strict=True):
            half = allowed and self._is_float(name)
            converted.output.append(name + self._suffix if half else name)
            if half:
                _make_half(converted)
        self._present.update(converted.output)
        self._nodes.append(converted)

    def _half_slots(self, node: NodeProto) -> tuple[list[bool], list[bool]]:
        """Return for each input and output whether it becomes half precision if it is float32."""
        version = self._versions.get(node.domain)
        if node.name in self._kept or version is None or not onnx.defs.has(node.op_type, version, node.domain):
            return [False] * len(node.input), [False] * len(node.output)
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        float32 = FLOAT32_INPUTS.get(node.op_type, ())
        inputs = [slot not in float32 and _allows_half(schema.inputs, slot) for slot in range(len(node.input))]
        return inputs, [_allows_half(schema.outputs, slot) for slot in range(len(node.output))]

    def _tensor(self, name: str, requested: int) -> str:
        """Return the name of a tensor in the requested type, if it is float32. The first call writes its cast."""
        half = requested == HALF and self._is_float(name)
        key = name + self._suffix if half else name
        if not name or key in self._present:
            return key
        self._present.add(key)
        if name in self._constants:
            tensor = self._constants[name]
            self._initializers.append(_rounded(tensor, key) if half else tensor)
        else:
            source = name if half else name + self._suffix
            self._nodes.append(onnx.helper.make_node("Cast", [source], [key], name=f"{key}/Cast", to=requested))
        return key

    def _is_float(self, name: str) -> bool:
        if not name:
            return False
        if not self._types.get(name):
            raise ModelError(f"the element type of tensor {name!r} cannot be inferred")
        return self._types[name] == FLOAT


def _allows_half(parameters: Sequence[onnx.defs.OpSchema.FormalParameter], slot: int) -> bool:
    return "tensor(float16)" in parameters[min(slot, len(parameters) - 1)].types  # the last can be variadic


def _make_half(node: NodeProto) -> None:
    """Change the attributes that give a node's output type."""
    for attribute in node.attribute:
        if attribute.name in TYPE_ATTRIBUTES and attribute.i == FLOAT:
            attribute.i = HALF
    if node.op_type == "ConstantOfShape":
        values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        value = numpy_helper.to_array(values[0]) if values else np.zeros(1, np.float32)
        del node.attribute[:]
        tensor = _rounded(numpy_helper.from_array(value, node.name), "value")
        node.attribute.append(onnx.helper.make_attribute("value", tensor))


def _rounded(tensor: TensorProto, name: str) -> TensorProto:
    """Return a float32 tensor in half precision, with another name. Raises `ModelError` if a finite value overflows."""
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore", under="ignore"):
        half = values.astype(np.float16)
    if np.isinf(half[np.isfinite(values)]).any():
        greatest = np.abs(values[np.isfinite(values)]).max()
        raise ModelError(
            f"tensor {tensor.name!r} holds {greatest:g}, but half precision ends at {np.finfo(np.float16).max:g}; "
            "use mixed or fp32"
        )
    return numpy_helper.from_array(half, name)
