"""Models with confidence: which output is depth, and the cost of the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")

from confidence_models import write_confidence_model
from known_models import write_red_model

from depth_anything_ros.images.resizing import resize_map
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.runtime.graph import read_graph

SIZE = (24, 32)


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def model(tmp_path) -> Path:
    return write_confidence_model(tmp_path / "sure.onnx", SIZE)


def noise(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (*size, 3), dtype=np.uint8)


class TestEstimate:
    @pytest.mark.parametrize("confidence_first", [False, True])
    def test_estimate_fills_depth_and_confidence(self, tmp_path, backend, confidence_first):
        path = write_confidence_model(tmp_path / "sure.onnx", SIZE, confidence_first=confidence_first)
        estimator = Estimator(path, backend, precision="fp32")
        assert estimator.gives_confidence
        image, confidence = noise(), np.full(SIZE, np.nan, np.float32)
        for _ in range(2):
            depth = estimator.estimate(image, confidence=confidence)
            np.testing.assert_allclose(depth, image[..., 0] / 255, atol=1e-6)
            np.testing.assert_allclose(confidence, image[..., 1] / 255, atol=1e-6)
        np.testing.assert_allclose(estimator.estimate(image), depth, atol=1e-6)

    def test_confidence_is_resized_to_result(self, model, backend):
        estimator, image = Estimator(model, backend, precision="fp32"), noise()
        out, confidence = (np.empty((60, 70), np.float32) for _ in range(2))
        padded = np.zeros((60, 80), np.float32)
        assert estimator.estimate(image, (60, 70), out, confidence) is out
        estimator.estimate(image, (60, 70), confidence=padded[:, 5:75])
        np.testing.assert_allclose(confidence, resize_map(np.float32(image[..., 1]) / 255, (60, 70)), atol=1e-5)
        np.testing.assert_array_equal(padded[:, 5:75], confidence)
        assert not padded[:, :5].any()

    def test_later_images_keep_earlier_confidence(self, model, backend):
        estimator = Estimator(model, backend, precision="fp32")
        confidence = np.empty(SIZE, np.float32)
        estimator.estimate(np.full((*SIZE, 3), 51, np.uint8), confidence=confidence)
        estimator.estimate(noise())
        np.testing.assert_allclose(confidence, 0.2, atol=1e-6)

    def test_auto_backend_gives_confidence(self, model):
        assert Estimator(model).gives_confidence

    @pytest.mark.parametrize(
        "confidence", [np.empty(SIZE), np.empty((32, 24), np.float32), np.broadcast_to(np.float32(0), SIZE)]
    )
    def test_unusable_confidence_array_is_rejected(self, model, confidence):
        with pytest.raises(ValueError, match=r"confidence is float\d+ \(\d+, \d+\), must be a writable float32"):
            Estimator(model, "onnxruntime").estimate(noise(), confidence=confidence)

    def test_model_without_confidence_raises_if_requested(self, tmp_path, backend):
        estimator = Estimator(write_red_model(tmp_path / "red.onnx", SIZE), backend)
        assert not estimator.gives_confidence
        with pytest.raises(ValueError, match="known gives no confidence on"):
            estimator.estimate(noise(), confidence=np.empty(SIZE, np.float32))

    def test_record_without_confidence_ignores_output(self, tmp_path, backend):
        path = write_confidence_model(tmp_path / "sure.onnx", SIZE, confidence=None)
        estimator = Estimator(path, backend, precision="fp32")
        assert not estimator.gives_confidence
        np.testing.assert_allclose(estimator.estimate(noise()), noise()[..., 0] / 255, atol=1e-6)


def test_onnxruntime_skips_unused_confidence_output(model):
    estimator = Estimator(model, "onnxruntime")
    backend = next(iter(estimator._networks.values()))._backend
    backend._bound.clear()
    estimator.estimate(noise())
    assert [names for _, names in backend._bound] == [("inverse_depth",)]


class TestRecords:
    def test_missing_confidence_output_names_graph(self, tmp_path, backend):
        path = write_red_model(tmp_path / "red.onnx", SIZE, confidence="certainty")
        with pytest.raises(ModelError, match=r"red\.onnx: has no output 'certainty'.*'known'.*only inverse_depth"):
            Estimator(path, backend)

    def test_graph_with_confidence_only_raises(self, tmp_path, backend):
        path = write_red_model(tmp_path / "red.onnx", SIZE, confidence="inverse_depth")
        with pytest.raises(ModelError, match=r"only map is the output 'inverse_depth'.*there is no depth"):
            Estimator(path, backend)

    def test_gate_references_depend_on_confidence_output(self, tmp_path):
        path = write_confidence_model(tmp_path / "sure.onnx", SIZE, confidence_first=True)
        estimator, references = Estimator(path, "onnxruntime"), gate.References()
        graph, named = read_graph(path), estimator.record
        assert references.path(graph, named, SIZE) != references.path(graph, replace(named, confidence=None), SIZE)


def test_float_layout_and_batch_give_depth_with_confidence(tmp_path, backend):
    path = write_confidence_model(tmp_path / "sure.onnx", SIZE, batch="batch", confidence_first=True)
    estimator = Estimator(path, backend, precision="fp32")
    images = [noise(), 255 - noise()]
    for depth, image in zip(estimator.estimate_batch(images), images, strict=True):
        np.testing.assert_allclose(depth, image[..., 0] / 255, atol=1e-6)
