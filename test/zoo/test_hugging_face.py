"""Folders from transformers and the hub's client: their settings are read, and they run, export and train."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.runtime.model_files import find_model_files
from depth_anything_ros.zoo.hugging_face import transformers_record
from depth_anything_ros.zoo.record import ModelRecord, RecordError
from depth_anything_ros.zoo.resolve import resolve

CONFIGURATION = {
    # As the hub has it for Depth-Anything-V2-Small-hf: what is Dinov2Config's default is left out.
    "architectures": ["DepthAnythingForDepthEstimation"],
    "backbone_config": {
        "hidden_size": 384,
        "image_size": 518,
        "model_type": "dinov2",
        "num_attention_heads": 6,
        "out_features": ["stage3", "stage6", "stage9", "stage12"],
        "out_indices": [3, 6, 9, 12],
    },
    "fusion_hidden_size": 64,
    "model_type": "depth_anything",
    "neck_hidden_sizes": [48, 96, 192, 384],
    "reassemble_hidden_size": 384,
}
METRIC = {"depth_estimation_type": "metric", "max_depth": 20}
PREPROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "ensure_multiple_of": 14,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "keep_aspect_ratio": True,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 518, "width": 518},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def with_backbone(**changes) -> dict:
    return CONFIGURATION | {"backbone_config": CONFIGURATION["backbone_config"] | changes}


def written(folder: Path, configuration: dict, preprocessor: dict | None = PREPROCESSOR) -> Path:
    """Write a Hugging Face folder without weights; return the path of the missing weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(configuration))
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder / "model.safetensors"


# ---- what the configurations say


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (CONFIGURATION, ("vits", "v2", None)),
        (with_backbone(out_indices=[9, 10, 11, 12]), ("vits", "v1", None)),
        (with_backbone(out_indices=None), ("vits", "v2", None)),
        (with_backbone(hidden_size=768), ("vitb", "v2", None)),
        (with_backbone(hidden_size=1024, num_hidden_layers=24, out_indices=[5, 12, 18, 24]), ("vitl", "v2", None)),
        (with_backbone(hidden_size=1024, num_hidden_layers=24, out_indices=[21, 22, 23, 24]), ("vitl", "v1", None)),
        (CONFIGURATION | METRIC, ("vits", "v2", 20.0)),
        (CONFIGURATION | {"depth_estimation_type": "relative", "max_depth": 1}, ("vits", "v2", None)),
        (CONFIGURATION | {"max_depth": 1}, ("vits", "v2", None)),
    ],
)
def test_transformers_config_gives_record(configuration, expected, tmp_path):
    record = transformers_record(written(tmp_path / "mine", configuration))
    assert (record.encoder, record.version, record.max_depth) == expected
    assert record.is_metric == (expected[2] is not None)
    assert (record.name, record.license, record.input_size, record.input_multiple) == (
        "mine",
        "unknown",
        (518, 518),
        14,
    )
    assert record.mean == pytest.approx((0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size": {"height": 252, "width": 336}}, {"input_size": (252, 336)}),
        ({"size": {"shortest_edge": 384}}, {"input_size": (378, 378)}),
        ({"size": {"height": 384, "width": 384}, "ensure_multiple_of": 32}, {"input_size": (378, 378)}),
        ({"size": {"height": 520, "width": 520}, "ensure_multiple_of": 28}, {"input_size": (532, 532)}),
        (
            {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
            {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)},
        ),
        ({"do_normalize": False}, {"mean": (0, 0, 0), "std": (1, 1, 1)}),
        ({"rescale_factor": 2 / 255}, {"mean": (0.2425, 0.228, 0.203), "std": (0.1145, 0.112, 0.1125)}),
        ({"do_rescale": False, "do_normalize": False}, {"mean": (0, 0, 0), "std": (1 / 255,) * 3}),
    ],
)
def test_transformers_preprocessor_sets_normalization_and_size(changes, expected, tmp_path):
    record = transformers_record(written(tmp_path / "mine", CONFIGURATION, PREPROCESSOR | changes))
    for name, value in expected.items():
        assert getattr(record, name) == pytest.approx(value), name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "{"),
        ("config.json", b"\xff\xfe"),
        ("preprocessor_config.json", "["),
        ("preprocessor_config.json", '{"size": {"height": 518}}'),
        ("preprocessor_config.json", '{"image_mean": "gray"}'),
        ("preprocessor_config.json", '{"rescale_factor": 0}'),
        ("preprocessor_config.json", '{"image_std": [0.2, 0.2]}'),
    ],
)
def test_invalid_transformers_files_raise_record_error(name, content, tmp_path):
    path = written(tmp_path / "mine", CONFIGURATION)
    path.write_bytes(b"weights")
    (path.parent / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecordError, match=r"mine"):
        transformers_record(path)


def test_record_takes_precedence_over_damaged_config(tmp_path):
    path = written(tmp_path / "mine", CONFIGURATION)
    path.write_bytes(b"weights")
    record = ModelRecord("own", "inverse_depth", "MIT")
    for name in ("config.json", "model.record.json"):
        (path.parent / name).write_text("{")
        with pytest.raises(ModelError, match=r"mine"):
            find_model_files(path.parent, weights=True)
        assert find_model_files(path.parent, record, weights=True).record == record


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (CONFIGURATION | {"model_type": "prompt_depth_anything"}, "has model_type 'prompt_depth_anything'"),
        (CONFIGURATION | {"model_type": "dpt"}, "has model_type 'dpt', must be 'depth_anything'"),
        (with_backbone(hidden_size=400), "another encoder than tiny, hybrid, vits"),
        (with_backbone(out_indices=[1, 2, 3, 4]), "out_indices of neither V1 nor V2"),
        (CONFIGURATION | {"depth_estimation_type": "metric"}, "depth_estimation_type 'metric', max_depth None"),
        (CONFIGURATION | {"max_depth": 20}, "depth_estimation_type None, max_depth 20"),
        (CONFIGURATION | {"depth_estimation_type": "metric", "max_depth": -1}, "max_depth -1"),
    ],
)
def test_incomplete_transformers_config_gives_no_record(configuration, said, tmp_path):
    pytest.importorskip("torch", reason="the backend that runs weights")
    path = written(tmp_path / "mine", configuration)
    path.write_bytes((2).to_bytes(8, "little") + b"{}")
    assert transformers_record(path) is None
    with pytest.raises(
        ModelError, match=rf"mine/model\.safetensors does not declare .*{re.escape(said)}.*or give a record"
    ):
        Estimator(tmp_path / "mine", backend="torch")


@pytest.mark.parametrize(
    "folder",
    [
        "models--depth-anything--Depth-Anything-V2-Metric-Indoor-Small-hf/snapshots/0123456789abcdef",
        "Depth-Anything-V2-Metric-Indoor-Small-hf",
    ],
)
def test_official_metric_folder_gives_license_and_focal(folder, tmp_path):
    record = transformers_record(written(tmp_path / folder, CONFIGURATION | METRIC))
    assert record.repository == "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf"
    assert record.name == "Depth-Anything-V2-Metric-Indoor-Small-hf"
    assert (record.license, record.training_focal) == ("Apache-2.0", pytest.approx(598.1, abs=0.1))
    other = transformers_record(written(tmp_path / folder, CONFIGURATION | METRIC | {"max_depth": 30}))
    assert (other.license, other.training_focal, other.max_depth) == ("unknown", None, 30.0)


def test_foreign_repository_is_not_official(tmp_path):
    folder = "models--someone--Depth-Anything-V2-Metric-Indoor-Small-hf/snapshots/0123456789abcdef"
    record = transformers_record(written(tmp_path / folder, CONFIGURATION | METRIC))
    assert (record.license, record.training_focal) == ("unknown", None)
    record = transformers_record(
        written(tmp_path / "Depth-Anything-V2-Metric-Indoor-Small-hf-tuned", CONFIGURATION | METRIC)
    )
    assert (record.license, record.training_focal, record.repository) == ("unknown", None, None)


# ---- folders and their files


def test_hub_cache_folder_resolves_to_its_snapshot(tmp_path):
    repository = tmp_path / "models--someone--depth"
    blob = repository / "blobs" / "c0ffee"
    blob.parent.mkdir(parents=True)
    blob.write_bytes((2).to_bytes(8, "little") + b"{}")
    for commit in ("aaaa", "bbbb"):
        written(repository / "snapshots" / commit, CONFIGURATION).symlink_to(blob)
    assert re.search(r"has 2 snapshots: aaaa, bbbb; give one", resolve(repository).fault)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbbb")
    for folder in (repository, repository / "snapshots" / "bbbb"):
        resolved = resolve(folder)
        assert resolved.path == repository / "snapshots" / "bbbb" / "model.safetensors"
        assert (resolved.record.name, resolved.record.encoder) == ("depth", "vits")


def test_folder_with_one_model_file_resolves_to_it(tmp_path):
    for name in ("net.onnx", "net.pth"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        for other in ("README.md", "net.onnx.data", name):
            (folder / other).write_bytes(b"")
        (folder / "net.record.json").write_text(ModelRecord("mine", "depth", "MIT").to_json())
        resolved = resolve(folder)
        assert (resolved.path, resolved.record.name) == (folder / name, "mine")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), r"has no record\.json, and no model file \(\.pth, "),
        (("a.onnx", "b.pth"), r"several models: a\.onnx, b\.pth; give one of them"),
        (
            ("config.json", "onnx/model.onnx", "onnx/model_fp16.onnx"),
            r"give one of onnx/model\.onnx, onnx/model_fp16\.onnx",
        ),
        (("config.json", "model.safetensors.index.json"), r"over several files .*max_shard_size"),
    ],
)
def test_folder_without_unique_model_raises(files, message, tmp_path):
    folder = tmp_path / "mine"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    folder.mkdir(exist_ok=True)
    with pytest.raises(ModelError, match=message):
        Estimator(folder)
    with pytest.raises(ModelError, match=message):
        find_model_files(folder, weights=True)
    assert re.search(message, resolve(folder).fault)


def test_missing_hub_repository_names_download_command():
    with pytest.raises(FileNotFoundError, match="hf download someone/depth-small --local-dir FOLDER"):
        resolve("someone/depth-small")
    for path in ("someone/depth-small.onnx", "./depth", "/tmp/absent"):
        with pytest.raises(FileNotFoundError) as error:
            resolve(path)
        assert "hub" not in str(error.value)


# ---- real ones


def save(folder: Path, max_depth: float | None):
    """Write the files of `save_pretrained`, and return the network."""
    pytest.importorskip("torch", reason="runs it: the extra `torch`")
    transformers = pytest.importorskip("transformers", reason="it writes the files: the extra `test`")
    from random_models import transformers_model

    from depth_anything_ros.zoo.encoders import ENCODERS

    theirs = transformers_model(ENCODERS["tiny"], "v2", max_depth)
    theirs.save_pretrained(folder)
    processor = getattr(transformers, "DPTImageProcessorPil", transformers.DPTImageProcessor)
    options = {"size": {"height": 56, "width": 56}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    processor(keep_aspect_ratio=True, ensure_multiple_of=14, **options).save_pretrained(folder)
    return theirs


@pytest.fixture(scope="module", params=[None, 20.0], ids=["relative", "metric"])
def saved(request, tmp_path_factory):
    """A folder, its network in transformers, and its max_depth."""
    folder = tmp_path_factory.mktemp("hub") / "small-depth"
    return folder, save(folder, request.param), request.param


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (56, 70, 3), dtype=np.uint8)


def test_saved_folder_matches_transformers_output(saved, image):
    import torch
    from random_models import with_table

    from depth_anything_ros.model.checkpoints import load_checkpoint

    folder, theirs, max_depth = saved
    estimator = Estimator(folder, backend="torch")
    assert (estimator.record.name, estimator.record.max_depth) == ("small-depth", max_depth)
    pixels = torch.from_numpy(((image / 255 - (0.4, 0.5, 0.6)) / (0.2, 0.3, 0.4)).astype(np.float32))
    table = load_checkpoint(folder / "model.safetensors", record=estimator.record).pretrained.position_embedding(4, 5)
    with torch.no_grad():
        reference = with_table(theirs, table)(pixels.permute(2, 0, 1)[None]).predicted_depth[0].numpy()
    np.testing.assert_allclose(estimator.estimate(image), reference, rtol=0, atol=1e-4 * float(reference.max()))


def test_predict_exports_folder_and_again_after_config_change(repository, tmp_path, cache, capsys):
    pytest.importorskip("onnx", reason="exports: the extra `onnx`")
    from depth_anything_ros.cli import main

    folder = tmp_path / "small-depth"
    save(folder, 20.0)

    def predict(out: str) -> ModelRecord:
        words = ["predict", repository / "docs" / "coffee.jpg", "--model", folder, "--output", tmp_path / out]
        assert main([str(word) for word in [*words, "--backend", "onnxruntime"]]) == 0
        return Estimator(folder, "onnxruntime").record

    record = predict("first")
    assert "exporting small-depth for images of 56x70, once" in capsys.readouterr().err
    assert (record.name, record.max_depth, record.std) == ("small-depth", 20.0, (0.2, 0.3, 0.4))
    predict("second")
    assert "exporting" not in capsys.readouterr().err
    configuration = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(configuration | {"max_depth": 80}))
    assert predict("third").max_depth == 80.0


def test_training_starts_from_folder_and_uses_it_as_teacher(saved):
    pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")
    import torch

    from depth_anything_ros.model.checkpoints import load_checkpoint
    from depth_anything_ros.training.initial_network import start_network
    from depth_anything_ros.training.settings import NetworkSettings, TeacherSettings
    from depth_anything_ros.training.teachers.networks import open_teacher

    folder, _, max_depth = saved
    record = resolve(folder).record
    loaded = load_checkpoint(folder / "model.safetensors", record=record)
    settings = NetworkSettings(encoder="tiny", start=str(folder), start_decoder=True, max_depth=max_depth)
    started = start_network(settings, torch.zeros(1, 14, 14, 3, dtype=torch.uint8))
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in started.state_dict().items())
    pixels = torch.randint(0, 256, (1, 56, 70, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    maps = torch.from_numpy(Estimator(folder, backend="torch").estimate(pixels[0].numpy()))
    requested = maps if max_depth is None else 1 / maps.clamp(min=1e-3)
    torch.testing.assert_close(
        open_teacher(TeacherSettings(model=str(folder)))(pixels)[0], requested, rtol=1e-3, atol=1e-5
    )


def test_export_follows_max_depth_or_reports_conflict(saved, tmp_path, capsys):
    pytest.importorskip("onnx", reason="exports: the extra `onnx`")
    from depth_anything_ros.cli import main

    folder, _, max_depth = saved
    words = ["export", str(folder), "--output", str(tmp_path / "net.onnx")]
    assert main([*words, "--version", "v1"]) == 1
    assert "version 'v1' contradicts" in capsys.readouterr().err
    if max_depth is not None:
        assert main([*words, "--relative"]) == 1
        assert "predicts meters, up to 20; if that is wrong" in capsys.readouterr().err
    assert main(words if max_depth else [*words, "--relative"]) == 0
    assert Estimator(tmp_path / "net.onnx").record == replace(resolve(folder).record, input_size=(56, 56))
