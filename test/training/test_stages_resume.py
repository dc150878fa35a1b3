"""A stage resumes after a kill as if uninterrupted, and stops without losses."""

import json
import os
import resource
import signal

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from stage_runs import configuration, entries, equal, last_state, run_to_end, start, wait_for_state, written  # noqa: E402
from waiting import limit, wait_while_running  # noqa: E402

from depth_anything_ros.cli import main  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint, save_checkpoint  # noqa: E402
from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.training.run.checkpoints import Checkpoints, load_state, save_state  # noqa: E402
from depth_anything_ros.zoo.record import ModelRecord  # noqa: E402
from depth_anything_ros.zoo.resolve import resolve  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

MAX_FILE = 20_000_000
"""Bytes of a file on a "full disk": less than a state has."""


def test_killed_run_resumes_exactly(scenes, tmp_path):
    values = configuration(scenes, "student", optimizer__steps=5, run__save_every=1, run__validate_every=3)
    file = written(tmp_path / "stage.yaml", values)
    run_to_end(file, tmp_path / "whole")
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / ".best.pt.1.partial").touch()  # as a kill in the middle of writing leaves it
    for step in (1, 3):
        process = start(file, killed)
        wait_for_state(process, killed, step)
        process.kill()
        process.communicate()
    run_to_end(file, killed)
    assert not list(killed.rglob("*.partial"))
    assert json.loads((killed / "run.json").read_text())[-1]["from_step"] >= 3
    assert equal(last_state(tmp_path / "whole"), last_state(killed))
    assert equal(load_state(tmp_path / "whole/best.pt"), load_state(killed / "best.pt"))
    assert (tmp_path / "whole/student.safetensors").read_bytes() == (killed / "student.safetensors").read_bytes()


@pytest.mark.parametrize("asked_by", [signal.SIGTERM, signal.SIGINT])
def test_stopped_run_saves_state_and_reports(scenes, tmp_path, asked_by):
    values = configuration(scenes, "teacher", optimizer__steps=10_000, run__save_every=10_000, data__workers=1)
    file = written(tmp_path / "stage.yaml", values)
    process = start(file, tmp_path / "run")
    wait_while_running(process, (tmp_path / "run/log.jsonl").exists, "the first step")
    os.killpg(process.pid, asked_by)  # as terminals and clusters do, to the processes that read data too
    output, _ = process.communicate(timeout=limit(120))
    assert process.returncode == 75, output
    assert "stop requested: saving the state after this step" in output
    assert "to continue from there" in output.splitlines()[-1]
    assert last_state(tmp_path / "run")["step"] == entries(tmp_path / "run", "loss")[-1]["step"]


def test_run_stopped_before_start_reports(scenes, tmp_path):
    file = written(tmp_path / "stage.yaml", configuration(scenes, "teacher", optimizer__steps=10_000))
    process = start(file, tmp_path / "run")
    wait_while_running(process, (tmp_path / "run").exists, "the run's folder")
    process.terminate()
    output, _ = process.communicate(timeout=limit(120))
    assert process.returncode == 75, output
    assert "stop requested before training; run the same command again to start it" in output
    assert not (tmp_path / "run/states").exists()


def test_resume_with_other_configuration_is_rejected(scenes, tmp_path, capsys):
    file = written(tmp_path / "stage.yaml", configuration(scenes, "teacher", optimizer__steps=2))
    words = ["train", str(file), "--output", str(tmp_path / "run"), "--accelerator", "cpu"]
    assert main(words) == 0
    assert main([*words, "--set", "losses.gradient=1.0"]) == 1
    assert "another configuration, or of other data (losses.gradient was 0.0, is 1.0)" in capsys.readouterr().err
    for same in ("run.save_every=7", "optimizer.grad_accum_steps=2"):  # decide nothing
        assert main([*words, "--set", same]) == 0


def test_resume_keeps_coordinates_of_larger_encoder(scenes, tmp_path):
    """Computed anew, on another processor say, they might be others, and the encoder a stranger to them."""
    larger = tmp_path / "larger.safetensors"
    record = ModelRecord("larger", "inverse_depth", "none", encoder="vits", version="v2")
    save_checkpoint(DepthAnything("vits", "v2"), record, larger)
    values = configuration(scenes, "compress", optimizer__steps=2, run__save_every=1, losses={"tolerance": 1.0})
    values["network"]["start"] = str(larger)
    file, folder = written(tmp_path / "stage.yaml", values), tmp_path / "run"
    assert main(["train", str(file), "--output", str(folder), "--accelerator", "cpu"]) == 0
    first, second = Checkpoints(folder / "states", 9).paths()
    second.unlink()
    state = load_state(first)
    (name,) = state["buffers"]
    state["buffers"][name] = -state["buffers"][name]
    save_state(first, state)
    assert main(["train", str(file), "--output", str(folder), "--accelerator", "cpu"]) == 0
    assert torch.equal(last_state(folder)["buffers"][name], state["buffers"][name])
    assert entries(folder, "loss")[-1]["features"] > 1.0  # of strangers; it was below before
    assert entries(folder, "loss")[1]["features"] < 0.5


def test_resume_with_other_start_weights_is_rejected(scenes, tmp_path, capsys):
    start = tmp_path / "start.safetensors"
    record = ModelRecord("start", "inverse_depth", "none", encoder="tiny", version="v2")
    save_checkpoint(load_checkpoint(resolve("tiny").weights), record, start)
    values = configuration(scenes, "teacher", optimizer__steps=1)
    values["network"]["start"] = str(start)
    words = ["train", str(written(tmp_path / "stage.yaml", values)), "--output", str(tmp_path / "run")]
    words += ["--accelerator", "cpu"]
    assert main(words) == 0
    torch.manual_seed(0)
    save_checkpoint(DepthAnything("tiny", "v2"), record, start)
    assert main(words) == 1
    assert "another configuration, or of other data (origins.start was " in capsys.readouterr().err


def test_best_weights_are_chosen_by_present_validation_images(scenes, tmp_path):
    """Scores of other images say nothing of these: what was best there is not taken."""
    values = configuration(scenes, "teacher", optimizer__steps=2, run__validate_every=1)
    file, folder = written(tmp_path / "stage.yaml", values), tmp_path / "run"
    words = ["train", str(file), "--output", str(folder), "--accelerator", "cpu", "--json", str(tmp_path / "result")]
    for changes, is_scored in (([], True), (["--set", "data.validation_images=3"], False), ([], True)):
        assert main([*words, *changes]) == 0
        assert bool(json.loads((tmp_path / "result").read_text())["scores"]) == is_scored


def test_non_finite_gradients_stop_run_and_save_batch(scenes, tmp_path, capsys):
    network = load_checkpoint(resolve("tiny").weights)
    with torch.no_grad():
        network.depth_head.projects[0].weight.fill_(1e38)
    record = ModelRecord("broken", "inverse_depth", "none", encoder="tiny", version="v2")
    save_checkpoint(network, record, tmp_path / "broken.safetensors")
    values = configuration(scenes, "teacher")
    values["network"] |= {"start": str(tmp_path / "broken.safetensors"), "start_decoder": True}
    file = written(tmp_path / "stage.yaml", values)
    assert main(["train", str(file), "--output", str(tmp_path / "run"), "--accelerator", "cpu"]) == 1
    assert "gradients at step 0 are NaN or infinite" in capsys.readouterr().err
    (saved,) = (tmp_path / "run").glob("diverged_step0_device0.pt")
    (batch,) = load_state(saved)["batches"]
    assert batch["labeled.pixels"].shape == (2, 28, 42, 3)


def test_folder_of_running_training_is_rejected(scenes, tmp_path, capsys):
    file = written(tmp_path / "stage.yaml", configuration(scenes, "teacher", optimizer__steps=10_000))
    process = start(file, tmp_path / "run")
    wait_for_state(process, tmp_path / "run", 2)
    words = ["train", str(file), "--output", str(tmp_path / "run"), "--accelerator", "cpu"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert f"is writing into {tmp_path / 'run'}: wait for it, end it, or choose another folder" in said
    process.kill()
    process.communicate()
    process = start(file, tmp_path / "run")  # who was killed has let go of it
    wait_for_state(process, tmp_path / "run", last_state(tmp_path / "run")["step"] + 2)
    process.kill()
    process.communicate()


def test_full_disk_stops_run_and_keeps_last_state(scenes, tmp_path):
    # What reads ahead ignores the SIGTERM with which Python would end it: it must be ended before.
    values = configuration(scenes, "teacher", optimizer__steps=4, data__workers=1)
    file = written(tmp_path / "stage.yaml", values)
    folder = tmp_path / "run"
    process = start(file, folder)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MAX_FILE, MAX_FILE))  # long before its first state
    output, _ = process.communicate(timeout=limit(300))
    assert process.returncode == 1, output
    assert "could not be written" in output
    assert "Free some space and run the same command again" in output
    assert not [path for path in folder.rglob("*") if path.suffix == ".partial"]
    run_to_end(file, folder)
