"""Evaluate at export what does not depend on the image, so that the graph contains results."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator


def fold_constants(model: onnx.ModelProto) -> None:
    """Replace, in place, every node that depends only on embedded initializers with an initializer.

    Initializers with external data stay, with all that depends on them. Their bytes should stay in their file, and the
    runtime folds them when it loads the graph.
    """
    graph = model.graph
    embedded = [tensor for tensor in graph.initializer if tensor.data_location != onnx.TensorProto.EXTERNAL]
    constants = {tensor.name for tensor in embedded} | {""}  # an omitted optional input has an empty name
    constant, dependent = [], []
    for node in graph.node:
        if constants.issuperset(node.input):
            constant.append(node)
            constants.update(node.output)
        else:
            dependent.append(node)
    needed = {name for node in dependent for name in node.input}
    results = [name for node in constant for name in node.output if name in needed]
    values = _evaluate(model, constant, embedded, results)

    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    initializers += [numpy_helper.from_array(value, name) for name, value in zip(results, values, strict=True)]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(dependent)
    graph.initializer.extend(initializers)


def _evaluate(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto], results: list[str]
) -> list[np.ndarray]:
    """Return the values of ``results``, which ONNX's reference implementation computes from ``nodes``."""
    if not results:
        return []
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    graph = onnx.helper.make_graph(nodes, "constants", [], outputs, initializers)
    evaluator = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=model.opset_import))
    return list(evaluator.run(None, {}))
