"""The machine: its hardware and software, copy rates, and the best matrix products."""

from __future__ import annotations

import platform
import subprocess
import time
from importlib import metadata

import torch

from benchmarks.gpu.parts import near, part
from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import StepContext
from benchmarks.train.stages import measured_peak, synchronize
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.system.cpu_cores import usable_cores

COPIED = 256 << 20
QUERIED = "name,driver_version,clocks.max.sm,clocks.sm,clocks.mem,power.limit,memory.total,pcie.link.gen.current"
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32, without TF32": torch.float32}


DRY_SIDES = (64,)
PACKAGES = ("cuda-bindings", "onnx", "onnxruntime", "onnxruntime-gpu", "transformers", "numpy")


def run(context: StepContext, results: Results) -> None:
    """Describe the machine, and measure copies and matrix products."""
    device = torch.device(context.device)
    libraries = f"Python {platform.python_version()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
    results.note(f"{libraries}, {usable_cores()} cores.")
    supported = ".".join(map(str, cuda_driver.driver_version()))
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    results.note(f"The driver supports CUDA {supported}; {packages}.")
    with part(results, "nvidia-smi answers"):
        if not context.is_dry:
            for name, value in _smi().items():
                results.add("The GPU", what=name, value=value)
    with part(results, "copies"):
        for name, rate in copy_rates(device, COPIED // 64 if context.is_dry else COPIED).items():
            results.add("Copies, GB/s", way=name, rate=rate)
    torch.backends.cuda.matmul.allow_tf32 = False
    for name, dtype in TYPES.items():
        with part(results, f"matrix products in {name}"):
            side = DRY_SIDES[0] if context.is_dry else 512
            left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
            exact = (left.double() @ right.double()).cpu().numpy()
            product = (left @ right).double().cpu().numpy()
            results.judge(f"products in {name} are correct", product, near(exact, 0.02))
            rate = measured_peak(device, dtype, DRY_SIDES if context.is_dry else ()) / 1e12
            results.add("Products of square matrices, the best TFLOP/s", precision=name, rate=rate)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _smi() -> dict[str, str]:
    command = ["nvidia-smi", f"--query-gpu={QUERIED}", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()[0]
    return dict(zip(QUERIED.split(","), (value.strip() for value in answer.split(",")), strict=True))


def copy_rates(device: torch.device, nbytes: int) -> dict[str, float]:
    """Return GB/s between pinned memory and the device, both ways, and within the device.

    Args:
        device: the GPU.
        nbytes: size of the copies.
    """
    pinned = torch.empty(nbytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
    on_device, second = (torch.empty(nbytes, dtype=torch.uint8, device=device) for _ in range(2))
    ways = {
        "to the GPU": (on_device, pinned),
        "from the GPU": (pinned, on_device),
        "within the GPU": (second, on_device),
    }
    rates = {}
    for name, (target, source) in ways.items():
        target.copy_(source, non_blocking=True)
        synchronize(device)
        started = time.perf_counter()
        for _ in range(10):
            target.copy_(source, non_blocking=True)
        synchronize(device)
        rates[name] = 10 * nbytes / (time.perf_counter() - started) / 1e9
    return rates
