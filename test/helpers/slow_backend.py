"""A backend with the results of ONNX Runtime and a duration that the test sets."""

from __future__ import annotations

import time

import numpy as np
import pytest

from depth_anything_ros.runtime import backends
from depth_anything_ros.runtime.backends import REFERENCE, BackendModule
from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from depth_anything_ros.runtime.backends.onnxruntime_backend import load as load_onnxruntime

SECONDS = {"slow": 0.03, "slower": 0.06}
loaded: list[str] = []
"""Names of the loaded backends, in order."""


class SlowBackend(OnnxRuntimeBackend):
    """See the module."""

    seconds = 0.0

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `Backend.run`."""
        time.sleep(self.seconds)
        return super().run(batch)


def load(request: LoadRequest) -> SlowBackend:
    """The function that `depth_anything_ros.runtime.backends.load` calls."""
    loaded.append(request.choice.backend)
    backend = load_onnxruntime(request)
    backend.__class__ = SlowBackend
    backend.seconds = SECONDS[request.choice.backend]
    return backend


def register(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Make these the first backends of this process, before ONNX Runtime, and the only ones."""
    loaded.clear()
    slow = {name: BackendModule(__name__, "numpy", ("fp32",), "fp32") for name in names}
    patch.setattr(backends, "BACKENDS", {**slow, REFERENCE.backend: backends.BACKENDS[REFERENCE.backend]})
