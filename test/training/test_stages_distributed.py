"""Several processes, accumulated gradients and activation checkpointing train like one process."""

import json
import socket
import sys
from functools import cache
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from stage_runs import (  # noqa: E402
    COMMAND,
    configuration,
    entries,
    equal,
    last_state,
    learning_configuration,
    run_to_end,
    start,
    train,
    written,
)
from waiting import limit, wait_while_running  # noqa: E402

from depth_anything_ros.training.run.checkpoints import Checkpoints, load_state  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def first_state(folder: Path) -> dict:
    return load_state(Checkpoints(folder / "states", 9).paths()[0])


@pytest.fixture
def one_thread():
    """Use one thread, like each of several processes; more threads sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_like_one(scenes, tmp_path, strategy):
    changes = {"run__validate_every": 2, "losses": {"gradient": 0.5}}
    # Fewer or smaller images leave more gradients that are nothing but rounding.
    values = learning_configuration(scenes, "student", optimizer__steps=4, **changes)
    # Adam's first steps go as far for a gradient that is nothing but rounding as for any other: they must be short.
    values["optimizer"] |= {"encoder_lr": 2e-7, "decoder_lr": 2e-6}
    values["run"] |= {"save_every": 1, "keep": 4}
    one = train(tmp_path, values)
    values["run"]["strategy"] = strategy
    file = written(tmp_path / "several.yaml", values)
    if strategy == "ddp":
        torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
        run_to_end(file, tmp_path / "two", command=(*torchrun, "-m", "depth_anything_ros"))
    else:  # what torchrun tells its processes, without its own seconds
        shared = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "none"}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        all_end_well([start(file, tmp_path / "two", RANK=rank, LOCAL_RANK=rank, **shared) for rank in range(2)])
    for kind, tolerance in (("loss", 1e-5), ("validation", 1e-3)):
        for ours, theirs in zip(entries(one, kind), entries(tmp_path / "two", kind), strict=True):
            assert theirs == pytest.approx(ours, rel=tolerance, abs=1e-5)
    for name, state in first_state(one)["optimizer"]["state"].items():  # a tenth of the first step's gradient
        ours, theirs = state["exp_avg"], first_state(tmp_path / "two")["optimizer"]["state"][name]["exp_avg"]
        assert (theirs - ours).norm() <= 1e-3 * ours.norm() + 1e-7, name
    single, several = last_state(one)["network"], last_state(tmp_path / "two")["network"]
    assert single.keys() == several.keys()
    for name, weight in single.items():
        assert (several[name] - weight).abs().max() <= 4 * 2e-6, name


def test_srun_processes_train_together(scenes, tmp_path):
    """SLURM tells each its number, and nothing of where they meet."""
    values = configuration(scenes, "teacher", optimizer__steps=2, run__strategy="ddp")
    file, processes = written(tmp_path / "stage.yaml", values), []
    port = {"MASTER_PORT": str(free_port())}  # of a job's number, which no test has
    for rank in range(2):
        numbers = {"SLURM_PROCID": rank, "SLURM_NTASKS": 2, "SLURM_LOCALID": rank}
        processes.append(start(file, tmp_path / "run", **numbers, **port))
    said = all_end_well(processes)
    assert json.loads((tmp_path / "run/run.json").read_text())[-1]["devices"] == 2
    assert last_state(tmp_path / "run")["step"] == 2
    assert "from step 0" in said[0]
    assert "from step 0" not in said[1]


def all_end_well(processes) -> list[str]:
    """Wait for all of them; return the output of each."""
    said = [process.communicate(timeout=limit(300))[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_accumulated_gradients_equal_whole_batch(scenes, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, accumulate in ((whole, 1), (parts, 2)):
        folder.mkdir()
        train(folder, configuration(scenes, "student", optimizer__steps=2, optimizer__grad_accum_steps=accumulate))
    for ours, theirs in zip(entries(whole / "run", "loss"), entries(parts / "run", "loss"), strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-5)


def test_activation_checkpointing_changes_nothing(scenes, tmp_path):
    kept, recomputed = tmp_path / "kept", tmp_path / "recomputed"
    for folder, setting in ((kept, False), (recomputed, True)):
        folder.mkdir()
        train(folder, configuration(scenes, "teacher", optimizer__steps=2, run__activation_checkpointing=setting))
    assert equal(last_state(kept / "run"), last_state(recomputed / "run"))


def test_stopped_processes_all_end_after_saved_state(scenes, tmp_path):
    values = configuration(scenes, "teacher", optimizer__steps=10_000, run__strategy="ddp")
    process = start(written(tmp_path / "stage.yaml", values), tmp_path / "run", "--devices", "2", command=COMMAND)
    wait_while_running(process, (tmp_path / "run/log.jsonl").exists, "the first step")
    process.terminate()  # the first alone
    output, _ = process.communicate(timeout=limit(120))  # until the last of them has ended
    assert process.returncode == 75, output
    assert output.count("stop requested: saving the state after this step") == 1  # by the first, at once
    assert output.count("stopped at step") == 1
    assert last_state(tmp_path / "run")["step"] == entries(tmp_path / "run", "loss")[-1]["step"]


def test_error_of_one_process_ends_others(scenes, tmp_path):
    """The record, which the first alone writes, cannot be written."""
    (tmp_path / "run/run.json").mkdir(parents=True)
    values = configuration(scenes, "teacher", run__strategy="ddp")
    process = start(written(tmp_path / "stage.yaml", values), tmp_path / "run", "--devices", "2", command=COMMAND)
    output, _ = process.communicate(timeout=limit(120))
    assert process.returncode == 1, output
    assert "run.json" in output


def test_missing_data_is_named_once_before_processes_start(scenes, tmp_path):
    values = configuration(scenes, "teacher", run={"strategy": "ddp"})
    values["data"]["validation"] = [{"shards": str(tmp_path / "absent")}]
    process = start(written(tmp_path / "stage.yaml", values), tmp_path / "run", "--devices", "2")
    output, _ = process.communicate(timeout=limit(300))
    assert process.returncode == 1
    (line,) = output.splitlines()
    assert line.startswith(f"depth_anything_ros train: {tmp_path / 'absent'}")
    assert not (tmp_path / "run").exists()
