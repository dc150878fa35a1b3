"""Foreign ONNX graphs: those from an image to a map run, all others are rejected with the requirement."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs")

from onnx import ModelProto, TensorProto, helper, save

from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.zoo.record import ModelRecord

SIZE = (24, 32)
IMAGE = (1, 3, *SIZE)
MAP = (1, 1, *SIZE)
FLOAT, HALF, DOUBLE, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8


def first_channel(axis: int, squeezed: bool = False) -> tuple[list, list]:
    """Nodes and constants from "x" to its first channel as "red"."""
    constants = {"zero": 0, "one": 1, "axis": axis}
    nodes = [helper.make_node("Slice", ["x", "zero", "one", "axis"], ["sliced" if squeezed else "red"])]
    if squeezed:
        nodes.append(helper.make_node("Squeeze", ["sliced", "axis"], ["red"]))
    return nodes, [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in constants.items()]


def graph_of(nodes: list, constants: list, inputs: list[tuple], outputs: list[tuple]) -> ModelProto:
    ports = [[helper.make_tensor_value_info(*port) for port in side] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "foreign", *ports, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def red(
    shape=IMAGE,
    map_shape=MAP,
    element=FLOAT,
    map_element=FLOAT,
    axis: int = 1,
    squeezed: bool = False,
    name: str = "x",
    map_name: str = "map",
) -> ModelProto:
    """A graph from an input to its first channel, optionally of another element type."""
    nodes, constants = first_channel(axis, squeezed)
    nodes[0].input[0] = name
    nodes.append(helper.make_node("Cast", ["red"], [map_name], to=map_element))
    return graph_of(nodes, constants, [(name, element, shape)], [(map_name, map_element, map_shape)])


def without_shape(model: ModelProto, side: str) -> ModelProto:
    getattr(model.graph, side)[0].type.tensor_type.ClearField("shape")
    return model


def record_of(model: ModelProto) -> ModelRecord:
    is_bytes = model.graph.input[0].type.tensor_type.elem_type == UINT8
    layout = "uint8_nhwc" if is_bytes else "float_nchw"
    options = {"input": layout, "mean": (0, 0, 0), "std": (1, 1, 1), "input_size": SIZE, "input_multiple": 2}
    return ModelRecord("foreign", "inverse_depth", "MIT", **options)


def two_maps(first: str, second: str, features_first: bool = False) -> ModelProto:
    """Red as ``first`` and green as ``second``; or one number per channel before red."""
    nodes, constants = first_channel(1)
    constants.append(helper.make_tensor("two", TensorProto.INT64, [1], [2]))
    nodes[0].output[0] = first
    if features_first:
        nodes.append(helper.make_node("GlobalAveragePool", ["x"], [second]))
        outputs = [(second, FLOAT, [1, 3, 1, 1]), (first, FLOAT, MAP)]
    else:
        nodes.append(helper.make_node("Slice", ["x", "one", "two", "axis"], [second]))
        outputs = [(first, FLOAT, MAP), (second, FLOAT, MAP)]
    return graph_of(nodes, constants, [("x", FLOAT, IMAGE)], outputs)


RUNS = {
    "bytes": red((1, *SIZE, 3), (1, *SIZE), UINT8, axis=3, squeezed=True),
    "bytes, a channel left at the end": red((1, *SIZE, 3), (1, *SIZE, 1), UINT8, axis=3),
    "any number of images of any size, by names": red(("b", 3, "h", "w"), ("b", 1, "h", "w")),
    "all axes of one name": red(("n", "n", "n", "n"), ("n", 1, "n", "n")),
    "-1 for what is free": red((-1, 3, -1, -1), (-1, 1, -1, -1)),
    "odd names": red(name="input image:0", map_name="predicted depth/1"),
    "a half-precision map": red(map_element=HALF),
    "a double-precision map": red(map_element=DOUBLE),
    "an output of unknown rank": without_shape(red(), "output"),
    "numbers besides": two_maps("depth", "features", features_first=True),
}


@pytest.fixture(params=["onnxruntime", "openvino"])
def backend(request) -> str:
    pytest.importorskip(request.param, reason="the backend")
    return request.param


@pytest.mark.parametrize("case", RUNS)
def test_foreign_graph_from_image_to_map_runs(case, backend, tmp_path):
    save(RUNS[case], tmp_path / "foreign.onnx")
    estimator = Estimator(tmp_path / "foreign.onnx", backend, record=record_of(RUNS[case]), precision="fp32")
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    expected = image[..., 0] / (255 if estimator.record.input == "float_nchw" else 1)
    np.testing.assert_allclose(estimator.estimate(image), expected, rtol=1e-3, atol=1e-3)


def of_rank_3() -> ModelProto:
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [0])
    nodes = [helper.make_node("Unsqueeze", ["x", "axis"], ["map"])]
    return graph_of(nodes, [axis], [("x", FLOAT, [3, *SIZE])], [("map", FLOAT, [1, 3, *SIZE])])


def as_it_is(shape, map_shape) -> ModelProto:
    nodes = [helper.make_node("Identity", ["x"], ["map"])]
    return graph_of(nodes, [], [("x", FLOAT, shape)], [("map", FLOAT, map_shape)])


def of_a_sequence() -> ModelProto:
    model = red()
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", FLOAT, IMAGE))
    return model


def with_a_second_input() -> ModelProto:
    model = red()
    model.graph.input.append(helper.make_tensor_value_info("intrinsics", FLOAT, [1, 3, 3]))
    return model


def without_outputs() -> ModelProto:
    model = red()
    del model.graph.output[:]
    return model


WANTS = r"one input, uint8 \[N, H, W, 3\] or float32 \[N, 3, H, W\], with N 1 or free"
GIVES = r"none of its outputs can be a depth map: .*must return \[N, H, W\] or \[N, 1, H, W\] numbers"
REFUSED = {
    "two images": (
        red((2, 3, *SIZE), (2, 1, *SIZE)),
        r"takes exactly 2 images at once .*export it for one",
    ),
    "four images of bytes": (
        red((4, *SIZE, 3), (4, *SIZE), UINT8, axis=3, squeezed=True),
        "takes exactly 4 images at once",
    ),
    "no images": (red((0, 3, *SIZE), (0, 1, *SIZE)), rf"its input is float32 \[0, 3, 24, 32\]; .*{WANTS}"),
    "images of no pixels": (red((1, 3, 0, 0), (1, 1, 0, 0)), rf"its input is float32 \[1, 3, 0, 0\]; .*{WANTS}"),
    "one side fixed": (
        red((1, 3, 24, "w"), (1, 1, 24, "w")),
        rf"float32 \[1, 3, 24, \?\]; .*{WANTS}, H and W both fixed",
    ),
    "planes of bytes": (red(element=UINT8), rf"its input is uint8 \[1, 3, 24, 32\]; .*{WANTS}"),
    "floats in pixels": (red((1, *SIZE, 3), axis=3), rf"its input is float32 \[1, 24, 32, 3\]; .*{WANTS}"),
    "half precision": (red(element=HALF), rf"its input is float16 .*{WANTS}.*must keep a float32 input"),
    "double precision": (red(element=DOUBLE), rf"its input is float64 .*{WANTS}"),
    "booleans": (red(element=TensorProto.BOOL), rf"its input is bool .*{WANTS}"),
    "gray": (red((1, 1, *SIZE)), rf"its input is float32 \[1, 1, 24, 32\]; .*{WANTS}"),
    "four channels": (red((1, 4, *SIZE)), rf"its input is float32 \[1, 4, 24, 32\]; .*{WANTS}"),
    "rank 3": (of_rank_3(), rf"its input is float32 \[3, 24, 32\]; .*{WANTS}"),
    "unknown rank": (without_shape(red(), "input"), rf"its input is float32 of unknown shape; .*{WANTS}"),
    "a sequence": (of_a_sequence(), rf"its input is no tensor; .*{WANTS}"),
    "two inputs": (
        with_a_second_input(),
        rf"has 2 inputs: x \(float32 .*\), intrinsics \(float32 \[1, 3, 3\]\); .*{WANTS}",
    ),
    "no outputs": (without_outputs(), "can be a depth map: there are none"),
    "three channels": (as_it_is(IMAGE, IMAGE), rf"{GIVES}"),
    "a map of another size": (
        red(map_shape=(1, 1, 12, 16)),
        r"map \(float32 \[1, 1, 12, 16\]\).*with N, H and W of the input",
    ),
    "a map of rank 2": (red(map_shape=SIZE), rf"{GIVES}"),
    "a map of rank 5": (red(map_shape=(1, *MAP)), rf"{GIVES}"),
    "a map of text": (red(map_element=TensorProto.STRING), rf"map \(string .*{GIVES.partition('.*')[2]}"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_foreign_graph_without_image_input_is_rejected(case, tmp_path):
    model, message = REFUSED[case]
    save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError) as error:
        read_graph(tmp_path / "foreign.onnx")
    assert re.search(message, str(error.value)), error.value
    assert "foreign.onnx: " in str(error.value)
    assert "\n" not in str(error.value)


def test_first_of_several_maps_is_used_with_message(backend, tmp_path, caplog):
    model = two_maps("depth", "sky")
    save(model, tmp_path / "foreign.onnx")
    Estimator(tmp_path / "foreign.onnx", backend, record=record_of(model), precision="fp32")
    (line,) = [record.message for record in caplog.records if "several outputs" in record.message]
    assert re.search(r"may be the map: depth, sky; depth is used\. If one is the confidence", line)


@pytest.mark.parametrize("change", ["opset", "ir", "operator"])
def test_unsupported_graph_version_is_named_besides_damage(change, backend, tmp_path):
    model = red()
    if change == "opset":
        model.opset_import[0].version = 99
    elif change == "ir":
        model.ir_version = 99
    else:
        model.graph.node[0].op_type = "Unheard"
    path: Path = tmp_path / "foreign.onnx"
    save(model, path)
    with pytest.raises(
        ModelError, match=r"foreign\.onnx: .* cannot (load|read) it; it is damaged, or has operators"
    ) as error:
        Estimator(path, backend, record=record_of(model), precision="fp32")
    assert "\n" not in str(error.value)
