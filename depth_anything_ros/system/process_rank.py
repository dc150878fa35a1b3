"""The rank of this process and the number of processes, from torchrun, SLURM or MPI; a single process otherwise."""

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
"""The variables of rank, count, local rank and local count. A launcher precedes those that may start it."""


@dataclass(frozen=True)
class Task:
    """One of ``count`` processes, with its rank. The default is a single process.

    ``local_count`` of the processes are on this machine; it is 0 if unknown or different between machines.
    ``launcher`` is the program that set the ranks.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    launcher: str = ""


def find_task(environment: Mapping[str, str]) -> Task:
    """Read the rank from the environment. Raises ValueError, naming the variables, if they contradict each other."""
    for launcher, (rank, count, local_rank, local_count) in _VARIABLES.items():
        if rank not in environment or (launcher == SLURM and _is_script(environment)):
            continue
        if launcher == SLURM and "SLURM_STEP_NUM_TASKS" in environment:  # by srun; SLURM_NTASKS may be the job's
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
    """Return how many cores a process has to itself, at least 1.

    Args:
        task: the process; it shares the machine's cores with the others there, unless SLURM assigns cores.
        environment: SLURM's variables.
    """
    usable = usable_cores()
    if task.launcher == SLURM and "SLURM_CPUS_PER_TASK" in environment:
        return min(usable, _number(environment, "SLURM_CPUS_PER_TASK"))
    if task.launcher == SLURM and usable < _number(environment, "SLURM_CPUS_ON_NODE", 0):
        return usable  # bound to its own cores, for instance by --cpus-per-gpu
    return max(1, usable // max(1, task.local_count))


def first_host(environment: Mapping[str, str]) -> str | None:
    """Return the first machine of a SLURM job; None if the environment names none."""
    for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        # In gpu[03-06,11],login the first host is gpu03.
        if match := re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\]([^,]*))?", environment.get(name, "")):
            return "".join(part or "" for part in match.groups())
    return None


def _is_script(environment: Mapping[str, str]) -> bool:
    """Return whether the job's script runs this process without srun: then there is only one of it."""
    has_step = any(name in environment for name in ("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS"))
    return not has_step and {"SLURM_JOB_ID", "SLURM_TASK_PID"} <= environment.keys()


def _tasks_of_each_node(environment: Mapping[str, str], total: int) -> int:
    """Return the number of SLURM tasks per machine; 0 if machines differ."""
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
