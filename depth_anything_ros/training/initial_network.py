"""Where training starts: a network with a pretrained encoder, or with random weights."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor, from_numpy, nn, stack

from depth_anything_ros.model.checkpoints import load_checkpoint, load_encoder
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.encoder import SwiGLU, VisionTransformer
from depth_anything_ros.model.segmentation import SegmentationNetwork, load_segmentation
from depth_anything_ros.model.weight_files import CheckpointError
from depth_anything_ros.training.configuration import NetworkSettings
from depth_anything_ros.training.input.batches import SampleIndex, Samples
from depth_anything_ros.training.input.pixels import normalize_pixels
from depth_anything_ros.training.slicing import slice_encoder
from depth_anything_ros.zoo.resolve import resolve

log = logging.getLogger(__name__)


def init_decoder_bias(network: DepthAnything) -> None:
    """Starts the last layer well above zero, where its ReLU lets gradients through."""
    last = network.depth_head.scratch.output_conv2[2]
    nn.init.constant_(last.bias, 1.0)


def first_pixels(samples: Samples, count: int = 32) -> Tensor:
    """RGB uint8 (N, H, W, 3): the first images of the run, at most so many, cut to one size."""
    kind = next(iter(samples.mixtures))
    places = [SampleIndex(kind, 0, slot) for slot in range(min(count, len(samples.mixtures[kind])))]
    return stack([from_numpy(samples.view(place).image) for place in places])


def start_network(settings: NetworkSettings, pixels: Tensor) -> DepthAnything:
    """The network as training begins with it.

    ``pixels``: RGB uint8 (N, H, W, 3), sides multiples of 14: images on which it is decided what is cut away of an
    encoder that is larger than the one asked for. Raises `CheckpointError` where the file does not fit.
    """
    network = DepthAnything(settings.encoder, settings.version, settings.max_depth)
    if settings.max_depth is None:
        init_decoder_bias(network)
    if settings.start_decoder:
        # Of weights that are taken as they are it does not matter whether they meant meters.
        whole = load_checkpoint(weights_file(settings.start), settings.version, relative=True)
        if whole.encoder != settings.encoder:
            raise CheckpointError(f"{settings.start} is of size {whole.encoder}, network.encoder is {settings.encoder}")
        network.load_state_dict(whole.state_dict())
    else:
        start_encoder(network.pretrained, settings, pixels)
    return network


def weights_file(start: str) -> Path:
    """The file of weights that a name or a path stands for. Raises `CheckpointError` where there are graphs alone."""
    resolved = resolve(start)
    if resolved.weights is None:
        raise CheckpointError(resolved.fault or f"{start} holds no weights, only graphs: training cannot start from it")
    return resolved.weights


def start_segmentation(settings: NetworkSettings, classes: int, pixels: Tensor) -> SegmentationNetwork:
    """The same for a network of classes: the encoder of any checkpoint, or a whole one of as many classes."""
    network = SegmentationNetwork(settings.encoder, settings.version, classes)
    if not settings.start_decoder:
        start_encoder(network.pretrained, settings, pixels)
        return network
    whole, _ = load_segmentation(weights_file(settings.start))
    for name in ("encoder", "version", "classes"):
        if getattr(whole, name) != getattr(network, name):
            raise CheckpointError(
                f"{settings.start}: its {name} is {getattr(whole, name)}, {getattr(network, name)} was asked for; "
                "without network.start_decoder its encoder alone is taken"
            )
    network.load_state_dict(whole.state_dict())
    return network


def start_encoder(encoder: VisionTransformer, settings: NetworkSettings, pixels: Tensor) -> None:
    """Fills an encoder from the file it starts with, if there is one, cutting away what is too much."""
    if settings.start is None:
        log.warning("no network.start given: the encoder starts from random weights and will generalize poorly")
        return
    file = weights_file(settings.start)
    loaded = load_encoder(file)
    if (width_of(loaded), len(loaded.blocks)) == (width_of(encoder), len(encoder.blocks)):
        encoder.load_state_dict(loaded.state_dict())
    elif is_larger(loaded, encoder):
        slice_encoder_from_file(file, loaded, encoder, pixels)
    else:
        raise CheckpointError(f"{file}: its encoder is smaller than {settings.encoder}")


def width_of(encoder: VisionTransformer) -> int:
    """Channels of the residual stream."""
    return encoder.pos_embed.shape[-1]


def is_larger(one: VisionTransformer, other: VisionTransformer) -> bool:
    """Whether the other can be cut out of the one."""
    return width_of(one) > width_of(other) and len(one.blocks) >= len(other.blocks)


def slice_encoder_from_file(
    file: str | Path, larger: VisionTransformer, encoder: VisionTransformer, pixels: Tensor
) -> Tensor:
    """Fills an encoder from the larger one of ``file``; returns the slicing matrix. ``pixels``: see `start_network`."""
    refuse_gated(file, larger)
    return slice_encoder(larger, encoder, normalize_pixels(pixels))


def refuse_gated(file: str | Path, encoder: VisionTransformer) -> None:
    """Raises `CheckpointError` for an encoder that cannot be cut: ViT-G's, whose hidden units are gated."""
    if isinstance(encoder.blocks[0].mlp, SwiGLU):
        raise CheckpointError(f"{file}: a ViT-G cannot be cut to a smaller size; start from a ViT-L, or smaller")
