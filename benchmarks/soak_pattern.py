"""Images that tell their own stamp, and what the depth node must make of each of them, to the last bit.

An image has eight upright bands whose red values are the eight bytes of a number scrambled out of its stamp. The model
of the soak test sees inverse depth = red / 255, so that depth or points under a stamp that is not theirs show.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

BANDS = 8
MODEL_SIZE = (480, 640)
"""(height, width) of the model's input, and of the usual image: nothing is resized."""
FAINT = 2e-6
"""Relative difference that resizing may make; where nothing is resized there is none."""


def band_reds(stamp: int) -> np.ndarray:
    """The red values uint8 (8,) of the image with that stamp in nanoseconds."""
    mask = (1 << 64) - 1
    word = (stamp + 0x9E3779B97F4A7C15) & mask  # splitmix64, whose neighbors have nothing in common
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
    return np.frombuffer((word ^ (word >> 31)).to_bytes(8, "little"), np.uint8)


def image_row(stamp: int, width: int) -> np.ndarray:
    """One row of the image, RGB uint8 (width, 3); all rows are the same."""
    red = band_reds(stamp)[np.arange(width) * BANDS // width]
    return np.stack([red, red ^ 0x55, 255 - red], axis=-1)


def centers(width: int) -> np.ndarray:
    """Columns in the middle of the bands, far from where resizing blurs."""
    return (2 * np.arange(BANDS) + 1) * width // (2 * BANDS)


def depth_row(stamp: int, width: int, scale: tuple[float, float]) -> np.ndarray:
    """Depth in meters of one row, float32 (width,), computed in the order that the model and the node do."""
    red = band_reds(stamp)[np.arange(width) * BANDS // width].astype(np.float32)
    return np.float32(1) / (red / np.float32(255) * np.float32(scale[0]) + np.float32(scale[1]))


def depth_fault(depth: np.ndarray, stamp: int, scale: tuple[float, float]) -> str | None:
    """What is wrong with depth float32 (H, W) under that stamp; None where it is as it must be."""
    expected = depth_row(stamp, depth.shape[1], scale)
    if depth.shape == MODEL_SIZE:
        return None if np.array_equal(depth, np.broadcast_to(expected, depth.shape)) else "depth is of another image"
    columns = centers(depth.shape[1])
    agrees = np.allclose(depth[:, columns], expected[columns], rtol=FAINT, atol=0)
    return None if agrees else f"depth at {depth.shape[1]}x{depth.shape[0]} is of another image"


def cloud_fault(points: np.ndarray, stride: int, width: int, stamp: int, scale: tuple[float, float]) -> str | None:
    """The same for a cloud's points float32 (h, w, 3 or 4) that were taken from every ``stride``-th of ``width``."""
    taken = np.arange(0, width, stride)
    middle = np.unique(np.searchsorted(taken, centers(width)))
    middle, bands = middle[middle < points.shape[1]], depth_row(stamp, width, scale)[taken]
    if not np.allclose(points[:, middle, 2], bands[middle], rtol=FAINT, atol=0):
        return "cloud is of another image"
    z = points[..., 2]
    if width == MODEL_SIZE[1] and not np.all(np.isnan(z) | (z == bands)):
        return "cloud has points of another image"
    if points.shape[2] == 4:
        colors = np.ascontiguousarray(points[:, middle, 3]).view(np.uint8).reshape(-1, len(middle), 4)[..., 2::-1]
        if np.any(colors != image_row(stamp, width)[taken][middle]):
            return "cloud has the colors of another image"
    return None


def write_model(path: Path) -> Path:
    """Writes the model that sees inverse depth = red / 255 at `MODEL_SIZE`. Needs the package `onnx`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord

    constants = {"red_index": np.array(0, np.int64), "full": np.array(255, np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["image", "red_index"], ["red"], axis=3),
            helper.make_node("Cast", ["red"], ["red_float"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["red_float", "full"], ["inverse_depth"]),
        ],
        "red",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *MODEL_SIZE, 3])],
        [helper.make_tensor_value_info("inverse_depth", TensorProto.FLOAT, [1, *MODEL_SIZE])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    record = ModelRecord("red", "inverse_depth", "none", input_size=MODEL_SIZE, input_multiple=1)
    helper.set_model_props(model, {METADATA_KEY: record.to_json()})
    onnx.save(model, path)
    return path
