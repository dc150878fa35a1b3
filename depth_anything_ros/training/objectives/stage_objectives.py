"""What each stage minimizes: one module a kind of stage, from a batch to the parts of its loss.

A part is already weighted; the sum of the parts is minimized. Each is a mean over images, so that the mean over devices
is what one device would have had.
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
from depth_anything_ros.training.configuration import LossSettings
from depth_anything_ros.training.input.augmentation import change, partners, perturb
from depth_anything_ros.training.input.batches import Batch, Images
from depth_anything_ros.training.input.pixels import as_floats, normalize
from depth_anything_ros.training.objectives.losses import (
    affine_invariant_loss,
    cut_and_mixed_loss,
    feature_alignment_loss,
    gradient_matching_loss,
    scale_invariant_log_loss,
    scale_invariant_loss,
)
from depth_anything_ros.zoo.encoders import PATCH_SIZE

NEAREST = 1e-3
"""Meters."""


def depth_and_features(network: DepthAnything, images: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (N, H, W) and the encoder's final patch tokens (N, L, C) of normalized images (N, 3, H, W)."""
    rows, columns = (side // PATCH_SIZE for side in images.shape[-2:])
    tapped = network.pretrained(images, network.taps)
    return network.depth_head(tapped, rows, columns).squeeze(1), tapped[-1]


def shown(labeled: Images) -> Tensor:
    """What a network is shown of labeled images, float32 (N, 3, H, W), 0 to 1: colors and blur as they were drawn."""
    images = as_floats(labeled.pixels)
    return images if labeled.perturbation is None else change(images, labeled.perturbation)


def relative_loss(settings: LossSettings, trimmed: float, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The affine-invariant loss of each image (N,), with gradient matching where it has a weight (V2's recipe)."""
    loss = affine_invariant_loss(prediction, target, mask, trimmed)
    if settings.gradient:
        loss = loss + settings.gradient * gradient_matching_loss(prediction, target, mask)
    return loss


def labeled_loss(settings: LossSettings, prediction: Tensor, labeled: Images) -> Tensor:
    """The relative loss against true depth (N,), with the scale-invariant one where it has a weight."""
    target, known = labeled.inverse_depth, labeled.known
    loss = relative_loss(settings, 0.0, prediction, target, known)
    if settings.scale:
        loss = loss + settings.scale * scale_invariant_loss(prediction, target, known)
    return loss


class Objective(nn.Module):
    """A network and what is minimized of it.

    Everything goes through one forward, validation too: where weights are sharded, they are gathered by it.
    """

    network: nn.Module

    def forward(self, batch: Batch | Tensor) -> dict[str, Tensor] | Tensor:
        """The parts of a batch's loss; or, of normalized images (N, 3, H, W), what the network predicts."""
        return self.network(batch) if isinstance(batch, Tensor) else self.losses(batch)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The parts of a batch's loss, weighted, by name."""
        raise NotImplementedError


class RelativeObjective(Objective):
    """Teacher, student and distillation: labeled images, unlabeled ones that a teacher labels, alignment of features.

    The mean of the parts there are is minimized: Depth Anything (arXiv 2401.10891) §3, "an average combination".

    Args:
        network: what learns.
        settings: of the losses.
        teacher: labels clean unlabeled images that carry no label; does not learn.
        frozen: the encoder whose features are kept near; None for no alignment. It sees what the student sees: the
            paper does not say, but a frozen encoder of clean images would ask for features that colors cannot change,
            and in a mixed image for those of what is not there.
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
        """The losses "labeled", "unlabeled", "features", as far as there are such images and such settings."""
        labeled, unlabeled = batch.labeled, batch.unlabeled
        seen, region = [], None
        if labeled is not None:
            seen.append(shown(labeled))
        if unlabeled is not None:
            images, region = self._for_student(unlabeled)
            seen.append(images)
        images = normalize(torch.cat(seen))
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
        """The images that the student sees (N, 3, H, W), 0 to 1, and where each shows itself, bool (N, H, W)."""
        images = as_floats(unlabeled.pixels)
        if unlabeled.perturbation is None:
            return images, torch.ones_like(images[:, 0], dtype=torch.bool)
        return perturb(images, unlabeled.perturbation)

    def _unlabeled_loss(self, prediction: Tensor, unlabeled: Images, region: Tensor) -> Tensor:
        """Against the labels that images carry, else against what the teacher says of the clean ones."""
        target = unlabeled.inverse_depth
        if target is None:
            target = self.teacher(unlabeled.pixels)
        known = ~target.isnan()
        loss = partial(relative_loss, self.settings, self.settings.trimmed)
        targets, masks = (target, partners(target)), (known, partners(known))
        return cut_and_mixed_loss(loss, prediction, targets, region, masks)

    def _alignment(self, features: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            (target,) = self.frozen(images, (len(self.frozen.blocks) - 1,))
        return feature_alignment_loss(features, target, self.settings.tolerance)


class MetricObjective(Objective):
    """Meters: the scale-invariant logarithmic loss where depth is known and within what the network can say."""

    def __init__(self, network: DepthAnything, settings: LossSettings) -> None:
        super().__init__()
        self.network = network
        self.settings = settings

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss "silog"."""
        inverse_depth = batch.labeled.inverse_depth
        depth = 1.0 / inverse_depth.nan_to_num(0.0)  # infinite where unknown, as the sky is
        mask = (depth >= NEAREST) & (depth <= self.network.max_depth)
        prediction = self.network(normalize(shown(batch.labeled)))
        loss = scale_invariant_log_loss(prediction, depth, mask, self.settings.silog_variance)
        return {"silog": loss.mean()}


class SegmentationObjective(Objective):
    """Classes: cross-entropy over the pixels of each image that belong to one.

    Logits of the whole resolution are there for one image at a time, and again in the backward pass: of a batch they
    would fill the memory (16 images of 896x896 in 150 classes are 7 GiB, of which a loss keeps several copies).
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss "cross_entropy"."""
        coarse = self.network.coarse_logits(normalize(shown(batch.labeled)))
        images = zip(coarse, batch.labeled.labels, strict=True)
        losses = [checkpoint(image_cross_entropy, *image, use_reentrant=False) for image in images]
        return {"cross_entropy": torch.stack(losses).mean()}


def image_cross_entropy(coarse: Tensor, labels: Tensor) -> Tensor:
    """Mean over the pixels of an image that belong to a class, 0 where none does.

    ``coarse``: logits (classes, h, w). ``labels``: uint8 (H, W), `IGNORED` for none.
    """
    logits = enlarge(coarse[None], labels.shape)
    loss = F.cross_entropy(logits, labels[None].long(), ignore_index=IGNORED, reduction="sum")
    return loss / (labels != IGNORED).sum().clamp(min=1)
