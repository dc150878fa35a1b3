"""The exponential moving average of weights, which is steadier than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class MovingAverage:
    """The moving average of a module's parameters, sharded over devices as the parameters are.

    Args:
        module: its trained parameters are averaged.
        decay: weight of the average so far at each step. It starts lower, as n / (9 + n) at step n: otherwise the
            average of a short run still contains the untrained network.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._values = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Add the parameters to the average; ``steps``: steps done, at least one."""
        share = 1.0 - min(self._decay, steps / (9 + steps))
        torch._foreach_lerp_(list(self._values.values()), list(self._parameters.values()), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Exchange the parameters for the average while the block runs."""
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
        """Restart the average from the present parameters."""
        for name, value in self._parameters.items():
            self._values[name].copy_(value)
