"""Checkpoints: weights from a file into the network, and back.

The size is inferred from the weights. The version is not, since V1 and V2 weights look alike: it comes from the
caller or from the record that this package stores in a checkpoint's metadata.
"""

from __future__ import annotations

import logging
import pickle
import re
import zipfile
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.encoder import VisionTransformer
from depth_anything_ros.model.key_layouts import ENCODER_PREFIX, KeyLayout, Weights, detect_layout, unwrap
from depth_anything_ros.model.metric_signs import metric_signs
from depth_anything_ros.system.atomic_file import atomic_path, partial_of
from depth_anything_ros.zoo.cache import DamagedModelError
from depth_anything_ros.zoo.encoders import ENCODERS, PATCH_SIZE
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord
from depth_anything_ros.zoo.seal import check_seal, with_marks, write_seal

logger = logging.getLogger(__name__)

UNUSED = re.compile(r"pretrained\.mask_token|depth_head\.scratch\.refinenet4\.resConfUnit1\..*")
"""Parameters the forward pass never reads; some files leave them out."""

SHOWN_KEYS = 5


class CheckpointError(ValueError):
    """A file cannot be loaded; the message names the file, what is wrong with it and what to do."""


def load_checkpoint(
    path: str | Path,
    version: str | None = None,
    max_depth: float | None = None,
    record: ModelRecord | None = None,
    relative: bool = False,
) -> DepthAnything:
    """Loads a whole network, in float32 and evaluation mode, from any published layout of its weights.

    Args:
        path: safetensors, or a PyTorch file, of which nothing but tensors is unpickled.
        version: "v1" or "v2"; needed unless a record or transformers' config.json gives it, for nothing in the weights
            does.
        max_depth: meters that a metric model was trained to; default: as the record or config.json says, else None, a
            relative model.
        record: what is known about the model; by default the record in the file's metadata, if there is one.
        relative: says that the model is relative, where names or what lies beside the file would have it metric.

    Raises:
        CheckpointError: the file is damaged, unsafe, of an unknown layout or size, lacks parameters or has others;
            or the version is unknown, or is contradicted by the record; or it seems to be metric, and no one says to
            how many meters.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    stored = _read(path)
    weights, layout = _official_weights(path, stored)
    if layout.refusal:
        raise CheckpointError(f"{path} is a checkpoint of {layout.name}: {layout.refusal}")
    record = record or read_record(path)
    encoder = _encoder_size(path, weights)
    if record:
        _agreed(path, "encoder", encoder, record.encoder)
        version = _agreed(path, "version", version, record.version)
        if max_depth is not None and not record.is_metric:
            raise CheckpointError(f"{path}: max_depth was given, but its record says that it predicts {record.output}")
        max_depth = _agreed(path, "max_depth", max_depth, record.max_depth)
    else:
        version, max_depth = _what_is_said(path, stored, encoder, version, max_depth, relative)
    if version is None:
        raise CheckpointError(
            f"{path}: is this V1 or V2? Their weights look alike but feed different layers to the head; "
            "pass version='v1' (depth_anything_vit?14.pth) or 'v2' (depth_anything_v2_vit?.pth) and, if it is metric, "
            "max_depth: the meters that it was trained to (--version, --max-depth)"
        )
    with torch.device("meta"):  # No time is spent on initial values that are replaced at once.
        try:
            model = DepthAnything(encoder, version, max_depth)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
    return assign_weights(path, model, weights)


def load_encoder(path: str | Path) -> VisionTransformer:
    """Loads the encoder alone, in float32 and evaluation mode; DINOv2's and ZoeDepth's files, too, hold one.

    Raises:
        CheckpointError: as `load_checkpoint`.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    weights, _ = _official_weights(path, _read(path))
    with torch.device("meta"):
        encoder = VisionTransformer(ENCODERS[_encoder_size(path, weights)])
    weights = {key: value for key, value in weights.items() if key.startswith(ENCODER_PREFIX)}
    return assign_weights(path, encoder, weights, prefix=ENCODER_PREFIX)


def save_checkpoint(
    model: DepthAnything, record: ModelRecord, path: str | Path, dtype: torch.dtype = torch.float32
) -> None:
    """Writes the weights as safetensors under the official names, with the record in the metadata.

    The file appears whole or not at all, and equal networks give equal files.

    Raises:
        CheckpointError: the record contradicts the model, so that loading would build another network.
    """
    path = Path(path)
    for name in ("encoder", "version", "max_depth"):
        if getattr(record, name) != getattr(model, name):
            raise CheckpointError(
                f"{path}: the record's {name} is {getattr(record, name)!r}, the model's {getattr(model, name)!r}"
            )
    weights = {key: value.detach().to("cpu", dtype).contiguous() for key, value in model.state_dict().items()}
    save_sealed(weights, path, {METADATA_KEY: record.to_json()})


def save_sealed(weights: Weights, path: Path, metadata: dict[str, str]) -> None:
    """Writes safetensors that tell damage by themselves (`zoo.seal`), whole or not at all.

    Raises:
        OSError: the file cannot be written, for a full disk, say.
    """
    with atomic_path(path) as sealed:
        plain = partial_of(sealed)
        try:
            save_file(weights, plain, metadata)
            with_marks(plain, sealed)
        except SafetensorError as error:  # no OSError, whatever the system said
            raise OSError(f"{path} cannot be written: {error}") from error
        finally:
            plain.unlink(missing_ok=True)
        write_seal(sealed)


def read_record(path: str | Path) -> ModelRecord | None:
    """The record in a safetensors file's metadata; None if it has none or is of another format.

    Raises:
        CheckpointError: the file is damaged.
        RecordError: the record is malformed.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return None
    text = read_metadata(path).get(METADATA_KEY)
    return None if text is None else ModelRecord.from_json(text)


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file tells beside its weights. Raises `CheckpointError` where it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}") from error


def _read(path: Path) -> object:
    return read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def _official_weights(path: Path, stored: object) -> tuple[Weights, KeyLayout]:
    """A file's weights under official names, and the layout they came in."""
    try:
        weights = unwrap(stored)
        layout = detect_layout(weights)
        official = layout.to_official(weights)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return official, layout


def read_safetensors(path: Path) -> Weights:
    """A file's weights. Raises `CheckpointError` where it is damaged, FileNotFoundError where it is absent."""
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    try:
        check_seal(path)
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dictionary
    except DamagedModelError as error:
        raise CheckpointError(str(error)) from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}") from error


def _read_pickle(path: Path) -> object:
    """Reads a PyTorch file with the unpickler that builds tensors and plain containers and runs nothing."""
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    try:
        damaged = _damaged_member(path)
        stored = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        requested = re.search(r"GLOBAL (\S+)|Unsupported (?:global|class) (\S+)", str(error))
        if requested is None:
            raise CheckpointError(f"{path} is truncated, or no PyTorch checkpoint") from error
        raise CheckpointError(
            f"{path} wants to run code when it is loaded ({requested[1] or requested[2]}); it was refused and "
            "nothing was run. Load it where you trust it, and save its weights alone, best as safetensors"
        ) from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is truncated, or no PyTorch checkpoint") from error
    if damaged:
        raise CheckpointError(f"{path} is damaged: {damaged} in it has another checksum; fetch or copy it again")
    return stored


def _damaged_member(path: Path) -> str | None:
    """What is damaged in a PyTorch file, by its checksums, at which PyTorch does not look; the old format has none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def _what_is_said(
    path: Path, stored: object, encoder: str, version: str | None, max_depth: float | None, relative: bool
) -> tuple[str | None, float | None]:
    """Version and max_depth of weights without a record, as the caller says or else what lies around them.

    Raises `CheckpointError` where they may be metric and nobody says to how many meters.
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
            f"{path}: {signs.suspicion}, but nothing says to how many meters it was trained, and as a relative model "
            "near and far would be swapped. Give max_depth (--max-depth: 20 for Hypersim's weights, 80 for Virtual "
            "KITTI's) or a record (--record), or say that it is relative (relative=True, --relative)"
        )
    if max_depth is None and signs.max_depth is not None:
        logger.info("%s: metric to %g m, as config.json beside it says", path, signs.max_depth)
    return version, _agreed(path, "max_depth", max_depth, signs.max_depth)


def _agreed(path: Path, name: str, asked: object, known: object) -> object:
    """The one of the two that is given; both must say the same."""
    if asked is not None and known is not None and asked != known:
        raise CheckpointError(f"{path}: {name} {asked!r} contradicts what is known of these weights: {known!r}")
    return known if asked is None else asked


def _encoder_size(path: Path, weights: Weights) -> str:
    """The size whose encoder has the weights' width, number of blocks and kind of feed-forward network."""
    projection = weights.get("pretrained.patch_embed.proj.weight")
    if projection is None or projection.ndim != 4:
        raise CheckpointError(f"{path}: there is no patch embedding among its weights, so that its size is unknown")
    if projection.shape[1:] != (3, PATCH_SIZE, PATCH_SIZE):
        raise CheckpointError(f"{path}: its patch embedding is {tuple(projection.shape)}, not of 3x14x14 patches")
    dimension = projection.shape[0]
    depth = len({key.split(".")[2] for key in weights if key.startswith("pretrained.blocks.")})
    swiglu = "pretrained.blocks.0.mlp.w12.weight" in weights
    for name, configuration in ENCODERS.items():
        if (dimension, depth, swiglu) == (configuration.dimension, configuration.depth, configuration.swiglu):
            return name
    raise CheckpointError(
        f"{path}: its encoder is {dimension} wide with {depth} blocks, which is none of the known sizes: "
        + ", ".join(f"{name} ({c.dimension} wide, {c.depth} blocks)" for name, c in ENCODERS.items())
    )


def assign_weights(path: Path, module: nn.Module, weights: Weights, prefix: str = "") -> nn.Module:
    """Puts the weights, whose keys begin with ``prefix``, in float32 into a module that was built without memory.

    Raises `CheckpointError` where they are not those of the module: one is missing, left over, of another shape, or not
    of floating-point numbers.
    """
    requested = {prefix + key: value for key, value in module.state_dict().items()}
    for key in requested.keys() - weights.keys():
        if UNUSED.fullmatch(key):
            weights[key] = torch.zeros(requested[key].shape)
    _check_shapes(path, requested, weights)
    module.load_state_dict({key[len(prefix) :]: value.float() for key, value in weights.items()}, assign=True)
    return module.eval()


def _check_shapes(path: Path, requested: dict[str, Tensor], weights: Weights) -> None:
    """Compares names and shapes of all parameters and reports every kind of difference at once."""
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
        _summary("quantized, not of floating-point numbers", integers),
    ]
    if any(problems):
        raise CheckpointError(f"{path} does not fit: " + "; ".join(problem for problem in problems if problem))


def _summary(kind: str, keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return f"{len(keys)} {kind}: {', '.join(keys[:SHOWN_KEYS])}{more}" if keys else ""
