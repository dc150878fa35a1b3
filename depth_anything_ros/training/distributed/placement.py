"""On how many devices and machines a stage trains, by whom its processes are started, and how they find one another."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from depth_anything_ros.system.process_rank import SLURM, TORCHRUN, Task, first_host

_STARTED = {"MASTER_ADDR", "NODE_RANK", "WORLD_SIZE"}
"""What a process knows that the first of its machine has started, beside its LOCAL_RANK."""
_RUNS = ("SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid")
"""What launchers call one run of several processes: SLURM, Open MPI from 5 on, Open MPI before."""


@dataclass(frozen=True)
class Placement:
    """So many processes on each of so many machines, with one device each.

    ``starts_others``: whether the first process of a machine starts the others; else a launcher has started them all.
    ``variables``: what the environment must say for the processes to find one another.
    """

    devices: int = 1
    nodes: int = 1
    starts_others: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)


def place(task: Task, asked: int | None, environment: Mapping[str, str], gpus: int = 0) -> Placement:
    """Devices as torchrun, SLURM or MPI started this process, else as asked for, else one.

    One task of SLURM's or MPI's on each machine may start processes for ``asked`` devices itself. ``gpus``: how many
    this process sees. Raises ValueError where both say how many there are, and differ, and where machines differ.
    """
    by_torchrun = task.launcher == TORCHRUN
    if task.count == 1 and not by_torchrun:
        if "LOCAL_RANK" in environment and not environment.keys() >= _STARTED:
            raise ValueError(
                f"LOCAL_RANK is {environment['LOCAL_RANK']}, as if others had been started beside this process, and "
                "nothing says which of how many it is: unset it, or give RANK and WORLD_SIZE too"
            )
        return Placement(asked or 1)
    if task.local_count == 0:
        raise ValueError(
            f"{task.launcher} started {task.count} processes, and does not say that each machine has equally many: "
            "training needs that (srun --ntasks-per-node, torchrun --nproc-per-node)"
        )
    nodes = task.count // task.local_count
    if task.local_count == 1 and (asked or 1) > 1 and not by_torchrun:
        known = _meeting_place(task, nodes, environment)
        return Placement(asked, nodes, True, {**known, "NODE_RANK": str(task.rank)})
    if asked is not None and asked != task.local_count:
        raise ValueError(
            f"--devices {asked}, but this process was started as one of {task.local_count} of its machine, by "
            f"{task.launcher}: leave --devices out, or start one process on each machine"
        )
    if by_torchrun:
        return Placement(task.local_count, nodes, False)
    known = _meeting_place(task, nodes, environment)
    if task.launcher == SLURM and gpus == 1:  # it shows each process its own GPU: to PyTorch, a machine with one
        return Placement(1, task.count, False, {**known, **_numbers(task.rank, task.count, 0, 1)})
    numbers = _numbers(task.rank, task.count, task.local_rank, task.local_count)
    return Placement(task.local_count, nodes, False, {**known, **numbers})


def _numbers(rank: int, count: int, local_rank: int, local_count: int) -> dict[str, str]:
    """What torchrun would say."""
    numbers = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": local_rank, "LOCAL_WORLD_SIZE": local_count}
    return {name: str(number) for name, number in {**numbers, "GROUP_RANK": rank // local_count}.items()}


def _meeting_place(task: Task, nodes: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Address and port, the same for all processes of a job, at which they find one another."""
    address = environment.get("MASTER_ADDR") or ("127.0.0.1" if nodes == 1 else first_host(environment))
    if address is None:
        raise ValueError(f"{task.launcher} does not say which machine is the first: give its address as MASTER_ADDR")
    started = "/".join(environment.get(name, "") for name in _RUNS)
    port = 12000 + zlib.crc32(started.encode()) % 20000  # of two runs of one machine, each its own
    return {"MASTER_ADDR": address, "MASTER_PORT": environment.get("MASTER_PORT") or str(port)}
