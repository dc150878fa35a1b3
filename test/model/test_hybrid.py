"""The hybrid: a transformer on a smaller image, and convolutional skips that make edges sharp."""

import pytest

pytest.importorskip("torch", reason="the network is a PyTorch one: install the extra torch")
pytest.importorskip("onnx", reason="exports are ONNX graphs")

import torch
from random_models import random_images, random_model

from depth_anything_ros.export.bundle import export_bundle
from depth_anything_ros.export.onnx import export_onnx
from depth_anything_ros.model.checkpoints import load_checkpoint, load_encoder, save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.training.initial_network import start_network
from depth_anything_ros.training.settings import NetworkSettings
from depth_anything_ros.zoo.encoders import ENCODERS
from depth_anything_ros.zoo.record import ModelRecord

RECORD = ModelRecord("mine", "inverse_depth", "MIT", encoder="hybrid", version="v2")
# Even and odd sides at strides 2, 4 and 8; a grid whose tokens do not cover whole pixels; one token.
SIZES = ((84, 126), (70, 98), (98, 42), (14, 14))


@pytest.fixture(scope="module")
def network():
    return random_model("hybrid")


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_map_has_size_of_image(network, size):
    depth = network(random_images(*size, count=2))
    assert depth.shape == (2, *size)
    assert torch.isfinite(depth).all()


def test_tokens_are_those_of_smaller_image(network):
    assert ENCODERS["hybrid"].token_grid(252, 336) == (12, 16)
    tapped = network.encode(random_images(252, 336))
    assert [tuple(tokens.shape) for tokens in tapped] == [(1, 192, 192)] * 4


def test_side_that_no_patch_divides_raises(network):
    with pytest.raises(ValueError, match="multiples of 14"):
        network(random_images(84, 100))


@torch.no_grad()
def test_output_follows_detail_finer_than_token():
    """An edge inside a token moves the map there, at the stride of the finest skip."""
    image = torch.zeros(1, 3, 84, 84)
    image[..., 46:] = 2.0
    moved = torch.zeros_like(image)
    moved[..., 48:] = 2.0
    changes = {}
    for encoder in ("tiny", "hybrid"):
        model = random_model(encoder)
        tokens = model.encode(image)
        change = (model.decode(tokens, moved) - model.decode(tokens, image))[0].abs().mean(0)
        changes[encoder] = float(change[40:56].mean())
    assert changes["tiny"] == 0.0
    assert changes["hybrid"] > 0.0


@pytest.mark.parametrize(("size", "max_depth"), [(SIZES[0], None), (SIZES[1], 20.0)])
def test_export_equals_network(tmp_path, size, max_depth):
    output = "inverse_depth" if max_depth is None else "depth"
    record = ModelRecord(
        "mine", output, "MIT", encoder="hybrid", version="v2", max_depth=max_depth, std=(0.1, 0.2, 0.3)
    )
    # `export_onnx` raises if the graph differs by more than 1e-4.
    assert export_onnx(random_model("hybrid", max_depth=max_depth), record, size, tmp_path / "mine.onnx") < 1e-4


def test_bundle_is_small_enough_to_ship(network, tmp_path):
    export_bundle(network, RECORD, [(70, 98)], tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 12e6


def test_checkpoint_is_recognized(network, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_checkpoint(network, RECORD, path)
    loaded = load_checkpoint(path)
    assert (loaded.encoder, loaded.version) == ("hybrid", "v2")
    images = random_images(70, 98)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
        assert load_encoder(path).blocks[0].attn.heads == 3


def test_training_starts_from_encoder_of_tiny(tmp_path):
    tiny, path = random_model("tiny"), tmp_path / "tiny.safetensors"
    save_checkpoint(tiny, ModelRecord("t", "inverse_depth", "MIT", encoder="tiny", version="v2"), path)
    started = start_network(NetworkSettings(encoder="hybrid", version="v2", start=str(path)), torch.zeros(1))
    assert started.encoder == "hybrid"
    for key, value in tiny.pretrained.state_dict().items():
        assert torch.equal(started.pretrained.state_dict()[key], value)


def test_every_trainable_parameter_receives_a_gradient():
    model = DepthAnything("hybrid", "v2", max_depth=10.0)
    model(random_images(42, 56)).sum().backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert sum(parameter.numel() for parameter in model.parameters()) < 5.3e6


def test_transformers_is_no_candidate_for_it(network, tmp_path):
    pytest.importorskip("transformers", reason="the other implementation: install the extra test")
    from depth_anything_ros.bench.transformers_candidate import TransformersCandidate

    save_checkpoint(network, RECORD, tmp_path / "mine.safetensors")
    with pytest.raises(UnavailableError, match="no network like hybrid"):
        TransformersCandidate(tmp_path / "mine.safetensors", RECORD, (70, 98))
