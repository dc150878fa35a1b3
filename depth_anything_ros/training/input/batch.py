"""A batch: the images that one device sees in one part of a step, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch import Tensor

from depth_anything_ros.training.input.augmentation import Perturbation


@dataclass  # not frozen: with mixed precision, Fabric replaces the fields of a module's arguments
class Images:
    """Images of one kind in a batch; the first dimension of all tensors is their number N.

    Attributes:
        pixels: RGB uint8 (N, H, W, 3), clean.
        inverse_depth: float32 (N, H, W), 1/m or relative, NaN where unknown, 0 for the sky; None without depth.
        labels: classes, uint8 (N, H, W); None without classes.
        perturbation: augmentation of the network's images; None for none.
    """

    pixels: Tensor
    inverse_depth: Tensor | None = None
    labels: Tensor | None = None
    perturbation: Perturbation | None = None

    @property
    def known(self) -> Tensor:
        """The pixels with known inverse depth, bool (N, H, W)."""
        return ~self.inverse_depth.isnan()


class Batch:
    """The images that one device sees in one part of a step.

    Not a dataclass: Fabric would look into one, and cast depth and augmentation to bfloat16 with everything else.
    """

    def __init__(self, labeled: Images | None = None, unlabeled: Images | None = None) -> None:
        self.labeled, self.unlabeled = labeled, unlabeled

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; the copy is asynchronous from pinned memory."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, which a GPU can read directly."""
        return self.map(Tensor.pin_memory)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with a function applied to every tensor."""
        return Batch(_map(self.labeled, function), _map(self.unlabeled, function))

    def to_dictionary(self) -> dict[str, Tensor]:
        """Return the tensors by dotted names, in main memory; `torch.load` reads them with ``weights_only``."""
        tensors = {}
        for kind, images in vars(self).items():
            for name, value in vars(images).items() if images is not None else ():
                if isinstance(value, Tensor):
                    tensors[f"{kind}.{name}"] = value.cpu()
                elif value is not None:
                    tensors |= {f"{kind}.{name}.{inner}": tensor.cpu() for inner, tensor in vars(value).items()}
        return tensors


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return a dataclass with a function applied to every tensor in it and in nested dataclasses."""
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value):
        return type(value)(**{name: _map(item, function) for name, item in vars(value).items()})
    return value
