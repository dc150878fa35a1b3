"""What the CUDA driver says of its GPUs, read from a driver that is built here to say what a test wants."""

from __future__ import annotations

import pytest
from host_kernels import compile_library

from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda.driver import CudaDevice, devices, driver_version, why_none

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
    """Compiled once: what it says is in the environment."""
    return compile_library(DRIVER, tmp_path_factory.mktemp("cuda"), "cuda")


@pytest.fixture
def driver(driver_library, monkeypatch):
    def install(count: int, init: int = 0, cuda: int = 12) -> None:
        monkeypatch.setattr(cuda_driver, "DRIVER", str(driver_library))
        monkeypatch.setenv("FAKE_CUDA_COUNT", str(count))
        monkeypatch.setenv("FAKE_CUDA_INIT", str(init))
        monkeypatch.setenv("FAKE_CUDA_VERSION", f"{cuda}060")

    return install


def test_lists_the_gpus(driver):
    driver(count=2)
    assert devices() == (CudaDevice(0, "Orin", "8.7", True), CudaDevice(1, "NVIDIA H200", "9.0", False))
    assert why_none() == ""
    assert driver_version() == (12, 6)


def test_a_driver_without_gpu(driver):
    driver(count=0)
    assert devices() == ()
    assert why_none() == "the CUDA driver sees no GPU"


@pytest.mark.parametrize(("code", "words"), [(100, "no CUDA-capable device is detected"), (3, "unknown error")])
def test_a_driver_that_does_not_start(driver, code, words):
    driver(count=2, init=code)
    assert devices() == ()
    assert why_none() == f"cuInit: {words} (CUDA error {code})"
    assert driver_version() == (12, 6)


def test_no_driver(monkeypatch):
    monkeypatch.setattr(cuda_driver, "DRIVER", "libcuda_that_is_not_there.so.1")
    assert devices() == ()
    assert "libcuda_that_is_not_there" in why_none()
    assert driver_version() == (0, 0)


def test_the_attributes_are_cudas():
    attribute = pytest.importorskip("cuda.bindings.driver", reason="the extra `tensorrt`").CUdevice_attribute
    assert attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED == cuda_driver.INTEGRATED
    assert attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR == cuda_driver.COMPUTE_CAPABILITY_MAJOR
    assert attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR == cuda_driver.COMPUTE_CAPABILITY_MINOR
