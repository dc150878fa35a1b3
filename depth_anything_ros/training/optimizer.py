"""The optimizer and its schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from depth_anything_ros.training.configuration import OptimizerSettings


def rate_factor(step: int, settings: OptimizerSettings) -> float:
    """Share of a learning rate at a step: linear warm-up, then down to zero after the last, as scheduled."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    left = 1.0 - (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return {"linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left), "power": left**0.9}[settings.schedule]


def build_optimizer(parts: Mapping[str, nn.Module], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """AdamW; encoder and decoder in groups of their own, no decay on vectors (biases, norms, gains)."""
    rates = {"encoder": settings.encoder_lr, "decoder": settings.decoder_lr}
    groups = []
    for name, part in parts.items():
        learning = [parameter for parameter in part.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in learning if parameter.ndim > 1]
        vectors = [parameter for parameter in learning if parameter.ndim <= 1]
        for parameters, decay in ((matrices, settings.weight_decay), (vectors, 0.0)):
            groups.append({"params": parameters, "rate": rates[name], "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=settings.encoder_lr, betas=settings.betas, fused=True)
