"""Networks with random weights and nonzero output everywhere, here and in `transformers`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depth_anything_ros.bench.random_model import randomize
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.zoo.encoders import EncoderConfiguration


def random_model(encoder: str, version: str = "v2", max_depth: float | None = None, seed: int = 0) -> DepthAnything:
    with torch.device("meta"):
        network = DepthAnything(encoder, version, max_depth)
    return randomize(network, seed)


def random_images(height: int, width: int, count: int = 1, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def transformers_model(configuration: EncoderConfiguration, version: str, max_depth: float | None = None) -> nn.Module:
    """The same network as `transformers` defines it, with random weights."""
    from depth_anything_ros.bench.transformers_candidate import empty_network

    return randomize(empty_network(configuration, version, max_depth))


def with_table(theirs: nn.Module, table: Tensor) -> nn.Module:
    """Make a `transformers` network use a given table of position embeddings; return the network."""
    theirs.backbone.embeddings.interpolate_pos_encoding = lambda embeddings, height, width: table
    return theirs
