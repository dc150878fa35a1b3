"""The data types of new TensorRT engines, as reported by its inspector."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.gpu.results import Results
from depth_anything_ros.runtime.backends.tensorrt_backend import TensorRtBackend

MAX_CHARACTERS = 2000


@contextmanager
def noted_precisions(results: Results) -> Iterator[None]:
    """Record the package's checks without rejection, because engines that are too slow must be timed too."""
    original = TensorRtBackend.check_precision

    def note(backend: TensorRtBackend, precision: str) -> None:
        if backend.engine.is_new:
            text, computes_in_half = backend.inspected(), backend.computes_in_half()
            types = sorted(set(re.findall(r'"Format/Datatype": *"([^"]*)"', text)))
            in_half = {True: "yes", False: "no", None: "unknown"}[computes_in_half]
            shape = "x".join(map(str, backend.engine.sidecar["key"]["shape"]))
            results.add(
                "The inspector's report", shape=shape, precision=precision, half=in_half, types=", ".join(types)
            )
            if precision != "fp32":
                results.check(f"{shape} in {precision} has layers in half precision", computes_in_half is not False)
            if not types and text and not any(note.startswith("The inspector") for note in results.notes):
                results.note(f"The inspector reports for an engine in {precision}: `{text[:MAX_CHARACTERS]}`")

    TensorRtBackend.check_precision = note
    try:
        yield
    finally:
        TensorRtBackend.check_precision = original
