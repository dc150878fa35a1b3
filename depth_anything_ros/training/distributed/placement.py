"""The placement of a stage: its devices and machines, which process starts the others, and how they connect."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from depth_anything_ros.system.process_rank import SLURM, TORCHRUN, Task, first_host

_STARTED = {"MASTER_ADDR", "NODE_RANK", "WORLD_SIZE"}
"""Variables of a process that the first process of its machine has started, besides LOCAL_RANK."""
_RUNS = ("SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid")
"""Variables with which launchers identify a run of several processes: SLURM, Open MPI from 5 on, Open MPI before."""


@dataclass(frozen=True)
class Placement:
    """Processes on each machine, with one device each.

    Attributes:
        devices: processes on each machine.
        nodes: machines.
        starts_others: whether the first process of a machine starts the others; else a launcher has started all.
        variables: environment variables with which the processes connect.
    """

    devices: int = 1
    nodes: int = 1
    starts_others: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)


def choose_placement(task: Task, requested: int | None, environment: Mapping[str, str], gpus: int = 0) -> Placement:
    """Return the placement that torchrun, SLURM or MPI chose, else the requested one, else one device.

    Args:
        task: how this process was started.
        requested: devices that the user requests. With one SLURM or MPI task on each machine, each starts processes
            for them.
        environment: environment variables.
        gpus: GPUs that this process sees.

    Raises:
        ValueError: launcher and user request different numbers of devices, or machines have different numbers.
    """
    by_torchrun = task.launcher == TORCHRUN
    if task.count == 1 and not by_torchrun:
        if "LOCAL_RANK" in environment and not environment.keys() >= _STARTED:
            raise ValueError(
                f"LOCAL_RANK is {environment['LOCAL_RANK']}, as if a launcher had started this process with others, "
                "but RANK and WORLD_SIZE are not set: unset LOCAL_RANK, or set RANK and WORLD_SIZE too"
            )
        return Placement(requested or 1)
    if task.local_count == 0:
        raise ValueError(
            f"{task.launcher} started {task.count} processes without the same number on each machine: set "
            "--ntasks-per-node (srun) or --nproc-per-node (torchrun)"
        )
    nodes = task.count // task.local_count
    if task.local_count == 1 and (requested or 1) > 1 and not by_torchrun:
        address = _rendezvous(task, nodes, environment)
        return Placement(requested, nodes, True, {**address, "NODE_RANK": str(task.rank)})
    if requested is not None and requested != task.local_count:
        raise ValueError(
            f"--devices {requested}, but {task.launcher} started {task.local_count} processes on this machine: remove "
            "--devices, or start one process on each machine"
        )
    if by_torchrun:
        return Placement(task.local_count, nodes, False)
    address = _rendezvous(task, nodes, environment)
    if task.launcher == SLURM and gpus == 1:  # each process sees only its own GPU: to PyTorch, a machine with one
        return Placement(1, task.count, False, {**address, **_rank_variables(task.rank, task.count, 0, 1)})
    ranks = _rank_variables(task.rank, task.count, task.local_rank, task.local_count)
    return Placement(task.local_count, nodes, False, {**address, **ranks})


def _rank_variables(rank: int, count: int, local_rank: int, local_count: int) -> dict[str, str]:
    """Return the variables that torchrun would set."""
    numbers = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": local_rank, "LOCAL_WORLD_SIZE": local_count}
    return {name: str(number) for name, number in {**numbers, "GROUP_RANK": rank // local_count}.items()}


def _rendezvous(task: Task, nodes: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return address and port where all processes of a job connect."""
    address = environment.get("MASTER_ADDR") or ("127.0.0.1" if nodes == 1 else first_host(environment))
    if address is None:
        raise ValueError(f"{task.launcher} does not report the first machine: set MASTER_ADDR to its address")
    started = "/".join(environment.get(name, "") for name in _RUNS)
    port = 12000 + zlib.crc32(started.encode()) % 20000  # different for two runs on one machine
    return {"MASTER_ADDR": address, "MASTER_PORT": environment.get("MASTER_PORT") or str(port)}
