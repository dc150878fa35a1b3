"""List the GPUs of the CUDA driver through ctypes.

This must come before any library uses a GPU: without a driver, TensorRT 8.6 crashes the process.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

DRIVER = "libcuda.so.1"
NAME_BYTES = 256
# CUdevice_attribute in cuda.h
INTEGRATED = 18
COMPUTE_CAPABILITY_MAJOR = 75
COMPUTE_CAPABILITY_MINOR = 76


@dataclass(frozen=True)
class CudaDevice:
    """One GPU.

    Attributes:
        index: for CUDA's calls.
        name: of the GPU.
        compute_capability: such as "8.7".
        integrated: whether it shares its memory with the processor, as on Jetson boards.
    """

    index: int
    name: str
    compute_capability: str
    integrated: bool


def computes_bfloat16(compute_capability: str) -> bool:
    """Return whether GPUs of a compute capability such as "8.7" multiply bfloat16: Ampere and later."""
    return int(compute_capability.partition(".")[0]) >= 8


class _DriverError(Exception):
    """There is no driver, or one of its calls failed. The message names the call."""


def devices() -> tuple[CudaDevice, ...]:
    """Return the GPUs in CUDA's order; an empty tuple without a driver or a usable GPU."""
    try:
        return _devices()
    except _DriverError:
        return ()


def why_none() -> str:
    """Return why `devices` is empty, for an error message; "" if it is not empty."""
    try:
        return "" if _devices() else "the CUDA driver sees no GPU"
    except _DriverError as error:
        return str(error)


def driver_version() -> tuple[int, int]:
    """Return the newest CUDA version (major, minor) that the driver supports; (0, 0) without a driver."""
    version = ctypes.c_int(0)
    try:
        _ask(_library(), "cuDriverGetVersion", ctypes.byref(version))
    except _DriverError:
        return 0, 0
    return version.value // 1000, version.value % 1000 // 10


def _devices() -> tuple[CudaDevice, ...]:
    driver = _library()
    _ask(driver, "cuInit", ctypes.c_uint(0))
    count = ctypes.c_int(0)
    _ask(driver, "cuDeviceGetCount", ctypes.byref(count))
    return tuple(_device(driver, index) for index in range(count.value))


def _device(driver: ctypes.CDLL, index: int) -> CudaDevice:
    handle = ctypes.c_int(0)
    _ask(driver, "cuDeviceGet", ctypes.byref(handle), ctypes.c_int(index))
    name = ctypes.create_string_buffer(NAME_BYTES)
    _ask(driver, "cuDeviceGetName", name, ctypes.c_int(NAME_BYTES), handle)
    major, minor, integrated = (
        _attribute(driver, attribute, handle)
        for attribute in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR, INTEGRATED)
    )
    return CudaDevice(index, name.value.decode(errors="replace"), f"{major}.{minor}", bool(integrated))


def _attribute(driver: ctypes.CDLL, attribute: int, handle: ctypes.c_int) -> int:
    value = ctypes.c_int(0)
    _ask(driver, "cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), handle)
    return value.value


def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(DRIVER)
    except OSError as error:
        raise _DriverError(f"no NVIDIA driver is installed, or this container does not see it: {error}") from error


def _ask(driver: ctypes.CDLL, name: str, *arguments: object) -> None:
    """Call a function of the driver. Raises `_DriverError` with the driver's message."""
    code = getattr(driver, name)(*arguments)
    if code != 0:
        words = ctypes.c_char_p()
        driver.cuGetErrorString(ctypes.c_int(code), ctypes.byref(words))
        raise _DriverError(f"{name}: {(words.value or b'unknown error').decode()} (CUDA error {code})")
