"""Depth Anything (arXiv 2401.10891, 2406.09414): a DINOv2 encoder and a DPT decoder."""

from __future__ import annotations

from torch import Tensor, nn

from depth_anything_ros.model.decoder import DPTDecoder
from depth_anything_ros.model.encoder import VisionTransformer, patch_grid
from depth_anything_ros.zoo.encoders import ENCODERS, encoder_taps


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
        self.depth_head = DPTDecoder(ENCODERS[encoder], metric=max_depth is not None)

    @property
    def decoder(self) -> DPTDecoder:
        """The decoder, by the attribute name that every network has."""
        return self.depth_head

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized RGB (N, 3, H, W) to (N, H, W): inverse depth of unknown scale and shift, or meters.

        Raises:
            ValueError: a side is not a multiple of 14.
        """
        rows, columns = patch_grid(images)
        tapped = self.pretrained(images, self.taps)
        maps = self.depth_head(tapped, rows, columns).squeeze(1)
        return maps if self.max_depth is None else maps * self.max_depth
