"""Every published layout of weights loads to the same network, bit by bit; other files are rejected with their name."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import zipfile

import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch one: install the extra torch")

from random_models import random_images, random_model, transformers_model, with_table  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from depth_anything_ros.model.checkpoints import load_checkpoint, load_encoder, read_record, save_checkpoint  # noqa: E402
from depth_anything_ros.model.key_layouts import detect_layout  # noqa: E402
from depth_anything_ros.model.weight_files import CheckpointError  # noqa: E402
from depth_anything_ros.zoo.encoders import ENCODERS  # noqa: E402
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord, RecordError  # noqa: E402

RECORD = ModelRecord(name="random", output="inverse_depth", license="MIT", encoder="tiny", version="v2")


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model():
    return random_model("tiny")


@pytest.fixture(scope="module")
def weights(model):
    return {key: value.detach() for key, value in model.state_dict().items()}


def assert_same_depth(first, second):
    """Check that the depth of one non-square and one square input is bit-identical and not constant."""
    for height, width in ((42, 70), (56, 56)):
        images = random_images(height, width)
        depth = first(images)
        assert depth.std() > 0
        assert torch.equal(depth, second(images))


def assert_same_encoder(first, second):
    images, taps = random_images(42, 70), (2, 8)
    assert all(torch.equal(a, b) for a, b in zip(first(images, taps), second(images, taps), strict=True))


# ---- layouts of the whole network


def official(weights):
    return weights


def distributed_training(weights):
    wrapped = {f"module.{key}": value for key, value in weights.items()}
    return {"model": wrapped, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3, "previous_best": {"d1": 0.9}}


def compiled(weights):
    return {"state_dict": {f"_orig_mod.{key}": value for key, value in weights.items()}}


def without_unused(weights):
    return {k: v for k, v in weights.items() if "mask_token" not in k and "refinenet4.resConfUnit1" not in k}


@pytest.mark.parametrize("layout", [official, distributed_training, compiled, without_unused])
def test_pytorch_layouts_load_equal_network(layout, model, weights, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(layout(weights), path)
    loaded = load_checkpoint(path, "v2", relative=True)
    assert (loaded.encoder, loaded.version, loaded.max_depth, loaded.training) == ("tiny", "v2", None, False)
    assert_same_depth(model, loaded)


def test_pytorch_file_with_flipped_bit_is_rejected(weights, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(weights, path)
    content = bytearray(path.read_bytes())
    place = content.find(max(weights.values(), key=torch.numel).numpy().tobytes()[:64])
    assert place > 0
    content[place + 10] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # which says nothing
    with pytest.raises(CheckpointError, match=r"model\.pth is damaged: the checksum of .* is wrong"):
        load_checkpoint(path, "v2")


def test_legacy_pytorch_format_loads(model, weights, tmp_path):
    torch.save(weights, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert_same_depth(model, load_checkpoint(tmp_path / "pytorch_model.bin", "v2"))


def test_safetensors_file_loads(model, weights, tmp_path):
    save_file(weights, tmp_path / "model.safetensors")
    assert_same_depth(model, load_checkpoint(tmp_path / "model.safetensors", "v2"))


@pytest.mark.parametrize("max_depth", [None, 20.0])
def test_transformers_folder_loads(max_depth, tmp_path):
    """What `save_pretrained` writes, and what `torch.save` of the same network's state_dict does."""
    pytest.importorskip("transformers", reason="it writes the files: install the extra test")
    theirs = transformers_model(ENCODERS["tiny"], "v2", max_depth)
    theirs.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pickled.pt")
    saved = load_checkpoint(tmp_path / "model.safetensors", "v2", max_depth)
    images, table = random_images(98, 70), saved.pretrained.position_embedding(7, 5)
    reference = with_table(theirs, table)(images).predicted_depth
    assert torch.allclose(saved(images), reference, rtol=0, atol=1e-5 * float(reference.max()))
    assert_same_depth(saved, load_checkpoint(tmp_path / "pickled.pt", "v2", max_depth))


def test_transformers_giant_loads_gate_in_correct_order(tmp_path):
    """`weights_in` of a file is `w12`, first the gate; the same network pickled in memory has two matrices for it."""
    pytest.importorskip("transformers", reason="it writes the files: install the extra test")
    small = dataclasses.replace(ENCODERS["tiny"], depth=4, swiglu=True, taps={"v2": (0, 1, 2, 3)})
    theirs = transformers_model(small, "v2")
    theirs.save_pretrained(tmp_path)
    stored, pickled = load_file(tmp_path / "model.safetensors"), theirs.state_dict()
    assert any("weights_in" in key for key in stored)
    first, second = (detect_layout(w).to_official(w) for w in (stored, pickled))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32(dtype, weights, tmp_path):
    save_file({key: value.to(dtype) for key, value in weights.items()}, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path / "model.safetensors", "v2")
    for key, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[key].to(dtype).float())


def test_encoder_size_is_inferred_and_unused_parameters_are_frozen(tmp_path):
    model = random_model("vits", "v1")
    torch.save(model.state_dict(), tmp_path / "depth_anything_vits14.pth")
    loaded = load_checkpoint(tmp_path / "depth_anything_vits14.pth", "v1")
    assert (loaded.encoder, loaded.taps) == ("vits", (8, 9, 10, 11))
    assert_same_depth(model, loaded)
    frozen = {name for name, parameter in loaded.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, parameter in model.named_parameters() if not parameter.requires_grad} != set()


# ---- metric weights that do not say so


@pytest.mark.parametrize(
    "name",
    [
        "depth_anything_v2_metric_hypersim_tiny.pth",
        "Metric.safetensors",
        "vkitti/latest.pth",
        "exp/metric-run/epoch_9.bin",
    ],
)
def test_metric_file_name_requires_max_depth(name, weights, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (save_file if path.suffix == ".safetensors" else torch.save)(weights, path)
    with pytest.raises(CheckpointError, match=r"a usual name of metric weights.*--max-depth: 20.*--relative"):
        load_checkpoint(path, "v2")
    assert load_checkpoint(path, "v2", max_depth=20.0).max_depth == 20.0
    assert load_checkpoint(path, "v2", relative=True).max_depth is None
    record = dataclasses.replace(RECORD, output="depth", max_depth=80.0)
    assert load_checkpoint(path, record=record).max_depth == 80.0
    assert load_checkpoint(path, record=RECORD).max_depth is None


@pytest.mark.parametrize("name", ["metrics/latest.pth", "symmetric/latest.pth"])
def test_words_containing_metric_require_no_max_depth(name, weights, tmp_path):
    path = tmp_path / name
    path.parent.mkdir()
    torch.save(weights, path)
    assert load_checkpoint(path, "v2").max_depth is None


def test_v2_metric_training_checkpoint_requires_max_depth(weights, tmp_path):
    torch.save(distributed_training(weights), tmp_path / "latest.pth")
    with pytest.raises(CheckpointError, match="metric training of Depth Anything V2"):
        load_checkpoint(tmp_path / "latest.pth", "v2")
    assert load_checkpoint(tmp_path / "latest.pth", "v2", max_depth=20.0).max_depth == 20.0


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({"depth_estimation_type": "metric", "max_depth": 80}, 80.0),
        ({"depth_estimation_type": "metric", "max_depth": 80, "backbone_config": {"out_indices": [3, 5, 7, 9]}}, 80.0),
        ({"depth_estimation_type": "relative", "max_depth": 1}, None),
        ({"model_type": "depth_anything"}, None),
        ({"model_type": "another", "depth_estimation_type": "metric"}, None),
        ({"depth_estimation_type": "metric"}, "depth_estimation_type 'metric', max_depth None"),
        (
            {"depth_estimation_type": "metric", "max_depth": float("inf")},
            "depth_estimation_type 'metric', max_depth inf",
        ),
        ({"max_depth": 20}, "depth_estimation_type None, max_depth 20"),
    ],
)
def test_config_json_sets_version_and_max_depth(configuration, expected, weights, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    version = None if "backbone_config" in configuration else "v2"  # which tells the version by its blocks
    if isinstance(expected, str):
        with pytest.raises(CheckpointError, match=expected):
            load_checkpoint(path, version)
    else:
        loaded = load_checkpoint(path, version)
        assert (loaded.version, loaded.max_depth) == ("v2", expected)


def test_config_json_precedes_file_name(weights, tmp_path):
    save_file(weights, tmp_path / "metric.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"depth_estimation_type": "relative"}))
    assert load_checkpoint(tmp_path / "metric.safetensors", "v2").max_depth is None
    (tmp_path / "config.json").write_text(json.dumps({"depth_estimation_type": "metric", "max_depth": 80}))
    with pytest.raises(CheckpointError, match=r"max_depth 20\.0 contradicts .* 80\.0"):
        load_checkpoint(tmp_path / "metric.safetensors", "v2", max_depth=20.0)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json, which describes the weights in its folder, is damaged"):
        load_checkpoint(tmp_path / "metric.safetensors", "v2")


def test_missing_version_error_names_max_depth_too(weights, tmp_path):
    torch.save(weights, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"is this V1 or V2\?.*max_depth.*--max-depth"):
        load_checkpoint(tmp_path / "model.pth")


# ---- layouts of which only the encoder fits


def zoedepth(weights):
    wrapped = {f"core.core.{key}": value for key, value in weights.items()}
    return {"model": wrapped | {"seed_bin_regressor._net.0.weight": torch.ones(2, 2)}}


def depth_anything_3(weights):
    renamed = {f"model.{k.replace('pretrained.', 'backbone.pretrained.')}": v for k, v in weights.items()}
    renamed = {k.replace("depth_head.", "head."): v for k, v in renamed.items()}
    return renamed | {"model.head.scratch.sky_output_conv2.0.weight": torch.ones(2, 2)}


def bare_dinov2(weights):
    return {k.removeprefix("pretrained."): v for k, v in weights.items() if k.startswith("pretrained.")}


def chunked_dinov2(weights):
    """`teacher_checkpoint.pth` of FSDP training: three chunks; a block keeps its global number."""

    def chunked(key):
        return re.sub(r"^blocks\.(\d+)\.", lambda match: f"blocks.{int(match[1]) // 3}.{match[1]}.", key)

    backbone = {f"backbone.{chunked(key)}": value for key, value in bare_dinov2(weights).items()}
    return {"teacher": backbone | {"dino_head.last_layer.weight": torch.ones(2, 2)}}


def encoder_of_official(weights):
    return {key: value for key, value in weights.items() if key.startswith("pretrained.")}


def video(weights):
    """Video Depth Anything; relative and metric networks of one size have the same keys."""
    temporal = {"head.motion_modules.0.temporal_transformer.proj_in.weight": torch.ones(4, 4)}
    return {key.replace("depth_head.", "head."): value for key, value in weights.items()} | temporal


def encoder_with_another_head(weights):
    return encoder_of_official(weights) | {"head.weight": torch.ones(10, 192)}


ENCODERS_ALONE = [
    zoedepth,
    depth_anything_3,
    bare_dinov2,
    chunked_dinov2,
    encoder_of_official,
    video,
    encoder_with_another_head,
]


@pytest.mark.parametrize("layout", [official, *ENCODERS_ALONE])
def test_encoder_loads_from_each_layout(layout, model, weights, tmp_path):
    torch.save(layout(weights), tmp_path / "encoder.pth")
    assert_same_encoder(model.pretrained, load_encoder(tmp_path / "encoder.pth"))


@pytest.mark.parametrize("layout", ENCODERS_ALONE)
def test_encoder_with_other_head_is_rejected_as_network(layout, weights, tmp_path):
    torch.save(layout(weights), tmp_path / "encoder.pth")
    with pytest.raises(CheckpointError, match=r"encoder\.pth is a checkpoint of .*load_encoder"):
        load_checkpoint(tmp_path / "encoder.pth", "v2")


@pytest.mark.parametrize("name", ["video_depth_anything_vits.pth", "metric_video_depth_anything_vits.safetensors"])
@pytest.mark.parametrize("arguments", [{}, {"version": "v2"}, {"version": "v2", "max_depth": 20.0}, {"record": RECORD}])
def test_video_depth_anything_is_rejected_by_name(name, arguments, weights, tmp_path):
    (save_file if name.endswith(".safetensors") else torch.save)(video(weights), tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"{name} is a checkpoint of Video Depth Anything: .*frames before"):
        load_checkpoint(tmp_path / name, **arguments)


@pytest.mark.parametrize("prefix", ["", "dinov2."])
def test_transformers_dinov2_loads_as_encoder(prefix, tmp_path):
    """`facebook/dinov2-small` as `save_pretrained` writes it, and under a classifier's name."""
    transformers = pytest.importorskip("transformers", reason="it writes the files: install the extra test")
    theirs = transformers_model(ENCODERS["tiny"], "v2")
    whole = transformers.Dinov2Model(theirs.config.backbone_config)
    whole.load_state_dict(theirs.backbone.state_dict())
    whole.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    head = {"classifier.weight": torch.ones(2, 384)} if prefix else {}
    save_file({prefix + key: value for key, value in stored.items()} | head, tmp_path / "model.safetensors")
    torch.save(theirs.state_dict(), tmp_path / "whole.pt")
    assert_same_encoder(load_encoder(tmp_path / "whole.pt"), load_encoder(tmp_path / "model.safetensors"))
    with pytest.raises(CheckpointError, match=r"a checkpoint of DINOv2 in Hugging Face transformers: .*load_encoder"):
        load_checkpoint(tmp_path / "model.safetensors", "v2")


def test_real_dinov2_encoder_loads(shared):
    encoder = load_encoder(shared / "models" / "dinov2_vits14_saliency_finetuned_fp16.safetensors")
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 22_056_576
    assert encoder(random_images(42, 70), (11,))[0].shape == (1, 15, 384)


# ---- version, maximum depth, record


def test_missing_or_unknown_version_raises(weights, tmp_path):
    torch.save(weights, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="V1 or V2"):
        load_checkpoint(tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"model\.pth: version 'v1' of tiny is unknown"):
        load_checkpoint(tmp_path / "model.pth", "v1")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_saved_checkpoint_contains_its_record(dtype, tmp_path):
    record = ModelRecord(
        name="metric", output="depth", license="MIT", encoder="tiny", version="v2", max_depth=20.0, std=(0.1, 0.2, 0.3)
    )
    model = random_model("tiny", max_depth=20.0)
    save_checkpoint(model, record, tmp_path / "metric.safetensors", dtype)
    assert read_record(tmp_path / "metric.safetensors") == record
    loaded = load_checkpoint(tmp_path / "metric.safetensors")
    assert (loaded.version, loaded.max_depth) == ("v2", 20.0)
    assert_same_depth(loaded, model if dtype == torch.float32 else model.to(dtype).float())
    assert [entry.name for entry in tmp_path.iterdir()] == ["metric.safetensors"]


def test_equal_networks_save_equal_files(model, tmp_path):
    """So that a hash tells whether two runs learned the same."""
    contents = set()
    for _ in range(16):
        save_checkpoint(model, RECORD, tmp_path / "model.safetensors")
        contents.add((tmp_path / "model.safetensors").read_bytes())
    assert len(contents) == 1


def test_failed_save_keeps_old_file(model, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"the last good one")
    wrong = ModelRecord(name="other", output="inverse_depth", license="MIT", encoder="vits", version="v2")
    with pytest.raises(CheckpointError, match="encoder is 'vits', the model's 'tiny'"):
        save_checkpoint(model, wrong, path)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(IsADirectoryError):  # after the weights were written, at the last step
        save_checkpoint(model, RECORD, tmp_path / "folder.safetensors")
    assert path.read_bytes() == b"the last good one"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.safetensors", "model.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "v1"}, "version 'v1' contradicts"),
        ({"max_depth": 20.0}, "its record declares that it predicts inverse_depth"),
        (
            {"record": ModelRecord(name="b", output="inverse_depth", license="MIT", encoder="vitb", version="v2")},
            "encoder 'tiny' contradicts the metadata of these weights: 'vitb'",
        ),
    ],
)
def test_arguments_that_contradict_record_raise(arguments, message, model, tmp_path):
    save_checkpoint(model, RECORD, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "model.safetensors", **arguments)


def test_record_argument_is_used(model, weights, tmp_path):
    torch.save(weights, tmp_path / "model.pth")
    assert_same_depth(model, load_checkpoint(tmp_path / "model.pth", record=RECORD))


def test_malformed_record_in_file_raises(weights, tmp_path):
    save_file(weights, tmp_path / "model.safetensors", metadata={METADATA_KEY: "{"})
    with pytest.raises(RecordError, match="not valid JSON"):
        load_checkpoint(tmp_path / "model.safetensors")


# ---- bad files


def test_wrong_keys_and_shapes_are_all_named(weights, tmp_path):
    changed = dict(weights)
    changed.pop("pretrained.norm.bias")
    changed["depth_head.scratch.output_conv3.weight"] = torch.ones(1)
    changed["pretrained.pos_embed"] = torch.ones(1, 257, 192)
    torch.save(changed, tmp_path / "model.pth")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "model.pth", "v2")
    for part in (
        "1 missing: pretrained.norm.bias",
        "1 not part of this network: depth_head.scratch.output_conv3.weight",
        "1 of another shape: pretrained.pos_embed is (1, 257, 192), must be (1, 1370, 192)",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "extra",
    ["depth_head.motion.0.weight", "pretrained.register_tokens", "prompt_layers.weight", "module.depth_head.sky.bias"],
)
def test_unknown_keys_are_rejected(extra, weights, tmp_path):
    torch.save(weights | {extra: torch.ones(1)}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=rf"1 not part of this network: {extra.removeprefix('module.')}"):
        load_checkpoint(tmp_path / "model.pth", "v2")


def test_quantized_weights_are_rejected(weights, tmp_path):
    key = "pretrained.blocks.0.attn.qkv.weight"
    torch.save(weights | {key: (weights[key] * 100).to(torch.int8)}, tmp_path / "model.pth")
    for load in (lambda path: load_checkpoint(path, "v2"), load_encoder):
        with pytest.raises(CheckpointError, match=rf"1 quantized instead of floating-point: {key}"):
            load(tmp_path / "model.pth")


def test_duplicate_keys_are_rejected(weights, tmp_path):
    key = "pretrained.norm.bias"
    torch.save(weights | {f"module.{key}": weights[key] + 1}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=rf"has {key} twice, the second time as module.{key}"):
        load_checkpoint(tmp_path / "model.pth", "v2")


def test_long_lists_of_keys_are_shortened(weights, tmp_path):
    save_file({k: v for k, v in weights.items() if "depth_head.projects" not in k}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"8 missing: .* and 3 more"):
        load_checkpoint(tmp_path / "model.safetensors", "v2")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"a.weight": torch.ones(1)}, "match no supported layout"),
        ({"epoch": 3}, "has no dictionary of weights"),
        ([1, 2], "has no dictionary of weights"),
        ({"pretrained.cls_token": torch.ones(1), "depth_head.x": torch.ones(1)}, "no patch embedding"),
        (
            {"pretrained.patch_embed.proj.weight": torch.ones(512, 3, 14, 14), "depth_head.x": torch.ones(1)},
            "512 wide with 0 blocks, which matches none of the supported sizes: tiny",
        ),
        (
            {"pretrained.patch_embed.proj.weight": torch.ones(384, 3, 16, 16), "depth_head.x": torch.ones(1)},
            "not of 3x14x14 patches",
        ),
        (
            dict.fromkeys(("backbone.embeddings.x", "backbone.encoder.layer.0.attention.q_proj.bias"), torch.ones(1)),
            "blocks.0.attn.query.bias but not pretrained.blocks.0.attn.key.bias and",
        ),
    ],
)
def test_file_that_is_no_state_dict_is_rejected(stored, message, tmp_path):
    torch.save(stored, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=re.escape(message)):
        load_checkpoint(tmp_path / "model.pth", "v2")


class RunsCode:
    """Creates a folder when an unsafe loader unpickles it; it could run any command."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("new_format", [True, False])
def test_pickle_with_code_is_rejected_unexecuted(new_format, weights, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "model.pth"
    torch.save({"model": weights, "extra": RunsCode(trace)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"would run code .*mkdir.* nothing was run"):
        load_checkpoint(path, "v2")
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.is_dir(), "the file was harmless, so that the test showed nothing"


def test_bare_pickle_with_code_is_rejected_unexecuted(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(RunsCode(trace), protocol=2))
    with pytest.raises(CheckpointError, match=r"model\.pth"):
        load_checkpoint(path, "v2")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["model.pth", "old.pth", "model.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.0001, 0.3, 0.99])
def test_truncated_checkpoint_is_rejected(name, kept, weights, tmp_path):
    path = tmp_path / name
    if name.endswith(".pth"):
        torch.save(weights, path, _use_new_zipfile_serialization=name == "model.pth")
    else:
        save_file(weights, path)
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(CheckpointError, match=f"{re.escape(name)} is truncated"):
        load_checkpoint(path, "v2")


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_file_of_other_kind_is_rejected(name, tmp_path):
    (tmp_path / name).write_text("<!DOCTYPE html><title>404</title>" * 10)
    with pytest.raises(CheckpointError, match="is truncated"):
        load_checkpoint(tmp_path / name, "v2")
    with zipfile.ZipFile(tmp_path / "archive.pth", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(CheckpointError, match="is truncated, or not a PyTorch checkpoint"):
        load_checkpoint(tmp_path / "archive.pth", "v2")


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors"])
def test_missing_checkpoint_raises_file_not_found(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        load_checkpoint(tmp_path / name, "v2")
