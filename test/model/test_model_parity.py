"""The network matches `transformers`' Depth Anything, given the same weights.

The two differ in one rule: how the table of position embeddings is resized from 37 x 37 to another grid. DINOv2 and the
official Depth Anything sample it with scale factors (side + 0.1) / 37; `transformers` samples it with the exact sides.
Both therefore get the same table first, and must agree to rounding. Then the difference due to the rule is measured and
bounded.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch one: install the extra torch")
pytest.importorskip("transformers", reason="the other implementation: install the extra test")

from random_models import random_images, transformers_model, with_table  # noqa: E402

from depth_anything_ros.model.checkpoints import load_encoder  # noqa: E402
from depth_anything_ros.model.decoder import DPTDecoder  # noqa: E402
from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.model.encoder import VisionTransformer  # noqa: E402
from depth_anything_ros.model.key_layouts import detect_layout  # noqa: E402
from depth_anything_ros.zoo.encoders import ENCODERS, PATCH_SIZE, POSITION_GRID  # noqa: E402

ROUNDING = 1e-5
"""Largest difference allowed, as a fraction of the largest depth; sums may run in another order."""

SMALL = ((98, 98), (70, 98), (98, 42))


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def ours(theirs, encoder: str, version: str, max_depth: float | None = None) -> DepthAnything:
    """Our network with their weights, through the key conversion of the loader."""
    weights = theirs.state_dict()
    with torch.device("meta"):
        model = DepthAnything(encoder, version, max_depth)
    model.load_state_dict(detect_layout(weights).to_official(weights), assign=True)
    return model.eval()


def difference(depth, reference) -> float:
    """Largest absolute difference as a fraction of the largest value; fails for a constant or zero reference."""
    assert depth.shape == reference.shape
    assert reference.std() > 0.02 * reference.max() > 0
    return float((depth - reference).abs().max() / reference.max())


@pytest.mark.parametrize(
    ("encoder", "version", "max_depth", "sizes"),
    [
        ("tiny", "v2", None, SMALL),
        ("tiny", "v2", 20.0, SMALL),
        ("vits", "v1", None, SMALL),
        ("vits", "v2", None, SMALL),
        ("vits", "v2", 80.0, SMALL),
        ("vitb", "v1", None, SMALL[1:2]),
        ("vitb", "v2", None, SMALL[1:2]),
        ("vitb", "v2", 20.0, SMALL[:1]),
        ("vitl", "v1", None, SMALL[1:2]),
        ("vitl", "v2", None, SMALL[1:2]),
    ],
)
def test_network_matches_transformers(encoder, version, max_depth, sizes):
    theirs = transformers_model(ENCODERS[encoder], version, max_depth)
    model = ours(theirs, encoder, version, max_depth)
    for height, width in sizes:
        images = random_images(height, width, count=2)
        table = model.pretrained.position_embedding(height // PATCH_SIZE, width // PATCH_SIZE)
        reference = with_table(theirs, table)(images).predicted_depth
        assert difference(model(images), reference) < ROUNDING
        if max_depth is not None:
            assert reference.max() > 1.0, "meters, not a fraction of max_depth"


def test_giant_network_with_few_blocks_matches_transformers():
    """The giant's gated feed-forward network and its head at full width; 4 of its 40 blocks, to fit in memory."""
    configuration = dataclasses.replace(ENCODERS["vitg"], depth=4, taps={"v2": (0, 1, 2, 3)})
    theirs = transformers_model(configuration, "v2")
    with torch.device("meta"):
        parts = torch.nn.ModuleDict(
            {"pretrained": VisionTransformer(configuration), "depth_head": DPTDecoder(configuration, metric=False)}
        )
    weights = theirs.state_dict()
    parts.load_state_dict(detect_layout(weights).to_official(weights), assign=True)
    images = random_images(42, 28)
    depth = parts["depth_head"](parts["pretrained"](images, (0, 1, 2, 3)), rows=3, columns=2)[:, 0]
    table = parts["pretrained"].position_embedding(3, 2)
    assert difference(depth, with_table(theirs, table)(images).predicted_depth) < ROUNDING


def test_training_size_matches_without_common_table():
    """At 518 x 518 neither implementation interpolates."""
    theirs = transformers_model(ENCODERS["tiny"], "v2")
    images = random_images(518, 518)
    assert difference(ours(theirs, "tiny", "v2")(images), theirs(images).predicted_depth) < ROUNDING


def test_versions_use_different_blocks():
    theirs = transformers_model(ENCODERS["vits"], "v1")
    images = random_images(70, 98)
    assert difference(ours(theirs, "vits", "v2")(images), ours(theirs, "vits", "v1")(images)) > 0.05


def keys_interpolation(sides: int, scale: float) -> np.ndarray:
    """Matrix (sides, 37) of cubic convolution with a = -0.75 (Keys 1981) and repeated borders."""
    matrix = np.zeros((sides, POSITION_GRID))
    for index in range(sides):
        position = (index + 0.5) / scale - 0.5
        for neighbor in range(int(np.floor(position)) - 1, int(np.floor(position)) + 3):
            t = abs(position - neighbor)
            inner = 1.25 * t**3 - 2.25 * t**2 + 1
            outer = -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            matrix[index, np.clip(neighbor, 0, POSITION_GRID - 1)] += inner if t <= 1 else outer
    return matrix


@pytest.mark.parametrize(("rows", "columns"), [(37, 49), (18, 24), (20, 20), (5, 60)])
def test_position_table_follows_official_rule(rows, columns):
    """Cubic convolution at scales (side + 0.1) / 37, computed here without PyTorch."""
    encoder = VisionTransformer(ENCODERS["tiny"])
    table = encoder.position_embedding(rows, columns)[0].numpy()
    learned = encoder.pos_embed[0].numpy()
    grid = learned[1:].reshape(POSITION_GRID, POSITION_GRID, -1)
    vertical = keys_interpolation(rows, (rows + 0.1) / POSITION_GRID)
    horizontal = keys_interpolation(columns, (columns + 0.1) / POSITION_GRID)
    expected = np.einsum("ri,cj,ijd->rcd", vertical, horizontal, grid, optimize=True)
    assert np.array_equal(table[0], learned[0])
    assert np.abs(table[1:] - expected.reshape(rows * columns, -1)).max() < 1e-5


def test_position_table_rule_changes_depth_only_slightly(shared):
    """With a table that was really learned, the rule alone moves the depth by a few parts in a thousand.

    Measured, largest difference over the largest depth: 5e-3 at 70 x 98, 1.2e-3 at 252 x 336, 0.8e-3 at 518 x 686.
    """
    learned = load_encoder(shared / "models" / "dinov2_vits14_saliency_finetuned_fp16.safetensors").pos_embed
    theirs = transformers_model(ENCODERS["vits"], "v2")
    theirs.backbone.embeddings.position_embeddings.copy_(learned)
    images = random_images(140, 196)
    assert ROUNDING < difference(ours(theirs, "vits", "v2")(images), theirs(images).predicted_depth) < 5e-3
