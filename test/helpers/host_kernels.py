"""The kernels of `resize.cu` compiled for the CPU, so that they run without a GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "depth_anything_ros" / "runtime" / "cuda" / "resize.cu"

# What CUDA C has and C++ has not.
PRELUDE = """
#include <cstddef>
#include <utility>
#define __global__
#define __device__ static
struct Index { int x, y; };
static Index blockIdx, blockDim, threadIdx;
"""

# A launch takes its arguments at once, as CUDA's driver does: an array of their addresses, read by the types of the
# kernel's parameters. What it returns runs the kernel, as often as wanted.
LAUNCHERS = """
#include <functional>
#include <tuple>
using Launch = std::function<void()>;

template <class... Parameters, std::size_t... I>
static std::tuple<Parameters...> taken(void** arguments, std::index_sequence<I...>) {
    return std::tuple<Parameters...>(*(Parameters*)arguments[I]...);
}
template <class... Parameters>
static Launch* launch(void (*kernel)(Parameters...), int columns, int rows, int width, int height, void** arguments) {
    const auto values = taken<Parameters...>(arguments, std::index_sequence_for<Parameters...>());
    return new Launch([=] {
        blockDim = {width, height};
        for (blockIdx.y = 0; blockIdx.y < rows; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < columns; ++blockIdx.x)
                for (threadIdx.y = 0; threadIdx.y < height; ++threadIdx.y)
                    for (threadIdx.x = 0; threadIdx.x < width; ++threadIdx.x) std::apply(kernel, values);
    });
}
extern "C" void* launch_average_image(int columns, int rows, int width, int height, void** arguments) {
    return launch(average_image, columns, rows, width, height, arguments);
}
extern "C" void* launch_resize_image(int columns, int rows, int width, int height, void** arguments) {
    return launch(resize_image, columns, rows, width, height, arguments);
}
extern "C" void* launch_resize_map(int columns, int rows, int width, int height, void** arguments) {
    return launch(resize_map, columns, rows, width, height, arguments);
}
extern "C" void run(void* launch) { (*(Launch*)launch)(); }
"""


def compile_library(source: str, folder: Path, name: str) -> Path:
    """Compile a shared library from C++; skip the test if there is no compiler."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler to build the stand-in with")
    path = folder / f"lib{name}.so"
    command = [compiler, "-std=c++17", "-O2", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(path)]
    subprocess.run(command, input=source, text=True, check=True)
    return path


class HostKernels:
    """Runs the kernels on the CPU, one thread after the other."""

    def __init__(self, folder: Path) -> None:
        source = PRELUDE + SOURCE.read_text(encoding="utf-8") + LAUNCHERS
        self._library = ctypes.CDLL(str(compile_library(source, folder, "resize_kernels")))

    def launch(self, name: str, grid: tuple[int, int], block: tuple[int, int], arguments: int) -> Callable[[], None]:
        """Read the arguments from the array of addresses at ``arguments``; the returned function runs the kernel."""
        launcher = getattr(self._library, f"launch_{name}")
        launcher.restype = ctypes.c_void_p
        handle = launcher(*map(ctypes.c_int, (*grid, *block)), ctypes.c_void_p(arguments))
        return lambda: self._library.run(ctypes.c_void_p(handle))
