"""Advice about a GPU that is present but unused, on every path that chooses a backend."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_tensorrt import FakeTensorRt
from miniature_tum import put_tum

import depth_anything_ros
from depth_anything_ros.cli import main
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import gpu_advice
from depth_anything_ros.runtime.cuda.gpu_advice import unused_gpu
from depth_anything_ros.runtime.estimator import Estimator

REPOSITORY = Path(__file__).resolve().parents[2]
CPU_ONLY, CUDA = ("CPUExecutionProvider",), ("CUDAExecutionProvider", "CPUExecutionProvider")
ALL = ("tensorrt", "cuda.bindings", "onnx")


def advice(*installed: str, providers: tuple[str, ...] = CPU_ONLY, reasons: tuple[str, ...] = ()) -> str:
    return unused_gpu("onnxruntime", reasons, installed.__contains__, providers)


@pytest.mark.parametrize(
    ("installed", "providers", "fix"),
    [
        (("tensorrt", "onnx"), CPU_ONLY, "the Python package cuda.bindings is not: pip install 'cuda-bindings<13'"),
        (("tensorrt", "cuda.bindings"), CPU_ONLY, "the Python package onnx is not: pip install onnx"),
        (("tensorrt",), CPU_ONLY, "cuda.bindings and onnx is not: pip install 'cuda-bindings<13' onnx"),
        (("onnx",), CPU_ONLY, "neither TensorRT nor ONNX Runtime for GPUs is installed: "),
        (("cuda.bindings",), CUDA, "the Python package onnx, which fp16 needs, is not: pip install onnx"),
        (ALL, CPU_ONLY, "tensorrt fp16: too old; onnxruntime:cuda fp16: no cuDNN"),
    ],
)
def test_unused_gpu_names_missing_packages(driver, installed, providers, fix):
    driver(count=2)
    text = advice(
        *installed, providers=providers, reasons=("tensorrt fp16: too old", "onnxruntime:cuda fp16: no cuDNN")
    )
    assert text.startswith("Orin is idle: onnxruntime runs the model on the processor; ")
    assert fix in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("cuda", "packages"),
    [
        (11, ("tensorrt-cu11", "'cuda-bindings<12'", "'onnxruntime-gpu<1.19'")),
        (12, ("tensorrt-cu12", "'cuda-bindings<13'", "'onnxruntime-gpu>=1.19,<1.27'")),
        (13, ("tensorrt-cu13", "'cuda-bindings<14'", "'onnxruntime-gpu>=1.27'")),
        (14, ("tensorrt-cu13", "'cuda-bindings<15'", "'onnxruntime-gpu>=1.27'")),
    ],
)
def test_unused_gpu_names_packages_for_its_cuda(driver, monkeypatch, cuda, packages):
    driver(count=2, cuda=cuda)
    desktop = cuda_driver.devices()[1:]
    monkeypatch.setattr(cuda_driver, "devices", lambda: desktop)
    text = advice("onnx")
    assert text.startswith("NVIDIA H200 is idle")
    tensorrt, bindings, onnxruntime = packages
    assert f"pip install {tensorrt} and pip install {bindings}, or pip uninstall onnxruntime" in text
    assert f"pip install {onnxruntime} onnx" in text


def test_unused_gpu_on_jetson_names_jetpack_packages(driver):
    driver(count=2)
    text = advice("onnx")
    assert "sudo apt install python3-libnvinfer and pip install 'cuda-bindings<13'" in text
    assert "onnxruntime-gpu" not in text


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime:cuda", "onnxruntime:tensorrt_rtx", "openvino:gpu"])
def test_gpu_backend_gives_no_advice(driver, backend):
    driver(count=1)
    assert unused_gpu(backend, (), ALL.__contains__, CPU_ONLY) == ""


@pytest.fixture
def hidden_gpu(tmp_path, monkeypatch):
    """A machine with a GPU's device files but no driver that reports it."""
    folder = tmp_path / "dev"
    folder.mkdir()
    monkeypatch.setattr(cuda_driver, "DRIVER", "libcuda_that_is_not_there.so.1")
    monkeypatch.setattr(gpu_advice, "DEVICES", folder)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return folder


@pytest.mark.parametrize("name", ["nvidia0", "nvhost-ctrl-gpu", "nvgpu"])
def test_gpu_hidden_from_container_is_reported(hidden_gpu, name):
    (hidden_gpu / "nvidiactl").touch()
    assert unused_gpu("openvino") == ""
    (hidden_gpu / name).touch()
    text = unused_gpu("openvino")
    assert f"a GPU is there ({hidden_gpu / name}), but openvino runs the model on the processor" in text
    assert "--gpus all" in text


def test_gpu_hidden_by_environment_names_variable(driver, hidden_gpu, monkeypatch):
    (hidden_gpu / "nvidia0").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    driver(count=0)
    assert unused_gpu("openvino").endswith("CUDA_VISIBLE_DEVICES is '': unset it, unless that is intended")


def test_missing_driver_does_not_blame_variable(hidden_gpu, monkeypatch):
    (hidden_gpu / "nvidia0").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "install NVIDIA's driver, or start the container with --gpus all" in unused_gpu("openvino")


@pytest.fixture(autouse=True)
def own_loggers_propagate(monkeypatch):
    """Make loggers created after the import of `launch` propagate, so that `caplog` receives their records."""
    monkeypatch.setattr(logging, "_loggerClass", logging.Logger)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith("depth_anything_ros") and isinstance(logger, logging.Logger):
            monkeypatch.setattr(logger, "propagate", True)


def idle(records: list[logging.LogRecord]) -> list[logging.LogRecord]:
    return [record for record in records if "Orin is idle" in record.getMessage()]


def test_auto_warns_of_unused_gpu_and_named_backend_does_not(driver, caplog):
    driver(count=1)
    with caplog.at_level(logging.DEBUG, logger="depth_anything_ros"):
        assert Estimator("tiny", "onnxruntime").unused_gpu == ""
        assert Estimator("tiny", precision="int8", gated=False).unused_gpu == "", "no GPU is offered for it"
        assert idle(caplog.records) == []
        assert "Orin is idle" in Estimator("tiny").unused_gpu
    assert [record.levelname for record in idle(caplog.records)] == ["WARNING"]


def test_python_estimator_warns_of_unused_gpu(driver, caplog):
    driver(count=1)
    assert "Orin is idle" in depth_anything_ros.Estimator("tiny").unused_gpu
    assert [record.levelname for record in idle(caplog.records)] == ["WARNING"]


def test_unused_gpu_names_reason_of_each_gpu_backend(driver, monkeypatch):
    """A missing device is no line in the log where no backend was named: the warning has its reason."""
    driver(count=1)
    module = FakeTensorRt(None)
    module.__version__ = "8.5.3.1"
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    estimator = Estimator("tiny")
    assert estimator.backend_name.partition(":")[0] in ("onnxruntime", "openvino")
    reason = "TensorRT 8.5.3.1 is too old, 8.6 or later is required: install JetPack 6 or later"
    assert f"; tensorrt fp16: {reason}" in estimator.unused_gpu


COMMANDS = {
    "predict": ["predict", "PICTURE", "--output", "FOLDER"],
    "verify": ["verify", "tiny", "--backend", "auto", "--images", "PICTURE"],
    "build": ["build", "tiny", "--backend", "auto", "--image", "56x70"],
    "evaluate": ["evaluate", "--data", "DATA", "--no-baselines"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_commands_warn_of_unused_gpu(driver, tmp_path, caplog, words):

    driver(count=1)
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.zeros((56, 70, 3), np.uint8))
    places = {"PICTURE": str(picture), "FOLDER": str(tmp_path / "out"), "DATA": str(put_tum(tmp_path / "data"))}
    main([places.get(word, word) for word in words])
    assert [record.levelname for record in idle(caplog.records)] == ["WARNING"]


@pytest.mark.parametrize(
    ("built", "said"),
    [
        ("12.4", "it could not start CUDA; run python -c 'import torch; torch.zeros(1).cuda()' for the reason"),
        (
            "13.0",
            "it is built for CUDA 13.0, and the driver supports CUDA 12.6: install a PyTorch for that or an earlier",
        ),
        (None, "it is built without CUDA, and the driver supports CUDA 12.6: install a PyTorch for that or an earlier"),
    ],
)
def test_unused_gpu_names_pytorch_build(driver, monkeypatch, built, said):
    torch = pytest.importorskip("torch", reason="the extra torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    driver(count=1)
    assert said in gpu_advice.unused_by_torch()


TORCH_COMMANDS = {
    "label": ["label", "FOLDER", "--teacher", "tiny", "--output", "LABELS"],
    "train": [
        "train",
        "STAGE",
        "--output",
        "RUN",
        "--set",
        "data.labeled=[{shards: FOLDER}]",
        "--set",
        "data.validation=[]",
    ],
}


@pytest.mark.parametrize("words", TORCH_COMMANDS.values(), ids=TORCH_COMMANDS)
def test_pytorch_commands_warn_of_unused_gpu(driver, tmp_path, monkeypatch, caplog, words):
    """The warning comes before the shards are opened, which are not there."""
    pytest.importorskip("pydantic", reason="the extra train")
    torch = pytest.importorskip("torch", reason="the extra torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    driver(count=1)
    places = {"STAGE": str(REPOSITORY / "config/train/teacher.yaml")}
    places.update({name: str(tmp_path / name) for name in ("LABELS", "RUN")})
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures/picture.png"), np.zeros((56, 70, 3), np.uint8))
    packed = tmp_path / "packed"
    assert main(["data", "pack", "folder", str(tmp_path / "pictures"), "--output", str(packed)]) == 0
    for shard in packed.glob("*.tar"):
        shard.unlink()
    words = [places.get(word, word).replace("FOLDER", str(packed)) for word in words]
    assert main(words) == 1
    (warning,) = idle(caplog.records)
    assert warning.levelname == "WARNING"
    served = torch.version.cuda is not None and tuple(map(int, torch.version.cuda.split("."))) <= (12, 6)
    fix = "torch.zeros(1).cuda()" if served else "supports CUDA 12.6: install a PyTorch for that or an earlier CUDA"
    assert fix in warning.getMessage()
    named = {"label": "--device", "train": "--accelerator"}[words[0]]
    caplog.clear()
    assert main([*words, named, "cpu"]) == 1
    assert idle(caplog.records) == []
