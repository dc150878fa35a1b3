"""What the processes of one run do as one: write, fail, and go on from the same step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric

from depth_anything_ros.training.checkpointing import StateError


def on_first(fabric: Fabric, write: Callable[[], None]) -> None:
    """Has the first process write something; all wait for it, and raise `StateError` where it fails."""
    together(fabric, write if fabric.is_global_zero else lambda: None)


def together(fabric: Fabric, write: Callable[[], None]) -> None:
    """Has every process write something.

    Where one cannot, all raise `StateError` (or the `OSError` that was theirs): they would wait for it for ever.
    """
    failure = None
    try:
        write()
    except (StateError, OSError) as error:
        failure = error
    failed = torch.tensor(float(failure is not None), device=fabric.device)
    if fabric.all_reduce(failed, reduce_op="sum") > 0:
        raise failure or StateError("another process of this run could not write, as it says itself")


def check_all_stand_alike(fabric: Fabric, steps: Sequence[int], folder: Path) -> None:
    """Raises ValueError where processes found other ``steps`` in ``folder`` than the first of them did."""
    found = fabric.all_gather(torch.tensor(steps, device=fabric.device)).view(-1, len(steps))
    if (found != found[0]).any():
        states = ", ".join(str(step) for step in found[:, 0].tolist())
        raise ValueError(
            f"{folder}: the processes of this run find different states there, of steps {states}: it must be one "
            "folder, on a disk that all machines share"
        )


def end_launched(fabric: Fabric) -> None:
    """Ends the processes that `Fabric.launch` started on this machine, which would wait for this one for ever."""
    launched = getattr(fabric.strategy.launcher, "procs", [])
    processes = launched.copy()
    launched.clear()  # Fabric watches these, and kills this process too when one of them is gone
    for process in processes:
        process.kill()  # one that waits for another process hears no other signal
        process.wait()
