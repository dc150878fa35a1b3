"""The PyTorch backend runs checkpoints, exported or not, and matches the exported graphs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the backend is optional: the extra `torch`")

from random_models import random_model

from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.record import ModelRecord

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def checkpoint(tmp_path):
    network = random_model("tiny")
    record = ModelRecord("random", "inverse_depth", "MIT", encoder="tiny", version="v2", input_size=(84, 112))
    save_checkpoint(network, record, tmp_path / "random.safetensors")
    return tmp_path / "random.safetensors"


@pytest.mark.skipif(not known_models()["tiny"].files, reason="no bundled model")
def test_torch_matches_onnxruntime_on_bundled_model():
    estimator, exact = Estimator("tiny", "torch"), Estimator("tiny", "onnxruntime")
    image = gate.images()[1]
    assert estimator.input_size_for(*image.shape[:2]) == exact.input_size_for(*image.shape[:2])
    given, expected = estimator.estimate(image), exact.estimate(image)
    assert np.abs(given - expected).max() < 1e-4 * np.ptp(expected)


def test_unexported_checkpoint_runs_at_any_size(checkpoint):
    estimator = Estimator(checkpoint, "torch", threads=1)
    assert estimator.record.name == "random"
    for height, width in ((84, 112), (112, 84), (90, 200)):
        image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        values = estimator.estimate(image)
        assert values.shape == (height, width)
        assert np.isfinite(values).all()


def test_checkpoint_does_not_run_by_default(checkpoint):
    with pytest.raises(ModelError, match="has weights, not a graph that can run"):
        Estimator(checkpoint)


def test_torch_rejects_graph_without_weights(shared):
    with pytest.raises(ModelError, match="torch needs weights"):
        Estimator(shared / "models" / "fastdepth_nyu_224x224.onnx", "torch", record=_fastdepth_record())


def test_torch_names_damaged_checkpoint(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"random\.safetensors"):
        Estimator(checkpoint, "torch")


def _fastdepth_record() -> ModelRecord:
    return ModelRecord("fastdepth", "depth", "MIT", input="float_nchw", input_size=(224, 224))
