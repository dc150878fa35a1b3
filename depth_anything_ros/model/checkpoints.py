"""Load a checkpoint's weights into the network, and save them.

The size is inferred from the weights. The version is not, since V1 and V2 weights look alike: it comes from the
caller or from the record that this package stores in a checkpoint's metadata.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.encoder import VisionTransformer
from depth_anything_ros.model.key_layouts import ENCODER_PREFIX, KeyLayout, detect_layout, unwrap
from depth_anything_ros.model.metric_signs import metric_signs
from depth_anything_ros.model.weight_files import (
    CheckpointError,
    Weights,
    read_metadata,
    read_weight_file,
    save_sealed,
)
from depth_anything_ros.zoo.encoders import ENCODERS, PATCH_SIZE
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord

logger = logging.getLogger(__name__)

UNUSED = re.compile(r"pretrained\.mask_token|depth_head\.scratch\.refinenet4\.resConfUnit1\..*")
"""Parameters that the forward pass never reads. Some files omit them."""

SHOWN_KEYS = 5


def load_checkpoint(
    path: str | Path,
    version: str | None = None,
    max_depth: float | None = None,
    record: ModelRecord | None = None,
    relative: bool = False,
) -> DepthAnything:
    """Load a whole network, in float32 and evaluation mode, from any published layout of its weights.

    Args:
        path: safetensors, or a PyTorch file, from which only tensors are unpickled.
        version: "v1" or "v2". Required unless a record or transformers' config.json gives it, since the weights do not.
        max_depth: meters that a metric model was trained to. By default from the record or config.json, else None, a
            relative model.
        record: the model's metadata; by default the record in the file's metadata, if any.
        relative: declares the model relative, even if file names or files in its folder suggest a metric one.

    Raises:
        CheckpointError: the file is damaged, unsafe, of an unknown layout or size, or has missing or extra parameters.
            Or the version is unknown or contradicts the record. Or the model seems to be metric, and its maximum depth
            is unknown.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    stored = read_weight_file(path)
    weights, layout = _official_weights(path, stored)
    if layout.rejection:
        raise CheckpointError(f"{path} is a checkpoint of {layout.name}: {layout.rejection}")
    record = record or read_record(path)
    encoder = _encoder_size(path, weights)
    if record:
        _agreed(path, "encoder", encoder, record.encoder)
        version = _agreed(path, "version", version, record.version)
        if max_depth is not None and not record.is_metric:
            raise CheckpointError(
                f"{path}: max_depth is given, but its record declares that it predicts {record.output}"
            )
        max_depth = _agreed(path, "max_depth", max_depth, record.max_depth)
    else:
        version, max_depth = _version_and_max_depth(path, stored, encoder, version, max_depth, relative)
    if version is None:
        raise CheckpointError(
            f"{path}: is this V1 or V2? Their weights look alike but feed different layers to the head; "
            "pass version='v1' (depth_anything_vit?14.pth) or 'v2' (depth_anything_v2_vit?.pth). For a metric model, "
            "also pass max_depth: the meters that it was trained to (--version, --max-depth)"
        )
    with torch.device("meta"):  # saves the initial values, which the weights replace
        try:
            model = DepthAnything(encoder, version, max_depth)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
    return assign_weights(path, model, weights)


def load_encoder(path: str | Path) -> VisionTransformer:
    """Load only the encoder, in float32 and evaluation mode. Files of DINOv2 and ZoeDepth also contain one.

    Raises:
        CheckpointError: see `load_checkpoint`.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    weights, _ = _official_weights(path, read_weight_file(path))
    with torch.device("meta"):
        encoder = VisionTransformer(ENCODERS[_encoder_size(path, weights)])
    weights = {key: value for key, value in weights.items() if key.startswith(ENCODER_PREFIX)}
    return assign_weights(path, encoder, weights, prefix=ENCODER_PREFIX)


def save_checkpoint(
    model: DepthAnything, record: ModelRecord, path: str | Path, dtype: torch.dtype = torch.float32
) -> None:
    """Write the weights as safetensors under the official names, with the record in the metadata.

    The write is atomic, and equal networks give equal files.

    Args:
        model: to save.
        record: its metadata.
        path: of the file.
        dtype: of the saved weights.

    Raises:
        CheckpointError: the record contradicts the model, so loading would build another network.
    """
    path = Path(path)
    for name in ("encoder", "version", "max_depth"):
        if getattr(record, name) != getattr(model, name):
            raise CheckpointError(
                f"{path}: the record's {name} is {getattr(record, name)!r}, the model's {getattr(model, name)!r}"
            )
    weights = {key: value.detach().to("cpu", dtype).contiguous() for key, value in model.state_dict().items()}
    save_sealed(weights, path, {METADATA_KEY: record.to_json()})


def read_record(path: str | Path) -> ModelRecord | None:
    """Return the record in a safetensors file's metadata; None without one, or for another file format.

    Raises:
        CheckpointError: the file is damaged.
        RecordError: the record is malformed.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return None
    text = read_metadata(path).get(METADATA_KEY)
    return None if text is None else ModelRecord.from_json(text)


def _official_weights(path: Path, stored: object) -> tuple[Weights, KeyLayout]:
    """Return the weights under official names, and their original layout."""
    try:
        weights = unwrap(stored)
        layout = detect_layout(weights)
        official = layout.to_official(weights)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return official, layout


def _version_and_max_depth(
    path: Path, stored: object, encoder: str, version: str | None, max_depth: float | None, relative: bool
) -> tuple[str | None, float | None]:
    """Return version and max_depth of weights without a record, from the caller or from the files around them.

    Raises `CheckpointError` if they may be metric and their maximum depth is unknown.
    """
    try:
        signs = metric_signs(path, stored, encoder)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    version = _agreed(path, "version", version, signs.version)
    if relative:
        return version, max_depth
    if max_depth is None and signs.suspicion:
        raise CheckpointError(
            f"{path}: {signs.suspicion}, but the maximum depth of its training is unknown, and as a relative model "
            "near and far would be swapped. Give max_depth (--max-depth: 20 for Hypersim's weights, 80 for Virtual "
            "KITTI's) or a record (--record), or declare it relative (relative=True, --relative)"
        )
    if max_depth is None and signs.max_depth is not None:
        logger.info("%s: metric to %g m, from config.json in its folder", path, signs.max_depth)
    return version, _agreed(path, "max_depth", max_depth, signs.max_depth)


def _agreed(path: Path, name: str, given: object, declared: object) -> object:
    """Return the value that is not None. Raises `CheckpointError` if the two differ."""
    if given is not None and declared is not None and given != declared:
        raise CheckpointError(f"{path}: {name} {given!r} contradicts the metadata of these weights: {declared!r}")
    return declared if given is None else given


def _encoder_size(path: Path, weights: Weights) -> str:
    """Return the size with the same width, number of blocks, kind of feed-forward network, and skips or none."""
    projection = weights.get("pretrained.patch_embed.proj.weight")
    if projection is None or projection.ndim != 4:
        raise CheckpointError(f"{path}: it has no patch embedding, so its size is unknown")
    if projection.shape[1:] != (3, PATCH_SIZE, PATCH_SIZE):
        raise CheckpointError(f"{path}: its patch embedding is {tuple(projection.shape)}, not of 3x14x14 patches")
    dimension = projection.shape[0]
    depth = len({key.split(".")[2] for key in weights if key.startswith("pretrained.blocks.")})
    swiglu = "pretrained.blocks.0.mlp.w12.weight" in weights
    hybrid = any(key.startswith("depth_head.stem.") for key in weights)
    for name, configuration in ENCODERS.items():
        own = (configuration.dimension, configuration.depth, configuration.swiglu, configuration.skips is not None)
        if (dimension, depth, swiglu, hybrid) == own:
            return name
    raise CheckpointError(
        f"{path}: its encoder is {dimension} wide with {depth} blocks, which matches none of the supported sizes: "
        + ", ".join(f"{name} ({c.dimension} wide, {c.depth} blocks)" for name, c in ENCODERS.items())
    )


def assign_weights(path: Path, module: nn.Module, weights: Weights, prefix: str = "") -> nn.Module:
    """Put weights in float32 into a module on the meta device.

    Args:
        path: of the weights' file, for the message.
        module: receives the weights.
        weights: by the keys of the file. Omitted parameters that `UNUSED` matches are added.
        prefix: of the keys in ``weights``, missing in the module's.

    Returns:
        The module in evaluation mode.

    Raises:
        CheckpointError: a parameter is missing, extra, of another shape or not floating-point.
    """
    requested = {prefix + key: value for key, value in module.state_dict().items()}
    for key in requested.keys() - weights.keys():
        if UNUSED.fullmatch(key):
            weights[key] = torch.zeros(requested[key].shape)
    _check_shapes(path, requested, weights)
    module.load_state_dict({key[len(prefix) :]: value.float() for key, value in weights.items()}, assign=True)
    return module.eval()


def _check_shapes(path: Path, requested: dict[str, Tensor], weights: Weights) -> None:
    """Compare names and shapes of all parameters and report every kind of difference at once."""
    misshapen = [
        f"{key} is {tuple(weights[key].shape)}, must be {tuple(value.shape)}"
        for key, value in requested.items()
        if key in weights and weights[key].shape != value.shape
    ]
    integers = [key for key in requested if key in weights and not weights[key].is_floating_point()]
    problems = [
        _summary("missing", sorted(requested.keys() - weights.keys())),
        _summary("not part of this network", sorted(weights.keys() - requested.keys())),
        _summary("of another shape", misshapen),
        _summary("quantized instead of floating-point", integers),
    ]
    if any(problems):
        raise CheckpointError(f"{path} does not fit: " + "; ".join(problem for problem in problems if problem))


def _summary(kind: str, keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return f"{len(keys)} {kind}: {', '.join(keys[:SHOWN_KEYS])}{more}" if keys else ""
