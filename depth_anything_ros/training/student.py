"""The network under training, and the frozen larger encoder whose features it is held to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_anything_ros.model.checkpoints import load_encoder
from depth_anything_ros.model.configurations import PATCH_SIZE
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.training.pixels import normalise_pixels
from depth_anything_ros.training.slicing import slice_encoder

log = logging.getLogger(__name__)


class Student(nn.Module):
    """Pixels to inverse depth and to the encoder's tapped features, which the feature loss compares."""

    def __init__(self, network: DepthAnything) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, detach: bool = False) -> tuple[Tensor, list[Tensor]]:
        """RGB uint8 (N, H, W, 3) to inverse depth (N, H, W) and four maps of patch tokens (N, L, C).

        ``detach``: keeps the gradient of the inverse depth from the encoder.
        """
        network = self.network
        rows, columns = (side // PATCH_SIZE for side in pixels.shape[1:3])
        tapped = network.pretrained(normalise_pixels(pixels), network.taps)
        seen = [tokens.detach() for tokens in tapped] if detach else tapped
        return network.depth_head(seen, rows, columns).squeeze(1), tapped


class FrozenEncoder(nn.Module):
    """A pretrained encoder that does not learn; gives its residual stream in the student's coordinates."""

    def __init__(self, encoder: nn.Module, matrix: Tensor, taps: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.register_buffer("matrix", matrix)
        self.taps = tuple(taps)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> list[Tensor]:
        """RGB uint8 (N, H, W, 3) to the patch tokens (N, L, C) behind each tapped block."""
        tokens = self.encoder.embed(normalise_pixels(pixels))
        tapped = []
        for index, block in enumerate(self.encoder.blocks[: max(self.taps) + 1]):
            tokens = block(tokens)
            if index in self.taps:
                tapped.append(tokens[:, 1:].float() @ self.matrix)
        return tapped


def begin_decoder(network: DepthAnything) -> None:
    """Starts the last layer well above zero, where its ReLU lets gradients through."""
    last = network.depth_head.scratch.output_conv2[2]
    nn.init.constant_(last.bias, 1.0)


def create_student(
    encoder: str, version: str, pretrained: Path | None, pixels: Tensor
) -> tuple[Student, FrozenEncoder | None]:
    """A fresh student, cut out of a pretrained encoder where one is given, and that encoder to align with.

    ``pixels``: RGB uint8 (N, H, W, 3), images on which the cut is decided.
    """
    network = DepthAnything(encoder, version)
    begin_decoder(network)
    if pretrained is None:
        log.warning("no pretrained encoder given: the encoder starts from random weights and will generalise poorly")
        return Student(network), None
    large = load_encoder(pretrained).eval()
    matrix = slice_encoder(large, network.pretrained, normalise_pixels(pixels))
    return Student(network), FrozenEncoder(large, matrix, network.taps)
