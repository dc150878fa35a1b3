"""Set up ONNX Runtime's execution providers for NVIDIA GPUs, and check whether they can work here."""

from __future__ import annotations

import logging
from typing import Any

import onnxruntime

from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import packages as cuda_packages
from depth_anything_ros.runtime.engines.cache import EngineCache
from depth_anything_ros.runtime.errors import UnavailableError

log = logging.getLogger(__name__)

Provider = tuple[str, dict[str, Any]]

CPU: Provider = ("CPUExecutionProvider", {})


def add_provider(options: onnxruntime.SessionOptions, request: LoadRequest) -> list[Provider]:
    """Return a session's ``providers``, with the CPU last for operators that the GPU does not support.

    The plugin for TensorRT-RTX is added to ``options`` instead, and the list is empty.

    Args:
        options: of the session, may receive the plugin.
        request: gives the device and the graph.

    Raises:
        UnavailableError: this machine has no GPU, or this ONNX Runtime has no such provider.
    """
    device = request.device
    if not device:
        return [CPU]
    if not cuda_driver.devices():
        raise UnavailableError(f"onnxruntime:{device} needs an NVIDIA GPU: {cuda_driver.why_none()}")
    if device == "tensorrt_rtx":
        _add_plugin(options)
        return []
    name = "CUDAExecutionProvider" if device == "cuda" else "TensorrtExecutionProvider"
    if name not in onnxruntime.get_available_providers():
        gpu = cuda_packages.onnxruntime_gpu()
        raise UnavailableError(f"this build of ONNX Runtime has no {name}: install {gpu} instead")
    # TF32 has half precision's ten bits of mantissa, too few for a result labeled fp32.
    return [(name, {"use_tf32": "0"} if device == "cuda" else _tensorrt_settings(request)), CPU]


def _tensorrt_settings(request: LoadRequest) -> dict[str, str]:
    """Return settings for the provider's own engine cache, in a folder per graph: it does not compare weights.

    They set no precision, so the graph's types apply.
    """
    graph = request.graph
    name = f"{graph.sha256[:16]}_{graph.weights_sha256[:16]}_{request.choice.precision}"
    folder = EngineCache().folder / "onnxruntime-tensorrt" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("%s: engines cannot be stored there, so every start builds them: %s", folder, error)
        return {}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }


def _add_plugin(options: onnxruntime.SessionOptions) -> None:
    """Add the plugin, a separate package that must be registered once per process."""
    import onnxruntime_ep_nv_tensorrt_rtx as plugin

    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise UnavailableError("the plugin for TensorRT-RTX needs ONNX Runtime 1.24 or later")
    name = plugin.get_ep_name()
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if not devices:
        try:
            onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class
            raise UnavailableError(f"ONNX Runtime cannot load its plugin for TensorRT-RTX: {error}") from error
        devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise UnavailableError("TensorRT-RTX finds no GPU that it supports: RTX 30 and later, driver 580 or later")
    options.add_provider_for_devices(devices[:1], {})
