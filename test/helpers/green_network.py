"""A real network small enough to write by hand: its inverse depth is the green channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depth_anything_ros.zoo.record import ModelRecord

onnx = pytest.importorskip("onnx", reason="the tests write a graph with the onnx package")

SIZE = (14, 28)


def write_green_network(path: Path) -> Path:
    """Write an ONNX graph, uint8 [1, 14, 28, 3] to float32 [1, 14, 28], and its record; return the record's path."""
    nodes = [
        onnx.helper.make_node("Gather", ["image", "green"], ["channel"], axis=3),
        onnx.helper.make_node("Cast", ["channel"], ["inverse_depth"], to=onnx.TensorProto.FLOAT),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "green",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [1, *SIZE, 3])],
        [onnx.helper.make_tensor_value_info("inverse_depth", onnx.TensorProto.FLOAT, [1, *SIZE])],
        [onnx.numpy_helper.from_array(np.array(1, np.int64), "green")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    record_file = path.with_name("green.json")
    record_file.write_text(ModelRecord("green", "inverse_depth", "MIT", input_size=SIZE).to_json())
    return record_file
