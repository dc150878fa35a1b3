"""Bags of a camera that moves through a room with sensors beside it, and a network that is exact in that room.

Everything is known: the scale of the network, the position of each sensor, and the errors of clocks and extrinsics.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from bag_files import TYPES
from onnx import TensorProto, helper, numpy_helper

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord

HEIGHT, WIDTH = 192, 256
CAMERA = Camera.from_field_of_view(WIDTH, HEIGHT, 70.0)
A, B = 0.6, 0.04
STEP = 1e-4
"""The network's output of one step of the 16 bits in a pixel's red and green."""
FRAME = "camera_optical_frame"
BODY = Transform(np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]), np.zeros(3))
"""From a frame with x forward, y left, z up to an optical frame."""
START = 1000.0
"""Seconds: the first stamp."""
ROOM = np.array([[-4.0, -1.5, -4.0], [4.0, 1.2, 5.0]])
"""Meters: lowest and highest corner; y is down."""
BOXES = np.array(
    [
        [[-1.4, -0.3, 2.0], [-0.8, 1.2, 2.5]],
        [[0.5, -1.5, 2.6], [0.8, 1.2, 2.9]],
        [[1.2, 0.3, 1.6], [1.8, 1.2, 2.2]],
        [[-0.3, 0.5, 3.2], [0.3, 1.2, 3.8]],
        [[-3.0, -1.5, 2.4], [-2.6, 1.2, 2.8]],
        [[2.4, -0.8, 3.0], [3.0, 0.0, 3.6]],
    ]
)


def pose(time: float) -> Transform:
    """From the camera's optical frame to the room, some seconds after the start: it turns to and fro and rolls."""
    angles = (0.12 * math.sin(4.1 * time), 0.4 * math.sin(2.3 * time), 0.1 * math.sin(3.3 * time + 1))
    position = (0.3 * math.sin(1.1 * time), 0.1 * math.sin(1.7 * time), 0.4 * math.sin(0.9 * time))
    return Transform(cv2.Rodrigues(np.array(angles))[0], np.array(position))


def distances(origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Return how far rays (N, 3) of any length go, in their lengths: to a box, or to a wall of the room."""
    with np.errstate(divide="ignore", invalid="ignore"):
        entry = (np.concatenate([BOXES, ROOM[np.newaxis]])[:, :, np.newaxis] - origin) / rays
    near, far = entry.min(axis=1).max(axis=-1), entry.max(axis=1).min(axis=-1)
    boxes = np.where((near < far) & (near > 0), near, np.inf)[:-1]
    return np.minimum(boxes.min(axis=0), far[-1])


def depth_seen(place: Transform, camera: Camera = CAMERA) -> np.ndarray:
    """Depth in meters, float64 (H, W), of a camera at a place: from its optical frame to the room."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    rays = camera.back_project(pixels, np.ones(len(pixels)))
    return distances(place.translation, rays @ place.rotation.T).reshape(camera.height, camera.width)


def picture(place: Transform) -> np.ndarray:
    """The image, RGB uint8, in which `write_network` reads the inverse depth."""
    steps = np.rint((1 / depth_seen(place) - B) / A / STEP).astype(int)
    assert steps.min() >= 0
    assert steps.max() < 65536
    return np.stack([steps // 256, steps % 256, np.full_like(steps, 90)], axis=-1).astype(np.uint8)


def write_network(path: Path, output: str = "inverse_depth", gain: float = 1.0, **record: object) -> Path:
    """Write a graph that reads x of 1 / Z = A x + B from `picture`; with the output "depth" it gives Z * gain."""
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["values", "digits"], ["parts"]),
        helper.make_node("ReduceSum", ["parts", "axis"], ["x"], keepdims=0),
    ]
    constants = {"digits": np.array([256 * STEP, STEP, 0], np.float32), "axis": np.array([3], np.int64)}
    if output == "depth":
        constants |= {name: np.array(value, np.float32) for name, value in {"a": A, "b": B, "gain": gain}.items()}
        nodes += [
            helper.make_node("Mul", ["x", "a"], ["ax"]),
            helper.make_node("Add", ["ax", "b"], ["inverse"]),
            helper.make_node("Div", ["gain", "inverse"], ["depth"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["x"], [output]))
    graph = helper.make_graph(
        nodes,
        "exact",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, HEIGHT, WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = ModelRecord("exact", output, "none", input_size=(HEIGHT, WIDTH), input_multiple=1, **record)
    helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    onnx.save(model, path)
    return path


def stamped(kind: str, time: float, frame: str, *values: object) -> Any:
    """A message of sensor_msgs with a header, some seconds after the start."""
    nanoseconds = round(1e9 * (START + time))
    stamp = TYPES.types["builtin_interfaces/msg/Time"](*divmod(nanoseconds, 10**9))
    header = TYPES.types["std_msgs/msg/Header"](stamp, frame)
    return TYPES.types[f"sensor_msgs/msg/{kind}"](header, *values)


@functools.cache
def usual_picture(time: float) -> np.ndarray:
    """`picture` from the usual `pose`, read-only."""
    pixels = picture(pose(time))
    pixels.setflags(write=False)
    return pixels


def image_message(time: float, place: Transform | None = None) -> Any:
    pixels = usual_picture(time) if place is None else picture(place)
    return stamped("Image", time, FRAME, HEIGHT, WIDTH, "rgb8", 0, 3 * WIDTH, pixels.ravel())


def depth_message(time: float, depth: np.ndarray, frame: str = FRAME) -> Any:
    content = depth.astype(np.float32).view(np.uint8).ravel()
    return stamped("Image", time, frame, *depth.shape, "32FC1", 0, 4 * depth.shape[1], content)


def info_message(time: float, camera: Camera = CAMERA, frame: str = FRAME) -> Any:
    k = camera.matrix.ravel()
    p = np.column_stack([camera.matrix, np.zeros(3)]).ravel()
    region = TYPES.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    size = camera.height, camera.width
    return stamped("CameraInfo", time, frame, *size, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), p, 0, 0, region)


def cloud_message(time: float, points: np.ndarray, frame: str) -> Any:
    field = TYPES.types["sensor_msgs/msg/PointField"]
    fields = [field(name, 4 * number, 7, 1) for number, name in enumerate("xyz")]
    content = points.astype(np.float32).view(np.uint8).ravel()
    return stamped("PointCloud2", time, frame, 1, len(points), fields, False, 12, 12 * len(points), content, True)


def scan_message(time: float, ranges: np.ndarray, first_angle: float, step: float, frame: str) -> Any:
    last = first_angle + step * (len(ranges) - 1)
    values = first_angle, last, step, 0.0, 0.0, 0.05, 30.0, ranges.astype(np.float32), np.zeros(0, np.float32)
    return stamped("LaserScan", time, frame, *values)


def transform_message(transforms: dict[tuple[str, str], Transform], time: float = 0.0) -> Any:
    """A tf2_msgs/TFMessage, by (parent, child)."""
    types = TYPES.types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(round(1e9 * (START + time)), 10**9))
    messages = []
    for (parent, child), transform in transforms.items():
        translation = types["geometry_msgs/msg/Vector3"](*map(float, transform.translation))
        rotation = types["geometry_msgs/msg/Quaternion"](*transform.quaternion)
        moved = types["geometry_msgs/msg/Transform"](translation, rotation)
        header = types["std_msgs/msg/Header"](stamp, parent)
        messages.append(types["geometry_msgs/msg/TransformStamped"](header, child, moved))
    return types["tf2_msgs/msg/TFMessage"](messages)


def lidar_points(
    time: float, mount: Transform, rng: np.random.Generator, outliers: float, count: int = 300
) -> np.ndarray:
    """Points (N, 3) of a lidar in its own frame, x forward; some are wrong by a factor of up to e."""
    azimuth, elevation = rng.uniform(-0.6, 0.6, count), rng.uniform(-0.4, 0.4, count)
    level = np.cos(elevation)
    rays = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1)
    place = pose(time) @ mount
    reach = distances(place.translation, rays @ place.rotation.T)
    reach *= np.exp(
        np.where(rng.random(count) < outliers, rng.uniform(-1, 1, count), 0.005 * rng.standard_normal(count))
    )
    return rays * reach[:, np.newaxis]


def scan_ranges(time: float, mount: Transform, angles: np.ndarray) -> np.ndarray:
    rays = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)
    place = pose(time) @ mount
    return distances(place.translation, rays @ place.rotation.T)


def every(seconds: float, rate: float, make: Callable[[float], Any], late: float = 0.0) -> list[tuple[float, Any]]:
    """Messages at a rate: (time of receipt, message)."""
    times: Sequence[float] = np.arange(0, seconds, 1 / rate)
    return [(START + float(time) + max(late, 0.0), make(float(time))) for time in times]


def turned(transform: Transform, degrees: Sequence[float]) -> Transform:
    """Extrinsics with an error: rotated about the camera's axes."""
    rotation = cv2.Rodrigues(np.radians(np.asarray(degrees, np.float64)))[0]
    return Transform(rotation @ transform.rotation, transform.translation)
