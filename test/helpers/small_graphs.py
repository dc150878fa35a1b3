"""Manually built ONNX graphs whose output follows from their input, for tests without a network."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto, TensorProto, helper, save

from depth_anything_ros.runtime.backends import load
from depth_anything_ros.runtime.backends.interface import BackendChoice, LoadRequest
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord


def relative_record(name: str = "red", **changes) -> ModelRecord:
    return ModelRecord(**{"name": name, "output": "inverse_depth", "license": "MIT", "input_multiple": 2, **changes})


def red_graph(
    size: tuple[int, int] | None,
    record: ModelRecord | None = None,
    *,
    gain: float = 1.0,
    baked: tuple[int, int] | None = None,
) -> ModelProto:
    """uint8 [N, H, W, 3] to ``gain`` times its red channel, float [N, H, W].

    ``size`` None leaves height and width free. ``baked`` gives every output that size, for any input size.
    """
    height, width = size or ("height", "width")
    constants = {"zero": 0, "one": 1, "last": 3}
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),  # TensorRT does nothing else with bytes
        helper.make_node("Slice", ["values", "zero", "one", "last"], ["channel"]),
        helper.make_node("Squeeze", ["channel", "last"], ["red"]),
        helper.make_node("Mul", ["red", "gain"], ["scaled"]),
    ]
    initializers = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in constants.items()]
    initializers.append(helper.make_tensor("gain", TensorProto.FLOAT, [], [gain]))
    if baked:
        nodes.append(helper.make_node("Resize", ["scaled", "", "", "sizes"], ["output"], mode="nearest"))
        initializers.append(helper.make_tensor("sizes", TensorProto.INT64, [3], [1, *baked]))
    else:
        nodes.append(helper.make_node("Identity", ["scaled"], ["output"]))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, 3])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", "rows", "columns"])
    return _model(nodes, image, output, initializers, record)


def normalized_graph(size: tuple[int, int], channel: int, record: ModelRecord | None = None) -> ModelProto:
    """float [1, 3, H, W] to one of its channels unchanged, [1, 1, H, W] like the output of many networks."""
    nodes = [helper.make_node("Slice", ["input", "start", "end", "axis"], ["output"])]
    initializers = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("start", channel), ("end", channel + 1), ("axis", 1))
    ]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *size])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, *size])
    return _model(nodes, image, output, initializers, record)


def open_graph(path: Path, backend: str = "onnxruntime", precision: str = "fp32", threads: int | None = None):
    """A backend for a graph, without the estimator."""
    graph = read_graph(path)
    request = LoadRequest(
        BackendChoice(backend, precision), graph, relative_record(), graph.input_size or (2, 2), threads
    )
    return load(request)


def save_graph(model: ModelProto, path: Path) -> Path:
    save(model, path)
    return path


def _model(nodes, image, output, initializers, record: ModelRecord | None) -> ModelProto:
    graph = helper.make_graph(nodes, "test", [image], [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if record is not None:
        helper.set_model_props(model, {METADATA_KEY: record.to_json()})
    return model
