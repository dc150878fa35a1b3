"""Records which of TensorRT's calls that differ between releases were executed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

BUILD = "depth_anything_ros.runtime.engines.tensorrt_build"


class Differing(NamedTuple):
    """A call that only some releases have: the package's function that makes it, and the releases."""

    function: str
    releases: str


DIFFERING = {
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": Differing("_batch_flags", "8.6, 10"),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": Differing("_typed_flags", "10, 11"),
    "BuilderFlag.FP16": Differing("_set_precision", "8.6, 10"),
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS, ILayer.precision, ILayer.set_output_type": Differing(
        "float32_layers", "8.6, 10"
    ),
    "IProgressMonitor, IBuilderConfig.progress_monitor": Differing("_monitor", "10, 11"),
}


class Watched:
    """Records which of the functions run during a block."""

    def __init__(self) -> None:
        self._ran: set[str] = set()
        self._originals: dict[str, Callable] = {}
        self._module: Any = None

    def __enter__(self) -> Watched:
        try:
            self._module = importlib.import_module(BUILD)
        except ImportError:  # without TensorRT none can run
            return self
        for name in {call.function for call in DIFFERING.values()}:
            if hasattr(self._module, name):
                self._originals[name] = getattr(self._module, name)
                setattr(self._module, name, self._noting(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, function in self._originals.items():
            setattr(self._module, name, function)

    def has_run(self, call: Differing) -> bool:
        """Return whether the call was made."""
        return call.function in self._ran

    def _noting(self, name: str) -> Callable:
        function = self._originals[name]

        @wraps(function)
        def noting(*arguments: Any) -> Any:
            self._ran.add(name)
            return function(*arguments)

        return noting
