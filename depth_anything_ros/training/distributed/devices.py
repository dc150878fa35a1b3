"""Processors, GPUs and processes of a stage, and the changes that they need in its modules."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from depth_anything_ros.model.encoder import Block, VisionTransformer
from depth_anything_ros.training.distributed.placement import Placement
from depth_anything_ros.training.objectives.stage_objectives import Objective
from depth_anything_ros.training.settings import RunSettings


def open_fabric(settings: RunSettings, accelerator: str, placement: Placement) -> Fabric:
    """Open devices, processes and precision; set the environment variables that the processes need.

    Args:
        settings: precision and strategy.
        accelerator: "auto", "cpu" or "cuda".
        placement: number of devices and machines.
    """
    os.environ.update(placement.variables)
    return Fabric(
        accelerator=accelerator,
        devices=placement.devices,
        num_nodes=placement.nodes,
        strategy=_strategy(settings.strategy, placement.devices, placement.nodes),
        precision=settings.precision,
        plugins=LightningEnvironment() if placement.starts_others else TorchElasticEnvironment(),
    )


def limit_threads(cores: int) -> None:
    """Limit PyTorch's threads to the cores that this process has to itself.

    PyTorch ignores a control group's quota: 64 threads that share two cores spend their time waiting.
    """
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores)))


def _strategy(name: str, devices: int, nodes: int) -> Strategy | str:
    if name == "fsdp":
        return ModelParallelStrategy(_shard, data_parallel_size=devices * nodes, tensor_parallel_size=1)
    if name == "ddp":
        return DDPStrategy(gradient_as_bucket_view=True)
    return "auto"


def _shard(module: nn.Module, mesh: Any) -> nn.Module:
    """Shard with FSDP2: each encoder block is gathered when it runs, the rest as a whole."""
    for part in module.modules():
        if isinstance(part, Block):
            fully_shard(part, mesh=mesh["data_parallel"])
    # By default the outermost module stays gathered after validation, and the next step would use averaged weights.
    fully_shard(module, mesh=mesh["data_parallel"], reshard_after_forward=True)
    return module


def prepare(objective: Objective, settings: RunSettings) -> None:
    """Set up activation checkpointing and compilation as configured.

    Args:
        objective: changed in place.
        settings: ``activation_checkpointing`` and ``compile``.
    """
    for module in objective.network.modules():
        if isinstance(module, Block) and settings.activation_checkpointing:
            module.forward = _recomputed(module.forward)
    if settings.compile:
        for module in objective.modules():
            if isinstance(module, VisionTransformer):
                module.compile()
        objective.network.decoder.compile()


def _recomputed(forward: Any) -> Any:
    def run(*arguments: torch.Tensor) -> torch.Tensor:
        return checkpoint(forward, *arguments, use_reentrant=False)

    return run
