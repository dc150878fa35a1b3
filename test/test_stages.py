"""Stages of training, whole and real: they learn, go on after a kill as if nothing had been, agree across processes."""

import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

import yaml  # noqa: E402
from scene_shards import pack_scenes  # noqa: E402

from depth_anything_ros.cli import main  # noqa: E402
from depth_anything_ros.data.sources import ShardSource, read_numbered  # noqa: E402
from depth_anything_ros.evaluation.baselines import BASELINES  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint, read_record, save_checkpoint  # noqa: E402
from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.runtime.estimator import Estimator  # noqa: E402
from depth_anything_ros.training.checkpointing import States, load_state  # noqa: E402
from depth_anything_ros.training.start import begin_decoder  # noqa: E402
from depth_anything_ros.training.validation import DepthScoring, predictor  # noqa: E402
from depth_anything_ros.zoo.record import ModelRecord  # noqa: E402
from depth_anything_ros.zoo.resolve import resolve  # noqa: E402

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> dict[str, str]:
    """Rendered rooms: with depth, for learning; others, to do without it; others again, held out."""
    folder = tmp_path_factory.mktemp("scenes")
    counts = {"labelled": (100, 0), "unlabelled": (60, 1000), "held_out": (12, 2000)}
    return {name: str(pack_scenes(folder / name, count, seed, kind="room")) for name, (count, seed) in counts.items()}


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
            "held_out_images": 12,
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


def score(folder: str, predict) -> float:
    """δ1 of a predictor on the held-out scenes."""
    source, scoring = ShardSource(Path(folder)), DepthScoring()
    samples = [read_numbered(source, number) for number in range(sum(source.blocks))]
    tallies = [scoring.tally(predict(sample.image), sample) for sample in samples]
    return scoring.summary(sum(tallies), len(tallies))["delta1"]


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory) -> str:
    """The bundled network, the last layers of whose decoder begin anew: a few dozen steps teach them."""
    network = load_checkpoint(resolve("tiny").weights)
    torch.manual_seed(0)
    fresh = DepthAnything("tiny", "v2")
    begin_decoder(fresh)
    scratch = network.depth_head.scratch
    scratch.output_conv1, scratch.output_conv2 = (
        fresh.depth_head.scratch.output_conv1,
        fresh.depth_head.scratch.output_conv2,
    )
    path = tmp_path_factory.mktemp("forgetful") / "forgetful.safetensors"
    save_checkpoint(network, ModelRecord("forgetful", "inverse_depth", "none", encoder="tiny", version="v2"), path)
    return str(path)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("teacher", {"losses": {"gradient": 0.5}}),
        ("student", {"losses": {"gradient": 0.5, "trimmed": 0.1}}),
        ("distil", {"losses": {"alignment": 0.0}, "perturbation": None}),
    ],
)
def test_a_relative_stage_learns_and_leaves_a_checkpoint_that_a_robot_loads(
    scenes, forgetful, tmp_path, stage, changes
):
    values = configuration(scenes, stage, optimiser__steps=24, optimiser__decoder_rate=1e-3, **changes)
    values["network"] |= {"start": forgetful, "start_decoder": True}
    values["run"] |= {"save_every": 24, "validate_every": 8}
    if stage == "distil":  # from a network that is not ours to look into: ONNX with its record
        values["teacher"] = {"model": str(resolve("tiny").path / "tiny_140x182.onnx")}
    folder = train(tmp_path, values, "--json", str(tmp_path / "result.json"))
    losses = [total_loss(entry) for entry in entries(folder, "loss")]
    assert sum(losses[-6:]) / 6 < 0.9 * sum(losses[:3]) / 3
    best = max(entry["delta1"] for entry in entries(folder, "held_out"))
    blind = max(score(scenes["held_out"], baseline) for baseline in BASELINES.values())  # they never look at the image
    before = score(scenes["held_out"], predictor(load_checkpoint(forgetful), torch.device("cpu"), (70, 84)))
    assert best > blind + 0.08
    assert best > before + 0.05
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["scores"]["delta1"] == best
    check_checkpoint(Path(result["checkpoint"]), stage, None)


def test_metric_fine_tuning_learns_metres(scenes, tmp_path):
    values = configuration(scenes, "metric", optimiser__steps=50, optimiser__decoder_rate=1e-3)
    values["network"]["max_depth"] = 20.0
    values["run"] |= {"save_every": 50, "validate_every": 5}
    folder = train(tmp_path, values)
    losses = [total_loss(entry) for entry in entries(folder, "loss")]
    scores = entries(folder, "held_out")
    assert sum(losses[-6:]) < 0.7 * sum(losses[:6])
    best = max(entry["delta1"] for entry in scores)
    assert best > 0.25
    assert best > scores[0]["delta1"] + 0.1
    check_checkpoint(folder / "metric.safetensors", "metric", 20.0)


def check_checkpoint(path: Path, name: str, max_depth: float | None) -> None:
    """It describes itself, and the robot's side runs it as it is."""
    record = read_record(path)
    assert (record.name, record.max_depth, record.licence) == (name, max_depth, "Apache-2.0")
    image = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    depth = Estimator(path, backend="torch").estimate(image.numpy())
    assert depth.shape == (60, 80)
    assert 0 <= depth.min() < depth.max() <= (max_depth or 1e4)


# It goes on.


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def start(file: Path, folder: Path, *words: str, command=(sys.executable, "-m", "depth_anything_ros")):
    """The stage in a process, or several, of its own."""
    line = [*command, "train", str(file), "--output", str(folder), "--accelerator", "cpu", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(line, env=environment(), start_new_session=True, **pipes)


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


@cache
def first_state(folder: Path) -> dict:
    return load_state(States(folder / "states", 9).paths()[0])


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(scenes, tmp_path):
    values = configuration(scenes, "student", optimiser__steps=7, run__save_every=1, run__validate_every=4)
    file = written(tmp_path / "stage.yaml", values)
    run_to_end(file, tmp_path / "whole")
    killed = tmp_path / "killed"
    for step in (2, 5):
        process = start(file, killed)
        wait_for_state(process, killed, step)
        process.kill()
        process.communicate()
    run_to_end(file, killed)
    assert json.loads((killed / "run.json").read_text())[-1]["from_step"] >= 5
    assert equal(last_state(tmp_path / "whole"), last_state(killed))
    assert equal(load_state(tmp_path / "whole/best.pt"), load_state(killed / "best.pt"))
    assert (tmp_path / "whole/student.safetensors").read_bytes() == (killed / "student.safetensors").read_bytes()


@pytest.mark.parametrize("asked_by", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_its_state_and_says_so(scenes, tmp_path, asked_by):
    values = configuration(scenes, "teacher", optimiser__steps=10_000, run__save_every=10_000, data__workers=1)
    file = written(tmp_path / "stage.yaml", values)
    process = start(file, tmp_path / "run")
    while not (tmp_path / "run/log.jsonl").exists():
        assert process.poll() is None
    os.killpg(process.pid, asked_by)  # as terminals and clusters do, to the processes that read data too
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
    # Adam's first steps go as far for a gradient that is nothing but rounding as for any other: they must be short.
    values["optimiser"] |= {"encoder_rate": 1e-6, "decoder_rate": 1e-5}
    values["run"] |= {"save_every": 1, "keep": 4}
    one = train(tmp_path, values)
    values["run"]["strategy"] = strategy
    file = written(tmp_path / "several.yaml", values)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run_to_end(file, tmp_path / "two", command=(*torchrun, "-m", "depth_anything_ros"))
    for kind, tolerance in (("loss", 1e-5), ("held_out", 1e-3)):
        for ours, theirs in zip(entries(one, kind), entries(tmp_path / "two", kind), strict=True):
            assert theirs == pytest.approx(ours, rel=tolerance, abs=1e-5)
    for name, state in first_state(one)["optimizer"]["state"].items():  # a tenth of the first step's gradient
        ours, theirs = state["exp_avg"], first_state(tmp_path / "two")["optimizer"]["state"][name]["exp_avg"]
        assert (theirs - ours).norm() <= 1e-3 * ours.norm() + 1e-7, name
    single, several = last_state(one)["network"], last_state(tmp_path / "two")["network"]
    assert single.keys() == several.keys()
    for name, weight in single.items():
        assert (several[name] - weight).abs().max() <= 4 * 1e-5, name


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
    assert not [path for path in folder.rglob("*") if path.suffix == ".partial"]
    run_to_end(file, folder)


# On a GPU.


@pytest.mark.gpu
@pytest.mark.parametrize("changes", [{}, {"run__recompute": True}, {"run__compile": True}])
def test_a_gpu_trains_in_bfloat16_what_a_processor_trains_in_float32(scenes, tmp_path, changes):
    values = configuration(scenes, "student", optimiser__steps=4, losses={"gradient": 0.5})
    values["optimiser"] |= {"encoder_rate": 1e-6, "decoder_rate": 1e-5}
    one = train(tmp_path, values)
    for name, value in changes.items():
        section, _, setting = name.partition("__")
        values[section][setting] = value
    values["run"]["precision"] = "bf16-mixed"
    file = written(tmp_path / "gpu.yaml", values)
    assert main(["train", str(file), "--output", str(tmp_path / "gpu"), "--accelerator", "cuda"]) == 0
    for ours, theirs in zip(entries(one, "loss"), entries(tmp_path / "gpu", "loss"), strict=True):
        assert theirs == pytest.approx(ours, rel=0.1, abs=0.02)
    check_checkpoint(tmp_path / "gpu/student.safetensors", "student", None)
