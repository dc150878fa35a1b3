"""Rendered scenes for a "network" that is exact at one focal length, like a metric network.

Such a network returns the depth for its training lens: the true depth times f_training / f. The pixels contain it,
and the graph reads it there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.images.resizing import resize_map
from depth_anything_ros.synthetic import pictures, textures, tracing
from depth_anything_ros.synthetic.appearance import Material
from depth_anything_ros.synthetic.scene import Scene, View
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord

STEP = 0.002
"""Meters of one step of the 16 bits in a pixel's red and green."""
NETWORK = (48, 64)
"""(height, width) of the graph's input; cameras have twice as many pixels per side."""
FIELDS_OF_VIEW = (35.0, 60.0, 100.0)
TRAINING_FOCAL = Camera.from_field_of_view(NETWORK[1], NETWORK[0], 60.0).fx


def write_metric_model(path: Path, **record: object) -> Path:
    """Write a graph that returns the depth from `pixels_of`, in meters, with a record of these fields."""
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["values", "digits"], ["parts"]),
        helper.make_node("ReduceSum", ["parts", "axis"], ["depth"], keepdims=0),
    ]
    constants = {
        "digits": np.array([256 * STEP, STEP, 0], np.float32),
        "axis": np.array([3], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "exact",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *NETWORK, 3])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, *NETWORK])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = ModelRecord("exact", "depth", "none", input_size=NETWORK, input_multiple=1, **record)
    helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    onnx.save(model, path)
    return path


def seen_by_the_network(field_of_view: float, reference: float) -> tuple[np.ndarray, np.ndarray, Camera]:
    """Return true depth, the image whose depth is right for the network at ``reference``, and the camera.

    Depth float32 and image have twice the network's sides, the camera as many pixels as the network.
    """
    depth, camera = rendered(field_of_view)
    return resize_map(depth, (2 * NETWORK[0], 2 * NETWORK[1])), pixels_of(depth * reference / camera.fx), camera


def rendered(field_of_view: float) -> tuple[np.ndarray, Camera]:
    """True depth float32 of `NETWORK` size, in meters, of a room, and its camera."""
    scene = Scene()
    gray = scene.material(Material(textures.PLAIN, (0.5, 0.5, 0.5)))
    scene.box((0, 6.5, 0), (100, 1.0, 100), gray)  # a wall
    scene.box((0, 0, -1.7), (100, 100, 1.0), gray)  # a floor
    scene.box((-1.5, 4.0, 0), (1.0, 1.0, 4.0), gray, yaw=0.5)
    scene.sphere((0.8, 3.0, 0.1), 0.6, gray)
    view = View((0, 0, 0), (0, 1, -0.1), roll=0.1, field_of_view=field_of_view)
    camera = Camera.from_field_of_view(NETWORK[1], NETWORK[0], field_of_view)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
    arrays = scene.pack(view.position, pictures.atlas())
    position = np.array(view.position, np.float64)
    _, depth = tracing.trace(arrays, lens, view.rotation(), position, camera.width, camera.height, 1)
    return depth, camera


def pixels_of(network_depth: np.ndarray) -> np.ndarray:
    """RGB uint8, twice the size, in which the graph of `write_metric_model` reads this depth."""
    steps = np.rint(network_depth / STEP).astype(int)
    assert steps.max() < 65536
    rgb = np.stack([steps // 256, steps % 256, np.zeros_like(steps)], axis=-1).astype(np.uint8)
    return rgb.repeat(2, axis=0).repeat(2, axis=1)
