"""Any backend with a stop-watch, to tell the network from all that surrounds it."""

from __future__ import annotations

import importlib
import time

import numpy as np

from depth_anything_ros.runtime.backends import BACKENDS, Backend, LoadRequest

RUNS: list[tuple[float, float]] = []
"""When every run of every graph of this process began and ended, in seconds of `time.perf_counter`, in order."""

_TIMED: dict[str, str] = {}


class TimedBackend:
    """Another backend; when each of its runs began and ended goes to `RUNS`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.engine = backend.engine
        self.resizes = False  # on a device it could not be told from the network

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The backend's answer."""
        started = time.perf_counter()
        maps = self._backend.run(batch)
        RUNS.append((started, time.perf_counter()))
        return maps


def load(request: LoadRequest) -> TimedBackend:
    """What `depth_anything_ros.runtime.backends.load` calls."""
    return TimedBackend(importlib.import_module(_TIMED[request.choice.backend]).load(request))


def check(request: LoadRequest) -> None:
    """What `depth_anything_ros.runtime.backends.check` calls."""
    importlib.import_module(_TIMED[request.choice.backend]).check(request)


def register() -> None:
    """Puts a stop-watch into every backend that estimators and nodes of this process load from now on."""
    for name, entry in BACKENDS.items():
        if entry.module != __name__:
            _TIMED[name] = entry.module
            BACKENDS[name] = entry._replace(module=__name__)
