"""What is a process's own where several share the work: its number, and its GPU."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from depth_anything_ros.commands import CommandError
from depth_anything_ros.system.process_rank import TORCHRUN, Task, find_task


def own_task(environment: Mapping[str, str]) -> Task:
    """Which of how many processes this is. Raises `CommandError` where the environment says half of it."""
    try:
        task = find_task(environment)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if task.launcher != TORCHRUN and environment.get("WORLD_SIZE", "1") != "1":
        raise CommandError(f"WORLD_SIZE is {environment['WORLD_SIZE']}, but there is no RANK: give both, or neither")
    return task


def check_alone(command: str, environment: Mapping[str, str]) -> None:
    """Raises `CommandError` where a command that is to be run once was started several times, beside one another."""
    task = own_task(environment)
    if task.count > 1:
        raise CommandError(
            f"{task.launcher} started {task.count} of this: start {command} once (srun --ntasks 1); its trainings take "
            "--devices"
        )


def own_place(task: Task, environment: Mapping[str, str]) -> int | None:
    """This process's number among those of its machine; None for one that is alone.

    Raises `CommandError` where LOCAL_RANK is no number.
    """
    if "LOCAL_RANK" in environment:
        text = environment["LOCAL_RANK"]
        if not text.isdecimal():
            raise CommandError(f"LOCAL_RANK is {text!r}, must be a whole number: unset it, or give it with RANK")
        return int(text)
    return task.local_rank if task.count > 1 else None


def choose_gpu(environment: MutableMapping[str, str], local: int | None, device: str, gpus: int) -> None:
    """Leaves this process the one GPU that is its own, or none for ``device`` "cpu".

    ``local``: see `own_place`; ``gpus``: how many PyTorch finds before. Must run before CUDA has begun here. A launcher
    that shows each process but its own is let be. Raises `CommandError` where there are GPUs, but none left for this
    process: beside others that have one, it would label for weeks on the CPU, and nobody would know.
    """
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif local is not None:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        if visible is not None and "," not in visible:
            return
        if 0 < gpus <= local:
            raise CommandError(
                f"this is process {local} of its machine, counted from 0, but there are {gpus} GPUs, so that it has "
                f"none: start one process for each GPU (torchrun --nproc-per-node {gpus}), or all with --device cpu"
            )
        names = visible.split(",") if visible else [str(local)]
        environment["CUDA_VISIBLE_DEVICES"] = names[local % len(names)]
