"""Losses on inverse depth that know neither scale nor shift, on meters, and the alignment of features.

Each gives a loss for each image (N,), 0 where nothing is known of it. What is minimized is the mean over the images of
a step, so that a step learns the same however its images are spread over devices. All compute in float32 at least,
whatever they are given; all are safe on sparse and empty masks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Prediction, target (N, H, W) and mask to a loss for each image (N,)."""

MIN_SPREAD = 1e-6
MIN_DEPTH = 1e-9
"""Meters; far below what means anything, since a prediction that is cut off there would learn no more."""


def normalize(maps: Tensor, mask: Tensor) -> Tensor:
    """Removes each map's own shift and scale: ``(d - median(d)) / mean(|d - median(d)|)`` over its valid pixels.

    Depth Anything (arXiv 2401.10891) eq. 2, 3; MiDaS (TPAMI 2022) eq. 5, 6. The median of an even number of pixels is
    the lower of the two in the middle, as in PyTorch. MiDaS' released code takes the median over the whole map with
    zeros where it is invalid; here it is over valid pixels, as in the equation. ``maps`` and ``mask`` (bool) are
    (N, H, W). Invalid pixels come out as 0, and so does a whole map without valid pixels.
    """
    flat = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(1)
    valid = mask.flatten(1)
    shift = flat.masked_fill(~valid, torch.nan).nanmedian(dim=1, keepdim=True).values.nan_to_num()
    centered = (flat - shift).masked_fill(~valid, 0.0)
    spread = centered.abs().sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return (centered / spread.clamp(min=MIN_SPREAD)).view_as(maps)


def mean_of_each(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over each map's valid pixels (N,); 0 for a map without any."""
    return _share_of_each(values, mask, mask)


def _share_of_each(values: Tensor, counted: Tensor, mask: Tensor) -> Tensor:
    """The sum over each map's counted values, divided by the number of its valid pixels (N,); 0 without any."""
    sums = values.masked_fill(~counted, 0.0).flatten(1).sum(dim=1)
    return sums / mask.flatten(1).sum(dim=1).clamp(min=1)


def affine_invariant_loss(prediction: Tensor, target: Tensor, mask: Tensor, trimmed: float = 0.0) -> Tensor:
    """Mean absolute difference of the normalized maps: Depth Anything eq. 1.

    ``prediction`` and ``target`` are inverse depth (N, H, W); ``mask`` (bool) says where the target is known.
    ``trimmed``: the share of each map's valid pixels that is left out, those with the largest differences, which are
    taken for errors of the target: 0.2 in MiDaS eq. 7, 0.1 in Depth Anything V2 (arXiv 2406.09414) on pseudo-labels.
    As in MiDaS eq. 7 what is left is divided by the number of all valid pixels, not of those that are left. MiDaS
    divides by twice that number, Depth Anything eq. 1 does not. MiDaS' released code sorts the pixels of all images of
    a batch together; here those of each image are sorted, as in the equation.
    """
    difference = (normalize(prediction, mask) - normalize(target, mask)).abs()
    return _share_of_each(difference, _without_largest(difference, mask, trimmed), mask)


def _without_largest(difference: Tensor, mask: Tensor, share: float) -> Tensor:
    """The mask without that share of each map's valid pixels, rounded down, where the difference is largest."""
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
    """Differences of neighboring residuals at several subsamplings: MiDaS eq. 11, R being that of its eq. 5, 6.

    Sharpens edges: a residual that is constant on either side of an edge costs only at the edge. The differences of
    pixels that are both valid are summed, and divided by M, the number of valid pixels. The equation has one M, though
    a subsampling has fewer pixels; MiDaS' released code takes for each the number of its own, and so does this. On a
    sparse mask few pixels have a valid neighbor, and the loss is small. The released code takes M over the whole
    batch; here it is each image's. Depth Anything V2 adds twice this loss to `affine_invariant_loss`.
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
    """A loss of images that are mixed of two: Depth Anything eq. 6 to 8.

    Two images share neither scale nor shift, so that each region is compared by itself; its loss has the weight of its
    area. ``prediction`` (N, H, W) is of the mixed images, ``targets`` and ``masks`` (bool) of the two that they are
    mixed of, ``region`` (bool) says where the first is seen: everywhere in an image that is not mixed.
    """
    parts = zip(targets, masks, (region, ~region), strict=True)
    return sum(
        loss(prediction, target, mask & part) * part.flatten(1).float().mean(dim=1) for target, mask, part in parts
    )


def scale_invariant_log_loss(prediction: Tensor, target: Tensor, mask: Tensor, variance: float = 0.5) -> Tensor:
    """SILog on meters (N, H, W): ``sqrt(mean(g^2) - variance * mean(g)^2)``, g = ln prediction - ln target.

    Eigen et al. (NIPS 2014) eq. 4, with the root that BTS and Depth Anything's metric fine-tuning take. Means are over
    an image; the published code takes them over all that one GPU happens to hold. A prediction may underflow: it
    counts as `MIN_DEPTH` then.
    """
    kind = torch.promote_types(prediction.dtype, torch.float32)
    known = mask & (target > 0)
    meters = torch.where(known, prediction.to(kind).clamp(min=MIN_DEPTH), 1.0)
    ratio = meters.log() - torch.where(known, target.to(kind), 1.0).log()
    squared = mean_of_each(ratio.square(), known) - variance * mean_of_each(ratio, known).square()
    return squared.clamp(min=MIN_SPREAD**2).sqrt() * known.flatten(1).any(dim=1)


def scale_invariant_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of inverse depth (N, H, W), each map divided by its mean over valid pixels.

    Not in the paper, whose labels do not all know their shift. Where they do, it teaches which value is infinitely far.
    """

    def divided_by_mean(maps: Tensor) -> Tensor:
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        return maps / mean_of_each(maps, mask).clamp(min=MIN_SPREAD).view(-1, 1, 1)

    return mean_of_each((divided_by_mean(prediction) - divided_by_mean(target)).abs(), mask)


def feature_alignment_loss(features: Tensor, target: Tensor, tolerance: float = 1.0) -> Tensor:
    """One minus the cosine of corresponding tokens (N, L, C), divided by the number of tokens: Depth Anything eq. 9.

    Tokens whose cosine exceeds ``tolerance`` are left alone, so that depth may shape them further: they add nothing,
    but are among those that are divided by, HW in the equation. The paper's code for it is not released.
    """
    cosine = torch.cosine_similarity(features.float(), target.float(), dim=-1)
    return _share_of_each(1.0 - cosine, cosine <= tolerance, torch.ones_like(cosine, dtype=torch.bool))
