"""The network in the form for export: the same function of the same weights, written for inference.

Code for training stays in `model`. Code that makes an inference engine faster is here. The graph takes raw pixels,
every constant factor moves into an adjacent weight, and sizes are constants. So the graph computes no shapes except
the batch size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_anything_ros.model.decoder import FeatureFusion, resize
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.encoder import Attention, Block, LayerScale, SwiGLU, VisionTransformer
from depth_anything_ros.zoo.encoders import PATCH_SIZE, POSITION_GRID
from depth_anything_ros.zoo.record import ModelRecord


class InferenceGraph(nn.Module):
    """A module from uint8 RGB images (N, H, W, 3) of one fixed size to maps (N, H, W), equal to `DepthAnything`.

    Args:
        network: the trained network; its parameters are used, not copied.
        record: gives the mean and standard deviation of the normalization.
        size: (height, width), multiples of 14.

    Raises:
        ValueError: a side is not a multiple of 14.
    """

    def __init__(self, network: DepthAnything, record: ModelRecord, size: tuple[int, int]) -> None:
        super().__init__()
        height, width = size
        if height < PATCH_SIZE or width < PATCH_SIZE or height % PATCH_SIZE or width % PATCH_SIZE:
            raise ValueError(f"size is {height}x{width}: both sides must be positive multiples of {PATCH_SIZE}")
        self.network = network
        self.size = size
        self.rows, self.columns = network.configuration.token_grid(height, width)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (record.mean, record.std))
        self.register_buffer("pixel_gain", 1 / (255 * std))
        self.register_buffer("pixel_offset", mean / std)
        self.register_buffer("row_weights", bicubic_weights(self.rows))
        self.register_buffer("column_weights", bicubic_weights(self.columns))
        self.register_buffer("query_gain", _query_gain(network.pretrained.blocks[0].attn))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 RGB (N, H, W, 3) to float32 (N, H, W)."""
        encoder = self.network.pretrained
        # The cast comes before the transpose because TensorRT does not transpose bytes.
        pixels = images.to(encoder.patch_embed.proj.weight.dtype).permute(0, 3, 1, 2)
        tokens = self._embed(encoder, pixels)
        tapped = {}
        for index, block in enumerate(encoder.blocks[: max(self.network.taps) + 1]):
            tokens = self._block(block, tokens)
            if index in self.network.taps:
                tapped[index] = encoder.norm(tokens)[:, 1:]
        decode = self._decode_with_skips if self.network.configuration.skips else self._decode
        maps = decode([tapped[index] for index in self.network.taps], pixels).squeeze(1)
        return maps if self.network.max_depth is None else maps * self.network.max_depth

    def _embed(self, encoder: VisionTransformer, pixels: Tensor) -> Tensor:
        """Embed raw pixels as tokens. The normalization (x / 255 - mean) / std is affine, like the patch convolution.

        Without padding, the two are exactly one convolution.
        """
        convolution = encoder.patch_embed.proj
        weight = convolution.weight * self.pixel_gain
        bias = convolution.bias - (convolution.weight * self.pixel_offset).sum((1, 2, 3))
        seen = (PATCH_SIZE * self.rows, PATCH_SIZE * self.columns)
        if seen != self.size:
            pixels = F.interpolate(pixels, seen, mode="bilinear", align_corners=False)
        patches = F.conv2d(pixels, weight, bias, stride=PATCH_SIZE)
        patches = patches.reshape(-1, convolution.out_channels, self.rows * self.columns).transpose(1, 2)
        # Adding the class token and its position to a row of zeros needs no batch size.
        tokens = F.pad(patches, (0, 0, 1, 0))
        return tokens + self._constant_tokens(encoder)

    def _constant_tokens(self, encoder: VisionTransformer) -> Tensor:
        """Return class token and position embedding, (1, 1 + rows * columns, dimension).

        Bicubic resizing is separable: one matrix for the rows and one for the columns. They are far smaller in a file
        than the resized table.
        """
        table = encoder.pos_embed
        first = encoder.cls_token + table[:, :1]
        if self.rows == self.columns == POSITION_GRID:
            return torch.cat([first, table[:, 1:]], dim=1)
        (dimension,) = encoder.norm.normalized_shape
        grid = self.row_weights @ table[0, 1:].reshape(POSITION_GRID, POSITION_GRID * dimension)
        grid = self.column_weights @ grid.reshape(self.rows, POSITION_GRID, dimension)
        return torch.cat([first, grid.reshape(1, self.rows * self.columns, dimension)], dim=1)

    def _block(self, block: Block, tokens: Tensor) -> Tensor:
        tokens = tokens + self._attend(block.attn, block.ls1, block.norm1(tokens))
        hidden = block.norm2(tokens)
        if isinstance(block.mlp, SwiGLU):
            gate, value = block.mlp.w12(hidden).chunk(2, dim=-1)
            return tokens + _scaled_linear(block.mlp.w3, block.ls2, F.silu(gate) * value)
        return tokens + _scaled_linear(block.mlp.fc2, block.ls2, F.gelu(block.mlp.fc1(hidden)))

    def _attend(self, attention: Attention, scale: LayerScale, tokens: Tensor) -> Tensor:
        """Attend without the fused operator, whose export splits its factor into two multiplications of tokens."""
        length = 1 + self.rows * self.columns
        dimension = attention.qkv.in_features
        weight = attention.qkv.weight * self.query_gain[:, None]
        qkv = F.linear(tokens, weight, attention.qkv.bias * self.query_gain)
        qkv = qkv.reshape(-1, length, 3, attention.heads, dimension // attention.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        mixed = torch.softmax(query @ key.transpose(-2, -1), dim=-1) @ value
        return _scaled_linear(attention.proj, scale, mixed.transpose(1, 2).reshape(-1, length, dimension))

    def _levels(self, tapped: Sequence[Tensor]) -> list[Tensor]:
        """Return the tapped tokens as maps of one width, from the finest to the coarsest."""
        head = self.network.depth_head
        levels = []
        for index, tokens in enumerate(tapped):
            maps = tokens.transpose(1, 2).reshape(-1, head.projects[index].in_channels, self.rows, self.columns)
            maps = head.resize_layers[index](head.projects[index](maps))
            levels.append(getattr(head.scratch, f"layer{index + 1}_rn")(maps))
        return levels

    def _decode(self, tapped: Sequence[Tensor], pixels: Tensor) -> Tensor:
        """Return maps (N, 1, H, W) like `DPTDecoder`."""
        scratch, levels = self.network.depth_head.scratch, self._levels(tapped)
        halved = self.rows % 2 == 0 and self.columns % 2 == 0
        path = _fuse(scratch.refinenet4, None, levels[3], 2.0 if halved else (self.rows, self.columns))
        path = _fuse(scratch.refinenet3, path, levels[2], 2.0)
        path = _fuse(scratch.refinenet2, path, levels[1], 2.0)
        path = _fuse(scratch.refinenet1, path, levels[0], 2.0)
        path = _enlarge(scratch.output_conv1(path), PATCH_SIZE / 8)
        return scratch.output_conv2(path)

    def _decode_with_skips(self, tapped: Sequence[Tensor], pixels: Tensor) -> Tensor:
        """Return maps (N, 1, H, W) like `SkipDecoder`, with resizes to constant sizes."""
        head, levels = self.network.depth_head, self._levels(tapped)
        scratch, grid = head.scratch, (self.rows, self.columns)
        sizes = [self.size]
        for _ in range(3):
            sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
        path = _fuse(scratch.refinenet4, None, levels[3], grid)
        path = _fuse(scratch.refinenet3, path, levels[2], 1.0)
        path = _fuse(scratch.refinenet2, path, levels[1], 2.0)
        path = _fuse(scratch.refinenet1, path, levels[0], 1.0)
        stem = head.stem(pixels * self.pixel_gain - self.pixel_offset)
        for refinement, skip, size in zip(
            (scratch.refine8, scratch.refine4, scratch.refine2), reversed(stem), reversed(sizes[1:]), strict=True
        ):
            path = refinement.out_conv(refinement.unit(_enlarge(path, size) + refinement.skip(skip)))
        return _enlarge(scratch.output_conv2(path), self.size)


def bicubic_weights(side: int) -> Tensor:
    """Return weights (side, 37) that resize one axis of the position embedding like DINOv2.

    They come from interpolating unit vectors: see `VisionTransformer.position_embedding`.
    """
    units = torch.eye(POSITION_GRID).view(1, POSITION_GRID, POSITION_GRID, 1).expand(-1, -1, -1, POSITION_GRID)
    factor = (side + 0.1) / POSITION_GRID
    resized = F.interpolate(units, scale_factor=(factor, 1.0), mode="bicubic", antialias=False)
    return resized[0, :, :, 0].T.contiguous()


def _query_gain(attention: Attention) -> Tensor:
    """Return factors (3 * dimension,) for the rows of the qkv matrix: 1 / sqrt(head width) for queries, else 1."""
    dimension = attention.proj.in_features
    gain = torch.ones(3 * dimension)
    gain[:dimension] = (dimension // attention.heads) ** -0.5
    return gain


def _scaled_linear(linear: nn.Linear, scale: LayerScale, tokens: Tensor) -> Tensor:
    """Apply a linear layer and its LayerScale as one linear layer."""
    return F.linear(tokens, linear.weight * scale.gamma[:, None], linear.bias * scale.gamma)


def _fuse(fusion: FeatureFusion, path: Tensor | None, skip: Tensor, target: float | tuple[int, int]) -> Tensor:
    """Apply `FeatureFusion`, but with its 1 x 1 convolution before the resize: the two commute, and this is cheaper."""
    path = skip if path is None else path + fusion.resConfUnit1(skip)
    return _enlarge(fusion.out_conv(fusion.resConfUnit2(path)), target)


def _enlarge(maps: Tensor, target: float | tuple[int, int]) -> Tensor:
    """Apply the decoder's `resize`, with a factor if it is exact, since a graph stores a factor as a constant."""
    if isinstance(target, tuple):
        return resize(maps, target)
    if target == 1.0:
        return maps
    return F.interpolate(maps, scale_factor=target, mode="bilinear", align_corners=True)
