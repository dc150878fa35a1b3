"""Make a depth model of a graph that predicts a point map, as MoGe does.

MoGe's points lack a shift along the optical axis. Its own code finds the shift and the focal length outside of the
graph: those with which the points project to their pixels. Here the graph does that itself. The focal length with the
least squared error follows from the shift, so only the shift is searched, on a grid that becomes finer in each round.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from depth_anything_ros.runtime.backends import REFERENCE, load
from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.system.atomic_file import naming
from depth_anything_ros.zoo.peers import PointMap
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord
from depth_anything_ros.zoo.seal import BLANK, KEYS, write_seal

CONFIDENCE = "confidence"
"""The graph's second output: the mask of the point map."""
SAMPLES = 48
"""Rows, and columns, of the points that the shift is fitted to."""
ROUNDS = ((1.5, 7.5, 31), (0.0, 0.5, 21), (0.0, 0.05, 21), (0.0, 0.005, 21))
"""Center, half width and number of candidates of ln((nearest depth) / (mean depth behind it)), from the best so far."""


def export_point_map(graph: Path, record: ModelRecord, ports: PointMap, size: tuple[int, int], path: Path) -> None:
    """Write a graph of one size that predicts depth, with the record in it.

    Args:
        graph: takes RGB float32 [N, 3, H, W] from 0 to 1, and predicts a point map.
        record: of the model.
        ports: the names of the graph's inputs and outputs.
        size: (height, width) of the input.
        path: the file to write.

    Raises:
        ModelError: the graph has other inputs or outputs, or does not run.
        OSError: a file cannot be read or written.
    """
    model = onnx.load(graph)
    _fix_inputs(model, ports, size, graph)
    _append_depth(model, ports, size, graph)
    record = replace(record, input_size=size, files=(), confidence=CONFIDENCE)
    model.doc_string = BLANK
    helper.set_model_props(model, {METADATA_KEY: record.to_json(), KEYS[0]: BLANK})
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        candidate = Path(folder) / path.name
        onnx.save(model, candidate)
        write_seal(candidate)
        # Fails here, and not on a robot, if the graph cannot run at this size.
        load(LoadRequest(REFERENCE, read_graph(candidate), record, size)).run(np.zeros((1, 3, *size), np.float32))
        os.replace(candidate, path)


def _fix_inputs(model: onnx.ModelProto, ports: PointMap, size: tuple[int, int], graph: Path) -> None:
    """Give the image its size, and the number of tokens its value."""
    inputs = {port.name: port for port in model.graph.input}
    missing = {ports.image, *([ports.tokens] if ports.tokens else [])} - set(inputs)
    if missing:
        raise ModelError(f"{graph}: has no input {', '.join(sorted(missing))}, only {', '.join(inputs)}")
    if ports.tokens:
        count = np.array(math.prod(side // ports.patch for side in size), np.int64)
        shape = inputs[ports.tokens].type.tensor_type.shape
        model.graph.initializer.append(numpy_helper.from_array(count.reshape([1] * len(shape.dim)), ports.tokens))
        model.graph.input.remove(inputs[ports.tokens])
    dimensions = inputs[ports.image].type.tensor_type.shape.dim
    fixed = tuple(dimension.dim_value for dimension in dimensions)[2:]
    if any(side not in (0, wanted) for side, wanted in zip(fixed, size, strict=True)):
        raise ModelError(
            f"{graph}: takes images of {fixed[0]}x{fixed[1]} only, must take {size[0]}x{size[1]}; export it for these"
        )
    for dimension, side in zip(dimensions, (1, 3, *size), strict=True):
        dimension.dim_value = side


def _append_depth(model: onnx.ModelProto, ports: PointMap, size: tuple[int, int], graph: Path) -> None:
    """Add the nodes that find the shift, and replace the outputs."""
    names = {port.name for port in model.graph.output}
    missing = {ports.points, ports.mask, *([ports.scale] if ports.scale else [])} - names
    if missing:
        raise ModelError(f"{graph}: has no output {', '.join(sorted(missing))}, only {', '.join(sorted(names))}")
    add = _Nodes(model.graph)
    nearest, gap = _shift(add, ports, size)
    z = add("Gather", ports.points, add.constant(2), axis=3)
    depth = add("Add", add("Sub", z, nearest), gap)
    if ports.scale:
        depth = add("Mul", depth, add("Reshape", ports.scale, add.constant([1, 1, 1])))
    outputs = {"depth": add("Max", depth, add.constant(np.float32(0))), CONFIDENCE: ports.mask}
    for name, source in outputs.items():
        shape = add.constant([1, *size])
        model.graph.node.append(helper.make_node("Reshape", [source, shape], [name]))
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *size]) for name in outputs)


def _shift(add: _Nodes, ports: PointMap, size: tuple[int, int]) -> tuple[str, str]:
    """Return the z of the nearest valid point, and its true depth in the units of the points."""
    steps = [max(1, side // SAMPLES) for side in size]
    ends, axes = add.constant(list(size)), add.constant([1, 2])
    window = (add.constant([0, 0]), ends, axes, add.constant(steps))
    uv = _view_plane(size)[:: steps[0], :: steps[1]].reshape(-1, 2).astype(np.float32)
    points = add("Reshape", add("Slice", ports.points, *window), add.constant([len(uv), 3]))
    x, y, z = (add("Gather", points, add.constant(axis), axis=1) for axis in range(3))
    mask = add("Reshape", add("Slice", ports.mask, *window), add.constant([len(uv)]))
    weight = add("Cast", add("Greater", mask, add.constant(np.float32(ports.threshold))), to=TensorProto.FLOAT)
    # Without any valid point all count, so that nothing is divided by zero.
    weight = add("Add", weight, add("Sub", add.constant(np.float32(1)), add("ReduceMax", weight, keepdims=0)))
    is_valid = add("Greater", weight, add.constant(np.float32(0.5)))
    nearest = add("ReduceMin", add("Where", is_valid, z, add.constant(np.float32(1e9))), keepdims=0)
    relief = add("Max", add("Sub", z, nearest), add.constant(np.float32(0)))
    total = add("Add", add.sum(weight), add.constant(np.float32(1e-9)))
    mean = add("Add", add("Div", add.sum(add("Mul", weight, relief)), total), add.constant(np.float32(1e-6)))
    u, v = (add.constant(np.ascontiguousarray(uv[:, axis])) for axis in range(2))
    along = add("Mul", weight, add("Add", add("Mul", x, u), add("Mul", y, v)))
    across = add("Mul", weight, add("Add", add("Mul", x, x), add("Mul", y, y)))
    best = add.constant(np.float32(0))
    for center, half, count in ROUNDS:
        grid = np.linspace(center - half, center + half, count, dtype=np.float32)
        logs = add("Add", best, add.constant(grid))
        gaps = add("Reshape", add("Mul", add("Exp", logs), mean), add.constant([count, 1]))
        depth = add("Add", relief, gaps)
        fit = add("Max", add.sum(add("Div", along, depth), 1), add.constant(np.float32(0)))
        norm = add.sum(add("Div", across, add("Mul", depth, depth)), 1)
        explained = add("Div", add("Mul", fit, fit), add("Add", norm, add.constant(np.float32(1e-12))))
        best = add("Gather", logs, add("ArgMax", explained, axis=0, keepdims=0), axis=0)
    return nearest, add("Mul", add("Exp", best), mean)


def _view_plane(size: tuple[int, int]) -> np.ndarray:
    """Return the directions of pixels, float64 (H, W, 2), up to the focal length."""
    height, width = size
    v, u = np.mgrid[0:height, 0:width] + 0.5
    return np.stack([u - width / 2, v - height / 2], axis=-1) / math.hypot(height, width)


class _Nodes:
    """Appends nodes to a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph, self._count = graph, 0

    def __call__(self, kind: str, *inputs: str, **attributes: int) -> str:
        """Append a node, and return the name of its output."""
        name = self._name()
        self._graph.node.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: int | list[int] | np.float32 | np.ndarray) -> str:
        """Append a constant: integers are int64, floating point numbers float32."""
        name, array = self._name(), np.asarray(value)
        kind = np.int64 if array.dtype.kind == "i" else np.float32
        self._graph.initializer.append(numpy_helper.from_array(array.astype(kind), name))
        return name

    def sum(self, name: str, axis: int = 0) -> str:
        """Append a sum over one axis, which disappears."""
        return self("ReduceSum", name, self.constant([axis]), keepdims=0)

    def _name(self) -> str:
        self._count += 1
        return f"depth_anything_ros_{self._count}"
