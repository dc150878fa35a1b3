"""Names of packages that an NVIDIA driver supports. Packages for a newer CUDA than the driver's do not work."""

from __future__ import annotations

from depth_anything_ros.runtime.cuda import driver as cuda_driver

OLDEST, NEWEST = 11, 13
"""CUDA's releases with packages. A driver also supports older releases."""

_ONNXRUNTIME = {11: "onnxruntime-gpu<1.19", 12: "onnxruntime-gpu>=1.19,<1.27", 13: "onnxruntime-gpu>=1.27"}
_NVRTC = {
    11: "sudo apt install cuda-nvrtc-11-8",  # cuda-bindings 11 do not find pip's
    12: "pip install nvidia-cuda-nvrtc-cu12",
    13: "pip install nvidia-cuda-nvrtc",
}


def cuda_bindings() -> str:
    """Return pip's argument for cuda-bindings that this driver supports."""
    return f"'cuda-bindings<{cuda_driver.driver_version()[0] + 1}'"


def tensorrt() -> str:
    """Return pip's argument for a TensorRT that this driver supports."""
    return f"tensorrt-cu{_served()}"


def onnxruntime_gpu() -> str:
    """Return pip's argument for an ONNX Runtime whose CUDA this driver supports."""
    return f"'{_ONNXRUNTIME[_served()]}'"


def nvrtc(bindings: str) -> str:
    """Return the command that installs the compiler for cuda-bindings of version ``bindings``."""
    return _NVRTC[min(max(int(bindings.split(".")[0]), OLDEST), NEWEST)]


def _served() -> int:
    return min(max(cuda_driver.driver_version()[0], OLDEST), NEWEST)
