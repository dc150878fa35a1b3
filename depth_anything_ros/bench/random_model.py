"""Networks with random weights: as fast as trained ones, without a download."""

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
def randomize(network: nn.Module, seed: int = 0) -> nn.Module:
    """Allocate a network's weights and fill them so that every branch is active and the depth is positive.

    Args:
        network: on the device "meta"; it is moved to the CPU.
        seed: of the random weights.
    """
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
    """Write a relative V2 model as checkpoint, graph and `record.json`.

    Args:
        encoder: its size, a key of `ENCODERS`.
        size: (height, width) of the graph's input, multiples of 14.
        folder: must exist.

    Raises:
        ValueError: the encoder is unknown, or ``size`` is not in multiples of 14.
        ExportError: the graph is too large for one file, or differs from the network.
    """
    with torch.device("meta"):
        network = DepthAnything(encoder, "v2")
    randomize(network)
    described = ModelRecord(f"{encoder}_random", "inverse_depth", "none", encoder, "v2", input_size=size)
    weights, graph = f"{described.name}.safetensors", f"{described.name}.onnx"
    save_checkpoint(network, described, folder / weights)
    export_onnx(network, described, size, folder / graph)
    files = (ModelFile(weights), ModelFile(graph, size=size))
    record = ModelRecord(f"{encoder}_random", "inverse_depth", "none", encoder, "v2", input_size=size, files=files)
    atomic_write(folder / "record.json", record.to_json().encode())
    return record
