"""What decides which backend and precision run a model: the order in which they are tried.

`choices` lists them. `measured_choice` times them where no order is known beforehand. `candidates` loads one after the
other, until one passes the gate (`checked_networks`, `gate`); so a precision that gives wrong depth is never used.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from depth_anything_ros.runtime import backends
from depth_anything_ros.runtime.backends import PRECISIONS, builds_for_minutes, is_installed
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.cpu_features import X86, processor


def choices(backend: str = "auto", precision: str = "auto") -> list[BackendChoice]:
    """Return the choices to try, best first.

    A precision that this processor only emulates is included only if it is requested by name. Its backend then rejects
    it with that reason.

    Args:
        backend: a key of `BACKENDS`, or "auto" for all whose library is installed.
        precision: one of `PRECISIONS`, followed by its fallbacks, or "auto".

    Raises:
        ValueError: the backend or precision is unknown, or the backend does not offer it.
    """
    if backend != "auto" and backend not in backends.BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: choose one of auto, {', '.join(backends.BACKENDS)}")
    if precision != "auto" and precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: choose one of auto, {', '.join(PRECISIONS)}")
    if backend != "auto":
        return _choices_of(backend, precision)
    installed = [name for name, entry in backends.BACKENDS.items() if entry.usual is not None and is_installed(name)]
    if precision == "auto":
        return [choice for name in installed for choice in _choices_of(name, precision)]
    able = [name for name in installed if precision in backends.BACKENDS[name].precisions]
    if not able:
        raise ValueError(f"no installed backend offers precision {precision!r}")
    offered = [choice for name in able for choice in _choices_of(name, precision)]
    return sorted(offered, key=lambda choice: PRECISIONS.index(choice.precision))


def _choices_of(backend: str, precision: str) -> list[BackendChoice]:
    entry = backends.BACKENDS[backend]
    requested = (entry.usual or entry.precisions[0]) if precision == "auto" else precision
    if requested not in entry.precisions:
        raise ValueError(f"{backend} does not offer precision {requested!r}, only {', '.join(entry.precisions)}")
    names = entry.precisions[entry.precisions.index(requested) :]
    return [
        BackendChoice(backend, name) for name in names if name == precision or name != "bf16" or _computes_bfloat16()
    ]


def _computes_bfloat16() -> bool:
    """Return whether OpenVINO computes in bfloat16 here. On Arm it does not, even if the processor could."""
    cpu = processor()
    return cpu.bf16 and cpu.architecture in X86


def is_measured(choice: BackendChoice) -> bool:
    """Return whether "auto" measures the choice: all except those for NVIDIA GPUs, which no processor outruns."""
    return choice.backend.partition(":")[2] in ("", "gpu") and not builds_for_minutes(choice)


def rivals(candidates: Sequence[BackendChoice], any_precision: bool) -> list[BackendChoice]:
    """Return the first candidates, two or more, that "auto" measures against each other; else an empty list.

    Args:
        candidates: the choices, best first.
        any_precision: whether their precisions may differ. With a requested precision, the next one is only a fallback.
    """
    precisions = PRECISIONS if any_precision else {choice.precision for choice in candidates[:1]}
    measured = list(takewhile(lambda other: is_measured(other) and other.precision in precisions, candidates))
    return measured if len(measured) > 1 else []
