"""Checked CUDA calls, and memory for the processor and a GPU, through cuda-bindings of CUDA 11, 12 or 13."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

import cuda.bindings
import numpy as np
from cuda.bindings import driver, nvrtc
from cuda.bindings import runtime as cudart

from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import packages as cuda_packages
from depth_anything_ros.runtime.errors import ModelError, UnavailableError


def call(function: Callable[..., tuple], *arguments: object) -> Any:
    """Call a function of cuda-bindings, whose results start with an error code.

    Args:
        function: to call.
        arguments: of the function.

    Returns:
        The results after the code: None, one value, or a tuple.

    Raises:
        ModelError: the call failed; the message has its name and CUDA's reason.
    """
    try:
        code, *values = function(*arguments)
    except (RuntimeError, ValueError) as error:  # the bindings do not know the library, the function or the error code
        raise ModelError(f"{function.__name__}: {error}") from error
    if int(code) != 0:
        raise ModelError(f"{function.__name__}: {_words(code)} (error {int(code)})")
    if len(values) > 1:
        return tuple(values)
    return values[0] if values else None


def check_bindings() -> None:
    """Check that the driver supports this package and cuda-bindings. Raises `UnavailableError` if it is too old."""
    major, minor = cuda_driver.driver_version()
    if major < cuda_packages.OLDEST:
        raise UnavailableError(
            f"this NVIDIA driver supports CUDA {major}.{minor}, but CUDA {cuda_packages.OLDEST} is required: "
            "install a newer driver (Jetson: JetPack 6 or later)"
        )
    version = cuda.bindings.__version__
    if int(version.split(".")[0]) > major:
        raise UnavailableError(
            f"cuda-bindings {version} needs a newer NVIDIA driver than this one for CUDA {major}.{minor}: "
            f"pip install {cuda_packages.cuda_bindings()}"
        )


@dataclass(frozen=True)
class StagingBuffer:
    """An array that moves between the processor and the GPU.

    Attributes:
        host: the processor's view. It must not be used after the buffer is freed.
        device: the GPU's address.
        mapped: whether both are the same memory. A GPU with its own memory has pinned memory here and device memory
            there.
    """

    host: np.ndarray
    device: int
    mapped: bool

    def upload(self, stream: cudart.cudaStream_t) -> None:
        """Enqueue the copy to the GPU, unless the memory is mapped. Raises `ModelError`."""
        if not self.mapped:
            kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
            call(cudart.cudaMemcpyAsync, self.device, self.host.ctypes.data, self.host.nbytes, kind, stream)

    def download(self, stream: cudart.cudaStream_t) -> None:
        """Enqueue the copy from the GPU, unless the memory is mapped. Raises `ModelError`."""
        if not self.mapped:
            kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
            call(cudart.cudaMemcpyAsync, self.host.ctypes.data, self.device, self.host.nbytes, kind, stream)


def allocate_device(nbytes: int, resources: ExitStack) -> int:
    """Allocate GPU memory.

    Args:
        nbytes: to allocate.
        resources: frees it.

    Returns:
        The device address.

    Raises:
        ModelError: there is not enough memory.
    """
    address = int(call(cudart.cudaMalloc, nbytes))
    resources.callback(call, cudart.cudaFree, address)
    return address


def allocate_staging(
    shape: tuple[int, ...], dtype: np.dtype | type, mapped: bool, resources: ExitStack
) -> StagingBuffer:
    """Allocate a staging buffer.

    Args:
        shape: of the array.
        dtype: of the array.
        mapped: whether the GPU uses the processor's memory directly; right if both share one memory.
        resources: frees it.

    Raises:
        ModelError: there is not enough memory.
    """
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    flags = cudart.cudaHostAllocMapped if mapped else cudart.cudaHostAllocDefault
    address = int(call(cudart.cudaHostAlloc, nbytes, flags))
    resources.callback(call, cudart.cudaFreeHost, address)
    device = int(call(cudart.cudaHostGetDevicePointer, address, 0)) if mapped else allocate_device(nbytes, resources)
    memory = (ctypes.c_uint8 * nbytes).from_address(address)
    return StagingBuffer(np.frombuffer(memoryview(memory), np.dtype(dtype)).reshape(shape), device, mapped)


def _words(code: int) -> str:
    """Return CUDA's text for an error code of its three libraries."""
    if isinstance(code, driver.CUresult):
        _, words = driver.cuGetErrorString(code)
    elif isinstance(code, nvrtc.nvrtcResult):
        _, words = nvrtc.nvrtcGetErrorString(code)
    else:
        _, words = cudart.cudaGetErrorString(code)
    return (words or b"unknown error").decode()
