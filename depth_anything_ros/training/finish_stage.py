"""What is left of a stage of training: a checkpoint that a robot loads as it is, with its record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import torch
from tqdm import tqdm

from depth_anything_ros.data.frame import Frame
from depth_anything_ros.data.sets import SETS
from depth_anything_ros.data.sources import Sample, Source
from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.segmentation import SegmentationNetwork, SegmentationRecord, save_segmentation
from depth_anything_ros.training.checkpointing import States
from depth_anything_ros.training.loop import Training
from depth_anything_ros.training.nominal_scale import nominal_scale, rescale_output
from depth_anything_ros.training.run_folder import StageFolder
from depth_anything_ros.training.segmentation import multi_scale_predictor, score_images
from depth_anything_ros.training.stage_configuration import StageConfiguration
from depth_anything_ros.training.stages import build_network, scoring_of
from depth_anything_ros.zoo.record import ModelRecord


def finish_stage(training: Training) -> dict[str, Any]:
    """Writes the weights that did best on held-out images, else the last, with a record; returns paths and scores.

    To be called once, by one process; of classes, it takes its time to score all held-out images at several scales.
    """
    configuration, folder = training.configuration, training.folder
    kept = training.best() or last(folder)
    network = build_network(configuration)
    network.load_state_dict(kept["network"])
    network.eval()
    path = folder.checkpoint(configuration.name)
    description = describe(configuration, training, kept["step"])
    scores = dict(kept["scores"])
    if isinstance(network, SegmentationNetwork):
        write_segmentation(network, training, description, path)
        scores |= multi_scale_scores(network, training)
    else:
        write_depth(network, training, description, path)
    return {"checkpoint": str(path), "step": kept["step"], "scores": scores}


def write_depth(network: DepthAnything, training: Training, description: str, path: Path) -> None:
    """Writes a depth network with its record.

    A relative network is rescaled so that its output is nominal inverse depth in 1/m but for a shift: losses that know
    no scale let it drift until half precision cannot hold it. Its nominal scale is recorded where held-out depth is in
    metres.
    """
    configuration = training.configuration
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
        description=f"{description} A nominal scale is what suits held-out images best, no measurement.",
    )
    save_checkpoint(network, record, path)


def write_segmentation(network: SegmentationNetwork, training: Training, description: str, path: Path) -> None:
    """Writes a network of classes with its record."""
    configuration = training.configuration
    record = SegmentationRecord(
        name=configuration.name,
        licence=configuration.licence,
        encoder=network.encoder,
        version=network.version,
        classes=network.classes,
        input_size=configuration.data.sizes[0],
        class_names=class_names(training.samples.mixtures["labelled"].sources, network.classes),
        description=description,
    )
    save_segmentation(network, record, path)


def class_names(sources: Sequence[Source], classes: int) -> tuple[str, ...]:
    """The names of classes; empty where sources are of no known set, or of sets whose classes are not these."""
    declared = {getattr(SETS.get(source.name), "classes", ()) for source in sources}
    names = declared.pop() if len(declared) == 1 else ()
    return names if len(names) == classes else ()


def multi_scale_scores(network: SegmentationNetwork, training: Training) -> dict[str, float]:
    """Scores over several scales of all held-out images, by names that end in _multi_scale; none if there are none."""
    held_out, configuration, fabric = training.held_out, training.configuration, training.fabric
    if held_out is None:
        return {}
    network.to(fabric.device)
    predict = multi_scale_predictor(network, fabric.device, configuration.scored_size, configuration.segmentation)
    samples = tqdm(held_out.samples_of_all(), total=held_out.count, desc="several scales", unit="image")
    with fabric.autocast():
        scores = score_images(predict, samples, scoring_of(configuration))
    return {f"{name}_multi_scale": value for name, value in scores.items()}


def last(folder: StageFolder) -> dict[str, Any]:
    """The last weights, averaged where they were. Raises ValueError where there are none."""
    state = States(folder.states, 1).newest()
    if state is None:
        raise ValueError(f"{folder.root} holds no weights: train first")
    return {"step": state["step"], "scores": {}, "network": state.get("average", state["network"])}


def rescale_to_nominal(network: DepthAnything, training: Training, size: tuple[int, int]) -> tuple[float, float] | None:
    """Rescales the output; returns the nominal scale that is left, None where no held-out depth is in metres."""
    held_out = training.held_out
    if held_out is None:
        return None
    a, b = nominal_scale(network, (frame_of(sample) for sample in held_out.samples_of_all()), size)
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
    origin = f"from {PurePath(start).name} (SHA-256 {training.origins['start']})" if start else "random at first"
    return (
        f"Stage {configuration.stage}, by `depth_anything_ros train`: {sources}; weights of step {step} of "
        f"{configuration.optimiser.steps}, seed {configuration.run.seed}; encoder {origin}."
    )
