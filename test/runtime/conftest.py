"""Fixtures of the runtime tests: an own cache, the usual CPU backends, and a CUDA driver that the test controls."""

from __future__ import annotations

import pytest
from host_kernels import compile_library

from depth_anything_ros.runtime.backends import is_installed
from depth_anything_ros.runtime.cuda import driver as cuda_driver

DRIVER = """
#include <cstdio>
#include <cstdlib>
static int told(const char* name) { return std::atoi(std::getenv(name)); }
extern "C" {
int cuInit(unsigned) { return told("FAKE_CUDA_INIT"); }
int cuDriverGetVersion(int* version) { *version = told("FAKE_CUDA_VERSION"); return 0; }
int cuDeviceGetCount(int* count) { *count = told("FAKE_CUDA_COUNT"); return 0; }
int cuDeviceGet(int* device, int ordinal) { *device = 40 + ordinal; return 0; }
int cuDeviceGetName(char* name, int length, int device) {
    std::snprintf(name, length, "%s", device == 40 ? "Orin" : "NVIDIA H200"); return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    const bool orin = device == 40;
    if (attribute == 18) *value = orin;
    else if (attribute == 75) *value = orin ? 8 : 9;
    else if (attribute == 76) *value = orin ? 7 : 0;
    else return 1;
    return 0;
}
int cuGetErrorString(int code, const char** words) {
    if (code != 100) { *words = nullptr; return 1; }
    *words = "no CUDA-capable device is detected"; return 0;
}
}
"""


@pytest.fixture(scope="session")
def driver_library(tmp_path_factory):
    """A driver library, compiled once; environment variables set its answers."""
    return compile_library(DRIVER, tmp_path_factory.mktemp("cuda"), "cuda")


@pytest.fixture
def driver(driver_library, monkeypatch):
    def install(count: int, init: int = 0, cuda: int = 12) -> None:
        monkeypatch.setattr(cuda_driver, "DRIVER", str(driver_library))
        monkeypatch.setenv("FAKE_CUDA_COUNT", str(count))
        monkeypatch.setenv("FAKE_CUDA_INIT", str(init))
        monkeypatch.setenv("FAKE_CUDA_VERSION", f"{cuda}060")

    return install


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An engine cache that nothing else uses."""
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["onnxruntime", "openvino"])
def backend(request) -> str:
    """Each of the usual CPU backends that is installed."""
    if not is_installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    return request.param
