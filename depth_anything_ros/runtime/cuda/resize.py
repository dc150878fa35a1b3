"""Resize images and maps on the GPU, with the kernels of `resize.cu`. NVRTC compiles them for the present GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from math import prod
from pathlib import Path

import cuda.bindings
from cuda.bindings import driver, nvrtc
from cuda.bindings import runtime as cudart

from depth_anything_ros.images.resizing import halved_size
from depth_anything_ros.runtime.cuda import packages as cuda_packages
from depth_anything_ros.runtime.cuda.memory import allocate_device, call
from depth_anything_ros.runtime.errors import ModelError

SOURCE = Path(__file__).with_name("resize.cu")
BLOCK = (32, 8)
"""Threads per block, along columns and rows."""

Size = tuple[int, int]
Enqueue = Callable[[cudart.cudaStream_t], None]
"""Enqueues work on a stream. Raises `ModelError`."""


class KernelLaunch:
    """A kernel with fixed arguments. Call it with a stream to enqueue it.

    Args:
        function: the kernel.
        size: (height, width) of its output, with one thread per pixel.
        arguments: by value, as ctypes.
    """

    def __init__(self, function: driver.CUfunction, size: Size, *arguments: ctypes._SimpleCData) -> None:
        height, width = size
        self._function = function
        self._grid = (-(-width // BLOCK[0]), -(-height // BLOCK[1]), 1)
        self._arguments = arguments  # the addresses below point into these
        self._addresses = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))

    def __call__(self, stream: cudart.cudaStream_t) -> None:
        """Enqueue the kernel. Raises `ModelError`."""
        addresses = ctypes.addressof(self._addresses)
        call(driver.cuLaunchKernel, self._function, *self._grid, *BLOCK, 1, 0, int(stream), addresses, 0)


class ResizeKernels:
    """The kernels, loaded on the current GPU until ``resources`` closes.

    Args:
        compute_capability: of that GPU, such as "8.7".
        resources: unloads the kernels.

    Raises:
        ModelError: NVRTC is not installed, or does not support the GPU.
    """

    def __init__(self, compute_capability: str, resources: ExitStack) -> None:
        module = call(driver.cuModuleLoadData, compile_kernels(compute_capability))
        resources.callback(call, driver.cuModuleUnload, module)
        self._average_image = call(driver.cuModuleGetFunction, module, b"average_image")
        self._resize_image = call(driver.cuModuleGetFunction, module, b"resize_image")
        self._resize_map = call(driver.cuModuleGetFunction, module, b"resize_map")

    def image(
        self,
        source: int,
        source_size: Size,
        target: int,
        size: Size,
        resources: ExitStack,
        reversed_channels: bool = False,
    ) -> Enqueue:
        """Return work that resizes like `images.resizing.resize_image`, to within 2 gray levels: halved, then bicubic.

        Args:
            source: device address of uint8 (H, W, 3).
            source_size: (H, W).
            target: device address of uint8 (h, w, 3).
            size: (h, w).
            resources: frees the memory of the halved image.
            reversed_channels: whether to swap the first and the last channel.

        Raises:
            ModelError: the GPU has no memory for the halved image.
        """
        launches = []
        half = halved_size(source_size, size)
        if half != source_size:
            averaged = allocate_device(3 * prod(half), resources)
            sides = _image_sides(source, source_size, averaged, half)
            launches.append(KernelLaunch(self._average_image, half, *sides))
            source, source_size = averaged, half
        flag = ctypes.c_int(reversed_channels)
        sides = _image_sides(source, source_size, target, size)
        launches.append(KernelLaunch(self._resize_image, size, *sides, flag))

        def enqueue(stream: cudart.cudaStream_t) -> None:
            for launch in launches:
                launch(stream)

        return enqueue

    def map(self, source: int, source_size: Size, target: int, size: Size) -> KernelLaunch:
        """Return work that resizes like `images.resizing.resize_map`.

        Args:
            source: device address of float32 (h, w).
            source_size: (h, w).
            target: device address of float32 (H, W).
            size: (H, W).
        """
        return KernelLaunch(self._resize_map, size, *_image_sides(source, source_size, target, size))


def _image_sides(source: int, source_size: Size, target: int, size: Size) -> tuple[ctypes._SimpleCData, ...]:
    """Return the first arguments of every kernel."""
    return (
        ctypes.c_void_p(source),
        *map(ctypes.c_int, source_size),
        ctypes.c_void_p(target),
        *map(ctypes.c_int, size),
    )


def compile_kernels(compute_capability: str) -> bytes:
    """Compile the kernels to a cubin for one kind of GPU. Needs no GPU.

    The result is machine code, not PTX: a driver that is older than NVRTC rejects its PTX.

    Args:
        compute_capability: such as "8.7".

    Raises:
        ModelError: NVRTC is not installed, or does not support the GPU.
    """
    try:
        program = call(nvrtc.nvrtcCreateProgram, SOURCE.read_bytes(), SOURCE.name.encode(), 0, [], [])
    except ModelError as error:
        words = " ".join(str(error).split())  # the message has several lines
        raise ModelError(f"{words}: {cuda_packages.nvrtc(cuda.bindings.__version__)}") from error
    try:
        options = [f"--gpu-architecture=sm_{compute_capability.replace('.', '')}".encode()]
        try:
            call(nvrtc.nvrtcCompileProgram, program, len(options), options)
        except ModelError as error:
            raise ModelError(f"{error}: {_compiler_log(program)}") from error
        cubin = bytearray(call(nvrtc.nvrtcGetCUBINSize, program))
        call(nvrtc.nvrtcGetCUBIN, program, cubin)
        return bytes(cubin)
    finally:
        call(nvrtc.nvrtcDestroyProgram, program)


def _compiler_log(program: nvrtc.nvrtcProgram) -> str:
    log = bytearray(call(nvrtc.nvrtcGetProgramLogSize, program))
    call(nvrtc.nvrtcGetProgramLog, program, log)
    return log.decode(errors="replace").rstrip("\0\n")
