"""The packages that serve an NVIDIA driver: those of a newer CUDA than the driver's do not work with it."""

from __future__ import annotations

from depth_anything_ros.runtime.cuda import driver as cuda_driver

OLDEST, NEWEST = 11, 13
"""CUDA's releases that there are packages for. A driver also serves those of older releases."""

_ONNXRUNTIME = {11: "onnxruntime-gpu<1.19", 12: "onnxruntime-gpu>=1.19,<1.27", 13: "onnxruntime-gpu>=1.27"}
_NVRTC = {
    11: "sudo apt install cuda-nvrtc-11-8",  # cuda-bindings 11 do not look where pip puts it
    12: "pip install nvidia-cuda-nvrtc-cu12",
    13: "pip install nvidia-cuda-nvrtc",
}


def cuda_bindings() -> str:
    """What to give to pip for bindings that this driver serves."""
    return f"'cuda-bindings<{cuda_driver.driver_version()[0] + 1}'"


def tensorrt() -> str:
    """What to give to pip for a TensorRT that this driver serves."""
    return f"tensorrt-cu{_served()}"


def onnxruntime_gpu() -> str:
    """What to give to pip for an ONNX Runtime whose CUDA this driver serves."""
    return f"'{_ONNXRUNTIME[_served()]}'"


def nvrtc(bindings: str) -> str:
    """The command that installs the compiler that these cuda-bindings look for. ``bindings``: their version."""
    return _NVRTC[min(max(int(bindings.split(".")[0]), OLDEST), NEWEST)]


def _served() -> int:
    return min(max(cuda_driver.driver_version()[0], OLDEST), NEWEST)
