"""What is left of a stage of training: a checkpoint that a robot loads as it is, with its record."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import torch

from depth_anything_ros.data.frame import Frame
from depth_anything_ros.data.sources import Sample
from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.training.checkpointing import States, load_state
from depth_anything_ros.training.finish import nominal_scale, rescale_output
from depth_anything_ros.training.loop import Training
from depth_anything_ros.training.run_folder import StageFolder
from depth_anything_ros.training.stage_configuration import StageConfiguration
from depth_anything_ros.training.stages import build_network
from depth_anything_ros.zoo.record import ModelRecord


def finish_stage(training: Training) -> dict[str, Any]:
    """Writes the weights that did best on held-out images, else the last, with a record; returns paths and scores.

    A relative network is rescaled so that its output is nominal inverse depth in 1/m but for a shift: losses that know
    no scale let it drift until half precision cannot hold it. Its nominal scale is recorded where held-out depth is in
    metres.
    """
    configuration, folder = training.configuration, training.folder
    kept = best_or_last(folder)
    network = build_network(configuration)
    network.load_state_dict(kept["network"])
    network.eval()
    nominal = None
    if configuration.network.max_depth is None:
        nominal = rescale_to_nominal(network, training, configuration.data.sizes[0])
    record = ModelRecord(
        name=configuration.name,
        output="inverse_depth" if configuration.network.max_depth is None else "depth",
        licence=configuration.licence,
        encoder=configuration.network.encoder,
        version=configuration.network.version,
        max_depth=configuration.network.max_depth,
        input_size=configuration.data.sizes[0],
        nominal_scale=nominal,
        description=describe(configuration, training, kept["step"]),
    )
    path = folder.checkpoint(configuration.name)
    save_checkpoint(network, record, path)
    return {"checkpoint": str(path), "step": kept["step"], "scores": kept["scores"]}


def best_or_last(folder: StageFolder) -> dict[str, Any]:
    """The weights that did best, or the last where nothing was validated. Raises ValueError where there are none."""
    best = load_state(folder.best)
    if best is not None:
        return best
    state = States(folder.states, 1).newest()
    if state is None:
        raise ValueError(f"{folder.root} holds no weights: train first")
    return {"step": state["step"], "scores": {}, "network": state.get("average", state["network"])}


def rescale_to_nominal(network: DepthAnything, training: Training, size: tuple[int, int]) -> tuple[float, float] | None:
    """Rescales the output; returns the nominal scale that is left, None where no held-out depth is in metres."""
    held_out = training.held_out
    if held_out is None:
        return None
    a, b = nominal_scale(network, [frame_of(sample) for sample in held_out.samples], size)
    rescale_output(network, a)
    return (1.0, b) if held_out.is_metric else None


def frame_of(sample: Sample) -> Frame:
    """A sample as evaluation knows it; what is infinitely far counts as unknown there."""
    depth = torch.from_numpy(sample.inverse_depth).reciprocal()
    depth[~torch.isfinite(depth)] = torch.nan
    return Frame(sample.name, sample.image, depth.numpy())


def describe(configuration: StageConfiguration, training: Training, step: int) -> str:
    """How the model came to be, for its record."""
    sources = "; ".join(
        f"{kind} {', '.join(sorted({source.name for source in mixture.sources}))}"
        for kind, mixture in training.samples.mixtures.items()
    )
    start = configuration.network.start
    origin = f"from {PurePath(start).name}" if start else "random at first"
    return (
        f"Stage {configuration.stage}, by `depth_anything_ros train`: {sources}; weights of step {step} of "
        f"{configuration.optimiser.steps}, seed {configuration.run.seed}; encoder {origin}. A nominal scale is what "
        "suits held-out images best, no measurement."
    )
