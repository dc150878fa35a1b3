"""ONNX Runtime with a stop-watch: what `frame.py` registers as a backend, to tell the network from all the rest."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from depth_anything_ros.runtime.backends import BACKENDS, BackendModule
from depth_anything_ros.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from depth_anything_ros.runtime.backends.onnxruntime_backend import load as load_onnxruntime

NAME = "timed"


class TimedBackend:
    """Another backend, and the seconds of each of its runs in ``seconds``."""

    def __init__(self, backend: OnnxRuntimeBackend, seconds: list[float]) -> None:
        self._backend = backend
        self._seconds = seconds
        self.name = backend.name
        self.layout = backend.layout
        self.input_size = backend.input_size
        self.metadata = backend.metadata
        self.precision = backend.precision

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The backend's answer."""
        started = time.perf_counter()
        maps = self._backend.run(batch)
        self._seconds.append(time.perf_counter() - started)
        return maps


SECONDS: list[float] = []
"""Seconds of every run of every graph of this process, in order."""


def load(path: Path, threads: int | None = None) -> TimedBackend:
    """What `depth_anything_ros.runtime.backends.create` calls."""
    return TimedBackend(load_onnxruntime(path, threads), SECONDS)


def register() -> None:
    """Makes the backend known to estimators and nodes of this process as `NAME`."""
    BACKENDS[NAME] = BackendModule(__name__, "onnxruntime")
