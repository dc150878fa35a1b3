"""The number of this process and of all processes under torchrun, SLURM and MPI, and the layout for training."""

from __future__ import annotations

import os

import pytest

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.own_share import local_rank_of
from depth_anything_ros.system.process_rank import Task, cores_of, find_task, first_host
from depth_anything_ros.training.distributed.placement import Placement, choose_placement


def slurm(rank: int, count: int, local_rank: int | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a srun task."""
    local_rank = rank if local_rank is None else local_rank
    numbers = {"SLURM_PROCID": rank, "SLURM_NTASKS": count, "SLURM_LOCALID": local_rank}
    return {name: str(value) for name, value in numbers.items()} | more


TORCHRUN = {"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "8"}
SCRIPT = {"SLURM_JOB_ID": "7", "SLURM_TASK_PID": "123", **slurm(0, 8)}
"""A job's script, which runs once: it knows how many tasks the job may have."""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Task()),
        (TORCHRUN, Task(9, 16, 1, 8, "torchrun")),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Task(0, 1, 0, 1, "torchrun")),
        ({"RANK": "3", "WORLD_SIZE": "64"}, Task(3, 64, 0, 0, "torchrun")),  # in an array of jobs
        (slurm(3, 8), Task(3, 8, 3, 8, "SLURM")),
        (slurm(3, 8, 1, SLURM_NNODES="4"), Task(3, 8, 1, 2, "SLURM")),
        (slurm(3, 8, 1, SLURM_NTASKS_PER_NODE="2"), Task(3, 8, 1, 2, "SLURM")),
        (slurm(3, 8, 1, SLURM_STEP_TASKS_PER_NODE="2(x4)"), Task(3, 8, 1, 2, "SLURM")),
        (slurm(3, 7, 1, SLURM_STEP_TASKS_PER_NODE="2(x3),1"), Task(3, 7, 1, 0, "SLURM")),
        (slurm(1, 2, 0, SLURM_NTASKS_PER_NODE="1"), Task(1, 2, 0, 1, "SLURM")),
        (slurm(0, 8, SLURM_STEP_NUM_TASKS="1", SLURM_STEP_ID="0"), Task(0, 1, 0, 1, "SLURM")),  # srun --ntasks 1
        (slurm(1, 8, SLURM_STEP_NUM_TASKS="2", SLURM_TASKS_PER_NODE="8"), Task(1, 2, 1, 2, "SLURM")),
        (SCRIPT, Task()),
        ({**SCRIPT, "SLURM_STEP_ID": "0"}, Task(0, 8, 0, 8, "SLURM")),
        ({**SCRIPT, **TORCHRUN}, Task(9, 16, 1, 8, "torchrun")),
        ({**slurm(1, 4, 0), **TORCHRUN}, Task(9, 16, 1, 8, "torchrun")),  # srun torchrun
        (
            {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
            | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4", **slurm(1, 2, 0)},
            Task(5, 8, 1, 4, "Open MPI"),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}, Task(1, 2, 1, 2, "MPI")),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, Task()),  # one that training has started itself
    ],
)
def test_task_is_read_from_environment(environment, expected):
    assert find_task(environment) == expected


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (slurm(8, 8), "SLURM_PROCID is 8 and SLURM_NTASKS 8: give SLURM_PROCID from 0 to SLURM_NTASKS - 1"),
        (slurm(0, 8) | {"SLURM_NTASKS": "many"}, "SLURM_NTASKS is 'many', must be a whole number"),
    ],
)
def test_inconsistent_task_numbers_are_named(environment, words):
    with pytest.raises(ValueError, match=words):
        find_task(environment)


def test_task_gets_its_share_of_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert cores_of(Task(), {}) == 16
    assert cores_of(Task(0, 8, 0, 8, "torchrun"), {}) == 2
    assert cores_of(Task(0, 64, 0, 64, "torchrun"), {}) == 1
    assert cores_of(Task(0, 64, 0, 0, "torchrun"), {}) == 16  # each on a machine of its own, as far as is known
    assert cores_of(Task(0, 8, 0, 8, "SLURM"), {"SLURM_CPUS_PER_TASK": "12"}) == 12  # SLURM has bound it to these
    assert cores_of(Task(0, 8, 0, 8, "SLURM"), {"SLURM_CPUS_ON_NODE": "128"}) == 16  # and so by --cpus-per-gpu
    assert cores_of(Task(0, 8, 0, 8, "SLURM"), {"SLURM_CPUS_ON_NODE": "16"}) == 2


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu03", "gpu03"),
        ("gpu03,gpu07", "gpu03"),
        ("gpu[03-06,11],login", "gpu03"),
        ("rack1-[7,9]-ib0", "rack1-7-ib0"),
        ("", None),
    ],
)
def test_first_host_of_job_is_parsed(nodes, first):
    assert first_host({"SLURM_JOB_NODELIST": nodes}) == first
    assert first_host({"SLURM_STEP_NODELIST": nodes or "a", "SLURM_JOB_NODELIST": "b"}) == (first or "a")


def placed(environment: dict[str, str], asked: int | None = None, gpus: int = 0) -> Placement:
    return choose_placement(find_task(environment), asked, environment, gpus)


def numbers(placement: Placement) -> list[str]:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
    return [placement.variables[name] for name in names]


def test_single_process_starts_others_of_its_machine():
    assert placed({}) == Placement(1, 1)
    assert placed({}, 8) == Placement(8, 1)
    assert placed(slurm(0, 1), 8) == Placement(8, 1)  # --ntasks-per-node=1 --gpus=8
    assert placed(SCRIPT, 8) == Placement(8, 1)
    for left_over in (
        {"LOCAL_RANK": "0"},
        {"LOCAL_RANK": "0", "WORLD_SIZE": "8"},
    ):  # none would be started, all would wait
        with pytest.raises(ValueError, match=r"LOCAL_RANK is 0, as if a launcher had started .*: unset LOCAL_RANK"):
            placed(left_over, 2)
    started = {"LOCAL_RANK": "1", "WORLD_SIZE": "8", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    assert placed(started, 8) == Placement(8, 1)
    with pytest.raises(CommandError, match="LOCAL_RANK is 'x', but must be a whole number"):
        local_rank_of(Task(), {"LOCAL_RANK": "x"})


def test_torchrun_processes_keep_their_placement():
    assert placed(TORCHRUN) == placed(TORCHRUN, 8) == Placement(8, 2, starts_others=False)
    with pytest.raises(ValueError, match="--devices 4, but torchrun started 8 processes on this machine"):
        placed(TORCHRUN, 4)
    with pytest.raises(ValueError, match="torchrun started 64 processes without the same number on each machine"):
        placed({"RANK": "3", "WORLD_SIZE": "64"})


def test_srun_processes_get_common_address_and_port():
    one = placed(slurm(3, 8, SLURM_JOB_ID="1234", SLURM_STEP_ID="2"))
    assert (one.devices, one.nodes, one.starts_others) == (8, 1, False)
    assert numbers(one) == ["3", "8", "3", "8", "0"]
    assert one.variables["MASTER_ADDR"] == "127.0.0.1"
    other = placed(slurm(4, 8, SLURM_JOB_ID="1234", SLURM_STEP_ID="2"))
    assert other.variables["MASTER_PORT"] == one.variables["MASTER_PORT"]
    beside = placed(slurm(4, 8, SLURM_JOB_ID="1234", SLURM_STEP_ID="3"))
    assert beside.variables["MASTER_PORT"] != one.variables["MASTER_PORT"]
    several = placed(slurm(5, 8, 1, SLURM_NNODES="2", SLURM_JOB_NODELIST="gpu[03-04]"))
    assert (several.devices, several.nodes) == (4, 2)
    assert numbers(several) == ["5", "8", "1", "4", "1"]
    assert several.variables["MASTER_ADDR"] == "gpu03"
    chosen = placed(slurm(3, 8, MASTER_ADDR="10.0.0.1", MASTER_PORT="29500"))
    assert (chosen.variables["MASTER_ADDR"], chosen.variables["MASTER_PORT"]) == ("10.0.0.1", "29500")


def test_mpi_runs_on_one_machine_use_different_ports():
    def mpi(job: str, rank: int = 0) -> str:
        numbers = {"RANK": rank, "SIZE": 2, "LOCAL_RANK": rank, "LOCAL_SIZE": 2}
        environment = {f"OMPI_COMM_WORLD_{name}": str(number) for name, number in numbers.items()}
        return placed({**environment, "PMIX_NAMESPACE": job}).variables["MASTER_PORT"]

    assert mpi("prterun-a-71@1") == mpi("prterun-a-71@1", 1) != mpi("prterun-a-72@1")


def test_srun_processes_with_one_gpu_each_count_as_nodes():
    """--gpus-per-task=1: each sees its own GPU as the first."""
    one = placed(slurm(5, 8, 5), gpus=1)
    assert (one.devices, one.nodes, one.starts_others) == (1, 8, False)
    assert numbers(one) == ["5", "8", "0", "1", "5"]


def test_one_task_per_node_starts_others_of_its_node():
    one = placed(slurm(1, 4, 0, SLURM_NTASKS_PER_NODE="1", SLURM_JOB_NODELIST="gpu[3-6]"), 8)
    assert (one.devices, one.nodes, one.starts_others) == (8, 4, True)
    assert (one.variables["NODE_RANK"], one.variables["MASTER_ADDR"]) == ("1", "gpu3")
    assert "RANK" not in one.variables


def test_unusable_srun_layout_raises_with_reason():
    with pytest.raises(ValueError, match="--devices 4, but SLURM started 8 processes on this machine"):
        placed(slurm(3, 8), 4)
    with pytest.raises(ValueError, match="SLURM started 3 processes without the same number on each machine"):
        placed(slurm(1, 3, 1, SLURM_STEP_TASKS_PER_NODE="2,1"))
    with pytest.raises(ValueError, match="SLURM does not report the first machine: set MASTER_ADDR"):
        placed(slurm(1, 2, 0, SLURM_NNODES="2"))
