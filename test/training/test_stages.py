"""Complete training stages: they learn, and write a checkpoint that the runtime loads."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from stage_runs import configuration, entries, learning_configuration, total_loss, train, written  # noqa: E402

from depth_anything_ros.cli import main  # noqa: E402
from depth_anything_ros.data.shard_source import ShardSource  # noqa: E402
from depth_anything_ros.data.sources import read_numbered  # noqa: E402
from depth_anything_ros.evaluation.baselines import BASELINES  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint, read_record, save_checkpoint  # noqa: E402
from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.runtime.estimator import Estimator  # noqa: E402
from depth_anything_ros.training.initial_network import init_decoder_bias  # noqa: E402
from depth_anything_ros.training.validation.predictions import DepthScoring, predictor  # noqa: E402
from depth_anything_ros.zoo.record import ModelRecord  # noqa: E402
from depth_anything_ros.zoo.resolve import resolve  # noqa: E402


def score(folder: str, predict) -> float:
    """δ1 of a predictor on the validation scenes."""
    source, scoring = ShardSource(Path(folder)), DepthScoring()
    samples = [read_numbered(source, number) for number in range(sum(source.blocks))]
    tallies = [scoring.tally(predict(sample.image), sample) for sample in samples]
    return scoring.summary(sum(tallies), len(tallies))["delta1"]


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory) -> str:
    """The bundled network with new last decoder layers, which a few dozen steps train."""
    network = load_checkpoint(resolve("tiny").weights)
    torch.manual_seed(0)
    fresh = DepthAnything("tiny", "v2")
    init_decoder_bias(fresh)
    scratch = network.depth_head.scratch
    scratch.output_conv1, scratch.output_conv2 = (
        fresh.depth_head.scratch.output_conv1,
        fresh.depth_head.scratch.output_conv2,
    )
    path = tmp_path_factory.mktemp("forgetful") / "forgetful.safetensors"
    save_checkpoint(network, ModelRecord("forgetful", "inverse_depth", "none", encoder="tiny", version="v2"), path)
    return str(path)


def test_hybrid_is_trained_from_tiny(scenes, tmp_path):
    values = configuration(scenes, "teacher", optimizer__steps=2, losses={"gradient": 0.5, "log": 0.5})
    values["network"] = {"encoder": "hybrid", "version": "v2", "start": "tiny"}
    checkpoint = train(tmp_path, values) / "teacher.safetensors"
    assert (read_record(checkpoint).encoder, read_record(checkpoint).name) == ("hybrid", "teacher")
    load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("teacher", {"losses": {"gradient": 0.5}}),
        ("student", {"losses": {"gradient": 0.5, "trimmed": 0.1}}),
        ("distil", {"losses": {"alignment": 0.0}, "augmentation": None}),
    ],
)
def test_stage_learns_and_writes_checkpoint(scenes, forgetful, tmp_path, stage, changes):
    values = learning_configuration(scenes, stage, optimizer__steps=24, optimizer__decoder_lr=1e-3, **changes)
    values["network"] |= {"start": forgetful, "start_decoder": True}
    values["run"] |= {"save_every": 24, "validate_every": 8}
    if stage == "distil":  # from a network that is not ours to look into: ONNX with its record
        values["teacher"] = {"model": str(resolve("tiny").path / "tiny_140x182.onnx")}
    folder = train(tmp_path, values, "--json", str(tmp_path / "result.json"))
    losses = [total_loss(entry) for entry in entries(folder, "loss")]
    assert sum(losses[-6:]) / 6 < 0.9 * sum(losses[:3]) / 3
    best = max(entry["delta1"] for entry in entries(folder, "validation"))
    blind = max(
        score(scenes["validation"], baseline) for baseline in BASELINES.values()
    )  # they never look at the image
    before = score(scenes["validation"], predictor(load_checkpoint(forgetful), torch.device("cpu"), (70, 84)))
    assert best > blind + 0.08
    assert best > before + 0.05
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["scores"]["delta1"] == best
    check_checkpoint(Path(result["checkpoint"]), stage, None)


def test_metric_fine_tuning_learns_meters(scenes, tmp_path):
    values = learning_configuration(scenes, "metric", optimizer__steps=50, optimizer__decoder_lr=1e-3)
    values["network"]["max_depth"] = 20.0
    values["run"] |= {"save_every": 50, "validate_every": 5}
    folder = train(tmp_path, values)
    losses = [total_loss(entry) for entry in entries(folder, "loss")]
    scores = entries(folder, "validation")
    assert sum(losses[-6:]) < 0.7 * sum(losses[:6])
    best = max(entry["delta1"] for entry in scores)
    assert best > 0.25
    assert best > scores[0]["delta1"] + 0.1
    check_checkpoint(folder / "metric.safetensors", "metric", 20.0)


def check_checkpoint(path: Path, name: str, max_depth: float | None) -> None:
    """Check that the checkpoint describes itself and runs in the estimator."""
    record = read_record(path)
    assert (record.name, record.max_depth, record.license) == (name, max_depth, "Apache-2.0")
    image = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    depth = Estimator(path, backend="torch").estimate(image.numpy())
    assert depth.shape == (60, 80)
    assert 0 <= depth.min() < depth.max() <= (max_depth or 1e4)


def test_run_record_names_sources_and_versions(scenes, tmp_path):
    folder = train(tmp_path, configuration(scenes, "student", optimizer__steps=2))
    (record,) = json.loads((folder / "run.json").read_text())
    assert record["configuration"]["optimizer"]["steps"] == 2
    version = json.loads((Path(scenes["labeled"]) / "manifest.json").read_text())["version"]
    assert version in record["data"]["labeled"][0]
    assert {"torch", "python", "depth_anything_ros"} <= set(record["versions"])
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.gpu
@pytest.mark.parametrize("changes", [{}, {"run__activation_checkpointing": True}, {"run__compile": True}])
def test_gpu_training_in_bfloat16_matches_cpu_in_float32(scenes, tmp_path, changes):
    values = learning_configuration(scenes, "student", optimizer__steps=4, losses={"gradient": 0.5})
    values["optimizer"] |= {"encoder_lr": 1e-6, "decoder_lr": 1e-5}
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
