"""The vision transformer of DINOv2 (arXiv 2304.07193) as in Depth Anything, with its parameter names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_anything_ros.zoo.encoders import PATCH_SIZE, POSITION_GRID, EncoderConfiguration


def patch_grid(images: Tensor) -> tuple[int, int]:
    """Return the rows and columns of patches in images (N, 3, H, W). Raises ValueError unless sides divide by 14."""
    height, width = images.shape[-2:]
    if height % PATCH_SIZE or width % PATCH_SIZE:
        raise ValueError(f"input is {height}x{width}: both sides must be multiples of {PATCH_SIZE}")
    return height // PATCH_SIZE, width // PATCH_SIZE


class PatchEmbedding(nn.Module):
    """A layer that embeds each 14 x 14 patch of (N, 3, H, W): (N, H/14 * W/14, dimension)."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dimension, PATCH_SIZE, stride=PATCH_SIZE)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with one matrix for query, key and value."""

    def __init__(self, dimension: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dimension, 3 * dimension)
        self.proj = nn.Linear(dimension, dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, dimension = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, length, 3, self.heads, dimension // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, dimension))


class LayerScale(nn.Module):
    """A learned gain per channel on a residual branch."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dimension))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class Mlp(nn.Module):
    """A two-layer feed-forward network with GELU, whose hidden layer is four times as wide."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dimension, 4 * dimension)
        self.fc2 = nn.Linear(4 * dimension, dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class SwiGLU(nn.Module):
    """The gated feed-forward network (arXiv 2002.05202) of the giant size; 8/3 as wide, rounded up to 8."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        width = (int(4 * dimension * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(dimension, 2 * width)
        self.w3 = nn.Linear(width, dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        gate, value = self.w12(tokens).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, configuration: EncoderConfiguration) -> None:
        super().__init__()
        dimension = configuration.dimension
        self.norm1 = nn.LayerNorm(dimension, eps=1e-6)
        self.attn = Attention(dimension, configuration.heads)
        self.ls1 = LayerScale(dimension)
        self.norm2 = nn.LayerNorm(dimension, eps=1e-6)
        self.mlp = SwiGLU(dimension) if configuration.swiglu else Mlp(dimension)
        self.ls2 = LayerScale(dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class VisionTransformer(nn.Module):
    """The encoder, from images to the normalized feature maps of the tapped blocks."""

    def __init__(self, configuration: EncoderConfiguration) -> None:
        super().__init__()
        dimension = configuration.dimension
        self.patch_embed = PatchEmbedding(dimension)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dimension))
        self.pos_embed = nn.Parameter(torch.zeros(1, POSITION_GRID**2 + 1, dimension))
        # Only DINOv2's training uses it. It exists so that checkpoints load completely, frozen so that DDP ignores it.
        self.mask_token = nn.Parameter(torch.zeros(1, dimension), requires_grad=False)
        self.blocks = nn.ModuleList(Block(configuration) for _ in range(configuration.depth))
        self.norm = nn.LayerNorm(dimension, eps=1e-6)
        self._initialize()

    def _initialize(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def position_embedding(self, rows: int, columns: int) -> Tensor:
        """Return the table (1, 1 + rows * columns, dimension) for a grid of patches.

        This is DINOv2's rule. The training grid uses the table unchanged. Others use bicubic interpolation without
        antialiasing in float32, with scale factors ``(side + 0.1) / 37``. The 0.1 guards against rounding and shifts
        the samples very slightly.

        Args:
            rows: of the patch grid.
            columns: of the patch grid.
        """
        if rows == columns == POSITION_GRID:
            return self.pos_embed
        table = self.pos_embed.float()
        grid = table[:, 1:].reshape(1, POSITION_GRID, POSITION_GRID, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(
            grid,
            scale_factor=((rows + 0.1) / POSITION_GRID, (columns + 0.1) / POSITION_GRID),
            mode="bicubic",
            antialias=False,
        )
        if grid.shape[-2:] != (rows, columns):
            raise RuntimeError(f"position embedding has shape {tuple(grid.shape[-2:])}, must be {(rows, columns)}")
        return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], dim=1).to(self.pos_embed.dtype)

    def embed(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, H, W), sides multiples of 14, as tokens (N, 1 + H/14 * W/14, dimension)."""
        rows, columns = (side // PATCH_SIZE for side in images.shape[-2:])
        patches = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return tokens + self.position_embedding(rows, columns)

    def forward(self, images: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """Return the patch tokens after each tapped block, without the class token.

        Like in Depth Anything, the final LayerNorm is applied to every tapped map.

        Args:
            images: (N, 3, H, W), sides multiples of 14.
            taps: indices of the tapped blocks.

        Returns:
            One tensor (N, H/14 * W/14, dimension) per tap.
        """
        tokens = self.embed(images)
        tapped = {}
        for index, block in enumerate(self.blocks[: max(taps) + 1]):
            tokens = block(tokens)
            if index in taps:
                tapped[index] = self.norm(tokens)[:, 1:]
        return [tapped[index] for index in taps]
