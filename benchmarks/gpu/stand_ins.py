"""Replacements of CUDA and TensorRT for a dry run: the tests' fakes, with plans that ONNX Runtime computes."""

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


def for_cuda(context: StepContext) -> Any:
    """Return a context in which the backend `tensorrt` works: empty on a GPU, with the fakes in a dry run."""
    return _installed(context.folder) if context.is_dry else nullcontext()


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
    """Return a plan that names its graph, after a hash."""
    content = json.dumps({"graph": str(Path(graph).resolve()), "precision": precision, "shape": shape}).encode()
    return hashlib.sha256(content).digest() + content


class _Plans:
    """The fake's plans by their bytes; it contains all that are intact."""

    def __contains__(self, plan: bytes) -> bool:
        return hashlib.sha256(plan[32:]).digest() == plan[:32]

    def __getitem__(self, plan: bytes) -> object:
        import onnxruntime
        from fake_tensorrt import image_plan

        content = json.loads(plan[32:])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # other processes need cores too
        session = onnxruntime.InferenceSession(content["graph"], options)
        name = session.get_inputs()[0].name

        times = 6 if content["precision"] == "fp32" else 1  # slower by about as much as on a GPU

        def compute(batch: np.ndarray) -> np.ndarray:
            return [session.run(None, {name: batch})[0] for _ in range(times)][-1]

        output = compute(np.zeros(content["shape"], np.uint8))
        kind = "Float" if content["precision"] == "fp32" else "Half"
        layers = json.dumps({"Layers": [{"Outputs": [{"Format/Datatype": kind}]}]})
        return replace(image_plan(content["shape"], output.shape, compute), layers=layers)
