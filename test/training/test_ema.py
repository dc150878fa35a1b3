"""The moving average of weights against a literal reference; applied and restored bit by bit."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="training needs the `train` extra")

import torch
from torch import nn

from depth_anything_ros.training.ema import MovingAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def learn(module: nn.Module, step: int) -> None:
    """Change the trainable parameters to a different value at every step."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for value in module.parameters():
            if value.requires_grad:
                value.add_(torch.randn(value.shape, generator=generator))


def values_of(module: nn.Module) -> list[torch.Tensor]:
    return [value.detach().clone() for value in module.parameters()]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def averaged(average: MovingAverage, module: nn.Module) -> list[torch.Tensor]:
    with average.applied():
        return values_of(module)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99])
def test_moving_average_matches_reference(decay):
    """At the n-th step n / (9 + n) of what has been averaged remains, at most ``decay``."""
    module = network()
    average = MovingAverage(module, decay)
    expected = [value.double() for value in values_of(module)]
    for step in range(1, 31):
        learn(module, step)
        average.update(step)
        kept = min(decay, step / (9 + step))
        expected = [kept * was + (1 - kept) * now for was, now in zip(expected, values_of(module), strict=True)]
        for ours, theirs in zip(averaged(average, module), expected, strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


def test_moving_average_starts_as_copy_of_parameters():
    module = network()
    before = values_of(module)
    average = MovingAverage(module, 0.9)
    learn(module, 1)
    assert same(averaged(average, module), before)


def test_applied_average_restores_parameters_exactly():
    module = network()
    average = MovingAverage(module, 0.9)
    learn(module, 1)
    average.update(1)
    before = values_of(module)
    first = averaged(average, module)
    assert not same(first, before)
    assert same(values_of(module), before)
    assert same(averaged(average, module), first)
    with pytest.raises(RuntimeError, match="mat1 and mat2"), average.applied():
        module(torch.ones(1, 99))  # whatever fails meanwhile
    assert same(values_of(module), before)
    assert same(averaged(average, module), first)


def test_optimizer_keeps_its_parameters_after_average():
    """They are filled, not replaced."""
    module = network()
    average = MovingAverage(module, 0.9)
    held = list(module.parameters())
    with average.applied():
        assert all(one is other for one, other in zip(held, module.parameters(), strict=True))
    module(torch.ones(1, 3)).sum().backward()
    assert all(value.grad is not None for value in held)


def test_frozen_parameters_are_not_averaged():
    module = network()
    module[0].requires_grad_(False)
    average = MovingAverage(module, 0.9)
    frozen = [value.detach().clone() for value in module[0].parameters()]
    learn(module, 1)
    average.update(1)
    with torch.no_grad():
        module[0].weight.add_(1.0)  # which no average may undo
    with average.applied():
        assert torch.equal(module[0].weight, frozen[0] + 1.0)
        assert torch.equal(module[0].bias, frozen[1])


def test_moving_average_restarts_at_present_parameters():
    module = network()
    average = MovingAverage(module, 0.9)
    for step in range(1, 5):
        learn(module, step)
        average.update(step)
    now = values_of(module)
    average.restart()
    assert same(averaged(average, module), now)
    learn(module, 9)
    assert same(averaged(average, module), now)
