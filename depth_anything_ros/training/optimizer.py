"""The optimizer and its learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from depth_anything_ros.training.settings import OptimizerSettings


def lr_factor(step: int, settings: OptimizerSettings) -> float:
    """Return the factor on the learning rates at a step: linear warmup, then the scheduled decay to zero.

    Args:
        step: steps done before.
        settings: the schedule.
    """
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    left = 1.0 - (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return {"linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left), "power": left**0.9}[settings.schedule]


def build_optimizer(parts: Mapping[str, nn.Module], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Build AdamW with the encoder's and the decoder's parameters in separate groups.

    Vectors (biases, norms, gains) have no weight decay.

    Args:
        parts: "encoder" and "decoder".
        settings: learning rates, weight decay, betas.
    """
    base_lrs = {"encoder": settings.encoder_lr, "decoder": settings.decoder_lr}
    groups = []
    for name, part in parts.items():
        trained = [parameter for parameter in part.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        vectors = [parameter for parameter in trained if parameter.ndim <= 1]
        for parameters, decay in ((matrices, settings.weight_decay), (vectors, 0.0)):
            # "rate" is the base lr; optimizer states store it by this name.
            groups.append({"params": parameters, "rate": base_lrs[name], "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=settings.encoder_lr, betas=settings.betas, fused=True)
