"""A common alternative: Depth Anything as defined by Hugging Face's `transformers`, in eager PyTorch on the CPU."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from depth_anything_ros.images.resizing import resize_map
from depth_anything_ros.model.checkpoints import load_checkpoint
from depth_anything_ros.model.key_layouts import to_hugging_face
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.runtime.preprocessing import Preprocessor
from depth_anything_ros.zoo.encoders import ENCODERS, PATCH_SIZE, POSITION_GRID, EncoderConfiguration
from depth_anything_ros.zoo.record import ModelRecord


class TransformersCandidate:
    """The network in float32 with a checkpoint's weights. Resizing and normalization are this package's: faster.

    Args:
        weights: a checkpoint in any layout that `load_checkpoint` reads.
        record: describes the checkpoint.
        size: (height, width) of the network's input, multiples of 14.
        threads: of PyTorch; default: its own choice.

    Raises:
        UnavailableError: transformers has no such network.

    Attributes:
        network: the module of transformers.
        runs: start and end of each run of the network, in seconds of `time.perf_counter`.
    """

    def __init__(self, weights: Path, record: ModelRecord, size: tuple[int, int], threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        network = load_checkpoint(weights, record=record)
        if network.configuration.skips:
            raise UnavailableError(f"transformers has no network like {network.encoder}, with convolutional skips")
        self.network = empty_network(ENCODERS[network.encoder], network.version, network.max_depth)
        official = network.state_dict()
        self.network.load_state_dict(to_hugging_face(official, self.network.state_dict()), assign=True)
        self.network.eval().requires_grad_(False)
        self.runs: list[tuple[float, float]] = []
        self._preprocess = Preprocessor(_with_host_normalization(record), size)

    def estimate(self, image: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Estimate a map.

        Args:
            image: RGB uint8 (H, W, 3).
            out: takes the map, float32 (h, w), and is returned.
        """
        batch = torch.from_numpy(self._preprocess(image))
        started = time.perf_counter()
        with torch.inference_mode():
            depth = self.network(batch).predicted_depth
        self.runs.append((started, time.perf_counter()))
        return resize_map(depth[0].numpy(), out.shape, out)


def empty_network(configuration: EncoderConfiguration, version: str, max_depth: float | None = None) -> nn.Module:
    """Return transformers' definition of one of this package's networks, on the device "meta", without weights.

    Args:
        configuration: of the encoder.
        version: of Depth Anything, "v1" or "v2".
        max_depth: in meters for a metric network, else None.
    """
    backbone = Dinov2Config(
        hidden_size=configuration.dimension,
        num_hidden_layers=configuration.depth,
        num_attention_heads=configuration.heads,
        use_swiglu_ffn=configuration.swiglu,
        image_size=POSITION_GRID * PATCH_SIZE,
        patch_size=PATCH_SIZE,
        layer_norm_eps=1e-6,
        out_indices=[tap + 1 for tap in configuration.taps[version]],
        reshape_hidden_states=False,
    )
    with torch.device("meta"):
        return DepthAnythingForDepthEstimation(
            DepthAnythingConfig(
                backbone_config=backbone,
                reassemble_hidden_size=configuration.dimension,
                neck_hidden_sizes=list(configuration.out_channels),
                fusion_hidden_size=configuration.features,
                depth_estimation_type="relative" if max_depth is None else "metric",
                max_depth=1 if max_depth is None else int(max_depth),
            )
        )


def _with_host_normalization(record: ModelRecord) -> ModelRecord:
    return ModelRecord(record.name, record.output, record.license, input="float_nchw", mean=record.mean, std=record.std)
