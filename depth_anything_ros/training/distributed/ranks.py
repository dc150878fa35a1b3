"""What the processes of one run do as one: write, fail, and go on from the same step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning_fabric import Fabric

from depth_anything_ros.system.atomic_file import describe_error
from depth_anything_ros.training.run.checkpoints import StateError
from depth_anything_ros.training.run.stop_request import StoppedError


def on_rank_zero(fabric: Fabric, write: Callable[[], None]) -> None:
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


class FailedError(RuntimeError):
    """A run cannot go on; the message says why. All its processes raise it together."""


def agree(fabric: Fabric, reason: Exception | None = None) -> None:
    """Returns where no process has a reason not to go on; else all raise, their own or that there is one elsewhere.

    Raises `StoppedError` where that is the only kind of reason, else `FailedError`.
    """
    own = 0 if reason is None else 1 if isinstance(reason, StoppedError) else 2
    worst = fabric.all_reduce(torch.tensor(float(own), device=fabric.device), reduce_op="max")
    if worst == 0:
        return
    if worst == 1:
        raise StoppedError("asked to stop")
    if own != 2:
        raise FailedError("another process of this run cannot go on, as it says itself")
    raise FailedError(describe_error(reason) if isinstance(reason, OSError) else str(reason))


def check_all_stand_alike(fabric: Fabric, steps: Sequence[int], folder: Path) -> None:
    """Raises ValueError where processes found other ``steps`` in ``folder`` than the first of them did."""
    found = fabric.all_gather(torch.tensor(steps, device=fabric.device)).view(-1, len(steps))
    if (found != found[0]).any():
        states = ", ".join(str(step) for step in found[:, 0].tolist())
        raise ValueError(
            f"{folder}: the processes of this run find different states there, of steps {states}: it must be one "
            "folder, on a disk that all machines share"
        )


@contextmanager
def ending_launched(fabric: Fabric, but_for: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Where a block fails, ends the processes that `Fabric.launch` started here, which would wait for it for ever.

    ``but_for``: errors that they raise as well.
    """
    try:
        yield
    except but_for:
        raise
    except BaseException:
        launched = getattr(fabric.strategy.launcher, "procs", [])
        processes = launched.copy()
        launched.clear()  # Fabric watches these, and kills this process too when one of them is gone
        for process in processes:
            process.kill()  # one that waits for another process hears no other signal
            process.wait()
        raise
