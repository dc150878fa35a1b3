"""What happens when training is done: the nominal scale is measured and the checkpoint written with its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from depth_anything_ros.evaluation.frame import Frame
from depth_anything_ros.geometry.scale import fit_scale
from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.training.configuration import TrainingConfiguration
from depth_anything_ros.training.student import normalise_pixels
from depth_anything_ros.training.trainer import RunFolder, held_out_frames, validate
from depth_anything_ros.zoo.cache import sha256_of
from depth_anything_ros.zoo.record import ModelRecord


@torch.no_grad()
def nominal_scale(network: DepthAnything, frames: list[Frame]) -> tuple[float, float]:
    """The median over frames of the (a, b) that fits each best.

    A relative network's scale differs from image to image, so that this gives plausible metres, not measured ones.
    """
    fits = []
    for frame in frames:
        inverse_depth = network(normalise_pixels(torch.from_numpy(frame.image)[None]))[0].numpy()
        if inverse_depth[frame.valid].std() > 1e-6:
            fit = fit_scale(inverse_depth, frame.depth, frame.valid)
            fits.append((fit.a, fit.b))
    if not fits:
        raise ValueError("the network gives the same inverse depth everywhere: it has learnt nothing")
    a, b = np.median(np.array(fits), axis=0)
    return float(a), float(max(b, 0.0))


def describe(configuration: TrainingConfiguration, pretrained: Path | None, frames: int) -> str:
    """How the model came to be, for its record."""
    origin = f"cut out of {pretrained.name} (SHA-256 {sha256_of(pretrained)})" if pretrained else "random at first"
    return (
        f"Encoder {origin}; trained on {configuration.scenes} rendered scenes for {configuration.steps} steps of "
        f"{configuration.batch} images, seed {configuration.seed}, by `depth_anything_ros train`. Nominal scale: the "
        f"median over {frames} held-out rendered scenes, no measurement."
    )


def finish_run(
    network: DepthAnything,
    configuration: TrainingConfiguration,
    folder: RunFolder,
    name: str,
    pretrained: Path | None = None,
) -> dict[str, Any]:
    """Writes NAME.safetensors, weights and record, into the run's folder; returns paths and held-out scores."""
    network = network.cpu().float().eval()
    frames = held_out_frames(folder.scenes, configuration)
    scores = validate(network, frames)
    record = ModelRecord(
        name=name,
        output="inverse_depth",
        licence="Apache-2.0",
        encoder=configuration.encoder,
        version=configuration.version,
        input_size=(252, 252),
        nominal_scale=nominal_scale(network, frames),
        description=describe(configuration, pretrained, len(frames)),
    )
    path = folder.root / f"{name}.safetensors"
    save_checkpoint(network, record, path)
    return {"checkpoint": str(path), "abs_rel": scores.abs_rel, "delta1": scores.delta1, "steps": configuration.steps}
