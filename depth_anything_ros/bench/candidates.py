"""Which backends and precisions are compared, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence

from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS, BackendChoice, is_installed
from depth_anything_ros.runtime.cuda import driver as cuda_driver

TRANSFORMERS = BackendChoice("transformers", "fp32")
"""The contender that is no backend of ours."""


def select(
    backends: Sequence[str],
    precisions: Sequence[str],
    has_graphs: bool,
    has_weights: bool,
) -> tuple[list[BackendChoice], dict[str, str]]:
    """The contenders, and by backend the reason why it is none.

    Args:
        backends: those that are named; none for all but those that compile for a minute.
        precisions: those that are named; none for all.
        has_graphs: whether the model has what most backends run.
        has_weights: whether it has a checkpoint.

    Raises:
        ValueError: a name is unknown, or nothing that is named offers a precision that is named.
    """
    for kind, names, known in (("backend", backends, BACKENDS), ("precision", precisions, PRECISIONS)):
        for name in names:
            if name not in known:
                raise ValueError(f"unknown {kind} {name!r}: choose from {', '.join(known)}")
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
    """Whether a contender computes on the CPU."""
    library, _, device = choice.backend.partition(":")
    return library != "tensorrt" and device in ("", "compile")


def _why_not(backend: str, has_graphs: bool, has_weights: bool) -> str | None:
    """What keeps a backend from running; what only its library knows is found out when it is loaded."""
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
