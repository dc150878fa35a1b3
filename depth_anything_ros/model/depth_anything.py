"""Depth Anything (arXiv 2401.10891, 2406.09414): a DINOv2 encoder and a DPT decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from depth_anything_ros.model.decoder import DPTDecoder
from depth_anything_ros.model.encoder import VisionTransformer, patch_grid
from depth_anything_ros.model.skip_decoder import SkipDecoder
from depth_anything_ros.zoo.encoders import ENCODERS, PATCH_SIZE, encoder_taps


class DepthAnything(nn.Module):
    """The network, with the official checkpoints' parameter names.

    Args:
        encoder: size, a key of `ENCODERS`.
        version: "v1" or "v2". It determines the taps and cannot be inferred from weights.
        max_depth: None for a relative model. For a metric model, the factor in meters on the head's sigmoid; it belongs
            to the weights and must not change.
    """

    def __init__(self, encoder: str, version: str, max_depth: float | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.version = version
        self.max_depth = max_depth
        self.taps = encoder_taps(encoder, version)
        self.pretrained = VisionTransformer(ENCODERS[encoder])
        self.configuration = ENCODERS[encoder]
        decoder = SkipDecoder if self.configuration.skips else DPTDecoder
        self.depth_head = decoder(self.configuration, metric=max_depth is not None)

    @property
    def decoder(self) -> DPTDecoder | SkipDecoder:
        """The decoder, by the attribute name that every network has."""
        return self.depth_head

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized RGB (N, 3, H, W) to (N, H, W): inverse depth of unknown scale and shift, or meters.

        Raises:
            ValueError: a side is not a multiple of 14.
        """
        maps = self.decode(self.encode(images), images)
        return maps if self.max_depth is None else maps * self.max_depth

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the patch tokens of the taps, (N, L, C) each, of normalized images (N, 3, H, W)."""
        return self.pretrained(self.shrink(images), self.taps)

    def decode(self, tapped: Sequence[Tensor], images: Tensor) -> Tensor:
        """Return the decoder's maps (N, H, W), from `encode`'s tokens of these images.

        Raises:
            ValueError: a side of the images is not a multiple of 14.
        """
        patch_grid(images)
        rows, columns = self.configuration.token_grid(*images.shape[-2:])
        skips = (images,) if self.configuration.skips else ()
        return self.depth_head(tapped, rows, columns, *skips).squeeze(1)

    def shrink(self, images: Tensor) -> Tensor:
        """Return images (N, 3, H, W) at the size that the transformer sees."""
        if self.configuration.patch == PATCH_SIZE:
            return images
        rows, columns = self.configuration.token_grid(*images.shape[-2:])
        return F.interpolate(images, (PATCH_SIZE * rows, PATCH_SIZE * columns), mode="bilinear", align_corners=False)
