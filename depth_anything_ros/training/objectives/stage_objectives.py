"""The objectives: one module for each kind of stage, from a batch to the parts of its loss.

The parts are weighted already, and their sum is minimized. Each is a mean over images, so that the mean over devices is
the loss on one device.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from depth_anything_ros.data.segmentation import IGNORED
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.encoder import VisionTransformer
from depth_anything_ros.model.segmentation import SegmentationNetwork, enlarge
from depth_anything_ros.training.input.augmentation import change, partners, perturb
from depth_anything_ros.training.input.batch import Batch, Images
from depth_anything_ros.training.input.pixels import as_floats, normalize
from depth_anything_ros.training.objectives.losses import (
    affine_invariant_loss,
    cut_and_mixed_loss,
    feature_alignment_loss,
    gradient_matching_loss,
    log_ratio_loss,
    scale_invariant_log_loss,
    scale_invariant_loss,
)
from depth_anything_ros.training.settings import LossSettings

MIN_TRAINED_DEPTH = 1e-3
"""Smallest depth that is trained on, meters."""


def depth_and_features(network: DepthAnything, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return depth and the encoder's final patch tokens.

    Args:
        network: the network.
        images: normalized, (N, 3, H, W).

    Returns:
        Depth (N, H, W) and tokens (N, L, C).
    """
    tapped = network.encode(images)
    return network.decode(tapped, images), tapped[-1]


def augmented(labeled: Images) -> Tensor:
    """Return labeled images with their augmentation applied, float32 (N, 3, H, W), 0 to 1."""
    images = as_floats(labeled.pixels)
    return images if labeled.perturbation is None else change(images, labeled.perturbation)


def relative_loss(settings: LossSettings, trimmed: float, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the affine-invariant loss, plus gradient matching if it has a weight (V2's recipe).

    Args:
        settings: weights.
        trimmed: fraction of each map's worst pixels to drop.
        prediction: inverse depth (N, H, W).
        target: inverse depth (N, H, W).
        mask: bool (N, H, W), where the target is known.

    Returns:
        One loss for each image (N,).
    """
    loss = affine_invariant_loss(prediction, target, mask, trimmed)
    if settings.gradient:
        loss = loss + settings.gradient * gradient_matching_loss(prediction, target, mask)
    return loss


def labeled_loss(settings: LossSettings, prediction: Tensor, labeled: Images) -> Tensor:
    """Return the relative loss against true depth, plus the losses of scale and of logarithms that have a weight.

    Args:
        settings: weights.
        prediction: inverse depth (N, H, W).
        labeled: the images with their inverse depth.

    Returns:
        One loss for each image (N,).
    """
    target, known = labeled.inverse_depth, labeled.known
    loss = relative_loss(settings, 0.0, prediction, target, known)
    if settings.scale:
        loss = loss + settings.scale * scale_invariant_loss(prediction, target, known)
    if settings.log:
        loss = loss + settings.log * log_ratio_loss(prediction, target, known)
    return loss


class Objective(nn.Module):
    """A network and the losses that train it.

    Training and validation both call `forward`: sharded weights are gathered only there.
    """

    network: nn.Module

    def forward(self, batch: Batch | Tensor) -> dict[str, Tensor] | Tensor:
        """Return the parts of a batch's loss, or the network's prediction for normalized images (N, 3, H, W)."""
        return self.network(batch) if isinstance(batch, Tensor) else self.losses(batch)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted parts of a batch's loss, scalars by name."""
        raise NotImplementedError


class RelativeObjective(Objective):
    """Teacher, student and distillation: labeled images, unlabeled images with pseudo-labels, alignment of features.

    The mean of the present parts is minimized: Depth Anything (arXiv 2401.10891) §3, "an average combination".

    Args:
        network: the network to train.
        settings: weights of the losses.
        teacher: labels clean unlabeled images that have no labels; frozen.
        frozen: the encoder whose features are the target of alignment; None for no alignment. It sees the student's
            images. The paper does not say which images it sees. With clean images it would ask for features that colors
            cannot change and, in a mixed image, for features of the part that is not visible.
    """

    def __init__(
        self,
        network: DepthAnything,
        settings: LossSettings,
        teacher: nn.Module | None = None,
        frozen: VisionTransformer | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.teacher = teacher
        self.frozen = None if frozen is None else frozen.requires_grad_(False).eval()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses "labeled", "unlabeled" and "features"; those without images or settings are left out."""
        labeled, unlabeled = batch.labeled, batch.unlabeled
        inputs, region = [], None
        if labeled is not None:
            inputs.append(augmented(labeled))
        if unlabeled is not None:
            images, region = self._for_student(unlabeled)
            inputs.append(images)
        images = normalize(torch.cat(inputs))
        prediction, features = depth_and_features(self.network, images)
        count = 0 if labeled is None else len(labeled.pixels)
        losses = {}
        if labeled is not None:
            losses["labeled"] = labeled_loss(self.settings, prediction[:count], labeled).mean()
        if unlabeled is not None:
            losses["unlabeled"] = self._unlabeled_loss(prediction[count:], unlabeled, region).mean()
        if self.frozen is not None:
            chosen = slice(0, count) if self.settings.aligned_on == "labeled" else slice(count, None)
            losses["features"] = self.settings.alignment * self._alignment(features[chosen], images[chosen]).mean()
        return {name: loss / len(losses) for name, loss in losses.items()}

    @torch.no_grad()
    def _for_student(self, unlabeled: Images) -> tuple[Tensor, Tensor]:
        """Return the student's images, float32 (N, 3, H, W), 0 to 1, and where each shows itself, bool (N, H, W)."""
        images = as_floats(unlabeled.pixels)
        if unlabeled.perturbation is None:
            return images, torch.ones_like(images[:, 0], dtype=torch.bool)
        return perturb(images, unlabeled.perturbation)

    def _unlabeled_loss(self, prediction: Tensor, unlabeled: Images, region: Tensor) -> Tensor:
        """Return the loss against the images' labels or, without labels, the teacher's for the clean images."""
        target = unlabeled.inverse_depth
        if target is None:
            target = self.teacher(unlabeled.pixels)
        known = ~target.isnan()
        loss = partial(relative_loss, self.settings, self.settings.trimmed)
        targets, masks = (target, partners(target)), (known, partners(known))
        return cut_and_mixed_loss(loss, prediction, targets, region, masks)

    def _alignment(self, features: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            (target,) = self.frozen(self.network.shrink(images), (len(self.frozen.blocks) - 1,))
        return feature_alignment_loss(features, target, self.settings.tolerance)


class MetricObjective(Objective):
    """Meters: the scale-invariant logarithmic loss, where depth is known and within the network's range."""

    def __init__(self, network: DepthAnything, settings: LossSettings) -> None:
        super().__init__()
        self.network = network
        self.settings = settings

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss "silog"."""
        inverse_depth = batch.labeled.inverse_depth
        depth = 1.0 / inverse_depth.nan_to_num(0.0)  # infinite where unknown, as for the sky
        mask = (depth >= MIN_TRAINED_DEPTH) & (depth <= self.network.max_depth)
        prediction = self.network(normalize(augmented(batch.labeled)))
        loss = scale_invariant_log_loss(prediction, depth, mask, self.settings.silog_variance)
        return {"silog": loss.mean()}


class SegmentationObjective(Objective):
    """Classes: cross-entropy over the pixels of each image that have a class.

    Full-resolution logits exist for one image at a time, and are computed again in the backward pass. For a batch they
    would fill the memory (16 images of 896x896 with 150 classes are 7 GiB, of which a loss keeps several copies).
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss "cross_entropy"."""
        coarse = self.network.coarse_logits(normalize(augmented(batch.labeled)))
        images = zip(coarse, batch.labeled.labels, strict=True)
        losses = [checkpoint(image_cross_entropy, *image, use_reentrant=False) for image in images]
        return {"cross_entropy": torch.stack(losses).mean()}


def image_cross_entropy(coarse: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over an image's pixels with a class, 0 if there are none.

    Args:
        coarse: logits (classes, h, w).
        labels: uint8 (H, W), `IGNORED` for no class.
    """
    logits = enlarge(coarse[None], labels.shape)
    loss = F.cross_entropy(logits, labels[None].long(), ignore_index=IGNORED, reduction="sum")
    return loss / (labels != IGNORED).sum().clamp(min=1)
