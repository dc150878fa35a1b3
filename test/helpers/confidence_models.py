"""Real ONNX models, written by the tests, with a confidence output or a free batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from known_models import FRAGILE_TABLE, LARGE, fragile_zero_of_the_image, zero_of_the_image
from onnx import TensorProto, helper, numpy_helper

from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord

Side = int | str


def write_confidence_model(
    path: Path,
    size: tuple[int, int],
    output: str = "inverse_depth",
    *,
    confidence_first: bool = False,
    batch: Side = 1,
    **record: object,
) -> Path:
    """Write a model of that input size (height, width) that returns red / 255, with green / 255 as its confidence.

    Its outputs are named ``output`` and "confidence", in this order unless ``confidence_first``. ``record``: fields of
    its record, such as ``confidence=None``, which hides the second output. ``batch``: a number, or a name for a free
    batch size.
    """
    channels = {output: 0, "confidence": 1}
    if confidence_first:
        channels = dict(reversed(channels.items()))
    return _write(path, channels, size, output, batch, {"confidence": "confidence", **record})


def write_free_batch_model(
    path: Path,
    size: tuple[int, int],
    output: str = "inverse_depth",
    *,
    slowness: int = 0,
    fragile: bool = False,
    **record: object,
) -> Path:
    """Write a model of that input size (height, width) that returns red / 255 for any number of images.

    ``slowness``: number of additional large matrix products. ``fragile``: it fails if a pixel of any image is brighter
    than 200.
    """
    return _write(path, {output: 0}, size, output, "batch", record, slowness, fragile)


def _write(
    path: Path,
    channels: dict[str, int],
    size: tuple[int, int],
    output: str,
    batch: Side,
    record: dict[str, object],
    slowness: int = 0,
    fragile: bool = False,
) -> Path:
    nodes, constants = zero_of_the_image(slowness), {"full": np.array(255, np.float32)}
    if fragile:
        nodes, constants["table"] = fragile_zero_of_the_image(), FRAGILE_TABLE
    elif slowness:
        constants["large"] = LARGE
    for name, channel in channels.items():
        constants[f"{name}_channel"] = np.array(channel, np.int64)
        nodes += [
            helper.make_node("Gather", ["image", f"{name}_channel"], [f"{name}_bytes"], axis=3),
            helper.make_node("Cast", [f"{name}_bytes"], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Div", [f"{name}_float", "full"], [f"{name}_of_1"]),
            helper.make_node("Add", [f"{name}_of_1", "zero"], [name]),
        ]
    graph = helper.make_graph(
        nodes,
        "known",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, *size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *size]) for name in channels],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = {"name": "known", "license": "none", "input_size": size, "input_multiple": 1, **record}
    helper.set_model_props(model, {METADATA_KEY: ModelRecord(output=output, **described).to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
