"""Order of backends and precisions, and messages about those that cannot run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")

from small_graphs import open_graph, red_graph, relative_record, save_graph

from depth_anything_ros.runtime import backends, cpu_features
from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.runtime.gate import LIMITS
from depth_anything_ros.runtime.precision_choice import choices

SIZE = (24, 32)

no_gpu = pytest.mark.skipif(bool(cuda_driver.devices()), reason="there is a GPU here")


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def red(tmp_path):
    return save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")


class TestChoices:
    def test_every_precision_has_gate_limits(self):
        assert set(LIMITS) == set(PRECISIONS)
        assert {precision for entry in BACKENDS.values() for precision in entry.precisions} <= set(PRECISIONS)

    def test_backend_precisions_are_sorted_by_precision(self):
        for entry in BACKENDS.values():
            assert list(entry.precisions) == sorted(entry.precisions, key=PRECISIONS.index)

    def test_failed_precision_falls_back_to_safer_ones(self):
        assert choices("tensorrt", "mixed") == [BackendChoice("tensorrt", "mixed"), BackendChoice("tensorrt", "fp32")]
        assert choices("tensorrt") == [BackendChoice("tensorrt", name) for name in ("fp16", "mixed", "fp32")]

    @pytest.mark.parametrize(
        ("name", "machine", "precision"),
        [
            ("epyc_rome", "x86_64", "fp32"),
            ("alder_lake", "x86_64", "fp32"),
            ("skylake_x", "x86_64", "fp32"),
            ("zen4", "x86_64", "bf16"),
            ("sapphire_rapids", "x86_64", "bf16"),
            ("raspberry_pi_4", "aarch64", "fp32"),
            ("graviton_3", "aarch64", "fp32"),  # it has bfloat16, and OpenVINO does not use it on Arm
        ],
    )
    def test_precisions_follow_processor_features(self, monkeypatch, name, machine, precision):
        for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(cpu_features, "CPUINFO", Path(__file__).parent / "cpuinfo" / f"{name}.txt")
        monkeypatch.setattr(cpu_features.platform, "machine", lambda: machine)
        found = choices("openvino")
        assert found[0] == BackendChoice("openvino", precision)
        assert found[-1] == BackendChoice("openvino", "fp32")
        assert choices("openvino", "bf16")[0] == BackendChoice("openvino", "bf16"), (
            "by name it is refused with its reason"
        )

    def test_auto_never_selects_int8(self):
        assert not [choice for choice in choices() if choice.precision == "int8"]

    def test_auto_ends_with_reference_backend(self):
        assert choices()[-1] == backends.REFERENCE

    def test_auto_with_precision_tries_every_backend_with_it_first(self):
        found = [choice.precision for choice in choices("auto", "int8")]
        assert found[0] == "int8"
        assert found == sorted(found, key=PRECISIONS.index)

    @pytest.mark.parametrize(
        ("backend", "precision", "message"),
        [
            ("abacus", "auto", "unknown backend 'abacus'"),
            ("auto", "fp7", "unknown precision 'fp7'"),
            ("torch", "int8", "torch does not offer precision 'int8', only fp32"),
        ],
    )
    def test_unknown_backend_or_precision_raises(self, backend, precision, message):
        with pytest.raises(ValueError, match=message):
            choices(backend, precision)


class TestAbsentHardware:
    @no_gpu
    @pytest.mark.parametrize("backend", ["onnxruntime:cuda", "onnxruntime:tensorrt"])
    def test_missing_onnxruntime_provider_raises_unavailable(self, red, backend):
        with pytest.raises(UnavailableError, match=r"onnxruntime-gpu|needs an NVIDIA GPU"):
            Estimator(red, backend=backend)

    @no_gpu
    def test_torch_without_gpu_raises_unavailable(self):
        pytest.importorskip("torch")
        with pytest.raises(UnavailableError, match="PyTorch sees no CUDA GPU"):
            Estimator("tiny", backend="torch:cuda")

    def test_openvino_without_npu_raises_unavailable(self, red):
        openvino = pytest.importorskip("openvino")
        if "NPU" in openvino.Core().available_devices:
            pytest.skip("there is an NPU here")
        with pytest.raises(UnavailableError, match="OpenVINO finds no NPU here"):
            Estimator(red, backend="openvino:npu")

    def test_auto_skips_unavailable_backend_without_warning(self, red, caplog):
        with caplog.at_level(logging.WARNING):
            estimator = Estimator(red)
        assert not caplog.text
        assert "refused" not in estimator.provenance

    def test_requested_precision_that_is_unavailable_warns(self, red, caplog, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)  # as without the package onnx
        with caplog.at_level(logging.WARNING):
            estimator = Estimator(red, "onnxruntime", precision="int8")
        assert estimator.precision == "fp32"
        assert "onnxruntime int8 is not available" in caplog.text
        assert "needs the package onnx" in estimator.provenance

    def test_model_error_takes_precedence_over_missing_backends(self, tmp_path):
        broken = save_graph(red_graph(SIZE, relative_record(input_size=SIZE), gain=float("nan")), tmp_path / "n.onnx")
        with pytest.raises(ModelError, match="NaN"):
            Estimator(broken)


class TestOnnxRuntime:
    def test_backend_reuses_output_memory(self, red):
        backend = open_graph(red)
        batch = np.zeros((1, *SIZE, 3), np.uint8)
        first = backend.run(batch)
        batch[:] = 7
        second = backend.run(batch)
        assert np.shares_memory(first, second)
        assert (second == 7).all()

    def test_batch_size_may_change_between_runs(self, red):
        backend = open_graph(red, threads=1)
        for count in (1, 3, 1, 2):
            batch = np.random.default_rng(count).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
            np.testing.assert_allclose(backend.run(batch), batch[..., 0])
