"""Learning rates at important steps, and the optimizer group of each parameter."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("pydantic", reason="training needs the `train` extra")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.training.optimizer import build_optimizer, lr_factor
from depth_anything_ros.training.settings import OptimizerSettings
from depth_anything_ros.training.stages import parts_of

SCHEDULES = ("linear", "cosine", "power")


def factors(**values) -> list[float]:
    settings = OptimizerSettings(**values)
    return [lr_factor(step, settings) for step in range(settings.steps)]


@pytest.mark.parametrize(
    ("schedule", "middle", "last"),
    [
        ("linear", 0.5, 0.01),
        ("cosine", 0.5, 0.5 - 0.5 * math.cos(0.01 * math.pi)),
        ("power", 0.5**0.9, 0.01**0.9),
    ],
)
def test_learning_rate_schedule_has_expected_values(schedule, middle, last):
    seen = factors(steps=100, schedule=schedule)
    assert seen[0] == 1.0
    assert seen[50] == pytest.approx(middle)
    assert seen[99] == pytest.approx(last)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warmup_rises_linearly_before_schedule(schedule):
    seen = factors(steps=110, schedule=schedule, warmup_steps=10)
    assert seen[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert seen[10:] == pytest.approx(factors(steps=100, schedule=schedule))


@given(st.integers(1, 300), st.integers(0, 300), st.sampled_from(SCHEDULES))
def test_learning_rate_is_positive_and_has_one_peak(steps, warmup_steps, schedule):
    seen = factors(steps=steps, schedule=schedule, warmup_steps=warmup_steps)
    assert all(0.0 < factor <= 1.0 for factor in seen)
    top = seen.index(max(seen))
    assert seen[: top + 1] == sorted(set(seen[: top + 1]))
    assert seen[top:] == sorted(seen[top:], reverse=True)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return DepthAnything("tiny", "v2")


SETTINGS = OptimizerSettings(steps=10, encoder_lr=1e-6, decoder_lr=1e-4, weight_decay=0.07, betas=(0.8, 0.95))


def group_of(optimizer: torch.optim.Optimizer) -> dict[int, dict]:
    """The group of each parameter, by the parameter's identity; fails if a parameter is in two."""
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert id(parameter) not in found
            found[id(parameter)] = group
    return found


def test_every_trainable_parameter_is_in_one_group(network):
    groups = group_of(build_optimizer(parts_of(network), SETTINGS))
    encoder = {id(parameter) for parameter in network.pretrained.parameters()}
    learning = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert set(groups) == {id(parameter) for parameter in learning.values()}
    for name, parameter in learning.items():
        assert groups[id(parameter)]["rate"] == (1e-6 if id(parameter) in encoder else 1e-4), name
    assert 20 < len(learning) < len(list(network.parameters()))  # some weights of the paper's decoder are never used
    assert {group["rate"] for group in groups.values()} == {1e-6, 1e-4}


def test_biases_norms_and_gains_have_no_weight_decay(network):
    groups = group_of(build_optimizer(parts_of(network), SETTINGS))
    learning = {name: value for name, value in network.named_parameters() if value.requires_grad}
    decays = {name: groups[id(parameter)]["weight_decay"] for name, parameter in learning.items()}
    for name, decay in decays.items():
        last = name.split(".")[-1]
        is_vector = last in ("bias", "gamma") or ".norm" in name
        assert decay == (0.0 if is_vector else 0.07), name
    assert set(decays.values()) == {0.0, 0.07}


def test_optimizer_is_adamw_with_configured_betas(network):
    optimizer = build_optimizer(parts_of(network), SETTINGS)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.95)}


def test_frozen_parameters_are_in_no_group():
    parts = {"encoder": nn.Linear(3, 3), "decoder": nn.Linear(3, 1)}
    parts["encoder"].weight.requires_grad_(False)
    optimizer = build_optimizer(parts, SETTINGS)
    learning = [parts["encoder"].bias, *parts["decoder"].parameters()]
    assert set(group_of(optimizer)) == {id(parameter) for parameter in learning}
    before = parts["encoder"].weight.clone()
    parts["decoder"](parts["encoder"](torch.ones(1, 3))).sum().backward()
    optimizer.step()
    assert torch.equal(parts["encoder"].weight, before)


def test_frozen_part_leaves_other_part_trainable():
    parts = {"encoder": nn.Linear(3, 3).requires_grad_(False), "decoder": nn.Linear(3, 1)}
    optimizer = build_optimizer(parts, SETTINGS)
    before = parts["decoder"].weight.clone()
    parts["decoder"](parts["encoder"](torch.ones(1, 3))).sum().backward()
    optimizer.step()
    assert not torch.equal(parts["decoder"].weight, before)
