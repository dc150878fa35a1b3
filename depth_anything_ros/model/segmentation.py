"""Semantic segmentation with the encoder of Depth Anything, as its paper (arXiv 2401.10891 §4.5) tests what it learned.

The paper puts Mask2Former behind the encoder, with a decoder of queries, masks and their matching. The head here is a
plain one of our own, DPT's decoder with one output a class: what it scores tells how good one encoder is against
another, and is not to be set against the paper's numbers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_anything_ros.model.checkpoints import (
    CheckpointError,
    assign_weights,
    read_metadata,
    read_safetensors,
    save_sealed,
)
from depth_anything_ros.model.decoder import DPTNeck, FusionBlocks
from depth_anything_ros.model.encoder import VisionTransformer, patch_grid
from depth_anything_ros.zoo.encoders import ENCODERS, EncoderConfiguration, encoder_taps
from depth_anything_ros.zoo.record import with_present_spelling

METADATA_KEY = "depth_anything_ros.segmentation"
"""Key of safetensors metadata under which the record's JSON is stored; another than a depth network's."""


class SegmentationHead(DPTNeck):
    """Four tapped feature maps to logits at somewhat more than a quarter of the images' resolution.

    Without dropout, which would have random numbers decide what a run that goes on learns.
    """

    def __init__(self, configuration: EncoderConfiguration, classes: int) -> None:
        super().__init__(configuration)
        features = configuration.features
        self.scratch = FusionBlocks(features, configuration.out_channels)
        self.hidden = nn.Conv2d(features, features, 3, padding=1)
        self.classifier = nn.Conv2d(features, classes, 1)

    def forward(self, tapped: list[Tensor], rows: int, columns: int) -> Tensor:
        """Patch tokens (N, rows * columns, dimension) of four taps to (N, classes, 4 * rows, 4 * columns)."""
        path = self.fuse(tapped, rows, columns, enlarged=1)
        return self.classifier(F.relu(self.hidden(path)))


class SegmentationNetwork(nn.Module):
    """Encoder and head; the encoder's parameters have the official names, so that any checkpoint's fit.

    Args:
        encoder: size, a key of `ENCODERS`.
        version: "v1" or "v2"; decides the taps.
        classes: how many there are.
    """

    def __init__(self, encoder: str, version: str, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.version = version
        self.classes = classes
        self.taps = encoder_taps(encoder, version)
        self.pretrained = VisionTransformer(ENCODERS[encoder])
        self.head = SegmentationHead(ENCODERS[encoder], classes)

    @property
    def decoder(self) -> SegmentationHead:
        """What reads the encoder, under the name that it has in every network."""
        return self.head

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Normalized RGB (N, 3, H, W) to (N, classes, 4 * H/14, 4 * W/14), from which `enlarge` makes the whole.

        Raises:
            ValueError: a side is not a multiple of 14.
        """
        rows, columns = patch_grid(images)
        return self.head(self.pretrained(images, self.taps), rows, columns)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized RGB (N, 3, H, W) to logits, float32 (N, classes, H, W)."""
        return enlarge(self.coarse_logits(images), images.shape[-2:])


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (N, classes, h, w) to float32 (N, classes, *size); pixels' outer edges stay where they are."""
    return F.interpolate(logits.float(), size=tuple(size), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class SegmentationRecord:
    """What there is to know about a segmentation network, apart from its weights.

    ``input_size``: (height, width) that it was trained at. ``class_names``: in the order of its outputs; empty where
    they are unknown.
    """

    name: str
    license: str
    encoder: str
    version: str
    classes: int
    input_size: tuple[int, int]
    class_names: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        """Turns lists (as JSON gives) into tuples. Raises ValueError for no number of classes, or of their names."""
        for name in ("class_names", "input_size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.classes, int) or self.classes < 2:
            raise ValueError(f"classes is {self.classes!r}, must be a number from 2 on")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"there are {len(self.class_names)} class_names for {self.classes} classes")

    @classmethod
    def from_json(cls, text: str) -> SegmentationRecord:
        """Parses a file's metadata. Raises ValueError, naming what is unknown, missing or does not fit."""
        values = json.loads(text)
        known = {field.name for field in fields(cls)}
        if isinstance(values, dict):
            values = with_present_spelling(values)
        if not isinstance(values, dict) or set(values) - known:
            raise ValueError(f"the record must be a JSON object of {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error


def save_segmentation(network: SegmentationNetwork, record: SegmentationRecord, path: str | Path) -> None:
    """Writes the weights as safetensors with the record in the metadata; the file appears whole or not at all.

    Raises:
        CheckpointError: the record contradicts the network.
    """
    path = Path(path)
    for name in ("encoder", "version", "classes"):
        if getattr(record, name) != getattr(network, name):
            raise CheckpointError(
                f"{path}: the record's {name} is {getattr(record, name)!r}, the network's {getattr(network, name)!r}"
            )
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save_sealed(weights, path, {METADATA_KEY: json.dumps(asdict(record), indent=2)})


def load_segmentation(path: str | Path) -> tuple[SegmentationNetwork, SegmentationRecord]:
    """Loads a network in evaluation mode, and its record.

    Raises:
        CheckpointError: the file is damaged, is no segmentation network of this package, or its weights do not fit its
            record.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a segmentation network is a .safetensors file, as training leaves it")
    weights = read_safetensors(path)
    text = read_metadata(path).get(METADATA_KEY)
    if text is None:
        raise CheckpointError(
            f"{path} has no record under {METADATA_KEY}: it is no segmentation network. An encoder to train one from "
            "is taken with load_encoder, or as network.start"
        )
    try:
        record = SegmentationRecord.from_json(text)
        with torch.device("meta"):
            network = SegmentationNetwork(record.encoder, record.version, record.classes)
    except ValueError as error:
        raise CheckpointError(f"{path}: its record cannot be used: {error}") from error
    return assign_weights(path, network, weights), record
