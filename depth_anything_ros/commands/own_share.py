"""The share of one process of several: its number, and its GPU."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from depth_anything_ros.commands import CommandError
from depth_anything_ros.system.process_rank import TORCHRUN, Task, find_task


def own_task(environment: Mapping[str, str]) -> Task:
    """Return this process's number and how many there are. Raise `CommandError` if only half of it is set."""
    try:
        task = find_task(environment)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if task.launcher != TORCHRUN and environment.get("WORLD_SIZE", "1") != "1":
        raise CommandError(f"WORLD_SIZE is {environment['WORLD_SIZE']}, but RANK is not set: set both, or neither")
    return task


def check_alone(command: str, environment: Mapping[str, str]) -> None:
    """Check that a launcher did not start several processes of a command that must be started once.

    Args:
        command: its name, for the message.
        environment: environment variables.

    Raises:
        CommandError: there are several.
    """
    task = own_task(environment)
    if task.count > 1:
        raise CommandError(
            f"{task.launcher} started {task.count} processes: start {command} once (srun --ntasks 1), and give "
            "--devices for its trainings"
        )


def local_rank_of(task: Task, environment: Mapping[str, str]) -> int | None:
    """Return this process's number on its machine, or None for a single process.

    Args:
        task: how this process was started.
        environment: environment variables.

    Raises:
        CommandError: LOCAL_RANK is not a number.
    """
    if "LOCAL_RANK" in environment:
        text = environment["LOCAL_RANK"]
        if not text.isdecimal():
            raise CommandError(f"LOCAL_RANK is {text!r}, but must be a whole number: unset it, or set it with RANK")
        return int(text)
    return task.local_rank if task.count > 1 else None


def choose_gpu(environment: MutableMapping[str, str], local_rank: int | None, device: str, gpus: int) -> None:
    """Set CUDA_VISIBLE_DEVICES to this process's own GPU; call it before CUDA starts in this process.

    If a launcher shows this process only its own GPU, nothing changes.

    Args:
        environment: environment variables, changed in place.
        local_rank: from `local_rank_of`.
        device: "auto", "cpu" or "cuda"; "cpu" hides all GPUs.
        gpus: number of GPUs that PyTorch finds.

    Raises:
        CommandError: there are fewer GPUs than processes; this process would label for weeks on the CPU unnoticed.
    """
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif local_rank is not None:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        if visible is not None and "," not in visible:
            return
        if 0 < gpus <= local_rank:
            raise CommandError(
                f"this is process {local_rank} of its machine, counted from 0, but there are only {gpus} GPUs: start "
                f"one process for each GPU (torchrun --nproc-per-node {gpus}), or all with --device cpu"
            )
        names = visible.split(",") if visible else [str(local_rank)]
        environment["CUDA_VISIBLE_DEVICES"] = names[local_rank % len(names)]
