"""GPUs as reported by the CUDA driver, here a library that the test builds."""

from __future__ import annotations

import pytest

from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda.driver import CudaDevice, devices, driver_version, why_none


def test_devices_lists_gpus(driver):
    driver(count=2)
    assert devices() == (CudaDevice(0, "Orin", "8.7", True), CudaDevice(1, "NVIDIA H200", "9.0", False))
    assert why_none() == ""
    assert driver_version() == (12, 6)


def test_driver_without_gpu_gives_reason(driver):
    driver(count=0)
    assert devices() == ()
    assert why_none() == "the CUDA driver sees no GPU"


@pytest.mark.parametrize(("code", "words"), [(100, "no CUDA-capable device is detected"), (3, "unknown error")])
def test_driver_that_fails_to_start_gives_error_code(driver, code, words):
    driver(count=2, init=code)
    assert devices() == ()
    assert why_none() == f"cuInit: {words} (CUDA error {code})"
    assert driver_version() == (12, 6)


def test_missing_driver_gives_reason(monkeypatch):
    monkeypatch.setattr(cuda_driver, "DRIVER", "libcuda_that_is_not_there.so.1")
    assert devices() == ()
    assert "libcuda_that_is_not_there" in why_none()
    assert driver_version() == (0, 0)


def test_attribute_numbers_match_cuda():
    attribute = pytest.importorskip("cuda.bindings.driver", reason="the extra `tensorrt`").CUdevice_attribute
    assert attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED == cuda_driver.INTEGRATED
    assert attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR == cuda_driver.COMPUTE_CAPABILITY_MAJOR
    assert attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR == cuda_driver.COMPUTE_CAPABILITY_MINOR
