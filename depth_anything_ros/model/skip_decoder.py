"""A decoder with convolutional skips from the image: the transformer gives the layout, the skips the edges.

The transformer sees a smaller image (`encoders.EncoderConfiguration.patch`), so that a token covers more pixels. A stem
of convolutions sees the whole image, and its maps at strides 8, 4 and 2 refine what DPT's fusion makes of the tokens.
The map is computed at stride 2 and enlarged.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_anything_ros.model.decoder import DPTNeck, FusionBlocks, ResidualConvolutionUnit, resize
from depth_anything_ros.zoo.encoders import EncoderConfiguration


class ConvolutionalStem(nn.Module):
    """Maps of an image at strides 2, 4 and 8.

    Args:
        channels: of the three maps.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        second, fourth, eighth = channels
        self.stride2 = nn.Conv2d(3, second, 3, stride=2, padding=1)
        self.stride4 = nn.Conv2d(second, fourth, 3, stride=2, padding=1)
        self.unit4 = ResidualConvolutionUnit(fourth)
        self.stride8 = nn.Conv2d(fourth, eighth, 3, stride=2, padding=1)
        self.unit8 = ResidualConvolutionUnit(eighth)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return maps (N, channels, H/2, W/2), then of H/4 and H/8, rounded up, of normalized images (N, 3, H, W)."""
        second = F.relu(self.stride2(images))
        fourth = self.unit4(self.stride4(second))
        return second, fourth, self.unit8(self.stride8(F.relu(fourth)))


class Refinement(nn.Module):
    """A module that adds a stem's map to the path, and projects the sum to the width of the next finer map.

    Args:
        stem: channels of the stem's map.
        features: channels of the path.
        out: channels of the result.
    """

    def __init__(self, stem: int, features: int, out: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(stem, features, 3, padding=1)
        self.unit = ResidualConvolutionUnit(features)
        self.out_conv = nn.Conv2d(features, out, 1)

    def forward(self, path: Tensor, stem: Tensor) -> Tensor:
        """Return (N, out, H, W) from the path, enlarged to the stem's size here, and the stem's map (N, stem, H, W)."""
        return self.out_conv(self.unit(resize(path, stem.shape[-2:]) + self.skip(stem)))


class SkipHead(FusionBlocks):
    """The parts that are trained from scratch, under the name that they have in every decoder."""

    def __init__(self, configuration: EncoderConfiguration, metric: bool) -> None:
        super().__init__(configuration.features, configuration.out_channels)
        second, fourth, eighth = configuration.skips
        features = configuration.features
        self.refine8 = Refinement(eighth, features, fourth)
        self.refine4 = Refinement(fourth, fourth, second)
        self.refine2 = Refinement(second, second, second)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(second, second, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(second, 1, 1),
            nn.Sigmoid() if metric else nn.ReLU(),
        )

    def output_chain(self) -> tuple[nn.Conv2d, ...]:
        """Return the last convolutions, in order: only ReLU and resizing are between them."""
        return self.refine2.out_conv, self.output_conv2[0], self.output_conv2[2]


class SkipDecoder(DPTNeck):
    """A decoder from four tapped feature maps and the image to one map: inverse depth >= 0, or a share of max_depth."""

    def __init__(self, configuration: EncoderConfiguration, metric: bool) -> None:
        super().__init__(configuration)
        channels = configuration.out_channels
        self.resize_layers[0] = nn.ConvTranspose2d(channels[0], channels[0], 2, stride=2)
        self.resize_layers[1] = nn.Identity()
        self.stem = ConvolutionalStem(configuration.skips)
        self.scratch = SkipHead(configuration, metric)

    def forward(self, tapped: Sequence[Tensor], rows: int, columns: int, images: Tensor) -> Tensor:
        """Decode the patch tokens of four taps.

        Args:
            tapped: four tensors (N, rows * columns, dimension).
            rows: of the grid of tokens.
            columns: of the grid of tokens.
            images: normalized, (N, 3, H, W).

        Returns:
            (N, 1, H, W): inverse depth >= 0, or a fraction 0..1 of the maximum depth.
        """
        scratch = self.scratch
        second, fourth, eighth = self.stem(images)
        path = self.fuse(tapped, rows, columns)
        path = scratch.refine8(path, eighth)
        path = scratch.refine4(path, fourth)
        path = scratch.refine2(path, second)
        hidden = scratch.output_conv2[:2](path)
        # As in `DPTDecoder`: eight significant bits are too few for depth.
        with torch.autocast(hidden.device.type, enabled=False):
            maps = scratch.output_conv2[2:](hidden.to(scratch.output_conv2[2].weight.dtype))
        return resize(maps, images.shape[-2:])
