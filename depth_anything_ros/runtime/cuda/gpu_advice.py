"""Explain why the processor works although there is an NVIDIA GPU, and give the command that fixes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from pathlib import Path

from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import packages as cuda_packages

DEVICES = Path("/dev")
DEVICE_FILES = ("nvidia[0-9]*", "nvgpu", "nvhost-gpu", "nvhost-ctrl-gpu")
"""Device files of an NVIDIA GPU in this machine or container, on desktops and on JetPack releases."""
ON_GPU = ("tensorrt", "cuda", "dla", "gpu")
"""Words in the names of backends that run on a GPU."""
_GPU_PROVIDERS = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}


def runs_on_gpu(backend: str) -> bool:
    """Return whether a key of `BACKENDS` runs on a GPU."""
    return any(word in backend for word in ON_GPU)


def unused_gpu(
    backend: str,
    reasons: Sequence[str] = (),
    is_installed: Callable[[str], bool] | None = None,
    providers: Collection[str] | None = None,
) -> str:
    """Return why the GPU is idle while this backend, chosen by ``auto``, runs on the processor; else "".

    Args:
        backend: a key of `BACKENDS`.
        reasons: why each GPU backend was unavailable or rejected; used if all packages are installed.
        is_installed: returns whether a Python module is installed; default: asks Python.
        providers: ONNX Runtime's execution providers; default: asks ONNX Runtime.
    """
    if runs_on_gpu(backend):
        return ""
    devices = cuda_driver.devices()
    if not devices:
        return _without_driver(f"{backend} runs the model on the processor")
    is_installed = _is_installed if is_installed is None else is_installed
    fix = _missing(is_installed, _providers() if providers is None else providers, devices[0].integrated)
    fix = fix or "; ".join(reasons) or "no backend on the GPU offers this precision"
    return f"{devices[0].name} is idle: {backend} runs the model on the processor; {fix}"


def unused_by_torch() -> str:
    """Return why an NVIDIA GPU is idle while PyTorch runs on the processor by its own choice; else ""."""
    import torch

    if torch.cuda.is_available():
        return ""
    works, devices = f"PyTorch {torch.__version__} works on the processor", cuda_driver.devices()
    if not devices:
        return _without_driver(works)
    return f"{devices[0].name} is idle: {works}; {_why_torch_has_no_cuda(torch.version.cuda, devices[0].integrated)}"


def _why_torch_has_no_cuda(built: str | None, is_jetson: bool) -> str:
    """Return why PyTorch, built for the CUDA version ``built``, does not start CUDA, and the fix."""
    supported = cuda_driver.driver_version()
    if built is not None and tuple(map(int, built.split(".")[:2])) <= supported:
        return "it could not start CUDA; run python -c 'import torch; torch.zeros(1).cuda()' for the reason"
    wheels = "NVIDIA's wheel for this JetPack" if is_jetson else "https://pytorch.org/get-started/locally"
    kind = "is built without CUDA" if built is None else f"is built for CUDA {built}"
    version = ".".join(map(str, supported))
    return (
        f"it {kind}, and the driver supports CUDA {version}: install a PyTorch for that or an earlier CUDA ({wheels})"
    )


def _without_driver(works: str) -> str:
    """Return the problem if the driver lists no GPU but its device files exist; else ""."""
    present = sorted(path.name for pattern in DEVICE_FILES for path in DEVICES.glob(pattern))
    if not present:
        return ""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    fix = (
        "install NVIDIA's driver, or start the container with --gpus all (Jetson: --runtime nvidia)"
        if hidden is None or cuda_driver.driver_version() == (0, 0)
        else f"CUDA_VISIBLE_DEVICES is {hidden!r}: unset it, unless that is intended"
    )
    return f"a GPU is there ({DEVICES / present[0]}), but {works}: {cuda_driver.why_none()}; {fix}"


def _missing(is_installed: Callable[[str], bool], providers: Collection[str], is_jetson: bool) -> str:
    """Return what to install so that a GPU backend works; "" if nothing is missing."""
    packages = {"cuda.bindings": cuda_packages.cuda_bindings(), "onnx": "onnx"}
    missing = [name for name in packages if not is_installed(name)]
    command = f"pip install {' '.join(packages[name] for name in missing)}"
    if is_installed("tensorrt") and missing:
        return f"TensorRT is installed, but the Python package {' and '.join(missing)} is not: {command}"
    if not is_installed("tensorrt") and not _GPU_PROVIDERS & set(providers):
        install = "sudo apt install python3-libnvinfer" if is_jetson else f"pip install {cuda_packages.tensorrt()}"
        more = f" and {command}" if missing else ""
        other = f", or pip uninstall onnxruntime && pip install {cuda_packages.onnxruntime_gpu()} onnx"
        return f"neither TensorRT nor ONNX Runtime for GPUs is installed: {install}{more}{'' if is_jetson else other}"
    if not is_installed("tensorrt") and "onnx" in missing:
        return (
            "ONNX Runtime for GPUs is installed, but the Python package onnx, which fp16 needs, is not: "
            "pip install onnx"
        )
    return ""


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


def _providers() -> Collection[str]:
    if not _is_installed("onnxruntime"):
        return ()
    import onnxruntime

    return onnxruntime.get_available_providers()
