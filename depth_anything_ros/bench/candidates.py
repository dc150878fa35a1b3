"""The selection of backends and precisions to compare, with the reasons for all others."""

from __future__ import annotations

from collections.abc import Sequence

from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS, is_installed
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.cuda import driver as cuda_driver

TRANSFORMERS = BackendChoice("transformers", "fp32")
"""The candidate that is not a backend of this package."""


def select(
    backends: Sequence[str],
    precisions: Sequence[str],
    has_graphs: bool,
    has_weights: bool,
) -> tuple[list[BackendChoice], dict[str, str]]:
    """Return the candidates, and the reason of each backend that is not one.

    Args:
        backends: the requested ones; empty for all but those that compile for a minute.
        precisions: the requested ones; empty for all.
        has_graphs: whether the model has graphs, which most backends need.
        has_weights: whether the model has a checkpoint.

    Raises:
        ValueError: a name is unknown, or no requested backend offers a requested precision.
    """
    for kind, names, valid in (("backend", backends, BACKENDS), ("precision", precisions, PRECISIONS)):
        for name in names:
            if name not in valid:
                raise ValueError(f"unknown {kind} {name!r}: choose from {', '.join(valid)}")
    chosen, absent = [], {}
    for name, entry in BACKENDS.items():
        offered = [precision for precision in entry.precisions if not precisions or precision in precisions]
        if name not in backends if backends else name.endswith("compile"):
            continue
        why_not = _why_not(name, has_graphs, has_weights)
        if why_not:
            absent[name] = why_not
        else:
            chosen += [BackendChoice(name, precision) for precision in offered]
    if not chosen and not absent:
        raise ValueError(f"none of {', '.join(backends or BACKENDS)} offers {' or '.join(precisions)}")
    return chosen, absent


def runs_on_processor(choice: BackendChoice) -> bool:
    """Return whether a candidate computes on the CPU."""
    library, _, device = choice.backend.partition(":")
    return library != "tensorrt" and device in ("", "compile")


def _why_not(backend: str, has_graphs: bool, has_weights: bool) -> str | None:
    """Return why a backend cannot run, or None. Loading its library may show further reasons."""
    entry = BACKENDS[backend]
    if not is_installed(backend):
        return f"{entry.library} is not installed"
    if ("cuda" in backend or "tensorrt" in backend) and not cuda_driver.devices():
        return cuda_driver.why_none()
    if entry.reads_weights and not has_weights:
        return "the model has no checkpoint"
    if not entry.reads_weights and not has_graphs:
        return "the model has no graph; export it"
    return None
