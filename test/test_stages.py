"""Stages of training, whole and real: they learn, go on after a kill as if nothing had been, agree across processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

import yaml  # noqa: E402
from scene_shards import pack_scenes  # noqa: E402

from depth_anything_ros.cli import main  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint, read_record, save_checkpoint  # noqa: E402
from depth_anything_ros.runtime.estimator import Estimator  # noqa: E402
from depth_anything_ros.training.checkpointing import States, load_state  # noqa: E402
from depth_anything_ros.zoo.record import ModelRecord  # noqa: E402
from depth_anything_ros.zoo.resolve import resolve  # noqa: E402

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> dict[str, str]:
    """Rendered scenes: with depth, for learning; others, to do without it; others again, held out."""
    folder = tmp_path_factory.mktemp("scenes")
    counts = {"labelled": (120, 0), "unlabelled": (120, 1000), "held_out": (16, 2000)}
    return {name: str(pack_scenes(folder / name, count, seed)) for name, (count, seed) in counts.items()}


def configuration(scenes: dict[str, str], stage: str, **changes) -> dict:
    """A stage that takes seconds. ``changes`` by dotted names, with two underscores for a dot."""
    values = {
        "stage": stage,
        "name": stage,
        "licence": "Apache-2.0",
        "network": {"encoder": "tiny", "version": "v2", "start": "tiny"},
        "data": {
            "labelled": [{"shards": scenes["labelled"]}],
            "held_out": [{"shards": scenes["held_out"]}],
            "held_out_images": 16,
            "labelled_images": 8,
            "sizes": [[70, 84]],
            "smallest_crop": 0.7,
            "workers": 0,
        },
        "optimiser": {"steps": 6, "encoder_rate": 2e-5, "decoder_rate": 2e-3, "warm_up": 3, "average": 0.9},
        "run": {"precision": "32-true", "log_every": 1, "save_every": 2, "validate_every": 1000},
    }
    if stage in ("student", "distil"):
        values["data"] |= {"unlabelled": [{"shards": scenes["unlabelled"]}], "unlabelled_images": 8}
        values["data"] |= {"labelled_images": 4}
        values["teacher"] = {"model": "tiny"}
    if stage == "distil":
        del values["data"]["labelled"], values["data"]["labelled_images"]
    if stage == "metric":
        values["network"] |= {"max_depth": 80.0}
    for name, value in changes.items():
        section, _, setting = name.partition("__")
        values[section] = {**values[section], setting: value} if setting else value
    return values


def written(path: Path, values: dict) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def train(tmp_path: Path, values: dict, *arguments: str) -> Path:
    """Runs the stage in this process; returns its folder."""
    folder = tmp_path / "run"
    file = written(tmp_path / "stage.yaml", values)
    assert main(["train", str(file), "--output", str(folder), "--accelerator", "cpu", *arguments]) == 0
    return folder


def entries(folder: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry[kind] | {"step": entry["step"]} for entry in lines if kind in entry]


def total_loss(entry: dict) -> float:
    return sum(value for name, value in entry.items() if name != "step")


# It learns.


@pytest.mark.parametrize(
    ("stage", "changes", "least"),
    [
        ("teacher", {}, 0.44),
        ("student", {"losses": {"gradient": 0.5, "trimmed": 0.1}}, 0.44),
        ("distil", {"losses": {"alignment": 0.0}}, 0.44),
        ("metric", {}, 0.2),
    ],
)
def test_a_stage_learns_and_leaves_a_checkpoint_that_a_robot_loads(scenes, tmp_path, stage, changes, least):
    steps = {"steps": 60, "encoder_rate": 2e-5, "decoder_rate": 2e-3, "warm_up": 3, "average": 0.9}
    values = configuration(scenes, stage, optimiser=steps, run__save_every=60, run__validate_every=10, **changes)
    folder = train(tmp_path, values, "--json", str(tmp_path / "result.json"))
    losses = [total_loss(entry) for entry in entries(folder, "loss")]
    scores = entries(folder, "held_out")
    print(stage, sum(losses[:8]) / 8, sum(losses[-8:]) / 8, scores[0], scores[-1])
    assert sum(losses[-8:]) < 0.95 * sum(losses[:8])
    best = max(scores, key=lambda entry: entry["delta1"])
    assert best["delta1"] >= least
    assert best["delta1"] > scores[0]["delta1"]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["step"] == max(entry["step"] for entry in scores if entry["delta1"] == best["delta1"])
    record = read_record(result["checkpoint"])
    assert record.name == stage
    assert record.max_depth == (80.0 if stage == "metric" else None)
    estimator = Estimator(result["checkpoint"], backend="torch")
    image = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8).numpy()
    assert estimator.estimate(image).shape == (60, 80)


# It goes on.


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def start(file: Path, folder: Path, *words: str, command=(sys.executable, "-m", "depth_anything_ros")):
    """The stage in a process, or several, of its own."""
    line = [*command, "train", str(file), "--output", str(folder), "--accelerator", "cpu", *words]
    return subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_to_end(*arguments, **options) -> str:
    process = start(*arguments, **options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def wait_for_state(process: subprocess.Popen, folder: Path, least: int) -> None:
    """Until a state of that step or a later one is on disk."""
    states = States(folder / "states", 9)
    while process.poll() is None:
        if any(int(path.stem.rpartition("_")[2]) >= least for path in states.paths()):
            return
    raise AssertionError(process.communicate()[0])


def equal(one, other) -> bool:
    """Bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def last_state(folder: Path) -> dict:
    return load_state(States(folder / "states", 9).paths()[-1])


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(scenes, tmp_path):
    values = configuration(scenes, "student", optimiser__steps=10, run__save_every=1, run__validate_every=5)
    file = written(tmp_path / "stage.yaml", values)
    run_to_end(file, tmp_path / "whole")
    killed = tmp_path / "killed"
    for step in (2, 6):
        process = start(file, killed)
        wait_for_state(process, killed, step)
        process.kill()
        process.communicate()
    run_to_end(file, killed)
    assert json.loads((killed / "run.json").read_text())[-1]["from_step"] >= 6
    assert equal(last_state(tmp_path / "whole"), last_state(killed))
    assert equal(load_state(tmp_path / "whole/best.pt"), load_state(killed / "best.pt"))
    assert (tmp_path / "whole/student.safetensors").read_bytes() == (killed / "student.safetensors").read_bytes()


def test_a_run_that_is_asked_to_stop_saves_its_state_and_says_so(scenes, tmp_path):
    values = configuration(scenes, "teacher", optimiser__steps=10_000, run__save_every=10_000)
    file = written(tmp_path / "stage.yaml", values)
    process = start(file, tmp_path / "run")
    while not (tmp_path / "run/log.jsonl").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    assert "goes on from there" in output
    assert last_state(tmp_path / "run")["step"] == entries(tmp_path / "run", "loss")[-1]["step"]


def test_another_configuration_is_not_taken_up(scenes, tmp_path, capsys):
    file = written(tmp_path / "stage.yaml", configuration(scenes, "teacher", optimiser__steps=2))
    words = ["train", str(file), "--output", str(tmp_path / "run"), "--accelerator", "cpu"]
    assert main(words) == 0
    assert main([*words, "--set", "losses.gradient=1.0"]) == 1
    assert "another configuration" in capsys.readouterr().err
    assert main([*words, "--set", "run.save_every=7"]) == 0  # decides nothing


def test_a_run_records_what_it_was_made_from(scenes, tmp_path):
    folder = train(tmp_path, configuration(scenes, "student", optimiser__steps=2))
    (record,) = json.loads((folder / "run.json").read_text())
    assert record["configuration"]["optimiser"]["steps"] == 2
    version = json.loads((Path(scenes["labelled"]) / "manifest.json").read_text())["version"]
    assert version in record["data"]["labelled"][0]
    assert {"torch", "python", "depth_anything_ros"} <= set(record["versions"])
    assert list((folder / "tensorboard").iterdir())


# Many processes learn what one would have learnt.


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_would_have_learnt(scenes, tmp_path, strategy):
    values = configuration(scenes, "student", optimiser__steps=4, run__validate_every=2, losses={"gradient": 0.5})
    one = train(tmp_path, values)
    values["run"]["strategy"] = strategy
    file = written(tmp_path / "several.yaml", values)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run_to_end(file, tmp_path / "two", command=(*torchrun, "-m", "depth_anything_ros"))
    for ours, theirs in zip(entries(one, "loss"), entries(tmp_path / "two", "loss"), strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-5)
    for ours, theirs in zip(entries(one, "held_out"), entries(tmp_path / "two", "held_out"), strict=True):
        assert theirs == pytest.approx(ours, abs=2e-3)
    single, several = last_state(one), last_state(tmp_path / "two")
    for name, weight in single["network"].items():
        torch.testing.assert_close(several["network"][name], weight, rtol=0, atol=2e-4)
    moments = several["optimizer"]["state"]
    for name, state in single["optimizer"]["state"].items():
        scale = state["exp_avg"].abs().max().item()
        torch.testing.assert_close(moments[name]["exp_avg"], state["exp_avg"], rtol=0, atol=1e-2 * scale + 1e-7)


def test_accumulated_parts_give_the_step_of_the_whole(scenes, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, accumulate in ((whole, 1), (parts, 2)):
        folder.mkdir()
        train(folder, configuration(scenes, "student", optimiser__steps=2, optimiser__accumulate=accumulate))
    for ours, theirs in zip(entries(whole / "run", "loss"), entries(parts / "run", "loss"), strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-5)


def test_recomputed_activations_change_nothing(scenes, tmp_path):
    kept, recomputed = tmp_path / "kept", tmp_path / "recomputed"
    for folder, setting in ((kept, False), (recomputed, True)):
        folder.mkdir()
        train(folder, configuration(scenes, "teacher", optimiser__steps=2, run__recompute=setting))
    assert equal(last_state(kept / "run"), last_state(recomputed / "run"))


# It stops when it must.


def test_gradients_that_are_no_numbers_stop_the_run_with_their_batch_saved(scenes, tmp_path, capsys):
    network = load_checkpoint(resolve("tiny").weights)
    with torch.no_grad():
        network.depth_head.projects[0].weight.fill_(1e38)
    record = ModelRecord("broken", "inverse_depth", "none", encoder="tiny", version="v2")
    save_checkpoint(network, record, tmp_path / "broken.safetensors")
    values = configuration(scenes, "teacher")
    values["network"] |= {"start": str(tmp_path / "broken.safetensors"), "start_decoder": True}
    file = written(tmp_path / "stage.yaml", values)
    assert main(["train", str(file), "--output", str(tmp_path / "run"), "--accelerator", "cpu"]) == 1
    assert "gradients at step 0 are no numbers" in capsys.readouterr().err
    (saved,) = (tmp_path / "run").glob("diverged_step0_device0.pt")
    (batch,) = load_state(saved)["batches"]
    assert batch["labelled.pixels"].shape == (8, 70, 84, 3)


def test_a_full_disk_stops_the_run_and_leaves_the_last_state(scenes, tmp_path):
    file = written(tmp_path / "stage.yaml", configuration(scenes, "teacher", optimiser__steps=4))
    folder = tmp_path / "run"
    full = ("sh", "-c", 'ulimit -f 20000; exec "$@"', "sh", sys.executable, "-m", "depth_anything_ros")  # 20 MB a file
    process = start(file, folder, command=full)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "could not be written" in output
    assert "Make room and run the same command again" in output
    assert not list((folder / "states").iterdir())
    run_to_end(file, folder)
