"""Losses on inverse depth that know neither scale nor shift, and the alignment of features.

All compute in float32 at least, whatever they are given; all are safe on sparse and empty masks.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_SPREAD = 1e-6


def normalise(maps: Tensor, mask: Tensor) -> Tensor:
    """Removes each map's own shift and scale: ``(d - median(d)) / mean(|d - median(d)|)`` over its valid pixels.

    Depth Anything (arXiv 2401.10891) eq. 2, 3. ``maps`` and ``mask`` (bool) are (N, H, W). Invalid pixels come out
    as 0, and so does a whole map without valid pixels.
    """
    flat = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(1)
    valid = mask.flatten(1)
    shift = flat.masked_fill(~valid, torch.nan).nanmedian(dim=1, keepdim=True).values.nan_to_num()
    centred = (flat - shift).masked_fill(~valid, 0.0)
    spread = centred.abs().sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return (centred / spread.clamp(min=SMALLEST_SPREAD)).view_as(maps)


def mean_over_valid(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over each map's valid pixels, then over the maps that have any; 0 where none has."""
    counts = mask.flatten(1).sum(dim=1)
    sums = values.masked_fill(~mask, 0.0).flatten(1).sum(dim=1)
    return (sums / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)


def affine_invariant_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of the normalised maps: Depth Anything eq. 1.

    ``prediction`` and ``target`` are inverse depth (N, H, W); ``mask`` (bool) says where the target is known.
    """
    return mean_over_valid((normalise(prediction, mask) - normalise(target, mask)).abs(), mask)


def scale_invariant_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of inverse depth (N, H, W), each map divided by its mean over valid pixels.

    Not in the paper, whose labels do not all know their shift. Where they do, it teaches which value is infinitely far.
    """

    def divided_by_mean(maps: Tensor) -> Tensor:
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        sums = maps.masked_fill(~mask, 0.0).flatten(1).sum(dim=1)
        mean = sums / mask.flatten(1).sum(dim=1).clamp(min=1)
        return maps / mean.clamp(min=SMALLEST_SPREAD).view(-1, 1, 1)

    return mean_over_valid((divided_by_mean(prediction) - divided_by_mean(target)).abs(), mask)


def gradient_matching_loss(prediction: Tensor, target: Tensor, mask: Tensor, scales: int = 4) -> Tensor:
    """Differences of neighbouring residuals at several subsamplings: MiDaS (TPAMI 2022) eq. 11.

    Sharpens edges: a residual that is constant on either side of an edge costs only at the edge.
    """
    residual = normalise(prediction, mask) - normalise(target, mask)
    total = residual.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        coarse, known = residual[:, ::step, ::step], mask[:, ::step, ::step]
        for axis in (1, 2):
            length = coarse.shape[axis] - 1
            both = known.narrow(axis, 0, length) & known.narrow(axis, 1, length)
            total = total + mean_over_valid(coarse.diff(dim=axis).abs(), both)
    return total


def feature_alignment_loss(features: Tensor, target: Tensor, tolerance: float = 1.0) -> Tensor:
    """One minus the cosine of corresponding tokens (N, L, C): Depth Anything eq. 9.

    Tokens whose cosine exceeds ``tolerance`` are left alone, so that depth may shape them further.
    """
    cosine = torch.cosine_similarity(features.float(), target.float(), dim=-1)
    off = cosine <= tolerance
    return mean_over_valid(1.0 - cosine, off)
