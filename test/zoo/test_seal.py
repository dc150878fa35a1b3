"""A file of this package that was damaged later is rejected at every load, with its name."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="exports are made from PyTorch networks")
pytest.importorskip("onnx", reason="exports are ONNX graphs")

import onnx
from random_models import random_model
from safetensors.torch import save_file
from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.cli import main
from depth_anything_ros.export.bundle import export_bundle
from depth_anything_ros.export.onnx import export_onnx
from depth_anything_ros.model.checkpoints import load_checkpoint, load_encoder, save_checkpoint
from depth_anything_ros.model.segmentation import (
    SegmentationNetwork,
    SegmentationRecord,
    load_segmentation,
    save_segmentation,
)
from depth_anything_ros.model.weight_files import CheckpointError
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.zoo import catalog
from depth_anything_ros.zoo.cache import DamagedModelError
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER
from depth_anything_ros.zoo.record import ModelRecord
from depth_anything_ros.zoo.resolve import resolve
from depth_anything_ros.zoo.seal import MARK, check_seal, seal_again

SIZE = (28, 42)
RECORD = ModelRecord("tiny", "inverse_depth", "MIT", encoder="tiny", version="v2", nominal_scale=(0.5, 0.1))
PAGE = 4096


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    export_onnx(random_model("tiny"), RECORD, SIZE, path)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    export_bundle(random_model("tiny"), RECORD, [SIZE], folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "mine.safetensors"
    save_checkpoint(random_model("tiny"), RECORD, path)
    return path


def flip(content: bytes, position: int, bit: int = 0) -> bytes:
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def damages(content: bytes, count: int) -> list[tuple[str, bytes]]:
    """This many random damages of each kind, and the worst positions in addition."""
    generator = np.random.default_rng(7)
    marks = [place for place in range(len(content)) if content.startswith(MARK, place)] if len(content) < 1e5 else []
    found = content.find(MARK)
    while found >= 0 and found not in marks:
        marks.append(found)
        found = content.find(MARK, found + 1)
    result = [(f"mark at {place}", flip(content, place + 3)) for place in marks]
    result += [(f"digit at {place}", flip(content, place + len(MARK) + 5)) for place in marks]
    result += [(f"digits of {place} gone", content[: place + len(MARK) + 9]) for place in marks[-1:]]
    result += [("no end", content[: marks[-1] - 100]), ("empty", b""), ("more", content + b"\0")]
    for _ in range(count // 4):
        place = int(generator.integers(len(content) - PAGE))
        page = place // PAGE * PAGE
        length = int(generator.integers(1, 5000))
        result += [
            (f"bit at {place}", flip(content, place, int(generator.integers(8)))),
            (f"page at {page}", content[:page] + bytes(PAGE) + content[page + PAGE :]),
            (f"{length} doubled at {place}", content[: place + length] + content[place:]),
            (f"cut at {place}", content[:place]),
        ]
    return [(name, damaged) for name, damaged in result if damaged != content]


def test_damaged_export_never_runs(exported, tmp_path):
    content, path = exported.read_bytes(), tmp_path / "tiny.onnx"
    path.write_bytes(content)
    Estimator(path, "onnxruntime", precision="fp32")
    for name, damaged in damages(content, 60):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"tiny\.onnx"):
            pytest.fail(f"{name} runs: {Estimator(path, 'onnxruntime', precision='fp32').provenance}")


@pytest.mark.parametrize("kind", ["depth", "classes"])
def test_damaged_checkpoint_never_loads(checkpoint, tmp_path, kind):
    path, load = tmp_path / "mine.safetensors", load_checkpoint
    if kind == "depth":
        shutil.copy(checkpoint, path)
    else:
        load = load_segmentation
        record = SegmentationRecord(
            name="mine", license="MIT", encoder="tiny", version="v2", classes=3, input_size=SIZE
        )
        save_segmentation(SegmentationNetwork("tiny", "v2", 3), record, path)
    content = path.read_bytes()
    load(path)
    for name, damaged in damages(content, 16):
        path.write_bytes(damaged)
        with pytest.raises((CheckpointError, DamagedModelError), match=r"mine\.safetensors"):
            pytest.fail(f"{name} loads: {load(path)}")
    path.write_bytes(flip(content, len(content) - 9))
    for attempt in (load_encoder, resolve):
        with pytest.raises((CheckpointError, DamagedModelError), match=r"mine\.safetensors is damaged"):
            attempt(path)


@pytest.mark.parametrize("name", ["tiny_28x42.onnx", "tiny.safetensors"])
def test_damaged_bundle_never_runs(bundle, tmp_path, name):
    for path in bundle.iterdir():
        shutil.copy(path, tmp_path)
    content = (tmp_path / name).read_bytes()
    for kind, damaged in damages(content, 16):
        (tmp_path / name).write_bytes(damaged)
        for model in (tmp_path, tmp_path / "tiny_28x42.onnx"):
            with pytest.raises(ModelError, match=name.replace(".", r"\.")):
                pytest.fail(f"{kind} runs: {Estimator(model, 'onnxruntime', precision='fp32').provenance}")


def test_bundle_with_weights_of_other_export_is_rejected(bundle, tmp_path):
    export_bundle(random_model("tiny", seed=5), RECORD, [SIZE], tmp_path)
    shutil.copy(bundle / "tiny_28x42.onnx", tmp_path)
    with pytest.raises(ModelError, match=r"tiny\.safetensors is damaged, or not the file that tiny_28x42\.onnx was"):
        read_graph(tmp_path / "tiny_28x42.onnx")


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [("0.485", "0.495", "mean"), ('"inverse_depth"', '"depth"', "output"), ("0.5,", "0.7,", "nominal_scale")],
)
def test_changed_record_of_bundle_is_rejected(bundle, tmp_path, before, after, field):
    for path in bundle.iterdir():
        shutil.copy(path, tmp_path)
    record = tmp_path / "record.json"
    text = record.read_text()
    assert before in text
    record.write_text(text.replace(before, after, 1))
    with pytest.raises(ModelError, match=rf"record\.json and the record in tiny_28x42\.onnx differ in {field}"):
        Estimator(tmp_path, "onnxruntime", precision="fp32")
    (tmp_path / "my.json").write_text(replace(ModelRecord.read(bundle / "record.json"), nominal_scale=(3, 0)).to_json())
    assert Estimator(tmp_path, "onnxruntime", tmp_path / "my.json", precision="fp32").record.nominal_scale == (3, 0)


def test_damaged_bundled_model_is_rejected(tmp_path, monkeypatch):
    folder = tmp_path / "bundled"
    shutil.copytree(BUNDLED_FOLDER, folder)
    for module in ("catalog", "resolve"):
        monkeypatch.setattr(f"depth_anything_ros.zoo.{module}.BUNDLED_FOLDER", folder)
    catalog.known_models.cache_clear()
    try:
        assert resolve("tiny").weights == folder / "tiny.safetensors"
        for name in ("tiny.safetensors", "tiny_126x224.onnx"):
            content = (folder / name).read_bytes()
            (folder / name).write_bytes(flip(content, len(content) // 2))
            with pytest.raises(DamagedModelError, match=rf"{name}.* reinstall the package"):
                resolve("tiny")
            with pytest.raises(ModelError, match=name):
                Estimator(folder / "tiny_126x224.onnx", "onnxruntime", precision="fp32")
            (folder / name).write_bytes(content)
    finally:
        catalog.known_models.cache_clear()


def test_every_flipped_bit_of_small_file_is_detected(tmp_path):
    path = save_graph(red_graph((2, 2), relative_record()), tmp_path / "red.onnx")
    assert not check_seal(path)
    seal_again(path)
    assert check_seal(path)
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(flip(content, position, position % 8))
        with pytest.raises(DamagedModelError, match=r"red\.onnx is damaged"):
            check_seal(path)


def test_equal_exports_are_equal_files_with_own_hash(exported, checkpoint, tmp_path):
    export_onnx(random_model("tiny"), RECORD, SIZE, tmp_path / "tiny.onnx")
    save_checkpoint(random_model("tiny"), RECORD, tmp_path / "mine.safetensors")
    for path, again in ((exported, tmp_path / "tiny.onnx"), (checkpoint, tmp_path / "mine.safetensors")):
        content = path.read_bytes()
        assert content == again.read_bytes()
        _, first, second = content.split(MARK)
        assert first[:64] == second[:64]
        assert hashlib.sha256(content.replace(first[:64], b"0" * 64)).hexdigest().encode() == first[:64]


def test_unsealed_foreign_files_load(tmp_path):
    path = save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "theirs.onnx")
    assert Estimator(path, "onnxruntime", precision="fp32").estimate(np.full((28, 42, 3), 7, np.uint8)).max() == 7
    save_file(random_model("tiny").state_dict(), tmp_path / "theirs.safetensors")
    load_checkpoint(tmp_path / "theirs.safetensors", "v2")


class TestSealing:
    def test_rewritten_graph_is_rejected_until_sealed_again(self, exported, tmp_path, capsys):
        model = onnx.load(exported)
        model.producer_name = "a simplifier"
        path = tmp_path / "simpler.onnx"
        onnx.save(model, path)
        with pytest.raises(ModelError, match=r"depth_anything_ros models seal .*simpler\.onnx"):
            Estimator(path, "onnxruntime", precision="fp32")
        assert main(["models", "seal", str(path)]) == 0
        assert "simpler.onnx: sealed" in capsys.readouterr().out
        assert Estimator(path, "onnxruntime", precision="fp32").record.name == "tiny"
        path.write_bytes(flip(path.read_bytes(), 5000))
        with pytest.raises(ModelError, match="is damaged"):
            read_graph(path)

    def test_graph_without_one_mark_can_be_sealed_again(self, exported, tmp_path):
        model = onnx.load(exported)
        model.ClearField("doc_string")
        onnx.save(model, tmp_path / "simpler.onnx")
        with pytest.raises(ModelError, match="is damaged"):
            read_graph(tmp_path / "simpler.onnx")
        seal_again(tmp_path / "simpler.onnx")
        onnx.checker.check_model(tmp_path / "simpler.onnx")
        assert read_graph(tmp_path / "simpler.onnx").input_size == SIZE

    def test_foreign_weights_can_be_sealed(self, tmp_path):
        path = tmp_path / "theirs.safetensors"
        save_file(random_model("tiny").state_dict(), path, {"format": "pt"})
        seal_again(path)
        seal_again(path)
        assert check_seal(path)
        load_checkpoint(path, "v2")
        path.write_bytes(flip(path.read_bytes(), 100_000))
        with pytest.raises(CheckpointError, match="is damaged"):
            load_checkpoint(path, "v2")

    @pytest.mark.parametrize(
        ("name", "content"), [("a.pth", b"x"), ("a.safetensors", b"x"), ("a.safetensors", b"{" * 99)]
    )
    def test_seal_of_invalid_file_fails_and_leaves_it_unchanged(self, tmp_path, capsys, name, content):
        (tmp_path / name).write_bytes(content)
        assert main(["models", "seal", str(tmp_path / name)]) == 1
        assert name in capsys.readouterr().err
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]
