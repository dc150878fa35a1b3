"""ONNX Runtime's execution providers for NVIDIA GPUs: whether they can work here, and how they are asked for."""

from __future__ import annotations

from typing import Any

import onnxruntime

from depth_anything_ros.runtime import cuda_driver
from depth_anything_ros.runtime.engines.cache import EngineCache
from depth_anything_ros.runtime.errors import UnavailableError

CPU = ("CPUExecutionProvider", {})

Provider = tuple[str, dict[str, Any]]


def add_provider(options: onnxruntime.SessionOptions, device: str, precision: str) -> list[Provider]:
    """What to pass as a session's ``providers``, the CPU last for what the GPU cannot do.

    The plugin for TensorRT-RTX is added to ``options`` instead, and the list is empty.

    Args:
        options: the session's.
        device: "" for the CPU, "cuda", "tensorrt" or "tensorrt_rtx".
        precision: of the graph that the session will run.

    Raises:
        UnavailableError: this machine has no GPU, or this ONNX Runtime no such provider.
    """
    if not device:
        return [CPU]
    if not cuda_driver.devices():
        raise UnavailableError(f"onnxruntime:{device} needs an NVIDIA GPU: {cuda_driver.why_none()}")
    if device == "tensorrt_rtx":
        _add_plugin(options)
        return []
    name, settings = _cuda() if device == "cuda" else _tensorrt(precision)
    if name not in onnxruntime.get_available_providers():
        raise UnavailableError(f"this build of ONNX Runtime has no {name}: install onnxruntime-gpu in its place")
    return [(name, settings), CPU]


def _cuda() -> Provider:
    # TF32 has half precision's ten bits of mantissa, and would pass for 32 bits.
    return "CUDAExecutionProvider", {"use_tf32": "0"}


def _tensorrt(precision: str) -> Provider:
    """It builds and keeps engines itself, keyed by graph, version and GPU."""
    folder = EngineCache().folder / "onnxruntime-tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": "0" if precision == "fp32" else "1",
    }
    return "TensorrtExecutionProvider", settings


def _add_plugin(options: onnxruntime.SessionOptions) -> None:
    """The plugin is a package of its own, which ONNX Runtime must be told of once a process."""
    import onnxruntime_ep_nv_tensorrt_rtx as plugin

    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise UnavailableError("the plugin for TensorRT-RTX needs ONNX Runtime 1.24 or later")
    name = plugin.get_ep_name()
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if not devices:
        try:
            onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise UnavailableError(f"ONNX Runtime cannot load its plugin for TensorRT-RTX: {error}") from error
        devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise UnavailableError("TensorRT-RTX finds no GPU that it supports: RTX 30 and later, driver 580 or later")
    options.add_provider_for_devices(devices[:1], {})
