"""The exponential moving average of weights, which is steadier than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class MovingAverage:
    """An average of a module's parameters, kept as they are kept: whole, or each device its shard.

    Args:
        module: whose parameters are averaged; only those that learn.
        decay: of what has been averaged so far, at each step. It begins lower, as n / (9 + n) at the n-th step: a
            short run would otherwise end with an average that still remembers the untrained network.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._values = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Takes the parameters in, after that many steps, at least one."""
        share = 1.0 - min(self._decay, steps / (9 + steps))
        torch._foreach_lerp_(list(self._values.values()), list(self._parameters.values()), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the average in place of the parameters while the block runs."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self._parameters.items():
            kept = value.detach().clone()
            value.copy_(self._values[name])
            self._values[name] = kept

    @torch.no_grad()
    def restart(self) -> None:
        """Begins anew with what the parameters are now."""
        for name, value in self._parameters.items():
            self._values[name].copy_(value)
