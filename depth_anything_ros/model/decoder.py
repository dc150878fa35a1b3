"""The decoder of DPT (arXiv 2103.13413) as in Depth Anything, with its parameter names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_anything_ros.zoo.encoders import PATCH_SIZE, EncoderConfiguration

OUTPUT_HIDDEN = 32


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly with aligned corners, as in the training of the published weights.

    Args:
        maps: (N, C, h, w).
        size: (height, width) of the result.
    """
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)


class ResidualConvolutionUnit(nn.Module):
    """Two 3 x 3 convolutions, each after a ReLU, with a skip connection."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.conv2(F.relu(self.conv1(F.relu(maps))))


class FeatureFusion(nn.Module):
    """A module that adds a finer level to the path and resizes the sum to the next level's size."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        self.resConfUnit1 = ResidualConvolutionUnit(features)
        self.resConfUnit2 = ResidualConvolutionUnit(features)

    def forward(self, path: Tensor, skip: Tensor | None, size: Sequence[int]) -> Tensor:
        """Fuse one level.

        Args:
            path: (N, features, h, w) from the coarser levels.
            skip: the finer level, of the same shape; None at the coarsest.
            size: (height, width) of the result.
        """
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        return self.out_conv(resize(self.resConfUnit2(path), size))


class FusionBlocks(nn.Module):
    """Levels projected to one width, and the modules that fuse them from the coarsest to the finest."""

    def __init__(self, features: int, out_channels: Sequence[int]) -> None:
        super().__init__()
        for level, channels in enumerate(out_channels, start=1):
            setattr(self, f"layer{level}_rn", nn.Conv2d(channels, features, 3, padding=1, bias=False))
        for level in range(1, 5):
            setattr(self, f"refinenet{level}", FeatureFusion(features))
        # The coarsest level adds to no path, so this unit never runs. It remains for the checkpoints' keys.
        self.refinenet4.resConfUnit1.requires_grad_(False)


class Scratch(FusionBlocks):
    """The parts that DPT trains from scratch, under the name in its checkpoints."""

    def __init__(self, features: int, out_channels: Sequence[int], metric: bool) -> None:
        super().__init__(features, out_channels)
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, OUTPUT_HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(OUTPUT_HIDDEN, 1, 1),
            nn.Sigmoid() if metric else nn.ReLU(),
        )

    def output_chain(self) -> tuple[nn.Conv2d, ...]:
        """Return the last convolutions, in order: only ReLU and resizing are between them."""
        return self.refinenet1.out_conv, self.output_conv1, self.output_conv2[0], self.output_conv2[2]


class DPTNeck(nn.Module):
    """A module that fuses four tapped feature maps into one. A subclass sets ``scratch``."""

    scratch: FusionBlocks

    def __init__(self, configuration: EncoderConfiguration) -> None:
        super().__init__()
        channels = configuration.out_channels
        self.projects = nn.ModuleList(nn.Conv2d(configuration.dimension, count, 1) for count in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, stride=2, padding=1),
            ]
        )

    def fuse(self, tapped: Sequence[Tensor], rows: int, columns: int, enlarged: int = 1) -> Tensor:
        """Fuse the patch tokens of four taps into one feature map.

        Args:
            tapped: four tensors (N, rows * columns, dimension).
            rows: of the patch grid.
            columns: of the patch grid.
            enlarged: factor of the last resize.

        Returns:
            (N, features, H, W); H and W are ``enlarged`` times those of the finest level, which is 4 times as fine
            as the patch grid in DPT.
        """
        scratch = self.scratch
        levels = []
        for index, tokens in enumerate(tapped):
            maps = tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)
            maps = self.resize_layers[index](self.projects[index](maps))
            levels.append(getattr(scratch, f"layer{index + 1}_rn")(maps))
        path = scratch.refinenet4(levels[3], None, levels[2].shape[-2:])
        path = scratch.refinenet3(path, levels[2], levels[1].shape[-2:])
        path = scratch.refinenet2(path, levels[1], levels[0].shape[-2:])
        return scratch.refinenet1(path, levels[0], [enlarged * side for side in levels[0].shape[-2:]])


class DPTDecoder(DPTNeck):
    """A decoder from four tapped feature maps to one map per image: inverse depth >= 0, or a fraction of max_depth."""

    def __init__(self, configuration: EncoderConfiguration, metric: bool) -> None:
        super().__init__(configuration)
        self.scratch = Scratch(configuration.features, configuration.out_channels, metric)

    def forward(self, tapped: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        """Decode the patch tokens of four taps.

        Args:
            tapped: four tensors (N, rows * columns, dimension).
            rows: of the patch grid.
            columns: of the patch grid.

        Returns:
            (N, 1, 14 * rows, 14 * columns): inverse depth >= 0, or a fraction 0..1 of the maximum depth.
        """
        scratch = self.scratch
        path = self.fuse(tapped, rows, columns, enlarged=2)
        path = resize(scratch.output_conv1(path), (rows * PATCH_SIZE, columns * PATCH_SIZE))
        hidden = scratch.output_conv2[:2](path)
        # bfloat16 has eight significant bits, too few for depth, so the last layer keeps full precision under autocast.
        with torch.autocast(hidden.device.type, enabled=False):
            return scratch.output_conv2[2:](hidden.to(scratch.output_conv2[2].weight.dtype))
