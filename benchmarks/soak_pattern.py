"""Images that encode their stamp, and the exact output of the depth node for each of them.

An image has eight vertical bands, whose red values are the eight bytes of a hash of its stamp. The model of the soak
test returns inverse depth = red / 255, so that depth or points under a wrong stamp are detected.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

BANDS = 8
MODEL_SIZE = (480, 640)
"""(height, width) of the model's input and of the normal image: no resizing."""
FAINT = 2e-6
"""Relative tolerance after resizing; without resizing it is zero."""


def band_reds(stamp: int) -> np.ndarray:
    """Return the red values uint8 (8,) of the image with a stamp in nanoseconds."""
    mask = (1 << 64) - 1
    word = (stamp + 0x9E3779B97F4A7C15) & mask  # splitmix64: neighboring inputs give unrelated outputs
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
    return np.frombuffer((word ^ (word >> 31)).to_bytes(8, "little"), np.uint8)


def image_row(stamp: int, width: int) -> np.ndarray:
    """Return one row of the image, RGB uint8 (width, 3); all rows are equal.

    Args:
        stamp: in nanoseconds.
        width: in pixels.
    """
    red = band_reds(stamp)[np.arange(width) * BANDS // width]
    return np.stack([red, red ^ 0x55, 255 - red], axis=-1)


def centers(width: int) -> np.ndarray:
    """Return the center columns of the bands, which resizing does not blur."""
    return (2 * np.arange(BANDS) + 1) * width // (2 * BANDS)


def depth_row(stamp: int, width: int, scale: tuple[float, float]) -> np.ndarray:
    """Return the depth of one row in meters, float32 (width,), with the operations of model and node in their order.

    Args:
        stamp: in nanoseconds.
        width: in pixels.
        scale: a and b of the node.
    """
    red = band_reds(stamp)[np.arange(width) * BANDS // width].astype(np.float32)
    return np.float32(1) / (red / np.float32(255) * np.float32(scale[0]) + np.float32(scale[1]))


def depth_fault(depth: np.ndarray, stamp: int, scale: tuple[float, float]) -> str | None:
    """Return the error of the depth with a stamp; None if it is correct.

    Args:
        depth: float32 (H, W).
        stamp: in nanoseconds.
        scale: a and b of the node.
    """
    expected = depth_row(stamp, depth.shape[1], scale)
    if depth.shape == MODEL_SIZE:
        return None if np.array_equal(depth, np.broadcast_to(expected, depth.shape)) else "depth is of another image"
    columns = centers(depth.shape[1])
    agrees = np.allclose(depth[:, columns], expected[columns], rtol=FAINT, atol=0)
    return None if agrees else f"depth at {depth.shape[1]}x{depth.shape[0]} is of another image"


def cloud_fault(points: np.ndarray, stride: int, width: int, stamp: int, scale: tuple[float, float]) -> str | None:
    """Return the error of the cloud with a stamp; None if it is correct.

    Args:
        points: float32 (h, w, 3 or 4).
        stride: between the columns of the points.
        width: Width of the depth in pixels.
        stamp: in nanoseconds.
        scale: a and b of the node.
    """
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
    """Write the model: inverse depth = red / 255 at `MODEL_SIZE`. Needs the package `onnx`."""
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
