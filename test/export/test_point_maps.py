"""Graphs that predict a point map, as MoGe does, become depth models: shift and focal length are found in the graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from depth_anything_ros import Estimator
from depth_anything_ros.cli import main
from depth_anything_ros.export.point_maps import export_point_map
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator as BareEstimator
from depth_anything_ros.zoo.cache import CachedModel, sha256_of
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.peers import MOGE_2_SMALL, POINT_MAPS
from depth_anything_ros.zoo.record import ModelFile

SIZE = (56, 70)
"""What `free_size` gives a common camera for an input_size of 56."""
RECORD = replace(MOGE_2_SMALL, input_size=(56, 56))
PORTS = POINT_MAPS["moge_2_vits"]
RNG = np.random.default_rng(3)


def scene(focal: float) -> np.ndarray:
    """The points of a floor, a wall and boxes before a camera with the focal length in image diagonals, (H, W, 3)."""
    height, width = SIZE
    v, u = np.mgrid[0:height, 0:width] + 0.5
    u, v = (u - width / 2) / np.hypot(height, width), (v - height / 2) / np.hypot(height, width)
    depth = np.minimum(6.0, 1.2 * focal / np.maximum(v, 1e-3))
    depth[20:40, 10:25], depth[15:50, 45:60] = 2.5, 3.7
    return np.stack([u * depth / focal, v * depth / focal, depth], axis=-1)


def write_graph(
    path, points: np.ndarray, mask: np.ndarray, scale: float, outputs=("points", "normal", "mask", "scale")
):
    """A graph with MoGe-2's ports, for any size of the image. Its mask is 0 if the number of tokens is not 4 * 5."""
    constants = {
        "the_points": points.astype(np.float32)[np.newaxis],
        "the_mask": mask.astype(np.float32)[np.newaxis],
        "the_scale": np.array([scale], np.float32),
        "twenty": np.array(20, np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["brightness"], keepdims=0),
        helper.make_node("Sub", ["brightness", "brightness"], ["zero"]),
        helper.make_node("Add", ["the_points", "zero"], ["points"]),
        helper.make_node("Identity", ["points"], ["normal"]),
        helper.make_node("Equal", ["num_tokens", "twenty"], ["is_right"]),
        helper.make_node("Cast", ["is_right"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["the_mask", "factor"], ["mask"]),
        helper.make_node("Add", ["the_scale", "zero"], ["scale"]),
    ]
    shapes = {"points": ["n", "h", "w", 3], "normal": ["n", "h", "w", 3], "mask": ["n", "h", "w"], "scale": ["n"]}
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])
    tokens = helper.make_tensor_value_info("num_tokens", TensorProto.INT64, [])
    graph = helper.make_graph(
        nodes,
        "moge",
        [image, tokens],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("focal", "shift", "scale"), [(0.6, 0.0, 1.0), (1.1, -0.8, 3.0), (0.45, 2.0, 0.5), (2.5, -5.0, 7.0)]
)
def test_shift_is_found_for_any_lens(focal, shift, scale, tmp_path):
    truth = scene(focal)
    points = truth / scale - (0, 0, shift)
    graph = write_graph(tmp_path / "points.onnx", points, np.ones(SIZE), scale)
    export_point_map(graph, RECORD, PORTS, SIZE, tmp_path / "depth.onnx")
    estimator = Estimator(tmp_path / "depth.onnx", backend="onnxruntime")
    depth = estimator.estimate(np.zeros((*SIZE, 3), np.uint8))
    np.testing.assert_allclose(depth, truth[..., 2], rtol=5e-3)
    assert estimator.record.is_metric
    assert estimator.record.reference_focal is None


def test_points_outside_the_mask_do_not_count_and_have_no_confidence(tmp_path):
    truth, mask = scene(0.8), np.ones(SIZE)
    mask[:18] = 0.1
    points = truth - (0, 0, 1.0)
    points[:18] = RNG.normal(0, 50, (18, SIZE[1], 3))
    graph = write_graph(tmp_path / "points.onnx", points, mask, 1.0)
    export_point_map(graph, RECORD, PORTS, SIZE, tmp_path / "depth.onnx")
    estimator = Estimator(tmp_path / "depth.onnx", backend="onnxruntime")
    confidence = np.empty(SIZE, np.float32)
    depth = estimator.estimate(np.zeros((*SIZE, 3), np.uint8), confidence=confidence)
    np.testing.assert_allclose(depth[18:], truth[18:, :, 2], rtol=5e-3)
    assert depth.min() >= 0
    np.testing.assert_allclose(confidence, mask, atol=1e-6)


def test_graph_with_noise_agrees_with_search_by_scipy(tmp_path):
    optimize = pytest.importorskip("scipy.optimize", reason="the independent search: install the extra data")
    truth = scene(0.7)
    points = truth + RNG.normal(0, 0.02, truth.shape) - (0, 0, 1.5)
    graph = write_graph(tmp_path / "points.onnx", points, np.ones(SIZE), 1.0)
    export_point_map(graph, RECORD, PORTS, SIZE, tmp_path / "depth.onnx")
    depth = Estimator(tmp_path / "depth.onnx", backend="onnxruntime").estimate(np.zeros((*SIZE, 3), np.uint8))
    v, u = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] + 0.5
    uv = np.stack([u - SIZE[1] / 2, v - SIZE[0] / 2], axis=-1) / np.hypot(*SIZE)

    def residual(shift: float) -> float:
        projected = points[..., :2] / (points[..., 2:] + shift)
        focal = (projected * uv).sum() / (projected**2).sum()
        return float(((focal * projected - uv) ** 2).sum())

    lowest = -points[..., 2].min()
    best = optimize.minimize_scalar(residual, bounds=(lowest + 0.05, lowest + 10), method="bounded").x
    assert float(np.median(depth - points[..., 2])) == pytest.approx(best, rel=0.02)


def test_all_points_count_if_none_is_valid(tmp_path):
    truth = scene(0.7)
    graph = write_graph(tmp_path / "points.onnx", truth - (0, 0, 1), np.zeros(SIZE), 1.0)
    export_point_map(graph, RECORD, PORTS, SIZE, tmp_path / "depth.onnx")
    depth = Estimator(tmp_path / "depth.onnx", backend="onnxruntime").estimate(np.zeros((*SIZE, 3), np.uint8))
    np.testing.assert_allclose(depth, truth[..., 2], rtol=5e-3)


def test_missing_port_is_named(tmp_path):
    graph = write_graph(tmp_path / "points.onnx", scene(0.7), np.ones(SIZE), 1.0, outputs=("points", "mask"))
    with pytest.raises(ModelError, match=r"points\.onnx: has no output scale, only mask, points"):
        export_point_map(graph, RECORD, PORTS, SIZE, tmp_path / "depth.onnx")
    with pytest.raises(ModelError, match="has no input pixels, only image, num_tokens"):
        export_point_map(graph, RECORD, replace(PORTS, image="pixels"), SIZE, tmp_path / "depth.onnx")
    fixed = onnx.load(write_graph(tmp_path / "points.onnx", scene(0.7), np.ones(SIZE), 1.0))
    for dimension, side in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, 3, 28, 28), strict=True):
        dimension.dim_value = side
    onnx.save(fixed, tmp_path / "fixed.onnx")
    with pytest.raises(ModelError, match=r"takes images of 28x28 only, must take 56x70"):
        export_point_map(tmp_path / "fixed.onnx", RECORD, PORTS, SIZE, tmp_path / "depth.onnx")
    assert not (tmp_path / "depth.onnx").exists()


def test_moge_is_fetched_built_and_run_by_name(tmp_path, monkeypatch, capsys):
    pytest.importorskip("huggingface_hub", reason="the hub's client: install the extra hub")
    from hub_server import HubServer

    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging_face"))
    truth = scene(0.9)
    graph = write_graph(tmp_path / "model.onnx", (truth - (0, 0, 1)) / 2, np.ones(SIZE), 2.0)
    # The real file has another hash and size.
    served = replace(RECORD, files=(ModelFile("model.onnx", sha256_of(graph)),))
    monkeypatch.setitem(known_models(), "moge_2_vits", served)
    with HubServer() as server:
        server.files["/Ruicheng/moge-2-vits-normal-onnx/resolve/main/model.onnx"] = graph.read_bytes()
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        with pytest.raises(ModelError, match=r"has a graph of points, .*build moge_2_vits"):
            BareEstimator("moge_2_vits")
        assert main(["build", "moge_2_vits", "--backend", "onnxruntime", "--precision", "fp32"]) == 0
    assert "moge_2_vits" in capsys.readouterr().out
    depth = Estimator("moge_2_vits", backend="onnxruntime").estimate(np.zeros((480, 640, 3), np.uint8), SIZE)
    np.testing.assert_allclose(depth, truth[..., 2], rtol=5e-3)


def test_optigeo_is_made_of_a_graph_that_the_user_exports(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"'optigeo' is on no hub; place optigeo\.onnx in .*optigeo"):
        Estimator("optigeo")
    record = replace(known_models()["optigeo"], input_size=(64, 64))
    monkeypatch.setitem(known_models(), "optigeo", record)
    size = (64, 80)
    height, width = size
    v, u = np.mgrid[0:height, 0:width] + 0.5
    u, v = (u - width / 2) / np.hypot(height, width), (v - height / 2) / np.hypot(height, width)
    z = np.where(u > 0, 2.0, 5.0)
    points = (np.stack([u * z, v * z, z - 1.7], axis=-1)).astype(np.float32)[np.newaxis]
    mask = np.full((1, *size), 3, np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["brightness"], keepdims=0),
        helper.make_node("Sub", ["brightness", "brightness"], ["zero"]),
        helper.make_node("Add", ["the_points", "zero"], ["points"]),
        helper.make_node("Add", ["the_mask", "zero"], ["mask"]),
    ]
    ports = {"points": points, "mask": mask}
    graph = helper.make_graph(
        nodes,
        "optigeo",
        [image],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in ports.items()],
        [numpy_helper.from_array(value, f"the_{name}") for name, value in ports.items()],
    )
    path = CachedModel(record).path(record.files[0])
    path.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    estimator = Estimator("optigeo", backend="onnxruntime")
    depth = estimator.estimate(np.zeros((480, 640, 3), np.uint8), size)
    np.testing.assert_allclose(depth / depth.mean(), z / z.mean(), rtol=1e-2)
    assert estimator.record.scale == "depth_scale"
