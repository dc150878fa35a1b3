"""Any backend with a timer, to separate the network's time from the rest."""

from __future__ import annotations

import importlib
import time

import numpy as np

from depth_anything_ros.runtime.backends import BACKENDS
from depth_anything_ros.runtime.backends.interface import Backend, LoadRequest

RUNS: list[tuple[float, float]] = []
"""Start and end of every run of every graph in this process, in seconds of `time.perf_counter`, in order."""

_TIMED: dict[str, str] = {}


class TimedBackend:
    """Another backend, with start and end of each run recorded in `RUNS`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.engine = backend.engine
        self.resizes = False  # on the device it would count as the network

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the backend's output."""
        started = time.perf_counter()
        maps = self._backend.run(batch)
        RUNS.append((started, time.perf_counter()))
        return maps


def load(request: LoadRequest) -> TimedBackend:
    """Load the backend; `depth_anything_ros.runtime.backends.load` calls this."""
    return TimedBackend(importlib.import_module(_TIMED[request.choice.backend]).load(request))


def check(request: LoadRequest) -> None:
    """Check the backend; `depth_anything_ros.runtime.backends.check` calls this."""
    importlib.import_module(_TIMED[request.choice.backend]).check(request)


def register() -> None:
    """Add the timer to every backend that this process loads from now on."""
    for name, entry in BACKENDS.items():
        if entry.module != __name__:
            _TIMED[name] = entry.module
            BACKENDS[name] = entry._replace(module=__name__)
