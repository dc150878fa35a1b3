"""Exact numbers of parameters: of the official checkpoints, and of the parameters without use."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch one: install the extra torch")

from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.zoo.encoders import ENCODERS, encoder_taps  # noqa: E402

TOTALS = {
    "vits": (22_056_576, 2_728_513, 24_785_089),
    "vitb": (86_580_480, 10_890_305, 97_470_785),
    "vitl": (304_368_640, 30_947_009, 335_315_649),
    "vitg": (1_136_480_768, 121_651_457, 1_258_132_225),
}
TINY = (4_384_128, 655_225)
UNUSED_UNIT = {"vits": 73_856, "vitb": 295_168, "vitl": 1_180_160, "vitg": 2_654_976}


def count(module, only_frozen: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if not (only_frozen and p.requires_grad))


def build(encoder: str, version: str = "v2", max_depth: float | None = None) -> DepthAnything:
    with torch.device("meta"):
        return DepthAnything(encoder, version, max_depth)


@pytest.mark.parametrize("encoder", TOTALS)
@pytest.mark.parametrize("max_depth", [None, 20.0])
def test_official_sizes_have_exact_parameter_counts(encoder, max_depth):
    model = build(encoder, max_depth=max_depth)
    assert (count(model.pretrained), count(model.depth_head), count(model)) == TOTALS[encoder]


@pytest.mark.parametrize("encoder", UNUSED_UNIT)
def test_frozen_parameters_are_those_without_use(encoder):
    model = build(encoder)
    assert count(model, only_frozen=True) == UNUSED_UNIT[encoder] + ENCODERS[encoder].dimension
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    unit = "depth_head.scratch.refinenet4.resConfUnit1"
    assert frozen == {"pretrained.mask_token"} | {f"{unit}.conv{i}.{p}" for i in (1, 2) for p in ("weight", "bias")}


def test_every_trainable_parameter_receives_a_gradient():
    """What distributed training needs in order not to wait for a gradient that never comes."""
    torch.manual_seed(0)
    model = DepthAnything("tiny", "v2", max_depth=10.0)
    model(torch.randn(1, 3, 28, 42)).sum().backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_tiny_has_at_most_five_million_trainable_parameters():
    model = build("tiny")
    assert (count(model.pretrained), count(model.depth_head)) == TINY
    assert count(model) - count(model, only_frozen=True) <= 5_000_000


def test_versions_have_equal_keys_and_shapes():
    """Hence no loader can tell them apart."""
    first, second = build("vits", "v1").state_dict(), build("vits", "v2").state_dict()
    assert {key: value.shape for key, value in first.items()} == {key: value.shape for key, value in second.items()}
    assert encoder_taps("vits", "v1") != encoder_taps("vits", "v2")


@pytest.mark.parametrize(("encoder", "version"), [("vits", None), ("vits", "v3"), ("vitg", "v1"), ("vith", "v2")])
def test_unpublished_encoder_version_raises(encoder, version):
    with pytest.raises(ValueError, match="choose one of"):
        encoder_taps(encoder, version)
