"""Why the processor runs the model although an NVIDIA GPU is there, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path

from depth_anything_ros.runtime import cuda_driver

DEVICE_FILES = ("nvidia[0-9]*", "nvgpu", "nvhost-gpu", "nvhost-ctrl-gpu")
"""Under /dev, of an NVIDIA GPU that this machine or container has: on desktops, and on the releases of JetPack."""
ON_GPU = ("tensorrt", "cuda", "dla", "gpu")
"""Words in the names of backends that run on a GPU."""
_GPU_PROVIDERS = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}


def unused_gpu(
    backend: str,
    is_installed: Callable[[str], bool] | None = None,
    providers: Collection[str] | None = None,
    device_folder: Path = Path("/dev"),
) -> str:
    """What keeps the GPU idle while this backend, which ``auto`` has chosen, runs on the processor; else "".

    Args:
        backend: a key of `BACKENDS`.
        is_installed: tells whether a Python module is there; default: asks Python.
        providers: ONNX Runtime's execution providers; default: asks ONNX Runtime.
        device_folder: where the GPU's device files lie.
    """
    if any(word in backend for word in ON_GPU):
        return ""
    devices = cuda_driver.devices()
    if not devices:
        found = sorted(path.name for pattern in DEVICE_FILES for path in device_folder.glob(pattern))
        if not found:
            return ""
        return (
            f"a GPU is there ({device_folder / found[0]}), but {backend} runs the model on the processor: "
            f"{cuda_driver.why_none()}; install NVIDIA's driver, or start the container with --gpus all "
            "(Jetson: --runtime nvidia)"
        )
    is_installed = _is_installed if is_installed is None else is_installed
    fix = _missing(is_installed, _providers() if providers is None else providers, devices[0].integrated)
    return f"{devices[0].name} is idle: {backend} runs the model on the processor; {fix}"


def _missing(is_installed: Callable[[str], bool], providers: Collection[str], is_jetson: bool) -> str:
    """What to install so that a backend on the GPU can work."""
    bindings = f"'cuda-bindings<{cuda_driver.driver_version()[0] + 1}'"  # newer ones than the driver do not work
    packages = {"cuda.bindings": bindings, "onnx": "onnx"}
    lacking = [name for name in packages if not is_installed(name)]
    command = f"pip install {' '.join(packages[name] for name in lacking)}"
    if is_installed("tensorrt") and lacking:
        return f"TensorRT is there, but the Python package {' and '.join(lacking)} is not: {command}"
    if not is_installed("tensorrt") and not _GPU_PROVIDERS & set(providers):
        install = "sudo apt install python3-libnvinfer" if is_jetson else "pip install tensorrt"
        more = f" and {command}" if lacking else ""
        other = "" if is_jetson else ", or pip uninstall onnxruntime && pip install onnxruntime-gpu onnx"
        return f"neither TensorRT nor ONNX Runtime for GPUs is there: {install}{more}{other}"
    if not is_installed("tensorrt") and "onnx" in lacking:
        return "ONNX Runtime for GPUs is there, but the Python package onnx, which fp16 needs, is not: pip install onnx"
    return "the lines above say of each backend on the GPU why it is not available or was refused"


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that the module would be in
        return False


def _providers() -> Collection[str]:
    if not _is_installed("onnxruntime"):
        return ()
    import onnxruntime

    return onnxruntime.get_available_providers()
