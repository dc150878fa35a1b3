"""Networks of random weights: as fast as trained ones, and to be had without a download."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from depth_anything_ros.export.onnx import export_onnx
from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.zoo.record import ModelFile, ModelRecord


@torch.no_grad()
def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Gives a network memory and fills it so that no branch is silent and the depth is positive."""
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2:
            spread, center = (0.05, 0.0) if name.endswith("bias") else (0.1, 1.0)
        else:
            spread, center = parameter[0].numel() ** -0.5, 0.0
        if name.endswith(("position_embeddings", "pos_embed", "cls_token", "mask_token")):
            spread = 0.3
        half = 3**0.5 * spread
        parameter.uniform_(center - half, center + half, generator=generator)
        if name.endswith(("output_conv2.2.weight", "head.conv3.weight")):
            parameter.abs_()
    return network.eval()


def write_random_model(encoder: str, size: tuple[int, int], folder: Path) -> ModelRecord:
    """Writes a relative V2 model as checkpoint, graph at ``size`` (height, width) and `record.json`.

    Args:
        encoder: its size, a key of `ENCODERS`.
        size: multiples of 14.
        folder: an existing one.

    Raises:
        ValueError: the encoder is unknown, or ``size`` is not in multiples of 14.
        ExportError: the graph would be too large for one file, or is not what the network computes.
    """
    with torch.device("meta"):
        network = DepthAnything(encoder, "v2")
    randomise(network)
    described = ModelRecord(f"{encoder}_random", "inverse_depth", "none", encoder, "v2", input_size=size)
    weights, graph = f"{described.name}.safetensors", f"{described.name}.onnx"
    save_checkpoint(network, described, folder / weights)
    export_onnx(network, described, size, folder / graph)
    files = (ModelFile(weights), ModelFile(graph, size=size))
    record = ModelRecord(f"{encoder}_random", "inverse_depth", "none", encoder, "v2", input_size=size, files=files)
    atomic_write(folder / "record.json", record.to_json().encode())
    return record
