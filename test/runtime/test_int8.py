"""8-bit engines: built from real networks, checked by the gate, cached, and never used under a wrong name."""

from __future__ import annotations

import os
import platform

import numpy as np
import pytest

pytest.importorskip("onnx", reason="quantization needs it")

import onnx
from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends.interface import BuildOptions
from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.engines import calibration
from depth_anything_ros.runtime.engines.cache import Engine, EngineCache
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.zoo.catalog import known_models

SIZE = (140, 182)

LESSER = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""What makes an x86-64 processor one whose 8-bit sums saturate, as far as engines are built for it."""

bundled = pytest.mark.skipif(not known_models()["tiny"].files, reason="no bundled model")


pytestmark = pytest.mark.usefixtures("own_cache")


def quantized(backend: str, **options) -> Estimator:
    return Estimator("tiny", backend, size=SIZE, precision="int8", **options)


@bundled
class TestOnnxRuntime:
    @pytest.mark.processor
    def test_int8_bundled_model_passes_gate_and_differs(self, with_built_engine):
        with_built_engine("onnxruntime")
        estimator = quantized("onnxruntime")
        exact = Estimator("tiny", "onnxruntime", size=SIZE)
        assert (estimator.backend_name, estimator.precision) == ("onnxruntime", "int8")
        image = gate.images()[0]
        given, expected = estimator.estimate(image), exact.estimate(image)
        assert not np.array_equal(given, expected)
        assert gate.compare(expected, given, gate.LIMITS["int8"]).passed

    def test_int8_engine_is_built_once_with_verdict(self):
        (engine,) = quantized("onnxruntime").engines()
        assert engine.is_new
        modified = engine.path("model.onnx").stat().st_mtime_ns
        assert "correlation 0.99" in engine.sidecar["gate"]
        (again,) = quantized("onnxruntime").engines()
        assert again.path("model.onnx").stat().st_mtime_ns == modified

    def test_int8_weights_shrink_below_half(self, with_built_engine):
        with_built_engine("onnxruntime")
        (engine,) = quantized("onnxruntime").engines()
        assert engine.path("model.onnx").stat().st_size < 0.5 * 4 * 5.04e6

    def test_quantization_reads_from_file(self, monkeypatch):
        """ONNX Runtime 1.12 to 1.14 know no model in memory."""
        from onnxruntime import quantization

        real = quantization.quantize_dynamic
        monkeypatch.setattr(
            quantization, "quantize_dynamic", lambda model, *rest, **options: real(os.fspath(model), *rest, **options)
        )
        assert quantized("onnxruntime").precision == "int8"

    def test_network_without_quantizable_nodes_falls_back_to_fp32(self, tmp_path):
        red = save_graph(red_graph((24, 32), relative_record(input_size=(24, 32))), tmp_path / "red.onnx")
        estimator = Estimator(red, "onnxruntime", precision="int8")
        assert estimator.precision == "fp32"
        assert "no matrix products with weights" in estimator.provenance
        assert not [path for path in EngineCache().folder.iterdir() if path.name != "locks"]


def weights_of_products(engine: Engine) -> list[np.ndarray]:
    model = onnx.load(engine.path("model.onnx"))
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [weights[node.input[1]] for node in model.graph.node if node.op_type == "MatMulInteger"]


def saturating_products(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Products as in VPMADDUBSW: unsigned times signed bytes, summed in pairs into 16 bits that saturate."""
    pairs = np.einsum("mkp,kpn->mkn", *(values.astype(np.int32) for values in _paired(activations, weights)))
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1)


def _paired(activations: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    depth = weights.shape[0]
    assert depth % 2 == 0
    return activations.reshape(len(activations), depth // 2, 2), weights.reshape(depth // 2, 2, -1)


@bundled
@pytest.mark.processor
@pytest.mark.skipif(platform.machine() != "x86_64", reason="8-bit sums of 16 bits are of x86-64 processors")
class TestSaturation:
    """Sums of two products fit into 16 bits on processors that saturate there."""

    def engine(self, monkeypatch, variables: dict[str, str]) -> Engine:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        (engine,) = quantized("onnxruntime").engines()
        return engine

    def test_int8_weights_never_saturate_without_vnni(self, monkeypatch):
        engine = self.engine(monkeypatch, LESSER)
        brightest = np.full((1, 1), 255, np.uint8)
        products = weights_of_products(engine)
        assert len(products) > 30
        for weights in products:
            activations = np.broadcast_to(brightest, (1, len(weights)))
            exact = activations.astype(np.int32) @ weights.astype(np.int32)
            np.testing.assert_array_equal(saturating_products(activations, weights), exact)
            # Whatever the activations, and in whichever order a library pairs them.
            assert 2 * 255 * np.abs(weights.astype(np.int32)).max() < 2**15

    @pytest.mark.skipif(processor().int8_saturates, reason="this processor's 8-bit sums saturate: it has no VNNI")
    def test_int8_weights_use_full_range_with_vnni(self, monkeypatch):
        products = weights_of_products(self.engine(monkeypatch, {}))
        assert max(np.abs(weights.astype(np.int32)).max() for weights in products) >= 127

    @pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
    def test_int8_engine_key_contains_processor(self, monkeypatch, backend):
        pytest.importorskip(backend)
        if backend == "openvino":
            pytest.importorskip("nncf", reason="what quantizes for OpenVINO: the extra `openvino-int8`")
        few = BuildOptions(images=calibration.default_images()[:1])
        devices = []
        for variables in ({}, LESSER):
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            (engine,) = Estimator("tiny", backend, size=SIZE, precision="int8", building=few, gated=False).engines()
            devices.append((engine.folder, engine.sidecar["key"]["device"]))
        if devices[0] == devices[1]:
            pytest.skip("this processor has AVX2 alone: there is nothing to take away")
        assert devices[0][0] != devices[1][0]
        assert "vnni" not in devices[1][1]


@bundled
class TestOpenVino:
    @pytest.fixture(autouse=True)
    def needs(self):
        pytest.importorskip("openvino", reason="the extra `openvino`")
        pytest.importorskip("nncf", reason="what quantizes for OpenVINO: the extra `openvino-int8`")

    @pytest.mark.processor
    def test_openvino_int8_bundled_model_passes_gate(self, with_built_engine):
        with_built_engine("openvino")
        (model,) = EngineCache().folder.glob("*/model.xml")
        before = model.stat().st_mtime_ns
        estimator = quantized("openvino")
        assert (estimator.backend_name, estimator.precision) == ("openvino", "int8")
        (engine,) = estimator.engines()
        assert engine.path("model.xml") == model
        assert "correlation 0.99" in engine.sidecar["gate"]
        assert not engine.is_new
        assert model.stat().st_mtime_ns == before

    def test_bad_calibration_fails_gate_and_is_not_retried(self, caplog):
        black = BuildOptions(images=[np.zeros((140, 182, 3), np.uint8)])
        estimator = quantized("openvino", building=black)
        assert estimator.precision != "int8"
        assert "openvino int8 refused" in caplog.text
        image = gate.images()[0]
        expected = Estimator("tiny", "onnxruntime", size=SIZE).estimate(image)
        assert gate.compare(expected, estimator.estimate(image), gate.LIMITS[estimator.precision]).passed
        caplog.clear()
        assert quantized("openvino").precision != "int8"
        assert "failed the gate when it was built" in caplog.text
        few = BuildOptions(images=calibration.default_images()[::6], rebuild=True)
        assert quantized("openvino", building=few).precision == "int8"


class TestCalibration:
    def test_default_calibration_images_are_36_distinct(self):
        images = calibration.default_images()
        assert len(images) == 36
        assert len({image.tobytes() for image in images}) == 36


@bundled
def test_damaged_int8_engine_is_rebuilt(with_built_engine, caplog):
    with_built_engine("onnxruntime")
    image = gate.images()[0]
    estimator = quantized("onnxruntime")
    expected = estimator.estimate(image)
    (engine,) = estimator.engines()
    content = bytearray(engine.path("model.onnx").read_bytes())
    content[len(content) // 2] ^= 0x7F
    engine.path("model.onnx").write_bytes(content)
    again = quantized("onnxruntime")
    assert "model.onnx is damaged" in caplog.text
    assert again.precision == "int8"
    np.testing.assert_array_equal(again.estimate(image), expected)


@bundled
def test_unwritable_cache_is_reported_and_fp32_runs(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "file"))
    assert quantized("onnxruntime").precision == "fp32"
    assert "an engine cannot be built and stored there" in caplog.text
    estimator = Estimator("tiny", size=SIZE)  # the gate's references cannot be kept either
    assert np.isfinite(estimator.estimate(gate.images()[0])).all()
