"""Actions that the processes of a run do together: write, fail, and resume from the same step."""

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
    """Let the first process write something while the others wait.

    Args:
        fabric: the devices.
        write: the action.

    Raises:
        StateError: the action failed; all processes raise it.
    """
    on_all_ranks(fabric, write if fabric.is_global_zero else lambda: None)


def on_all_ranks(fabric: Fabric, write: Callable[[], None]) -> None:
    """Let every process write something.

    If one fails, all raise; otherwise the others would wait for it forever.

    Args:
        fabric: the devices.
        write: the action.

    Raises:
        StateError: another process failed, or this one.
        OSError: this process failed.
    """
    failure = None
    try:
        write()
    except (StateError, OSError) as error:
        failure = error
    failed = torch.tensor(float(failure is not None), device=fabric.device)
    if fabric.all_reduce(failed, reduce_op="sum") > 0:
        raise failure or StateError("another process of this run could not write; see its own message")


class FailedError(RuntimeError):
    """A run cannot go on; the message has the reason. All its processes raise it together."""


def agree(fabric: Fabric, reason: Exception | None = None) -> None:
    """Return if no process has a reason to end; else all processes raise.

    Args:
        fabric: the devices.
        reason: this process's reason, or None.

    Raises:
        StoppedError: the only reasons are requests to stop.
        FailedError: there is another reason, here or in another process.
    """
    own = 0 if reason is None else 1 if isinstance(reason, StoppedError) else 2
    worst = fabric.all_reduce(torch.tensor(float(own), device=fabric.device), reduce_op="max")
    if worst == 0:
        return
    if worst == 1:
        raise StoppedError("stop requested")
    if own != 2:
        raise FailedError("another process of this run cannot go on; see its own message")
    raise FailedError(describe_error(reason) if isinstance(reason, OSError) else str(reason))


def check_same_steps(fabric: Fabric, steps: Sequence[int], folder: Path) -> None:
    """Check that all processes found the same states.

    Args:
        fabric: the devices.
        steps: steps of the states that this process found.
        folder: the run's folder, for the message.

    Raises:
        ValueError: they differ.
    """
    gathered = fabric.all_gather(torch.tensor(steps, device=fabric.device)).view(-1, len(steps))
    if (gathered != gathered[0]).any():
        states = ", ".join(str(step) for step in gathered[:, 0].tolist())
        raise ValueError(
            f"{folder}: the processes of this run find different states, of steps {states}: give a folder on a disk "
            "that all machines share"
        )


@contextmanager
def ending_launched(fabric: Fabric, but_for: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """If the block fails, kill the processes that `Fabric.launch` started here, which would wait forever.

    Args:
        fabric: the devices.
        but_for: errors that these processes raise as well.
    """
    try:
        yield
    except but_for:
        raise
    except BaseException:
        launched = getattr(fabric.strategy.launcher, "procs", [])
        processes = launched.copy()
        launched.clear()  # Fabric watches these, and would kill this process too when one of them dies
        for process in processes:
            process.kill()  # a process that waits for another one ignores other signals
            process.wait()
        raise
