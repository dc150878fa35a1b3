"""Compression: an encoder cut out of a larger one learns its features, and a decoder learns depth from them.

The depth loss does not reach the encoder. On small batches it is so noisy compared to the feature loss that it would
undo what the features teach (measured: after 700 steps with both, features were where 60 steps of features alone had
brought them). A stage *teacher* that starts from the result then trains both end to end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depth_anything_ros.model.checkpoints import load_encoder
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.encoder import VisionTransformer
from depth_anything_ros.model.weight_files import CheckpointError
from depth_anything_ros.training.initial_network import (
    init_decoder_bias,
    is_larger,
    slice_encoder_from_file,
    weights_file,
)
from depth_anything_ros.training.input.batch import Batch
from depth_anything_ros.training.input.pixels import normalize
from depth_anything_ros.training.objectives.losses import feature_alignment_loss
from depth_anything_ros.training.objectives.stage_objectives import Objective, augmented, labeled_loss
from depth_anything_ros.training.settings import LossSettings, NetworkSettings


class LargerEncoder(nn.Module):
    """A frozen pretrained encoder; returns its residual stream in the coordinates of the encoder cut from it.

    Args:
        encoder: the larger encoder.
        matrix: float32 (D_large, D_small), from `slice_encoder`.
        taps: indices of the blocks whose output is returned.
    """

    def __init__(self, encoder: VisionTransformer, matrix: Tensor, taps: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.register_buffer("matrix", matrix)
        self.taps = tuple(taps)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the patch tokens after each tapped block, float32 (N, L, D_small), of normalized images."""
        tokens = self.encoder.embed(images)
        tapped = []
        for index, block in enumerate(self.encoder.blocks[: max(self.taps) + 1]):
            tokens = block(tokens)
            if index in self.taps:
                with torch.autocast(images.device.type, enabled=False):
                    tapped.append(tokens[:, 1:].float() @ self.matrix)
        return tapped


class CompressionObjective(Objective):
    """Features of the larger encoder at every tap, and depth of labeled images from the smaller encoder's features."""

    def __init__(self, network: DepthAnything, settings: LossSettings, larger: LargerEncoder) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.larger = larger

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses "labeled" (of the decoder alone) and "features" (of the encoder alone)."""
        labeled, network = batch.labeled, self.network
        images = normalize(augmented(labeled))
        tapped = network.encode(images)
        prediction = network.decode([tokens.detach() for tokens in tapped], images)
        aligned = [
            feature_alignment_loss(ours, theirs, self.settings.tolerance)
            for ours, theirs in zip(tapped, self.larger(network.shrink(images)), strict=True)
        ]
        return {
            "labeled": labeled_loss(self.settings, prediction, labeled).mean(),
            "features": self.settings.alignment * torch.stack(aligned).mean(),
        }


def start_compression(settings: NetworkSettings, pixels: Tensor) -> tuple[DepthAnything, LargerEncoder]:
    """Build the network, with an encoder cut out of the larger one, and return both.

    Args:
        settings: the network's settings; ``start`` is the larger encoder.
        pixels: RGB uint8 (N, H, W, 3), images that decide which parts of the larger encoder are kept.

    Raises:
        CheckpointError: the start encoder is not larger.
    """
    network = DepthAnything(settings.encoder, settings.version)
    init_decoder_bias(network)
    larger = load_encoder(weights_file(settings.start)).eval()
    if not is_larger(larger, network.pretrained):
        raise CheckpointError(
            f"{settings.start}: its encoder is not larger than {settings.encoder}, so there is nothing to compress; "
            "choose a larger start"
        )
    matrix = slice_encoder_from_file(settings.start, larger, network.pretrained, pixels)
    return network, LargerEncoder(larger, matrix, network.taps)
