"""The loop that trains the bundled model: rendered scenes, affine-invariant loss, features held to a larger encoder."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from depth_anything_ros.data.frame import Frame
from depth_anything_ros.evaluation.metrics import Scores
from depth_anything_ros.evaluation.protocol import evaluate_predictor
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.training.checkpointing import load_state, save_state
from depth_anything_ros.training.configuration import TrainingConfiguration
from depth_anything_ros.training.losses import (
    affine_invariant_loss,
    feature_alignment_loss,
    gradient_matching_loss,
    scale_invariant_loss,
)
from depth_anything_ros.training.pixels import normalise_pixels
from depth_anything_ros.training.scene_set import StepSampler, TrainingScenes, read_scene
from depth_anything_ros.training.student import FrozenEncoder, Student, create_student

SLICING_IMAGES = 32


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps what it makes."""

    root: Path

    @property
    def scenes(self) -> Path:
        """Rendered scenes, shared by runs with the same seed and size."""
        return self.root / "scenes"

    @property
    def state(self) -> Path:
        """Everything that resuming needs."""
        return self.root / "state.pt"

    @property
    def best(self) -> Path:
        """The averaged weights that did best on held-out scenes so far, and how well."""
        return self.root / "best.pt"

    @property
    def log(self) -> Path:
        """One JSON object a line: losses and validation scores by step."""
        return self.root / "log.jsonl"


class DivergedError(RuntimeError):
    """The loss is no longer a number; the batch that did it lies beside the run's state."""


def rate_factor(step: int, steps: int, warm_up: int) -> float:
    """Share of a learning rate at one of ``steps`` steps: linear warm-up, then a cosine down to zero at the last."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def learning_rates(step: int, feature_steps: int, configuration: TrainingConfiguration) -> dict[str, float]:
    """The rates of encoder and decoder at a step; the encoder's starts anew when ``feature_steps`` are over."""
    warm_up, steps = configuration.warm_up, configuration.steps
    if step < feature_steps:
        encoder = configuration.encoder_rate * rate_factor(step, feature_steps, warm_up)
    elif feature_steps:
        encoder = configuration.end_to_end_rate * rate_factor(step - feature_steps, steps - feature_steps, warm_up)
    else:
        encoder = configuration.encoder_rate * rate_factor(step, steps, warm_up)
    return {"encoder": encoder, "decoder": configuration.decoder_rate * rate_factor(step, steps, warm_up)}


def build_optimizer(student: Student, configuration: TrainingConfiguration) -> torch.optim.Optimizer:
    """AdamW; encoder and decoder in groups of their own, no decay on vectors (biases, norms, gains)."""
    groups = []
    for name, part in (("encoder", student.network.pretrained), ("decoder", student.network.depth_head)):
        trained = [parameter for parameter in part.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        vectors = [parameter for parameter in trained if parameter.ndim <= 1]
        for parameters, decay in ((matrices, configuration.weight_decay), (vectors, 0.0)):
            groups.append({"params": parameters, "part": name, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)


def held_out_frames(folder: Path, configuration: TrainingConfiguration) -> list[Frame]:
    """The rendered scenes that training never sees, at the size they were rendered at; the sky counts as unknown."""
    height, width = configuration.scene_size
    camera = Camera.from_field_of_view(width, height, 60.0)
    frames = []
    for index in range(configuration.held_out):
        image, inverse_depth = read_scene(folder, index)
        with np.errstate(divide="ignore"):
            depth = np.where(inverse_depth > 0, 1.0 / inverse_depth, np.nan).astype(np.float32)
        if np.isfinite(depth).any():
            frames.append(Frame(f"held-out scene {index}", image, depth, camera))
    return frames


@torch.no_grad()
def validate(network: DepthAnything, frames: list[Frame]) -> Scores:
    """Mean scores on frames after affine alignment in inverse depth; their sides must be multiples of 14."""
    device = next(network.parameters()).device

    def predict(image: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(image)[None].to(device)
        return network(normalise_pixels(pixels))[0].float().cpu().numpy()

    return evaluate_predictor(predict, "inverse_depth", frames)


def compute_losses(
    student: Student, teacher: FrozenEncoder | None, batch: tuple[Tensor, Tensor], configuration: TrainingConfiguration
) -> dict[str, Tensor]:
    """The parts of the loss, each already weighted; their sum is what is minimised.

    While there is a teacher, the encoder learns from its features alone: the depth loss of small batches is so noisy
    beside them that it would undo what they teach (measured: after 700 steps of both, features stood where 60 steps
    of features alone had brought them).
    """
    pixels, inverse_depth = batch
    mask = torch.ones_like(inverse_depth, dtype=torch.bool)  # a renderer knows the depth of every pixel
    prediction, tapped = student(pixels, detach=teacher is not None)
    losses = {
        "affine": affine_invariant_loss(prediction, inverse_depth, mask).mean(),
        "gradient": configuration.gradient_weight * gradient_matching_loss(prediction, inverse_depth, mask).mean(),
        "scale": configuration.scale_weight * scale_invariant_loss(prediction, inverse_depth, mask).mean(),
    }
    if teacher is not None:
        aligned = [feature_alignment_loss(ours, theirs) for ours, theirs in zip(tapped, teacher(pixels), strict=True)]
        losses["feature"] = torch.stack(aligned).mean()
    return losses


def train(
    configuration: TrainingConfiguration, folder: RunFolder, pretrained: Path | None, accelerator: str = "auto"
) -> DepthAnything:
    """Trains to the last step, or goes on from where an interrupted run stood.

    Returns the averaged network as it was when it did best on held-out scenes (delta1), usually at the end.

    Raises:
        ValueError: the folder holds a run with another configuration, or a damaged state.
        DivergedError: the loss became NaN or infinite.
    """
    fabric = Fabric(accelerator=accelerator, devices=1, precision=configuration.precision)
    fabric.seed_everything(configuration.seed, verbose=False)
    first_images = torch.stack(
        [
            torch.from_numpy(read_scene(folder.scenes, index)[0])
            for index in range(min(SLICING_IMAGES, configuration.held_out))
        ]
    )
    student, teacher = create_student(configuration.encoder, configuration.version, pretrained, first_images)
    average = AveragedModel(student.network, multi_avg_fn=get_ema_multi_avg_fn(configuration.average))
    optimizer = build_optimizer(student, configuration)
    first = _resume(folder, configuration, student, average, optimizer)
    if first == 0:
        folder.best.unlink(missing_ok=True)
    average = fabric.to_device(average)
    teacher = fabric.to_device(teacher) if teacher is not None else None
    wrapped, optimizer = fabric.setup(student, optimizer)
    loader = fabric.setup_dataloaders(
        DataLoader(
            TrainingScenes(folder.scenes, configuration),
            batch_sampler=StepSampler(first, configuration.steps, configuration.batch),
            num_workers=configuration.workers,
            prefetch_factor=4 if configuration.workers else None,
        ),
        use_distributed_sampler=False,
    )
    frames = held_out_frames(folder.scenes, configuration)
    progress = tqdm(loader, initial=first, total=configuration.steps, desc="training", unit="step")
    feature_steps = int(configuration.feature_until * configuration.steps) if teacher is not None else 0
    for step, batch in enumerate(progress, start=first):
        rates = learning_rates(step, feature_steps, configuration)
        for group in optimizer.param_groups:
            group["lr"] = rates[group["part"]]
        with fabric.autocast():
            losses = compute_losses(wrapped, teacher if step < feature_steps else None, batch, configuration)
        loss = sum(losses.values())
        if not torch.isfinite(loss):
            torch.save(batch, folder.root / "diverged_batch.pt")
            raise DivergedError(f"the loss at step {step} is {loss.item()}; its batch is in {folder.root}")
        fabric.backward(loss)
        for part in (student.network.pretrained, student.network.depth_head):
            fabric.clip_gradients(part, optimizer, max_norm=configuration.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # A short run would otherwise end with an average that still remembers the untrained network.
        average.multi_avg_fn = get_ema_multi_avg_fn(min(configuration.average, (1 + step) / (10 + step)))
        average.update_parameters(student.network)
        done = step + 1
        if done % 10 == 0:
            values = {name: value.item() for name, value in losses.items()}
            progress.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
            _log(folder, {"step": done, **values})
        if done % configuration.validate_every == 0 or done == configuration.steps:
            scores = validate(average.module, frames)
            _log(folder, {"step": done, "abs_rel": scores.abs_rel, "delta1": scores.delta1})
            progress.write(f"step {done}: held-out scenes AbsRel {scores.abs_rel:.4f}, delta1 {scores.delta1:.4f}")
            _keep_if_best(folder, average, scores)
        if done % configuration.save_every == 0 or done == configuration.steps:
            _save(folder, configuration, done, student, average, optimizer)
    average.module.load_state_dict(load_state(folder.best)["network"])
    return average.module.float().cpu().eval()


def _keep_if_best(folder: RunFolder, average: AveragedModel, scores: Scores) -> None:
    best = load_state(folder.best)
    if best is None or scores.delta1 >= best["delta1"]:
        save_state(folder.best, {"delta1": float(scores.delta1), "network": average.module.state_dict()})


def _log(folder: RunFolder, entry: dict[str, float]) -> None:
    with folder.log.open("a") as file:
        file.write(json.dumps({"time": round(time.time(), 1), **entry}) + "\n")


def _save(
    folder: RunFolder,
    configuration: TrainingConfiguration,
    step: int,
    student: Student,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
) -> None:
    state = {
        "step": step,
        "configuration": json.dumps(configuration.to_dictionary()),
        "network": student.network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    save_state(folder.state, state)


def _resume(
    folder: RunFolder,
    configuration: TrainingConfiguration,
    student: Student,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
) -> int:
    """Puts an earlier run's state back; returns the step to go on with (0 for a new run)."""
    state = load_state(folder.state)
    if state is None:
        return 0
    if json.loads(state["configuration"]) != json.loads(json.dumps(configuration.to_dictionary())):
        raise ValueError(f"{folder.state} was written with another configuration: choose another folder or delete it")
    student.network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]
