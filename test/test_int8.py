"""8-bit engines: built from real networks, held to the gate, kept, and never passed off as what they are not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="quantisation needs it")

from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import Building
from depth_anything_ros.runtime.engines import calibration
from depth_anything_ros.runtime.engines.cache import EngineCache
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.zoo.catalogue import known_models

SIZE = (140, 182)

bundled = pytest.mark.skipif(not known_models()["tiny"].files, reason="no bundled model")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))


def quantised(backend: str, **options) -> Estimator:
    return Estimator("tiny", backend, size=SIZE, precision="int8", **options)


@bundled
class TestOnnxRuntime:
    def test_the_bundled_model_passes_and_differs(self, with_built_engine):
        with_built_engine("onnxruntime")
        estimator = quantised("onnxruntime")
        exact = Estimator("tiny", "onnxruntime", size=SIZE)
        assert (estimator.backend_name, estimator.precision) == ("onnxruntime", "int8")
        image = gate.images()[0]
        given, expected = estimator.estimate(image), exact.estimate(image)
        assert not np.array_equal(given, expected)
        assert gate.compare(expected, given, gate.LIMITS["int8"]).passed

    def test_is_built_once_and_its_sidecar_holds_the_verdict(self):
        (engine,) = quantised("onnxruntime").engines()
        assert engine.is_new
        modified = engine.path("model.onnx").stat().st_mtime_ns
        assert "correlation 0.99" in engine.sidecar["gate"]
        (again,) = quantised("onnxruntime").engines()
        assert again.path("model.onnx").stat().st_mtime_ns == modified

    def test_weights_shrink_to_a_third_of_their_32_bits(self, with_built_engine):
        with_built_engine("onnxruntime")
        (engine,) = quantised("onnxruntime").engines()
        assert engine.path("model.onnx").stat().st_size < 0.5 * 4 * 5.04e6

    def test_a_network_with_nothing_to_quantise_gives_way_to_fp32(self, tmp_path):
        red = save_graph(red_graph((24, 32), relative_record(input_size=(24, 32))), tmp_path / "red.onnx")
        estimator = Estimator(red, "onnxruntime", precision="int8")
        assert estimator.precision == "fp32"
        assert "nothing to quantise" in estimator.provenance
        assert not [path for path in EngineCache().folder.iterdir() if path.name != "locks"]


@bundled
class TestOpenVino:
    @pytest.fixture(autouse=True)
    def needs(self):
        pytest.importorskip("openvino", reason="the extra `openvino`")
        pytest.importorskip("nncf", reason="what quantises for OpenVINO: the extra `openvino-int8`")

    def test_the_bundled_model_passes(self, with_built_engine):
        with_built_engine("openvino")
        (model,) = EngineCache().folder.glob("*/model.xml")
        before = model.stat().st_mtime_ns
        estimator = quantised("openvino")
        assert (estimator.backend_name, estimator.precision) == ("openvino", "int8")
        (engine,) = estimator.engines()
        assert engine.path("model.xml") == model
        assert "correlation 0.99" in engine.sidecar["gate"]
        assert not engine.is_new
        assert model.stat().st_mtime_ns == before

    def test_bad_calibration_is_caught_by_the_gate_and_not_tried_again(self, caplog):
        black = Building(images=[np.zeros((140, 182, 3), np.uint8)] * 4)
        estimator = quantised("openvino", building=black)
        assert estimator.precision != "int8"
        assert "openvino int8 refused" in caplog.text
        image = gate.images()[0]
        expected = Estimator("tiny", "onnxruntime", size=SIZE).estimate(image)
        assert gate.compare(expected, estimator.estimate(image), gate.LIMITS[estimator.precision]).passed
        caplog.clear()
        assert quantised("openvino").precision != "int8"
        assert "failed the gate when it was built" in caplog.text
        few = Building(images=calibration.default_images()[::6], anew=True)
        assert quantised("openvino", building=few).precision == "int8"


class TestCalibration:
    def test_default_images_are_many_and_varied(self):
        images = calibration.default_images()
        assert len(images) == 36
        assert len({image.tobytes() for image in images}) == 36


@bundled
def test_a_damaged_engine_is_built_anew(with_built_engine, caplog):
    with_built_engine("onnxruntime")
    image = gate.images()[0]
    estimator = quantised("onnxruntime")
    expected = estimator.estimate(image)
    (engine,) = estimator.engines()
    content = bytearray(engine.path("model.onnx").read_bytes())
    content[len(content) // 2] ^= 0x7F
    engine.path("model.onnx").write_bytes(content)
    again = quantised("onnxruntime")
    assert "model.onnx is damaged" in caplog.text
    assert again.precision == "int8"
    np.testing.assert_array_equal(again.estimate(image), expected)


@bundled
def test_a_cache_that_cannot_be_written_is_named_and_costs_no_frame(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "file"))
    assert quantised("onnxruntime").precision == "fp32"
    assert "an engine cannot be built and kept there" in caplog.text
    estimator = Estimator("tiny", size=SIZE)  # the gate's references cannot be kept either
    assert np.isfinite(estimator.estimate(gate.images()[0])).all()
