"""Networks to measure, as checkpoints and graphs: with random weights, or with an encoder's weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.gpu.steps import StepContext
from depth_anything_ros.bench.random_model import randomize
from depth_anything_ros.export.onnx import export_onnx
from depth_anything_ros.model.checkpoints import load_checkpoint, load_encoder, save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.zoo.record import ModelRecord

Size = tuple[int, int]


class Plan(NamedTuple):
    """An engine to build: encoder, network size, precision."""

    encoder: str
    size: Size
    precision: str


def weights_of(plan: Plan, context: StepContext) -> Path:
    """Return the checkpoint of a plan, which all steps share.

    Args:
        plan: Plan of the engine.
        context: Context of the step.
    """
    return checkpoint(plan.encoder, context.folder.parent / "models", context.encoder)


def checkpoint(encoder: str, folder: Path, start: Path | None = None) -> Path:
    """Return a checkpoint of the second version, written if it is missing.

    Args:
        encoder: its size.
        folder: Folder of checkpoints.
        start: a file with the encoder's weights, used for ViT-S only.
    """
    path = folder / f"{encoder}.safetensors"
    if path.exists():
        return path
    with torch.device("meta"):
        network = DepthAnything(encoder, "v2")
    randomize(network)
    if start is not None and encoder == "vits":
        network.pretrained.load_state_dict(load_encoder(start).state_dict())
    record = ModelRecord(encoder, "inverse_depth", "none", encoder=encoder, version="v2")
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(network, record, path)
    return path


def graph(weights: Path, size: Size) -> Path:
    """Return the .onnx file of a checkpoint, in its folder, written if it is missing.

    Args:
        weights: the checkpoint.
        size: (height, width) of the network's input.
    """
    path = weights.with_name(f"{weights.stem}_{size[0]}x{size[1]}.onnx")
    if not path.exists():
        network = load_checkpoint(weights)
        record = ModelRecord(weights.stem, "inverse_depth", "none", encoder=network.encoder, version="v2")
        export_onnx(network, record, size, path)
    return path
