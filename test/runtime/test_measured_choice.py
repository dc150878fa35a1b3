"""The fastest backend is measured once and stored: real sessions, some of them slow."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")

import slow_backend
from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.runtime import backends, measured_choice
from depth_anything_ros.runtime.backends.interface import Backend, BackendChoice, LoadRequest
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.measured_choice import KeptAnswers, seconds_a_frame
from depth_anything_ros.runtime.precision_choice import choices, rivals
from depth_anything_ros.zoo.cache import cache_directory

SIZE = (24, 32)
CPU = [BackendChoice("openvino", "bf16"), BackendChoice("openvino", "fp32"), BackendChoice("onnxruntime", "fp32")]


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def red(tmp_path) -> Path:
    return save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")


@pytest.fixture
def slow_first(monkeypatch) -> None:
    """Order the backends: slower, slow, then ONNX Runtime."""
    slow_backend.register(monkeypatch, "slower", "slow")


def unable(request: LoadRequest) -> Backend:
    raise UnavailableError("no such device")


def kept() -> list[Path]:
    return [path for path in (cache_directory() / "choices").iterdir() if path.suffix == ".json"]


class TestRivals:
    def test_cpu_candidates_are_all_measured(self):
        assert rivals(CPU, any_precision=True) == CPU

    def test_requested_precision_limits_candidates(self):
        asked = [BackendChoice("openvino", "int8"), BackendChoice("onnxruntime", "int8"), *CPU]
        assert rivals(asked, any_precision=False) == asked[:2]
        assert rivals(CPU, any_precision=False) == []

    def test_nvidia_backends_are_selected_without_measurement(self):
        assert rivals([BackendChoice("tensorrt", "fp16"), *CPU], any_precision=True) == []
        assert rivals([BackendChoice("onnxruntime:cuda", "fp32"), *CPU], any_precision=True) == []

    def test_intel_gpu_is_measured_against_cpu(self):
        found = [BackendChoice("openvino:gpu", "fp16"), *CPU]
        assert rivals(found, any_precision=True) == found

    @pytest.mark.parametrize("candidates", [[], CPU[:1]])
    def test_single_candidate_is_not_measured(self, candidates):
        assert rivals(candidates, any_precision=True) == []


class TestChoice:
    def test_fastest_backend_is_selected_in_any_order(self, red, slow_first, caplog):
        with caplog.at_level(logging.INFO):
            estimator = Estimator(red)
        assert estimator.backend_name == "onnxruntime"
        assert "measured here now: onnxruntime fp32" in caplog.text
        assert caplog.text.index("slow fp32") < caplog.text.rindex("slower fp32")
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        np.testing.assert_array_equal(estimator.estimate(image), image[..., 0])

    def test_stored_choice_skips_measurement_and_other_loads(self, red, slow_first, caplog):
        Estimator(red)
        assert sorted(slow_backend.loaded) == ["slow", "slower"]
        slow_backend.loaded.clear()
        with caplog.at_level(logging.INFO):
            assert Estimator(red).backend_name == "onnxruntime"
        assert "measured here before" in caplog.text
        assert slow_backend.loaded == []
        (answer,) = kept()
        seconds = json.loads(answer.read_text())["seconds"]
        assert list(seconds) == ["onnxruntime fp32", "slow fp32", "slower fp32"]

    def test_fallback_after_failure_is_next_fastest(self, red, slow_first):
        Estimator(red)
        (answer,) = kept()
        content = json.loads(answer.read_text())
        content["seconds"] = {"slow fp32": 0.1, "onnxruntime fp32": 0.2, "slower fp32": 0.3}
        answer.write_text(json.dumps(content))
        assert Estimator(red).backend_name == "slow"

    def test_named_backend_or_no_fallback_is_not_measured(self, red, slow_first):
        assert Estimator(red, "slower").backend_name == "slower"
        assert Estimator(red, fallback=False).backend_name == "slower"
        assert not (cache_directory() / "choices").exists()

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param({"threads": 1}, id="threads"),
            pytest.param({"precision": "fp32"}, id="a precision that all have"),
            pytest.param({"gated": False}, id="not gated"),
        ],
    )
    def test_changed_arguments_measure_again(self, red, slow_first, other):
        Estimator(red)
        Estimator(red, **other)
        assert len(kept()) == (1 if "precision" in other else 2)

    def test_changed_model_or_library_measures_again(self, red, slow_first, monkeypatch, tmp_path):
        Estimator(red)
        Estimator(save_graph(red_graph(SIZE, relative_record(input_size=SIZE), gain=0.5), tmp_path / "other.onnx"))
        assert len(kept()) == 2
        monkeypatch.setattr(measured_choice, "PACKAGES", ("numpy",))
        Estimator(red)
        assert len(kept()) == 3

    @pytest.mark.processor
    def test_changed_processor_features_measure_again(self, red, slow_first, monkeypatch):
        from depth_anything_ros.runtime.cpu_features import processor

        before = str(processor())
        Estimator(red)
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        Estimator(red)
        assert len(kept()) == (1 if str(processor()) == before else 2)

    def test_all_candidates_failing_selects_next_and_stores_nothing(self, red, monkeypatch, caplog):
        slow_backend.register(monkeypatch, "slow", "slower")
        monkeypatch.setattr(slow_backend, "load", unable)
        for name in ("slow", "slower"):
            entry = backends.BACKENDS[name]._replace(precisions=("int8",))
            monkeypatch.setitem(backends.BACKENDS, name, entry)
        monkeypatch.setitem(
            backends.BACKENDS, "onnxruntime", backends.BACKENDS["onnxruntime"]._replace(precisions=("int8", "fp32"))
        )
        with caplog.at_level(logging.INFO):
            estimator = Estimator(red, precision="int8")
        assert (estimator.backend_name, estimator.precision) == ("onnxruntime", "fp32")
        assert "a frame takes" not in caplog.text
        assert kept() == []

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"seconds": 3}', '{"seconds": {"x": 1}}', '{"seconds": {}}'])
    def test_damaged_choice_file_is_measured_again(self, red, slow_first, content):
        Estimator(red)
        (answer,) = kept()
        answer.write_text(content)
        assert Estimator(red).backend_name == "onnxruntime"
        assert "onnxruntime fp32" in answer.read_text()

    def test_unwritable_cache_measures_at_every_start(self, red, slow_first, tmp_path, monkeypatch, caplog):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "file"))
        assert Estimator(red).backend_name == "onnxruntime"
        assert "so every start measures again" in caplog.text

    def test_concurrent_processes_measure_once(self, red):
        """The first takes the measurement, the others wait and read it."""
        program = (
            "import logging, sys\n"
            "logging.basicConfig(level=logging.INFO)\n"
            "from depth_anything_ros.runtime.estimator import Estimator\n"
            "Estimator(sys.argv[1])\n"
        )
        if len(choices()) < 2:
            pytest.skip("one backend alone is installed here: there is nothing to measure")
        command = [sys.executable, "-c", program, str(red)]
        running = [
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ.copy()) for _ in range(3)
        ]
        logs = [process.communicate(timeout=120)[1] for process in running]
        assert [process.returncode for process in running] == [0, 0, 0]
        assert sum("measured here now" in log for log in logs) == 1
        assert sum("measured here before" in log for log in logs) == 2
        assert len(kept()) == 1


def test_timing_alternates_candidates_until_budget(monkeypatch):
    order = []
    seconds_a_frame({name: lambda name=name: order.append(name) for name in "ab"})
    assert "".join(order) == "ab" * (1 + measured_choice.MAX_TURNS)
    monkeypatch.setattr(measured_choice, "BUDGET", 0.0)
    order.clear()
    seconds_a_frame({name: lambda name=name: order.append(name) for name in "ab"})
    assert "".join(order) == "ab" * (1 + measured_choice.MIN_TURNS)


def test_stored_choice_is_read_back(red, slow_first, monkeypatch):
    Estimator(red)
    (answer,) = kept()
    question = measured_choice.Question(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in json.loads(answer.read_text())["question"].items()
        }
    )
    assert answer.name == question.file_name()
    assert list(KeptAnswers().read(question)) == ["onnxruntime fp32", "slow fp32", "slower fp32"]
