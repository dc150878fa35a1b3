"""Losses on inverse depth without scale and shift, losses on meters, and the alignment of features.

Each returns one loss for each image (N,), 0 if nothing is known of it. The mean over the images of a step is minimized,
so that a step learns the same however its images are spread over devices. All compute in float32 or better, and accept
sparse and empty masks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(prediction (N, H, W), target (N, H, W), mask) -> one loss for each image (N,)."""

MIN_SPREAD = 1e-6
LEAST_SHARE = 0.01
"""Inverse depth, as a share of the image's mean, that is added before logarithms are taken: far away counts little."""
MIN_DEPTH = 1e-9
"""Meters; far below any real depth, because a prediction that is clipped here gets no gradient."""


def normalize(maps: Tensor, mask: Tensor) -> Tensor:
    """Remove each map's shift and scale: ``(d - median(d)) / mean(|d - median(d)|)`` over its valid pixels.

    Depth Anything (arXiv 2401.10891) eq. 2, 3; MiDaS (TPAMI 2022) eq. 5, 6. The median of an even number of pixels is
    the lower of the two middle ones, as in PyTorch. MiDaS' released code takes the median over the whole map with zeros
    at invalid pixels; here it is over valid pixels, as in the equation.

    Args:
        maps: (N, H, W).
        mask: bool (N, H, W), the valid pixels.

    Returns:
        (N, H, W), float32 or better, 0 at invalid pixels.
    """
    flat = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(1)
    valid = mask.flatten(1)
    shift = flat.masked_fill(~valid, torch.nan).nanmedian(dim=1, keepdim=True).values.nan_to_num()
    centered = (flat - shift).masked_fill(~valid, 0.0)
    spread = centered.abs().sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return (centered / spread.clamp(min=MIN_SPREAD)).view_as(maps)


def mean_of_each(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over each map's valid pixels, 0 for a map without any.

    Args:
        values: (N, H, W).
        mask: bool (N, H, W), the valid pixels.

    Returns:
        (N,).
    """
    return _share_of_each(values, mask, mask)


def _share_of_each(values: Tensor, counted: Tensor, mask: Tensor) -> Tensor:
    """Return the sum of each map's counted values divided by the number of its valid pixels (N,); 0 without any."""
    sums = values.masked_fill(~counted, 0.0).flatten(1).sum(dim=1)
    return sums / mask.flatten(1).sum(dim=1).clamp(min=1)


def affine_invariant_loss(prediction: Tensor, target: Tensor, mask: Tensor, trimmed: float = 0.0) -> Tensor:
    """Return the mean absolute difference of the normalized maps: Depth Anything eq. 1.

    As in MiDaS eq. 7 the sum is divided by the number of all valid pixels, including the dropped ones. MiDaS divides by
    twice that number, Depth Anything eq. 1 does not. MiDaS' released code sorts the pixels of all images of a batch
    together; here the pixels of each image are sorted, as in the equation.

    Args:
        prediction: inverse depth (N, H, W).
        target: inverse depth (N, H, W).
        mask: bool (N, H, W), where the target is known.
        trimmed: fraction of each map's valid pixels to drop. The pixels with the largest differences count as errors of
            the target: 0.2 in MiDaS eq. 7, 0.1 in Depth Anything V2 (arXiv 2406.09414) on pseudo-labels.

    Returns:
        (N,).
    """
    difference = (normalize(prediction, mask) - normalize(target, mask)).abs()
    return _share_of_each(difference, _without_largest(difference, mask, trimmed), mask)


def _without_largest(difference: Tensor, mask: Tensor, share: float) -> Tensor:
    """Return the mask without that fraction of each map's valid pixels, rounded down, with the largest differences."""
    if share == 0:
        return mask
    valid = mask.flatten(1)
    order = difference.detach().flatten(1).masked_fill(~valid, torch.inf).argsort(dim=1)
    kept = valid.sum(dim=1, keepdim=True) - (share * valid.sum(dim=1, keepdim=True)).floor().long()
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return (valid & (rank < kept)).view_as(mask)


def gradient_matching_loss(prediction: Tensor, target: Tensor, mask: Tensor, scales: int = 4) -> Tensor:
    """Return the differences of neighboring residuals at several subsamplings: MiDaS eq. 11, with R from its eq. 5, 6.

    It sharpens edges: a residual that is constant on either side of an edge costs only at the edge. The differences
    between valid neighbors are summed and divided by M, the number of valid pixels. The equation has one M, though a
    subsampling has fewer pixels; MiDaS' released code uses the number at each subsampling, and so does this function.
    On a sparse mask few pixels have a valid neighbor, and the loss is small. The released code takes M over the whole
    batch; here it is each image's. Depth Anything V2 adds twice this loss to `affine_invariant_loss`.

    Args:
        prediction: inverse depth (N, H, W).
        target: inverse depth (N, H, W).
        mask: bool (N, H, W), where the target is known.
        scales: number of subsamplings: every pixel, every second, every fourth, ...

    Returns:
        (N,).
    """
    residual = normalize(prediction, mask) - normalize(target, mask)
    total = residual.new_zeros(len(residual))
    for scale in range(scales):
        step = 2**scale
        coarse, known = residual[:, ::step, ::step], mask[:, ::step, ::step]
        for axis in (1, 2):
            length = coarse.shape[axis] - 1
            both = known.narrow(axis, 0, length) & known.narrow(axis, 1, length)
            total = total + _share_of_each(coarse.diff(dim=axis).abs(), both, known)
    return total


def cut_and_mixed_loss(
    loss: Loss,
    prediction: Tensor,
    targets: tuple[Tensor, Tensor],
    region: Tensor,
    masks: tuple[Tensor, Tensor],
) -> Tensor:
    """Return the loss of images that are mixed from two: Depth Anything eq. 6 to 8.

    The two images have different scales and shifts, so each region has a loss of its own, weighted by its area.

    Args:
        loss: the loss of a region.
        prediction: (N, H, W), for the mixed images.
        targets: of the first and the second image, (N, H, W) each.
        region: bool (N, H, W), where the first image is visible; everywhere in an image that is not mixed.
        masks: where the targets are known, bool (N, H, W) each.

    Returns:
        (N,).
    """
    parts = zip(targets, masks, (region, ~region), strict=True)
    return sum(
        loss(prediction, target, mask & part) * part.flatten(1).float().mean(dim=1) for target, mask, part in parts
    )


def scale_invariant_log_loss(prediction: Tensor, target: Tensor, mask: Tensor, variance: float = 0.5) -> Tensor:
    """Return SILog: ``sqrt(mean(g^2) - variance * mean(g)^2)``, g = ln prediction - ln target.

    Eigen et al. (NIPS 2014) eq. 4, with the root that BTS and Depth Anything's metric fine-tuning take. Means are over
    an image; the published code takes them over the batch of one GPU. A prediction may underflow; it then counts as
    `MIN_DEPTH`.

    Args:
        prediction: meters (N, H, W).
        target: meters (N, H, W).
        mask: bool (N, H, W), where the target is known.
        variance: lambda.

    Returns:
        (N,).
    """
    kind = torch.promote_types(prediction.dtype, torch.float32)
    known = mask & (target > 0)
    meters = torch.where(known, prediction.to(kind).clamp(min=MIN_DEPTH), 1.0)
    ratio = meters.log() - torch.where(known, target.to(kind), 1.0).log()
    squared = mean_of_each(ratio.square(), known) - variance * mean_of_each(ratio, known).square()
    return squared.clamp(min=MIN_SPREAD**2).sqrt() * known.flatten(1).any(dim=1)


def scale_invariant_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the mean absolute difference of inverse depth, with each map divided by its mean over valid pixels.

    Not in the paper, because not all of its labels have a known shift. With a known shift, this loss teaches which
    value is infinite depth.

    Args:
        prediction: inverse depth (N, H, W).
        target: inverse depth (N, H, W).
        mask: bool (N, H, W), where the target is known.

    Returns:
        (N,).
    """

    def divided_by_mean(maps: Tensor) -> Tensor:
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        return maps / mean_of_each(maps, mask).clamp(min=MIN_SPREAD).view(-1, 1, 1)

    return mean_of_each((divided_by_mean(prediction) - divided_by_mean(target)).abs(), mask)


def log_ratio_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the mean absolute difference of the logarithms of inverse depth, without each map's mean difference.

    Not in the paper, because not all of its labels have a known shift. The affine-invariant loss counts absolute errors
    of inverse depth, so that most of it is near the camera. This one counts the ratio of predicted to true depth, as
    δ1 and AbsRel do. `LEAST_SHARE` of the map's mean is added to both maps, which limits what the sky and a prediction
    of zero cost.

    Args:
        prediction: inverse depth >= 0 (N, H, W).
        target: inverse depth (N, H, W).
        mask: bool (N, H, W), where the target is known.

    Returns:
        (N,).
    """

    def logarithm(maps: Tensor) -> Tensor:
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32)).masked_fill(~mask, 0.0)
        mean = mean_of_each(maps, mask).clamp(min=MIN_SPREAD).view(-1, 1, 1)
        return (maps.clamp(min=0.0) / mean + LEAST_SHARE).log()

    ratio = logarithm(prediction) - logarithm(target)
    return mean_of_each((ratio - mean_of_each(ratio, mask).view(-1, 1, 1)).abs(), mask)


def feature_alignment_loss(features: Tensor, target: Tensor, tolerance: float = 1.0) -> Tensor:
    """Return the mean of one minus the cosine of corresponding tokens: Depth Anything eq. 9.

    The paper's code for this loss is not released.

    Args:
        features: (N, L, C).
        target: (N, L, C).
        tolerance: tokens with a larger cosine add nothing, so that depth may shape them further. They still count in
            the number of tokens, HW in the equation.

    Returns:
        (N,).
    """
    cosine = torch.cosine_similarity(features.float(), target.float(), dim=-1)
    return _share_of_each(1.0 - cosine, cosine <= tolerance, torch.ones_like(cosine, dtype=torch.bool))
