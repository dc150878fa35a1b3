"""The prediction of what "auto" takes is what the estimator takes, and measures nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")
pytest.importorskip("openvino", reason="with one backend there is nothing to measure")

from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.runtime.auto_choice import predict_choice
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.cuda.driver import devices
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.zoo.cache import cache_directory

pytestmark = [
    pytest.mark.usefixtures("own_cache"),
    pytest.mark.skipif(bool(devices()), reason="with a GPU nothing is measured"),
]

SIZE = (24, 32)


def test_prediction_is_what_the_estimator_takes(tmp_path: Path) -> None:
    graph = save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")
    before = predict_choice(str(graph))
    assert before.choice is None
    assert {"openvino fp32", "onnxruntime fp32"} <= set(before.to_measure)
    assert not (cache_directory() / "choices").exists()
    estimator = Estimator(graph)
    after = predict_choice(str(graph))
    assert after.choice == BackendChoice(estimator.backend_name, estimator.precision)
    assert next(iter(after.seconds)) == str(after.choice)
    assert after.size == SIZE
    assert after.to_measure == ()


def test_reasons_name_what_is_missing() -> None:
    assert "GPU" in predict_choice("tiny").passed_over["onnxruntime:cuda fp16"]


def test_absent_model_is_an_error() -> None:
    with pytest.raises(ModelError, match="absent"):
        predict_choice("absent.onnx")
