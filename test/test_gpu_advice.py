"""What is said where a GPU is there and the processor runs the model."""

from __future__ import annotations

import logging

import pytest
from test_cuda_driver import driver  # noqa: F401 - the fixture

from depth_anything_ros.runtime import cuda_driver, gpu_advice
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.gpu_advice import unused_gpu

CPU_ONLY, CUDA = ("CPUExecutionProvider",), ("CUDAExecutionProvider", "CPUExecutionProvider")
ALL = ("tensorrt", "cuda.bindings", "onnx")


def advice(*installed: str, providers: tuple[str, ...] = CPU_ONLY) -> str:
    return unused_gpu("onnxruntime", installed.__contains__, providers)


@pytest.mark.parametrize(
    ("installed", "providers", "fix"),
    [
        (("tensorrt", "onnx"), CPU_ONLY, "the Python package cuda.bindings is not: pip install 'cuda-bindings<13'"),
        (("tensorrt", "cuda.bindings"), CPU_ONLY, "the Python package onnx is not: pip install onnx"),
        (("tensorrt",), CPU_ONLY, "cuda.bindings and onnx is not: pip install 'cuda-bindings<13' onnx"),
        (("onnx",), CPU_ONLY, "neither TensorRT nor ONNX Runtime for GPUs is there: "),
        (("cuda.bindings",), CUDA, "the Python package onnx, which fp16 needs, is not: pip install onnx"),
        (ALL, CPU_ONLY, "the lines above say"),
    ],
)
def test_the_package_that_lacks_and_the_command_are_named(driver, installed, providers, fix):  # noqa: F811
    driver(count=2)
    text = advice(*installed, providers=providers)
    assert text.startswith("Orin is idle: onnxruntime runs the model on the processor; ")
    assert fix in text
    assert "\n" not in text


def test_on_a_jetson_tensorrt_comes_with_jetpack_and_on_others_by_pip(driver, monkeypatch):  # noqa: F811
    driver(count=2)
    assert "sudo apt install python3-libnvinfer and pip install 'cuda-bindings<13'" in advice("onnx")
    desktop = cuda_driver.devices()[1:]
    monkeypatch.setattr(cuda_driver, "devices", lambda: desktop)
    text = advice("onnx")
    assert text.startswith("NVIDIA H200 is idle")
    assert "pip install tensorrt and pip install 'cuda-bindings<13', or pip uninstall onnxruntime" in text


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime:cuda", "onnxruntime:tensorrt_rtx", "openvino:gpu"])
def test_where_a_gpu_runs_the_model_nothing_is_said(driver, backend):  # noqa: F811
    driver(count=1)
    assert unused_gpu(backend, ALL.__contains__, CPU_ONLY) == ""


@pytest.mark.parametrize("name", ["nvidia0", "nvhost-ctrl-gpu", "nvgpu"])
def test_a_gpu_whose_driver_this_container_does_not_see_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setattr(cuda_driver, "DRIVER", "libcuda_that_is_not_there.so.1")
    (tmp_path / "nvidiactl").touch()
    assert unused_gpu("openvino", device_folder=tmp_path) == ""
    (tmp_path / name).touch()
    text = unused_gpu("openvino", device_folder=tmp_path)
    assert f"a GPU is there ({tmp_path / name}), but openvino runs the model on the processor" in text
    assert "--gpus all" in text


def test_auto_warns_of_it_and_a_named_backend_does_not(monkeypatch, caplog):
    monkeypatch.setattr(cuda_driver, "DRIVER", "libcuda_that_is_not_there.so.1")
    monkeypatch.setattr(gpu_advice, "DEVICE_FILES", ("null",))
    with caplog.at_level(logging.WARNING, logger="depth_anything_ros"):
        assert Estimator("tiny", "onnxruntime").unused_gpu == ""
        assert [record for record in caplog.records if "a GPU is there" in record.message] == []
        assert "a GPU is there (/dev/null)" in Estimator("tiny").unused_gpu
    assert len([record for record in caplog.records if "a GPU is there" in record.message]) == 1
