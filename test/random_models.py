"""Networks with random weights that are alive everywhere, here and in `transformers`, for the tests of the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depth_anything_ros.model.configurations import PATCH_SIZE, EncoderConfiguration
from depth_anything_ros.model.depth_anything import DepthAnything


@torch.no_grad()
def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Gives a network memory and fills it so that no branch is silent and the depth is positive."""
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2:
            spread, centre = (0.05, 0.0) if name.endswith("bias") else (0.1, 1.0)
        else:
            spread, centre = parameter[0].numel() ** -0.5, 0.0
        if name.endswith(("position_embeddings", "pos_embed", "cls_token", "mask_token")):
            spread = 0.3
        half = 3**0.5 * spread
        parameter.uniform_(centre - half, centre + half, generator=generator)
        if name.endswith(("output_conv2.2.weight", "head.conv3.weight")):
            parameter.abs_()
    return network.eval()


def random_model(encoder: str, version: str = "v2", max_depth: float | None = None, seed: int = 0) -> DepthAnything:
    with torch.device("meta"):
        network = DepthAnything(encoder, version, max_depth)
    return randomise(network, seed)


def random_images(height: int, width: int, count: int = 1, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def transformers_model(configuration: EncoderConfiguration, version: str, max_depth: float | None = None) -> nn.Module:
    """The same network as `transformers` defines it, with random weights."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=configuration.dimension,
        num_hidden_layers=configuration.depth,
        num_attention_heads=configuration.heads,
        use_swiglu_ffn=configuration.swiglu,
        image_size=518,
        patch_size=PATCH_SIZE,
        layer_norm_eps=1e-6,
        out_indices=[tap + 1 for tap in configuration.taps[version]],
        reshape_hidden_states=False,
    )
    with torch.device("meta"):
        network = DepthAnythingForDepthEstimation(
            DepthAnythingConfig(
                backbone_config=backbone,
                reassemble_hidden_size=configuration.dimension,
                neck_hidden_sizes=list(configuration.out_channels),
                fusion_hidden_size=configuration.features,
                depth_estimation_type="relative" if max_depth is None else "metric",
                max_depth=1 if max_depth is None else int(max_depth),
            )
        )
    return randomise(network)


def with_table(theirs: nn.Module, table: Tensor) -> nn.Module:
    """Makes a `transformers` network use a given table of position embeddings from now on, and returns it."""
    theirs.backbone.embeddings.interpolate_pos_encoding = lambda embeddings, height, width: table
    return theirs
