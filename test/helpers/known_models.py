"""Real ONNX models, written on the spot, whose output is known to the last bit; for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord


def write_constant_model(
    path: Path, values: np.ndarray, output: str = "inverse_depth", slowness: int = 0, **record: object
) -> Path:
    """A model that sees the map ``values`` float32 (H, W) whatever the image shows, and writes it to ``path``.

    ``slowness``: how many large products it computes besides, for nothing.
    """
    nodes = [*zero_of_the_image(slowness), helper.make_node("Add", ["zero", "values"], [output])]
    constants = {"values": values.astype(np.float32)[np.newaxis]}
    if slowness:
        constants["large"] = LARGE
    return _write(path, nodes, constants, values.shape, output, record)


def write_red_model(path: Path, size: tuple[int, int], output: str = "inverse_depth", **record: object) -> Path:
    """A model of that input size (height, width) that sees in each pixel its red value divided by 255."""
    nodes = [
        helper.make_node("Gather", ["image", "red_index"], ["red"], axis=3),
        helper.make_node("Cast", ["red"], ["red_float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["red_float", "full"], [output]),
    ]
    constants = {"red_index": np.array(0, np.int64), "full": np.array(255, np.float32)}
    return _write(path, nodes, constants, size, output, record)


def write_fragile_model(path: Path, size: tuple[int, int]) -> Path:
    """A model that sees 1 everywhere, but fails if a pixel is brighter than 200."""
    nodes = [*fragile_zero_of_the_image(), helper.make_node("Add", ["zero", "ones"], ["inverse_depth"])]
    constants = {"table": FRAGILE_TABLE, "ones": np.ones((1, *size), np.float32)}
    return _write(path, nodes, constants, size, "inverse_depth", {})


FRAGILE_TABLE = np.zeros(201, np.float32)
"""The constant "table" of `fragile_zero_of_the_image`."""


def fragile_zero_of_the_image() -> list[onnx.NodeProto]:
    """Nodes that make "zero", a scalar, by looking the brightest pixel up in a table that ends at 200."""
    return [
        helper.make_node("Cast", ["image"], ["bright_pixels"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["bright_pixels"], ["brightest"], keepdims=0),
        helper.make_node("Gather", ["table", "brightest"], ["zero"], axis=0),
    ]


LARGE = np.ones((1, 900, 900), np.float32)
"""The constant "large" of `zero_of_the_image`."""


def zero_of_the_image(slowness: int) -> list[onnx.NodeProto]:
    """Nodes that make "zero", a scalar, out of the image or images, the long way if so asked."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["brightness"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["brightness", "brightness"], ["difference"]),
    ]
    last = "difference"
    for number in range(slowness):
        grown, shrunk = f"grown_{number}", f"shrunk_{number}"
        nodes.append(helper.make_node("Add", [last, "large"], [f"sum_{number}"]))
        nodes.append(helper.make_node("MatMul", [f"sum_{number}", "large"], [grown]))
        nodes.append(helper.make_node("ReduceMean", [grown], [shrunk], axes=[0, 1, 2], keepdims=0))
        nodes.append(helper.make_node("Sub", [shrunk, shrunk], [f"nothing_{number}"]))
        last = f"nothing_{number}"
    return [*nodes, helper.make_node("Identity", [last], ["zero"])]


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    size: tuple[int, int],
    output: str,
    record: dict[str, object],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "known",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *size, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, *size])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = ModelRecord(name="known", output=output, license="none", input_size=size, input_multiple=1, **record)
    helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
