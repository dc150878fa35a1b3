"""What TensorRT's inspector tells of the types that new engines compute in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.gpu.results import Results
from depth_anything_ros.runtime.backends.tensorrt_backend import TensorRtBackend

MAX_CHARACTERS = 2000


@contextmanager
def noted_precisions(results: Results) -> Iterator[None]:
    """Checks what the product checks, and lets through what it refuses: what is too slow must still be timed."""
    original = TensorRtBackend.check_precision

    def note(backend: TensorRtBackend, precision: str) -> None:
        if backend.engine.is_new:
            told, found = backend.inspected(), backend.computes_in_half()
            types = sorted(set(re.findall(r'"Format/Datatype": *"([^"]*)"', told)))
            in_half = {True: "yes", False: "no", None: "not told"}[found]
            shape = "x".join(map(str, backend.engine.sidecar["key"]["shape"]))
            results.add(
                "What the inspector tells", shape=shape, precision=precision, half=in_half, types=", ".join(types)
            )
            if precision != "fp32":
                results.check(f"{shape} in {precision} has layers in half precision", found is not False)
            if not types and told and not any(text.startswith("The inspector") for text in results.notes):
                results.note(f"The inspector says of an engine in {precision}: `{told[:MAX_CHARACTERS]}`")

    TensorRtBackend.check_precision = note
    try:
        yield
    finally:
        TensorRtBackend.check_precision = original
