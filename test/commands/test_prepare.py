"""A model that cannot run yet: one command downloads, exports and runs it, and reports each step."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="exports: the extra `torch`")
pytest.importorskip("onnx", reason="exports: the extra `onnx`")
pytest.importorskip("huggingface_hub", reason="fetches: the extra `hub`")

from hub_server import HubServer
from random_models import random_model

from depth_anything_ros.cli import main
from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.system import extras
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.record import ModelFile, ModelRecord

HUB_PATH = "/someone/small-depth/resolve/main/small.safetensors"
NAME = "small_depth"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging_face"))
    return tmp_path / "cache"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    record = ModelRecord("random", "inverse_depth", "MIT", encoder="tiny", version="v2", input_size=(42, 42))
    save_checkpoint(random_model("tiny"), record, tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.fixture
def hub(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    """A hub that has the weights, and a zoo that knows them."""
    content = checkpoint.read_bytes()
    record = ModelRecord(
        NAME,
        "inverse_depth",
        "CC-BY-NC-4.0",
        encoder="tiny",
        version="v2",
        input_size=(42, 42),
        nominal_scale=(1.0, 0.0),
        repository="someone/small-depth",
        files=(ModelFile("small.safetensors", hashlib.sha256(content).hexdigest()),),
    )
    monkeypatch.setitem(known_models(), NAME, record)
    with HubServer() as server:
        server.files[HUB_PATH] = content
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def predict(repository: Path, tmp_path: Path, model: str | Path) -> int:
    words = ["predict", repository / "docs" / "coffee.jpg", "--model", model, "--output", tmp_path / "out"]
    return main([str(word) for word in [*words, "--backend", "onnxruntime"]])


def test_predict_downloads_and_exports_once(hub, repository, tmp_path, capsys, cache):
    assert predict(repository, tmp_path, NAME) == 0
    fetching, exporting, exported = capsys.readouterr().err.splitlines()[:3]
    assert fetching.startswith(f"fetching small.safetensors of {NAME} from {hub.endpoint}/someone/small-depth: ")
    assert fetching.endswith("license CC-BY-NC-4.0 (not for commercial use)")
    assert exporting == f"exporting {NAME} for images of 42x56, once"
    (graph,) = (cache / "exports").rglob("*.onnx")
    assert exported == f"exported: {graph}"
    assert (tmp_path / "out" / "coffee.npy").is_file()

    asked = len(hub.requests)
    assert predict(repository, tmp_path, NAME) == 0
    assert len(hub.requests) == asked
    assert "export" not in capsys.readouterr().err.replace(f"exported {graph}", "")
    estimator = Estimator(NAME, "onnxruntime")  # as the node opens it
    assert estimator.record.name == NAME
    assert str(graph) in estimator.provenance


@pytest.mark.parametrize(
    "words",
    [
        ["models", "fetch", NAME],
        ["export", NAME, "--output", "net.onnx"],
        ["verify", NAME, "--backend", "torch", "--against", "torch"],
    ],
    ids=lambda words: words[0],
)
def test_non_commercial_license_is_printed_at_download(words, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    line = f"fetching small.safetensors of {NAME} from {hub.endpoint}/someone/small-depth: license CC-BY-NC-4.0"
    assert f"{line} (not for commercial use)" in capsys.readouterr().err.splitlines()
    assert main(words) == 0
    assert "fetching" not in capsys.readouterr().err


def test_checkpoint_file_is_exported_again_after_change(checkpoint, repository, tmp_path, capsys, cache):
    checkpoint = checkpoint.rename(tmp_path / "small [1].safetensors")  # as browsers call a second download
    assert predict(repository, tmp_path, checkpoint) == 0
    assert "exporting random for images of 42x56, once" in capsys.readouterr().err
    record = ModelRecord("other", "inverse_depth", "MIT", encoder="tiny", version="v2", input_size=(42, 42))
    save_checkpoint(random_model("tiny", seed=1), record, checkpoint)
    assert predict(repository, tmp_path, checkpoint) == 0
    assert "exporting other" in capsys.readouterr().err
    assert len(list((cache / "exports").rglob("*.onnx"))) == 2


def test_missing_packages_are_named_before_download(hub, repository, tmp_path, capsys, monkeypatch):
    spec_of = extras.find_spec
    absent = ("torch", "onnx", "huggingface_hub")
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in absent else spec_of(name))
    assert predict(repository, tmp_path, NAME) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs huggingface_hub and onnx and torch; " in line
    assert "pip install '.[hub,onnx,torch]'" in line
    assert hub.requests == []


def test_node_error_names_build_command(hub):
    with pytest.raises(ModelError, match=f"run once: depth_anything_ros build {NAME}, which fetches"):
        Estimator(NAME)
    assert hub.requests == []
    assert main(["build", NAME, "--backend", "onnxruntime"]) == 0
    assert Estimator(NAME, "onnxruntime").record.name == NAME


def test_torch_backend_needs_no_export(checkpoint, repository, tmp_path, cache):
    words = ["predict", repository / "docs" / "coffee.jpg", "--model", checkpoint, "--output", tmp_path / "out"]
    assert main([str(word) for word in [*words, "--backend", "torch"]]) == 0
    assert not (cache / "exports").exists()
