"""The network at the start of training: with a pretrained encoder, or with random weights."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor, from_numpy, nn, stack

from depth_anything_ros.model.checkpoints import load_checkpoint, load_encoder
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.encoder import SwiGLU, VisionTransformer
from depth_anything_ros.model.segmentation import SegmentationNetwork, load_segmentation
from depth_anything_ros.model.weight_files import CheckpointError
from depth_anything_ros.training.input.pixels import normalize_pixels
from depth_anything_ros.training.input.samples import SampleIndex, Samples
from depth_anything_ros.training.settings import NetworkSettings
from depth_anything_ros.training.slicing import slice_encoder
from depth_anything_ros.zoo.resolve import resolve

log = logging.getLogger(__name__)


def init_decoder_bias(network: DepthAnything) -> None:
    """Set the bias of the last layer well above zero, so that its ReLU passes gradients."""
    last = network.depth_head.scratch.output_conv2[2]
    nn.init.constant_(last.bias, 1.0)


def first_pixels(samples: Samples, count: int = 32) -> Tensor:
    """Return the first images of the run, cropped to one size.

    Args:
        samples: the samples of the run.
        count: most images to return.

    Returns:
        RGB uint8 (N, H, W, 3).
    """
    kind = next(iter(samples.mixtures))
    indices = [SampleIndex(kind, 0, slot) for slot in range(min(count, len(samples.mixtures[kind])))]
    return stack([from_numpy(samples.view(index).image) for index in indices])


def start_network(settings: NetworkSettings, pixels: Tensor) -> DepthAnything:
    """Build the depth network with its start weights.

    Args:
        settings: the network's settings.
        pixels: RGB uint8 (N, H, W, 3), sides multiples of 14. If the start encoder is larger than ``settings.encoder``,
            these images decide which parts of it are kept.

    Raises:
        CheckpointError: the start file does not fit.
    """
    network = DepthAnything(settings.encoder, settings.version, settings.max_depth)
    if settings.max_depth is None:
        init_decoder_bias(network)
    if settings.start_decoder:
        # All weights are copied, so it does not matter whether the checkpoint is metric.
        whole = load_checkpoint(weights_file(settings.start), settings.version, relative=True)
        if whole.encoder != settings.encoder:
            raise CheckpointError(
                f"{settings.start} is of size {whole.encoder}, network.encoder is {settings.encoder}: make them equal"
            )
        network.load_state_dict(whole.state_dict())
    else:
        start_encoder(network.pretrained, settings, pixels)
    return network


def weights_file(start: str) -> Path:
    """Return the weights file of a model's name or path. Raise `CheckpointError` if the model has only graphs."""
    resolved = resolve(start)
    if resolved.weights is None:
        raise CheckpointError(resolved.fault or f"{start} holds no weights, only graphs: training cannot start from it")
    return resolved.weights


def start_segmentation(settings: NetworkSettings, classes: int, pixels: Tensor) -> SegmentationNetwork:
    """Build the segmentation network with its start weights.

    Args:
        settings: the network's settings. Without ``start_decoder`` the encoder of any checkpoint fits.
        classes: number of classes.
        pixels: as for `start_network`.

    Raises:
        CheckpointError: the start file does not fit.
    """
    network = SegmentationNetwork(settings.encoder, settings.version, classes)
    if not settings.start_decoder:
        start_encoder(network.pretrained, settings, pixels)
        return network
    whole, _ = load_segmentation(weights_file(settings.start))
    for name in ("encoder", "version", "classes"):
        if getattr(whole, name) != getattr(network, name):
            raise CheckpointError(
                f"{settings.start}: its {name} is {getattr(whole, name)}, but {getattr(network, name)} is configured; "
                "without network.start_decoder only its encoder is used"
            )
    network.load_state_dict(whole.state_dict())
    return network


def start_encoder(encoder: VisionTransformer, settings: NetworkSettings, pixels: Tensor) -> None:
    """Load the start weights into an encoder, cutting a larger one to size; without a start, keep random weights.

    Args:
        encoder: the encoder to fill.
        settings: the network's settings.
        pixels: as for `start_network`.

    Raises:
        CheckpointError: the start encoder is smaller, or is a ViT-G.
    """
    if settings.start is None:
        log.warning("network.start is not set: the encoder starts from random weights and will generalize poorly")
        return
    file = weights_file(settings.start)
    loaded = load_encoder(file)
    if (width_of(loaded), len(loaded.blocks)) == (width_of(encoder), len(encoder.blocks)):
        encoder.load_state_dict(loaded.state_dict())
    elif is_larger(loaded, encoder):
        slice_encoder_from_file(file, loaded, encoder, pixels)
    else:
        raise CheckpointError(
            f"{file}: its encoder is smaller than {settings.encoder}; choose a larger start, or a smaller encoder"
        )


def width_of(encoder: VisionTransformer) -> int:
    """Return the channels of the residual stream."""
    return encoder.pos_embed.shape[-1]


def is_larger(one: VisionTransformer, other: VisionTransformer) -> bool:
    """Return whether encoder ``other`` can be cut out of encoder ``one``."""
    return width_of(one) > width_of(other) and len(one.blocks) >= len(other.blocks)


def slice_encoder_from_file(
    file: str | Path, larger: VisionTransformer, encoder: VisionTransformer, pixels: Tensor
) -> Tensor:
    """Fill an encoder with parts of a larger one.

    Args:
        file: the larger encoder's file, for messages.
        larger: the larger encoder.
        encoder: the encoder to fill.
        pixels: as for `start_network`.

    Returns:
        The slicing matrix, float32 (D_large, D_small).

    Raises:
        CheckpointError: the larger encoder is a ViT-G.
    """
    reject_gated(file, larger)
    return slice_encoder(larger, encoder, normalize_pixels(pixels))


def reject_gated(file: str | Path, encoder: VisionTransformer) -> None:
    """Raise `CheckpointError` for an encoder that cannot be cut: a ViT-G, whose hidden units are gated.

    Args:
        file: the encoder's file, for the message.
        encoder: the encoder.
    """
    if isinstance(encoder.blocks[0].mlp, SwiGLU):
        raise CheckpointError(f"{file}: a ViT-G cannot be cut to a smaller size; start from a ViT-L or smaller")
