"""Cut a smaller encoder out of a pretrained larger one, so that it starts with what the larger one has learned.

The residual stream of a pre-norm transformer may be rotated freely if every matrix that reads or writes it is rotated
too. After rotation to its principal components, most of its energy is in few channels, and the rest can be cut off (the
idea of SliceGPT, arXiv 2401.15024). Heads and hidden units are ranked by how much they write to the stream, and the
weakest are dropped. Training soon recovers the loss by aligning features with the larger encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor

from depth_anything_ros.model.encoder import Block, VisionTransformer


def centered_basis(dimension: int) -> Tensor:
    """Return orthonormal columns (dimension, dimension - 1) that are orthogonal to the all-ones vector.

    LayerNorm subtracts the mean over the channels, which removes exactly the all-ones direction. A stream without that
    direction passes LayerNorm as it would pass a division by its length.
    """
    ones = torch.ones(dimension, 1, dtype=torch.float64)
    basis, _ = torch.linalg.qr(torch.cat([ones, torch.eye(dimension, dtype=torch.float64)[:, : dimension - 1]], dim=1))
    return basis[:, 1:]


@torch.no_grad()
def stream_covariance(encoder: VisionTransformer, images: Tensor, depth: int) -> Tensor:
    """Return the second moment (D, D) of the mean-free residual stream, averaged over depths.

    The depths are after embedding and after each of the first blocks. All count equally: tokens are scaled to unit
    length first, as LayerNorm would.

    Args:
        encoder: the encoder.
        images: normalized, (N, 3, H, W).
        depth: number of blocks.

    Returns:
        float64 (D, D).
    """
    tokens = encoder.embed(images)
    total = torch.zeros(tokens.shape[-1], tokens.shape[-1], dtype=torch.float64)
    for index in range(depth + 1):
        centered = (tokens - tokens.mean(dim=-1, keepdim=True)).flatten(0, 1).double()
        centered = centered / centered.norm(dim=-1, keepdim=True).clamp(min=1e-9)
        total += centered.T @ centered / len(centered)
        if index < depth:
            tokens = encoder.blocks[index](tokens)
    return total / (depth + 1)


def slicing_matrix(covariance: Tensor, dimension: int) -> Tensor:
    """Return the map from the large stream to the small one: the strongest mean-free components.

    Args:
        covariance: float64 (D, D), from `stream_covariance`.
        dimension: channels of the small stream.

    Returns:
        float64 (D, dimension).
    """
    _, vectors = torch.linalg.eigh(covariance)
    strongest = vectors[:, -(dimension - 1) :].flip(1)
    strongest = strongest - strongest.mean(dim=0, keepdim=True)
    return strongest @ centered_basis(dimension).T


@torch.no_grad()
def slice_encoder(large: VisionTransformer, small: VisionTransformer, images: Tensor) -> Tensor:
    """Fill a small encoder from the first blocks of a large one.

    Args:
        large: the large encoder.
        small: the small encoder, changed in place.
        images: normalized, (N, 3, H, W); they show which directions, heads and hidden units matter.

    Returns:
        The slicing matrix, float32 (D_large, D_small).
    """
    depth = len(small.blocks)
    width = small.pos_embed.shape[-1]
    covariance = stream_covariance(large, images, depth)
    matrix = slicing_matrix(covariance, width).float()
    small.patch_embed.proj.weight.copy_(torch.einsum("dcij,ds->scij", large.patch_embed.proj.weight, matrix))
    small.patch_embed.proj.bias.copy_(large.patch_embed.proj.bias @ matrix)
    small.cls_token.copy_(large.cls_token @ matrix)
    small.pos_embed.copy_(large.pos_embed @ matrix)
    tokens = large.embed(images)
    for source, target in zip(large.blocks, small.blocks, strict=False):
        _slice_block(source, target, matrix, tokens)
        tokens = source(tokens)
    _slice_norm(small.norm)
    return matrix


def _slice_norm(norm: torch.nn.LayerNorm) -> None:
    """Reset a norm's gain and shift, which are folded into the next matrix."""
    norm.weight.fill_(1.0)
    norm.bias.zero_()


def _fold_norm(norm: torch.nn.LayerNorm, linear: torch.nn.Linear, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the reader's weight and bias for a small stream whose LayerNorm has no gain and no shift.

    LayerNorm scales the stream to the square root of its channel count, which differs between the two encoders.
    """
    length = (matrix.shape[0] / matrix.shape[1]) ** 0.5
    weight = (linear.weight * norm.weight) @ matrix * length
    return weight, linear.bias + linear.weight @ norm.bias


def _strongest(energy: Tensor, count: int) -> Tensor:
    return energy.topk(count).indices.sort().values


def _slice_block(source: Block, target: Block, matrix: Tensor, tokens: Tensor) -> None:
    width, kept_width = matrix.shape
    # Attention: keep the heads that write the most.
    inner = source.attn
    heads, kept_heads = inner.heads, target.attn.heads
    size = width // heads
    normed = source.norm1(tokens)
    batch, length, _ = normed.shape
    query, key, value = inner.qkv(normed).reshape(batch, length, 3, heads, size).permute(2, 0, 3, 1, 4)
    mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    writer = (source.ls1.gamma[:, None] * inner.proj.weight).reshape(width, heads, size)
    energy = torch.einsum("bhls,dhs->bhld", mixed, writer).square().mean(dim=(0, 2, 3))
    chosen = _strongest(energy, kept_heads)
    mean_lost = torch.einsum("hs,dhs->d", mixed.mean(dim=(0, 2)), writer) - torch.einsum(
        "hs,dhs->d", mixed.mean(dim=(0, 2))[chosen], writer[:, chosen]
    )
    weight, bias = _fold_norm(source.norm1, inner.qkv, matrix)
    target.attn.qkv.weight.copy_(weight.reshape(3, heads, size, kept_width)[:, chosen].reshape(-1, kept_width))
    target.attn.qkv.bias.copy_(bias.reshape(3, heads, size)[:, chosen].reshape(-1))
    target.attn.proj.weight.copy_(matrix.T @ writer[:, chosen].reshape(width, -1))
    target.attn.proj.bias.copy_((source.ls1.gamma * inner.proj.bias + mean_lost) @ matrix)
    # Feed-forward: keep the hidden units that write the most; add the mean of the others to the bias.
    tokens = tokens + source.ls1(inner.proj(mixed.transpose(1, 2).reshape(batch, length, width)))
    hidden = torch.nn.functional.gelu(source.mlp.fc1(source.norm2(tokens))).flatten(0, 1)
    writer = source.ls2.gamma[:, None] * source.mlp.fc2.weight
    energy = hidden.square().mean(dim=0) * writer.square().sum(dim=0)
    chosen = _strongest(energy, target.mlp.fc1.out_features)
    left = torch.ones(len(energy), dtype=torch.bool)
    left[chosen] = False
    weight, bias = _fold_norm(source.norm2, source.mlp.fc1, matrix)
    target.mlp.fc1.weight.copy_(weight[chosen])
    target.mlp.fc1.bias.copy_(bias[chosen])
    target.mlp.fc2.weight.copy_(matrix.T @ writer[:, chosen])
    lost = writer[:, left] @ hidden.mean(dim=0)[left]
    target.mlp.fc2.bias.copy_((source.ls2.gamma * source.mlp.fc2.bias + lost) @ matrix)
    for norm in (target.norm1, target.norm2):
        _slice_norm(norm)
    for scale in (target.ls1, target.ls2):
        scale.gamma.fill_(1.0)
