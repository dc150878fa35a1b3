"""Networks by others: their records fit the files that are published, and they are fetched and run by name."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from onnx import TensorProto, helper

from depth_anything_ros import Estimator
from depth_anything_ros.cli import main
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.meters import focal_gain
from depth_anything_ros.zoo.cache import CachedModel, DamagedModelError
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.hub_names import find_by_hub_name
from depth_anything_ros.zoo.peers import MEGABYTES, PEERS, POINT_MAPS, UPSTREAM
from depth_anything_ros.zoo.record import ModelRecord
from depth_anything_ros.zoo.resolve import resolve

IMAGE = np.full((48, 64, 3), (200, 90, 30), np.uint8)
FETCHED = [record for record in PEERS if record.repository is not None]
DIRECT = [record for record in FETCHED if record.name not in POINT_MAPS]
"""The others are in test/export/test_point_maps.py."""

OUTPUTS = {
    "midas_v31_swin2_tiny": {"output": [1, 256, 256]},
    "da3_small": {"depth": ["batch", 518, 518]},
    "da3_base": {
        "depth": ["batch", 1, 504, 504],
        "depth_conf": ["batch", 1, 504, 504],
        "extrinsics": ["batch", 1, 3, 4],
        "intrinsics": ["batch", 1, 3, 3],
    },
    "da3_metric_large": {"depth": ["batch", 1, 504, 504], "sky": ["batch", 1, 504, 504]},
}
"""The outputs that the authors of the exports state."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging_face"))
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch):
    pytest.importorskip("huggingface_hub", reason="the hub's client: install the extra hub")
    from hub_server import HubServer

    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def stand_in(record: ModelRecord) -> bytes:
    """A graph with the ports of a peer. The maps are the red channel of the input, and 7 for all but the first."""
    height, width = record.input_size
    bytes_in = record.input == "uint8_nhwc"
    shape = ["batch", height, width, 3] if bytes_in else ["batch", 3, height, width]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8 if bytes_in else TensorProto.FLOAT, shape)
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["values", "red"], ["channel"], axis=3 if bytes_in else 1),
    ]
    constants = [helper.make_tensor("red", TensorProto.INT64, [], [0])]
    ports = []
    for number, (name, sides) in enumerate(OUTPUTS[record.name].items()):
        ports.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sides))
        target = [1 if isinstance(side, str) else side for side in sides]
        constants.append(helper.make_tensor(f"shape_{name}", TensorProto.INT64, [len(target)], target))
        if number == 0:
            nodes.append(helper.make_node("Reshape", ["channel", f"shape_{name}"], [name]))
        else:
            seven = helper.make_tensor("value", TensorProto.FLOAT, [1], [7.0])
            nodes.append(helper.make_node("ConstantOfShape", [f"shape_{name}"], [name], value=seven))
    graph = helper.make_graph(nodes, "stand_in", [image], ports, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_peers_may_ship_in_a_product():
    assert {record.license for record in FETCHED} <= {"MIT", "Apache-2.0"}
    assert len({record.name for record in PEERS}) == len(PEERS)
    for record in FETCHED:
        assert known_models()[record.name] == record
        assert MEGABYTES[record.name] > 0
        for file in record.files:
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert all(side % record.input_multiple == 0 for side in file.size or record.input_size)


@pytest.mark.parametrize("record", DIRECT, ids=lambda record: record.name)
def test_record_fits_published_ports(record, tmp_path):
    path = tmp_path / "peer.onnx"
    path.write_bytes(stand_in(record))
    estimator = Estimator(path, backend="onnxruntime", record=dataclasses.replace(record, files=()))
    assert estimator.input_size_for(480, 640) == record.input_size
    assert estimator.gives_confidence == (record.confidence is not None)
    values = estimator.estimate(IMAGE)
    red = 200.0 if record.input == "uint8_nhwc" else (200 / 255 - record.mean[0]) / record.std[0]
    np.testing.assert_allclose(values, red, rtol=1e-5)


def test_metric_depth_of_depth_anything_3_is_scaled_as_its_authors_do():
    record = known_models()["da3_metric_large"]
    camera = Camera(width=640, height=480, fx=500.0, fy=520.0, cx=320.0, cy=240.0)
    gain = focal_gain(camera, record.input_size, record.reference_focal)
    assert gain == pytest.approx((500 * 504 / 640 + 520 * 504 / 480) / 2 / 300)


def test_peer_without_hash_is_fetched_and_run_by_name(hub, cache, capsys):
    record = known_models()["da3_base"]
    hub.files["/Heliosoph/da3-base-onnx/resolve/main/model.onnx"] = stand_in(record)
    assert main(["models", "fetch", "da3_base"]) == 0
    assert "da3_base" in capsys.readouterr().out
    assert (cache / "models" / "da3_base" / "model.onnx").is_file()
    confidence = np.empty(IMAGE.shape[:2], np.float32)
    values = Estimator("da3_base", backend="onnxruntime").estimate(IMAGE, confidence=confidence)
    np.testing.assert_allclose(values, (200 / 255 - 0.485) / 0.229, rtol=1e-5)
    np.testing.assert_allclose(confidence, 7)


@pytest.mark.parametrize("name", ["midas_v31_swin2_tiny", "da3_small", "da3_metric_large"])
def test_peer_with_hash_is_refused_if_the_hub_serves_another_file(name, hub, cache):
    record = known_models()[name]
    hub.files[f"/{record.repository}/resolve/main/{record.files[0].name}"] = stand_in(record)
    with pytest.raises(DamagedModelError, match=record.files[0].sha256):
        resolve(name)
    assert CachedModel(record).missing()


def test_hub_names_of_peers_give_their_names_here():
    for repository, name in UPSTREAM.items():
        assert (
            find_by_hub_name(repository)
            == find_by_hub_name(f"https://huggingface.co/{repository}")
            == known_models()[name]
        )
    for record in FETCHED:
        assert find_by_hub_name(f"{record.repository}/blob/main/{record.files[0].name}") == record
    assert find_by_hub_name("depth-anything/DA3-LARGE") is None
