"""Stands in for CUDA and TensorRT in a dry run: the tests' stand-ins, with plans that ONNX Runtime computes."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.gpu.steps import StepContext

TESTS = Path(__file__).resolve().parent.parent.parent / "test" / "helpers"
BUILD = "depth_anything_ros.runtime.engines.tensorrt_build"


def for_cuda(place: StepContext) -> Any:
    """A context in which the backend `tensorrt` works: nothing on a GPU, the stand-ins in a dry run."""
    return _installed(place.folder) if place.is_dry else nullcontext()


@contextmanager
def _installed(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(TESTS))
    import pytest
    from fake_cuda import FakeCuda
    from fake_tensorrt import installed
    from host_kernels import HostKernels

    from depth_anything_ros.runtime.cuda import driver as cuda_driver

    build = ModuleType(BUILD)
    build.build_plan = _build_plan
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        device = cuda_driver.CudaDevice(0, "a stand-in", "9.0", integrated=False)
        patch.setattr(cuda_driver, "devices", lambda: (device,))
        patch.setitem(sys.modules, BUILD, build)
        with installed(FakeCuda(HostKernels(folder)), patch) as (tensorrt, _):
            tensorrt.plans = _Plans()
            yield


def _build_plan(graph: Path, precision: str, shape: tuple[int, ...], **_: Any) -> bytes:
    """A plan that names its graph, behind a hash of it."""
    told = json.dumps({"graph": str(Path(graph).resolve()), "precision": precision, "shape": shape}).encode()
    return hashlib.sha256(told).digest() + told


class _Plans:
    """The stand-in's plans by their bytes; those that are not whole are in none."""

    def __contains__(self, plan: bytes) -> bool:
        return hashlib.sha256(plan[32:]).digest() == plan[:32]

    def __getitem__(self, plan: bytes) -> object:
        import onnxruntime
        from fake_tensorrt import image_plan

        told = json.loads(plan[32:])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # others wait for the cores as well
        session = onnxruntime.InferenceSession(told["graph"], options)
        name = session.get_inputs()[0].name

        times = 6 if told["precision"] == "fp32" else 1  # as slow beside the others as on a GPU

        def compute(batch: np.ndarray) -> np.ndarray:
            return [session.run(None, {name: batch})[0] for _ in range(times)][-1]

        output = compute(np.zeros(told["shape"], np.uint8))
        kind = "Float" if told["precision"] == "fp32" else "Half"
        layers = json.dumps({"Layers": [{"Outputs": [{"Format/Datatype": kind}]}]})
        return replace(image_plan(told["shape"], output.shape, compute), layers=layers)
