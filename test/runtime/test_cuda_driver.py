"""What the CUDA driver says of its GPUs, read from a driver that is built here to say what a test wants."""

from __future__ import annotations

import pytest

from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda.driver import CudaDevice, devices, driver_version, why_none


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
