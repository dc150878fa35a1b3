"""Checked CUDA calls, and memory that the processor and a GPU share; through cuda-bindings of CUDA 11, 12 or 13."""

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
    """Calls a function of cuda-bindings, whose results start with an error code.

    Returns:
        What follows the code: nothing (None), one value, or a tuple of them.

    Raises:
        ModelError: the call failed; the message names it and says why in CUDA's words.
    """
    try:
        code, *values = function(*arguments)
    except (RuntimeError, ValueError) as error:  # the bindings find no such library, function in it, or error code
        raise ModelError(f"{function.__name__}: {error}") from error
    if int(code) != 0:
        raise ModelError(f"{function.__name__}: {_words(code)} (error {int(code)})")
    if len(values) > 1:
        return tuple(values)
    return values[0] if values else None


def check_bindings() -> None:
    """Raises `UnavailableError` if the driver is too old, for us or for cuda-bindings: no call would succeed."""
    major, minor = cuda_driver.driver_version()
    if major < cuda_packages.OLDEST:
        raise UnavailableError(
            f"this NVIDIA driver serves CUDA {major}.{minor}, and CUDA {cuda_packages.OLDEST} is needed: "
            "install a newer driver (Jetson: JetPack 6 or later)"
        )
    version = cuda.bindings.__version__
    if int(version.split(".")[0]) > major:
        raise UnavailableError(
            f"cuda-bindings {version} needs a newer NVIDIA driver than this one of CUDA {major}.{minor}: "
            f"pip install {cuda_packages.cuda_bindings()}"
        )


@dataclass(frozen=True)
class StagingBuffer:
    """An array that crosses between the processor and the GPU.

    ``host`` is the processor's view of it, ``device`` the address by which the GPU knows it. On GPUs with memory of
    their own these are two places, pinned memory here and device memory there; where ``mapped``, they are one.
    ``host`` must not be touched once the buffer is freed.
    """

    host: np.ndarray
    device: int
    mapped: bool

    def upload(self, stream: cudart.cudaStream_t) -> None:
        """Enqueues the copy to the GPU, if there is one to make. Raises `ModelError`."""
        if not self.mapped:
            kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
            call(cudart.cudaMemcpyAsync, self.device, self.host.ctypes.data, self.host.nbytes, kind, stream)

    def download(self, stream: cudart.cudaStream_t) -> None:
        """Enqueues the copy from the GPU, if there is one to make. Raises `ModelError`."""
        if not self.mapped:
            kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
            call(cudart.cudaMemcpyAsync, self.host.ctypes.data, self.device, self.host.nbytes, kind, stream)


def allocate_device(nbytes: int, resources: ExitStack) -> int:
    """The address of ``nbytes`` of the GPU's memory, freed when ``resources`` closes. Raises `ModelError`."""
    address = int(call(cudart.cudaMalloc, nbytes))
    resources.callback(call, cudart.cudaFree, address)
    return address


def allocate_staging(
    shape: tuple[int, ...], dtype: np.dtype | type, mapped: bool, resources: ExitStack
) -> StagingBuffer:
    """A staging buffer, freed when ``resources`` closes.

    Args:
        shape: of the array.
        dtype: of the array.
        mapped: lets the GPU read and write the processor's memory; right where both share one memory.
        resources: what frees it.

    Raises:
        ModelError: there is not so much memory.
    """
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    flags = cudart.cudaHostAllocMapped if mapped else cudart.cudaHostAllocDefault
    address = int(call(cudart.cudaHostAlloc, nbytes, flags))
    resources.callback(call, cudart.cudaFreeHost, address)
    device = int(call(cudart.cudaHostGetDevicePointer, address, 0)) if mapped else allocate_device(nbytes, resources)
    memory = (ctypes.c_uint8 * nbytes).from_address(address)
    return StagingBuffer(np.frombuffer(memoryview(memory), np.dtype(dtype)).reshape(shape), device, mapped)


def _words(code: int) -> str:
    """What CUDA says of an error code of its three libraries."""
    if isinstance(code, driver.CUresult):
        _, words = driver.cuGetErrorString(code)
    elif isinstance(code, nvrtc.nvrtcResult):
        _, words = nvrtc.nvrtcGetErrorString(code)
    else:
        _, words = cudart.cudaGetErrorString(code)
    return (words or b"unknown error").decode()
