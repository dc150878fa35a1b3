"""Exported graphs against their network, in ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
import resource
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="exports are made from PyTorch networks")
pytest.importorskip("onnx", reason="exports are ONNX graphs")

import onnx
import torch
from random_models import random_model
from small_graphs import open_graph

from depth_anything_ros.cli import main
from depth_anything_ros.export.bundle import export_bundle, rounded_to_half
from depth_anything_ros.export.inference_graph import InferenceGraph, bicubic_weights
from depth_anything_ros.export.onnx import export_onnx
from depth_anything_ros.export.tracing import ExportError
from depth_anything_ros.export.verification import verify_graph
from depth_anything_ros.model.checkpoints import load_checkpoint, save_checkpoint
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.zoo.encoders import ENCODERS
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord
from depth_anything_ros.zoo.seal import seal_again

SIZE = (84, 112)
RECORD = ModelRecord("tiny", "inverse_depth", "MIT", encoder="tiny", version="v2", nominal_scale=(0.5, 0.1))


@pytest.fixture(scope="module")
def network():
    return random_model("tiny")


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "tiny.onnx"
    export_onnx(network, RECORD, SIZE, path)
    return path


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    export_bundle(network, RECORD, [SIZE, (70, 126)], folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "mine.safetensors"
    save_checkpoint(network, replace(RECORD, name="mine"), path)
    return path


def random_pixels(height: int, width: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def network_output(network, pixels: np.ndarray) -> np.ndarray:
    """The network's output for pixels normalized as usual."""
    normalized = (torch.from_numpy(pixels) / 255 - torch.tensor(RECORD.mean)) / torch.tensor(RECORD.std)
    with torch.inference_mode():
        return network(normalized.permute(0, 3, 1, 2).to(network.pretrained.cls_token.dtype)).numpy()


class TestInferenceGraph:
    @pytest.mark.parametrize(
        ("encoder", "version", "max_depth", "size"),
        [
            ("tiny", "v2", None, (84, 112)),
            ("tiny", "v2", None, (70, 98)),  # odd rows and columns of patches
            ("tiny", "v2", 20.0, (28, 70)),
            ("tiny", "v2", None, (518, 518)),  # the table of positions as it was trained
            ("vits", "v1", None, (56, 42)),
        ],
    )
    def test_inference_graph_matches_network(self, encoder, version, max_depth, size):
        network = random_model(encoder, version, max_depth).double()
        record = replace(RECORD, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
        graph = InferenceGraph(network, record, size).double()
        pixels = random_pixels(*size)
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (record.mean, record.std))
        # In float64, so that what remains is the rounding of the graph's own tables, not that of the network.
        with torch.inference_mode():
            expected = network(((torch.from_numpy(pixels).double() / 255 - mean) / std).permute(0, 3, 1, 2))
            actual = graph(torch.from_numpy(pixels))
        assert expected.std() > 0.01 * expected.mean()
        assert torch.allclose(actual, expected, rtol=1e-5, atol=0)

    def test_gated_feed_forward_matches_network(self, monkeypatch):
        monkeypatch.setitem(ENCODERS, "gated", replace(ENCODERS["tiny"], swiglu=True))
        network = random_model("gated")
        pixels = random_pixels(42, 56)
        with torch.inference_mode():
            actual = InferenceGraph(network, RECORD, (42, 56))(torch.from_numpy(pixels)).numpy()
        assert actual == pytest.approx(network_output(network, pixels), rel=1e-4)

    @pytest.mark.parametrize("side", [1, 5, 18, 36, 38, 74])
    def test_bicubic_weights_match_encoder(self, network, side):
        encoder = network.pretrained
        grid = encoder.pos_embed[0, 1:].reshape(37, 37, -1)
        resized = torch.einsum("rj,ck,jkd->rcd", bicubic_weights(side), bicubic_weights(9), grid)
        expected = encoder.position_embedding(side, 9)[0, 1:].reshape(side, 9, -1)
        assert torch.allclose(resized, expected, atol=1e-6)

    @pytest.mark.parametrize("size", [(84, 100), (0, 14), (-14, 14)])
    def test_size_that_is_no_multiple_of_14_raises(self, network, size):
        with pytest.raises(ValueError, match="multiples of 14"):
            InferenceGraph(network, RECORD, size)


class TestOnnx:
    def test_exported_graph_is_valid_with_record(self, exported):
        model = onnx.load(exported)
        onnx.checker.check_model(model, full_check=True)
        assert model.opset_import[0].version >= 17
        image, output = model.graph.input[0], model.graph.output[0]
        assert (image.name, output.name) == ("image", "inverse_depth")
        assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        sides = [dimension.dim_param or dimension.dim_value for dimension in image.type.tensor_type.shape.dim]
        assert sides == ["batch", *SIZE, 3]
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert ModelRecord.from_json(metadata[METADATA_KEY]) == replace(RECORD, input_size=SIZE)

    def test_exported_graph_keeps_layernorm_and_folds_constants(self, exported):
        operators = Counter(node.op_type for node in onnx.load(exported).graph.node)
        configuration = ENCODERS["tiny"]
        assert operators["LayerNormalization"] == 2 * configuration.depth + 4
        assert operators["Softmax"] == configuration.depth
        assert operators["MatMul"] == 6 * configuration.depth
        # Two multiplications a block belong to GELU; none is left of LayerScale, normalization or attention's factor.
        assert operators["Mul"] == 2 * configuration.depth
        assert not {"Shape", "If", "Loop", "Constant", "Identity", "ReduceSum", "Pow"} & set(operators)

    def test_exported_graph_casts_pixels_first(self, exported):
        """TensorRT refuses to transpose bytes."""
        takers = [node.op_type for node in onnx.load(exported).graph.node if "image" in node.input]
        assert takers == ["Cast"]

    def test_exported_graph_matches_network_for_any_batch(self, exported, network):
        pixels = random_pixels(*SIZE, count=3)
        expected = network_output(network, pixels)
        backend = open_graph(exported)
        assert backend.run(pixels) == pytest.approx(expected, rel=1e-4)
        assert backend.run(pixels[:1]) == pytest.approx(expected[:1], rel=1e-4)

    def test_exported_batch_images_are_independent(self, exported):
        backend, pixels = open_graph(exported), random_pixels(*SIZE, count=4)
        together = backend.run(pixels).copy()
        for image, values in zip(pixels, together, strict=True):
            assert backend.run(image[np.newaxis])[0] == pytest.approx(values, rel=1e-5)

    def test_metric_network_exports_depth(self, tmp_path):
        network = random_model("tiny", max_depth=20.0)
        record = replace(RECORD, output="depth", max_depth=20.0, nominal_scale=None)
        path = tmp_path / "metric.onnx"
        assert export_onnx(network, record, (42, 56), path) < 1e-4
        estimator = Estimator(path, precision="fp32")
        assert estimator.record.is_metric
        depth = estimator.estimate(random_pixels(42, 56)[0])
        assert depth == pytest.approx(network_output(network, random_pixels(42, 56))[0], rel=1e-4)

    def test_export_leaves_network_unchanged(self, network, tmp_path):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.train()
        export_onnx(network, RECORD, (28, 28), tmp_path / "net.onnx")
        assert network.training
        network.eval()
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    def test_failed_verification_keeps_old_file(self, tmp_path):
        network = random_model("tiny")
        with torch.no_grad():
            network.pretrained.norm.weight[0] = torch.nan
        path = tmp_path / "net.onnx"
        path.write_text("what was there")
        with pytest.raises(ExportError, match="so it cannot be verified"):
            export_onnx(network, RECORD, (28, 28), path)
        assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
        assert path.read_text() == "what was there"

    def test_verification_detects_other_weights(self, exported):
        other = random_model("tiny")
        with torch.no_grad():
            other.pretrained.blocks[4].mlp.fc1.weight[7] *= 1.5
        with pytest.raises(ExportError, match="differs"):
            verify_graph(exported, other, replace(RECORD, input_size=SIZE))

    @pytest.mark.parametrize("fixed_to", [1, 2])
    def test_verification_detects_fixed_batch(self, exported, network, tmp_path, fixed_to):
        model = onnx.load(exported)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = fixed_to
        path = tmp_path / "fixed.onnx"
        onnx.save(model, path)
        seal_again(path)
        with pytest.raises(ModelError, match=r"ONNX Runtime failed|takes exactly 2 images at once"):
            verify_graph(path, network, replace(RECORD, input_size=SIZE))

    @pytest.mark.parametrize(
        "changes",
        [
            {"encoder": "vits"},
            {"version": "v1"},
            {"max_depth": 20.0},
            {"output": "depth"},
            {"output": "depth", "scale": "depth_scale", "nominal_scale": None},
            {"confidence": "sure"},
        ],
    )
    def test_export_rejects_record_that_contradicts_network(self, network, tmp_path, changes):
        with pytest.raises(ExportError, match="the record of 'tiny' has"):
            export_onnx(network, replace(RECORD, **changes), SIZE, tmp_path / "net.onnx")
        assert not list(tmp_path.iterdir())


class TestBundle:
    def test_bundle_holds_weights_once(self, bundle):
        names = {path.name for path in bundle.iterdir()}
        assert names == {"tiny.safetensors", "tiny_84x112.onnx", "tiny_70x126.onnx", "record.json"}
        assert sum(path.stat().st_size for path in bundle.iterdir()) < 12_000_000
        assert all(path.stat().st_size < 200_000 for path in bundle.glob("*.onnx"))

    def test_bundle_record_has_files_sizes_and_hashes(self, bundle):
        record = ModelRecord.read(bundle / "record.json")
        assert record.input_size == SIZE
        assert [file.size for file in record.files] == [None, SIZE, (70, 126)]
        for file in record.files:
            assert hashlib.sha256((bundle / file.name).read_bytes()).hexdigest() == file.sha256

    @pytest.mark.parametrize("size", [SIZE, (70, 126)])
    def test_bundle_graphs_match_rounded_network(self, bundle, network, size):
        pixels = random_pixels(*size, count=2)
        actual = open_graph(bundle / f"tiny_{size[0]}x{size[1]}.onnx").run(pixels)
        expected = network_output(rounded_to_half(network), pixels)
        assert np.abs(actual - expected).max() < 1e-5 * expected.max()

    def test_bundle_graphs_match_self_contained_graph(self, bundle, network, tmp_path):
        export_onnx(rounded_to_half(network), RECORD, SIZE, tmp_path / "whole.onnx")
        pixels = random_pixels(*SIZE)
        whole = open_graph(tmp_path / "whole.onnx").run(pixels)
        assert open_graph(bundle / "tiny_84x112.onnx").run(pixels) == pytest.approx(whole, rel=1e-5)

    def test_bundle_graphs_are_valid(self, bundle):
        onnx.checker.check_model(bundle / "tiny_84x112.onnx", full_check=True)

    def test_bundle_weights_load_as_checkpoint(self, bundle, network):
        loaded = load_checkpoint(bundle / "tiny.safetensors").state_dict()
        expected = rounded_to_half(network).state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[key], expected[key]) for key in expected)

    def test_moved_bundle_runs_in_estimator(self, bundle, network, tmp_path):
        moved = tmp_path / "elsewhere"
        moved.mkdir()
        for path in bundle.iterdir():
            (moved / path.name).write_bytes(path.read_bytes())
        pixels = random_pixels(70, 126)
        values = Estimator(moved, precision="fp32").estimate(pixels[0])
        assert values == pytest.approx(network_output(rounded_to_half(network), pixels)[0], rel=1e-4)

    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
            pytest.param(lambda content: content[:-1] + bytes([content[-1] ^ 1]), id="one bit changed"),
        ],
    )
    def test_damaged_bundle_weights_are_rejected(self, bundle, tmp_path, damage):
        for path in bundle.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        weights = tmp_path / "tiny.safetensors"
        weights.write_bytes(damage(weights.read_bytes()))
        with pytest.raises(ModelError, match=r"tiny\.safetensors"):
            Estimator(tmp_path, precision="fp32")

    def test_weights_above_half_range_are_named(self, tmp_path):
        network = random_model("tiny")
        with torch.no_grad():
            network.pretrained.blocks[0].mlp.fc1.weight[0, 0] = 1e5
        with pytest.raises(ExportError, match=r"blocks\.0\.mlp\.fc1\.weight is not finite"):
            export_bundle(network, RECORD, [SIZE], tmp_path)
        assert not list(tmp_path.iterdir())

    def test_bundle_without_size_raises(self, network, tmp_path):
        with pytest.raises(ValueError, match="at least one size"):
            export_bundle(network, RECORD, [], tmp_path)


class TestCommand:
    def test_export_command_writes_one_graph(self, checkpoint, tmp_path, capsys):
        output, report = tmp_path / "mine.onnx", tmp_path / "report.json"
        arguments = ["export", checkpoint, "--size", "28x42", "--output", output, "--json", report]
        assert main([str(argument) for argument in arguments]) == 0
        assert "mine.onnx" in capsys.readouterr().out
        assert json.loads(report.read_text())["difference"] < 1e-4
        assert Estimator(output, precision="fp32").record == replace(RECORD, name="mine", input_size=(28, 42))

    def test_export_command_writes_bundle_that_exports_again(self, checkpoint, tmp_path):
        folder = tmp_path / "bundle"
        arguments = ["export", checkpoint, "--size", "28x42", "42x28", "--bundle", folder]
        assert main([str(argument) for argument in arguments]) == 0
        assert Estimator(folder, precision="fp32").input_size_for(640, 480) == (42, 28)
        assert main(["export", str(folder), "--size", "28x28", "--output", str(tmp_path / "again.onnx")]) == 0

    def test_export_of_bare_checkpoint_requires_version(self, network, tmp_path, capsys):
        path = tmp_path / "bare.pth"
        torch.save(network.state_dict(), path)
        arguments = ["export", str(path), "--size", "28x28", "--output", str(tmp_path / "bare.onnx")]
        assert main(arguments) == 1
        assert "version" in capsys.readouterr().err
        assert main([*arguments, "--version", "v2"]) == 0
        assert Estimator(tmp_path / "bare.onnx", precision="fp32").record.name == "bare"

    def test_export_of_metric_weights_requires_max_depth(self, tmp_path, capsys):
        path, output = tmp_path / "my metric weights.pth", tmp_path / "out.onnx"
        torch.save(random_model("tiny", max_depth=20.0).state_dict(), path)
        arguments = ["export", str(path), "--version", "v2", "--size", "28x28", "--output", str(output)]
        assert main(arguments) == 1
        assert "--max-depth: 20" in capsys.readouterr().err
        assert not output.exists()
        assert main([*arguments, "--max-depth", "20", "--training-focal", "598.1"]) == 0
        record = Estimator(output, precision="fp32").record
        assert (record.name, record.max_depth, record.reference_focal) == ("my_metric_weights", 20.0, 598.1)
        assert main([*arguments, "--relative", "--training-focal", "598.1"]) == 1
        assert "is relative (see --max-depth)" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere.pth", "--output", "x.onnx"], "nowhere.pth"),
            (["CHECKPOINT", "--size", "28x30", "--output", "x.onnx"], "multiples of 14"),
            (["CHECKPOINT", "--size", "28x28", "42x42", "--output", "x.onnx"], "--bundle"),
        ],
    )
    def test_export_command_with_invalid_arguments_gives_one_line(
        self, checkpoint, tmp_path, monkeypatch, capsys, arguments, message
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["export", *(str(checkpoint) if word == "CHECKPOINT" else word for word in arguments)]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["checkpoint", "graph", "bundle"])
def test_full_disk_error_of_export_names_file(kind, tmp_path):
    model, record = random_model("tiny"), ModelRecord("net", "inverse_depth", "none", encoder="tiny", version="v2")
    path = tmp_path / ("graph.onnx" if kind == "graph" else "net.safetensors")
    write = {
        "checkpoint": lambda: save_checkpoint(model, record, path),
        "graph": lambda: export_onnx(model, record, (28, 28), path),
        "bundle": lambda: export_bundle(model, record, [(28, 28)], tmp_path),
    }[kind]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path) in str(raised.value)
    assert path.name in str(raised.value)
    assert list(tmp_path.iterdir()) == []
