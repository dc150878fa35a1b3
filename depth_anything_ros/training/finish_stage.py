"""The end of a stage: a checkpoint with its record, ready for a robot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from depth_anything_ros.data.sets import ALL_SETS
from depth_anything_ros.data.sources import Source
from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.segmentation import SegmentationNetwork, SegmentationRecord, save_segmentation
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.loop import Training
from depth_anything_ros.training.objectives.output_scale import images_for_scale, rescale_to_nominal
from depth_anything_ros.training.run.checkpoints import Checkpoints
from depth_anything_ros.training.run.folder import StageFolder
from depth_anything_ros.training.stages import build_network
from depth_anything_ros.training.validation.final_scores import evaluation_scores, multi_scale_scores
from depth_anything_ros.zoo.record import ModelRecord


def finish_stage(training: Training) -> dict[str, Any]:
    """Write the weights with the best validation scores, else the last, with a record.

    Only one process calls this, once. A segmentation network is also scored on all validation images at several
    scales, which takes a while.

    Returns:
        Plain values by name:
            checkpoint: path.
            step: step of the weights.
            scores: validation scores.
            by_source: validation scores by source.
            evaluation: scores on those sources of ``data.evaluation`` that can be scored.
            left_out: number of damaged validation images.
            evaluation_left_out: number of damaged evaluation images.
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
    evaluation = evaluation_scores(network, training)
    return {
        "checkpoint": str(path),
        "step": kept["step"],
        "scores": scores,
        "by_source": kept.get("by_source", {}),
        "evaluation": evaluation.scores,
        "left_out": 0 if training.validation is None else training.validation.left_out,
        "evaluation_left_out": evaluation.left_out,
    }


def write_depth(network: DepthAnything, training: Training, description: str, path: Path) -> None:
    """Write a depth network with its record.

    A relative network is rescaled so that its output is nominal inverse depth in 1/m, up to a shift. Scale-invariant
    losses let its scale drift until half precision overflows. If depth in meters is known, the record has the nominal
    scale.

    Args:
        network: the network with its final weights; a relative one is changed in place.
        training: the run.
        description: text for the record.
        path: the checkpoint.
    """
    configuration, nominal = training.configuration, None
    if configuration.network.max_depth is None:
        images = images_for_scale(training)
        nominal = rescale_to_nominal(network, images, configuration.data.sizes[0])
        if nominal is not None:
            description += f" Its nominal scale is the best fit to {images.kind} images, not a measurement."
    elif training.training_focal is not None:
        description += f" The mean focal length of its crops is {training.training_focal:.1f} pixels."
    record = ModelRecord(
        name=configuration.name,
        output="inverse_depth" if configuration.network.max_depth is None else "depth",
        license=configuration.license,
        encoder=configuration.network.encoder,
        version=configuration.network.version,
        max_depth=configuration.network.max_depth,
        training_focal=training.training_focal,
        input_size=configuration.data.sizes[0],
        nominal_scale=nominal,
        description=description,
    )
    save_checkpoint(network, record, path)


def write_segmentation(network: SegmentationNetwork, training: Training, description: str, path: Path) -> None:
    """Write a segmentation network with its record.

    Args:
        network: the network with its final weights.
        training: the run.
        description: text for the record.
        path: the checkpoint.
    """
    configuration = training.configuration
    record = SegmentationRecord(
        name=configuration.name,
        license=configuration.license,
        encoder=network.encoder,
        version=network.version,
        classes=network.classes,
        input_size=configuration.data.sizes[0],
        class_names=class_names(training.samples.mixtures["labeled"].sources, network.classes),
        description=description,
    )
    save_segmentation(network, record, path)


def class_names(sources: Sequence[Source], classes: int) -> tuple[str, ...]:
    """Return the names of the classes.

    Args:
        sources: the labeled sources.
        classes: number of classes of the network.

    Returns:
        The names; empty if the sources belong to no known set, or to sets with other classes.
    """
    declared = {getattr(ALL_SETS.get(source.name), "classes", ()) for source in sources}
    names = declared.pop() if len(declared) == 1 else ()
    return names if len(names) == classes else ()


def last(folder: StageFolder) -> dict[str, Any]:
    """Return the last weights, averaged if the run averages. Raise ValueError if the folder has none."""
    state = Checkpoints(folder.states, 1).newest()
    if state is None:
        raise ValueError(f"{folder.root} has no weights: train first")
    return {"step": state["step"], "scores": {}, "network": state.get("average", state["network"])}


def describe(configuration: StageConfiguration, training: Training, step: int) -> str:
    """Return how the model was made, for its record.

    Args:
        configuration: the stage's settings.
        training: the run.
        step: step of the weights.
    """
    sources = "; ".join(
        f"{kind} {', '.join(sorted({source.name for source in mixture.sources}))}"
        for kind, mixture in training.samples.mixtures.items()
    )
    start = configuration.network.start
    origin = f"from {PurePath(start).name} (SHA-256 {training.origins['start']})" if start else "random at first"
    return (
        f"Stage {configuration.stage}, by `depth_anything_ros train`: {sources}; weights of step {step} of "
        f"{configuration.optimizer.steps}, seed {configuration.run.seed}; encoder {origin}."
    )
