"""Semantic segmentation with the encoder of Depth Anything, the test of its features in arXiv 2401.10891 §4.5.

The paper adds Mask2Former to the encoder, with a decoder of queries, masks and their matching. The head here is
simpler: DPT's decoder with one output per class. Its scores compare encoders with each other. They are not comparable
with the paper's numbers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_anything_ros.model.checkpoints import assign_weights
from depth_anything_ros.model.decoder import DPTNeck, FusionBlocks
from depth_anything_ros.model.encoder import VisionTransformer, patch_grid
from depth_anything_ros.model.weight_files import CheckpointError, read_metadata, read_safetensors, save_sealed
from depth_anything_ros.zoo.encoders import ENCODERS, EncoderConfiguration, encoder_taps
from depth_anything_ros.zoo.record import with_current_spelling

METADATA_KEY = "depth_anything_ros.segmentation"
"""Key of the record's JSON in safetensors metadata. Depth networks use another key."""


class SegmentationHead(DPTNeck):
    """A head from four tapped feature maps to logits at slightly more than a quarter of the image resolution.

    It has no dropout, whose random numbers would make a resumed run differ.
    """

    def __init__(self, configuration: EncoderConfiguration, classes: int) -> None:
        super().__init__(configuration)
        features = configuration.features
        self.scratch = FusionBlocks(features, configuration.out_channels)
        self.hidden = nn.Conv2d(features, features, 3, padding=1)
        self.classifier = nn.Conv2d(features, classes, 1)

    def forward(self, tapped: list[Tensor], rows: int, columns: int) -> Tensor:
        """Return the logits (N, classes, 4 * rows, 4 * columns).

        Args:
            tapped: four tensors of patch tokens (N, rows * columns, dimension).
            rows: of the patch grid.
            columns: of the patch grid.
        """
        path = self.fuse(tapped, rows, columns, enlarged=1)
        return self.classifier(F.relu(self.hidden(path)))


class SegmentationNetwork(nn.Module):
    """Encoder and head. The encoder's parameters have the official names, so any checkpoint's encoder fits.

    Args:
        encoder: size, a key of `ENCODERS`.
        version: "v1" or "v2"; determines the taps.
        classes: number of classes.
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
        """The decoder, by the attribute name that every network has."""
        return self.head

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map normalized RGB (N, 3, H, W) to (N, classes, 4 * H/14, 4 * W/14); `enlarge` makes full size of it.

        Raises:
            ValueError: a side is not a multiple of 14.
        """
        rows, columns = patch_grid(images)
        return self.head(self.pretrained(images, self.taps), rows, columns)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized RGB (N, 3, H, W) to logits, float32 (N, classes, H, W)."""
        return enlarge(self.coarse_logits(images), images.shape[-2:])


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize logits bilinearly; the outer edges of the pixels stay aligned.

    Args:
        logits: (N, classes, h, w).
        size: (height, width) of the result.

    Returns:
        float32 (N, classes, *size).
    """
    return F.interpolate(logits.float(), size=tuple(size), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class SegmentationRecord:
    """The metadata of a segmentation network.

    Attributes:
        encoder: size, a key of `ENCODERS`.
        version: "v1" or "v2".
        classes: number of classes, at least 2.
        input_size: (height, width) of the training images.
        class_names: in the order of the outputs; empty if unknown.
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
        """Convert lists (from JSON) to tuples. Raises ValueError for an invalid number of classes or class names."""
        for name in ("class_names", "input_size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.classes, int) or self.classes < 2:
            raise ValueError(f"classes is {self.classes!r}, must be an integer of at least 2")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"there are {len(self.class_names)} class_names for {self.classes} classes; give one each")

    output = "classes"
    """What the network predicts."""
    is_metric = False
    reference_focal = None
    scale_model = None

    def to_json(self) -> str:
        """Return the metadata as JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> SegmentationRecord:
        """Parse a file's metadata. Raises ValueError, whose message names the unknown, missing or invalid field."""
        values = json.loads(text)
        names = {field.name for field in fields(cls)}
        if isinstance(values, dict):
            values = with_current_spelling(values)
        if not isinstance(values, dict) or set(values) - names:
            raise ValueError(f"the record must be a JSON object of {', '.join(sorted(names))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error


def save_segmentation(network: SegmentationNetwork, record: SegmentationRecord, path: str | Path) -> None:
    """Write the weights as safetensors with the record in the metadata, atomically.

    Args:
        network: to save.
        record: its metadata.
        path: of the file.

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
    save_sealed(weights, path, {METADATA_KEY: record.to_json()})


def load_segmentation(path: str | Path) -> tuple[SegmentationNetwork, SegmentationRecord]:
    """Load a network in evaluation mode, and its record.

    Raises:
        CheckpointError: the file is damaged, is not a segmentation network of this package, or its weights do not match
            its record.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a segmentation network must be a .safetensors file, as training saves it")
    weights = read_safetensors(path)
    text = read_metadata(path).get(METADATA_KEY)
    if text is None:
        raise CheckpointError(
            f"{path} has no record under {METADATA_KEY}, so it is not a segmentation network. To train one from an "
            "encoder, load the encoder with load_encoder, or give it as network.start"
        )
    try:
        record = SegmentationRecord.from_json(text)
        with torch.device("meta"):
            network = SegmentationNetwork(record.encoder, record.version, record.classes)
    except ValueError as error:
        raise CheckpointError(f"{path}: its record is invalid: {error}") from error
    return assign_weights(path, network, weights), record
