"""Which of how many processes this is, as torchrun, SLURM or MPI says; alone where none of them does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from depth_anything_ros.system.cpu_cores import usable_cores

TORCHRUN, SLURM, OPEN_MPI, MPI = "torchrun", "SLURM", "Open MPI", "MPI"
_VARIABLES = {
    TORCHRUN: ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    OPEN_MPI: (
        *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        *("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ),
    SLURM: ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
    MPI: ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
}
"""Where each says a process's number and how many there are, in all and on its machine. A launcher that is started by
another stands before it."""


@dataclass(frozen=True)
class Task:
    """One of ``count`` processes, ``local_count`` of them on its machine, numbered from 0 by ``launcher``, or alone.

    ``local_count`` is 0 where it is not known, or differs between machines.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    launcher: str = ""


def find_task(environment: Mapping[str, str]) -> Task:
    """What a process's environment says of it. Raises ValueError, naming the variables, where they do not fit."""
    for launcher, (rank, count, local_rank, local_count) in _VARIABLES.items():
        if rank not in environment or (launcher == SLURM and _is_script(environment)):
            continue
        if launcher == SLURM and "SLURM_STEP_NUM_TASKS" in environment:  # of srun; the other may be the job's
            count = "SLURM_STEP_NUM_TASKS"
        own, total = _number(environment, rank), _number(environment, count, 1)
        if not 0 <= own < total:
            raise ValueError(
                f"{rank} is {own} and {count} {total}: give {rank} from 0 to {count} - 1, or neither of them"
            )
        local_total = _number(environment, local_count, 0)
        if launcher == SLURM:
            local_total = _tasks_of_each_node(environment, total)
        elif total == 1:
            local_total = 1
        return Task(own, total, _number(environment, local_rank, own % max(1, local_total)), local_total, launcher)
    return Task()


def cores_of(task: Task, environment: Mapping[str, str]) -> int:
    """How many cores a process has to itself, at least 1: its share, unless SLURM gives each its own."""
    usable = usable_cores()
    if task.launcher == SLURM and "SLURM_CPUS_PER_TASK" in environment:
        return min(usable, _number(environment, "SLURM_CPUS_PER_TASK"))
    if task.launcher == SLURM and usable < _number(environment, "SLURM_CPUS_ON_NODE", 0):
        return usable  # bound to its own, as by --cpus-per-gpu
    return max(1, usable // max(1, task.local_count))


def first_host(environment: Mapping[str, str]) -> str | None:
    """The first machine of a job of SLURM's; None where it does not say."""
    for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        # As in gpu[03-06,11],login: of a range, the first.
        if found := re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\]([^,]*))?", environment.get(name, "")):
            return "".join(part or "" for part in found.groups())
    return None


def _is_script(environment: Mapping[str, str]) -> bool:
    """Whether a job's script runs this, and not srun: there is one of it, however many tasks the job may have."""
    has_step = any(name in environment for name in ("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS"))
    return not has_step and {"SLURM_JOB_ID", "SLURM_TASK_PID"} <= environment.keys()


def _tasks_of_each_node(environment: Mapping[str, str], total: int) -> int:
    """How many of SLURM's tasks each machine has; 0 where they differ."""
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"):
        counts: list[int] = []  # of "4(x2),3": 4, 4, 3
        for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get(name, "")):
            counts += int(times or 1) * [int(count)]
        if name == "SLURM_NTASKS_PER_NODE" and counts and total % counts[0] == 0:
            return counts[0]
        if sum(counts) == total:
            return counts[0] if len(set(counts)) == 1 else 0
    for name in ("SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"):
        if name in environment:
            nodes = _number(environment, name)
            return total // nodes if nodes and total % nodes == 0 else 0
    return total


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(str(text))
    except ValueError as error:
        raise ValueError(f"{name} is {text!r}, must be a whole number") from error
