"""Read the metadata that Hugging Face stores next to weights: `config.json` and `preprocessor_config.json`.

transformers' `save_pretrained` writes them, and the hub's client downloads them. No library is needed to read them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from depth_anything_ros.zoo.encoders import ENCODERS, PATCH_SIZE
from depth_anything_ros.zoo.hub_names import find_by_hub_name, hub_name_of
from depth_anything_ros.zoo.record import ModelRecord, RecordError, name_from

CONFIGURATION = "config.json"
WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")
"""transformers' names of the weight file, the preferred one first."""

MODEL_TYPE = "depth_anything"
_DINOV2_DEFAULTS = {"hidden_size": 768, "num_hidden_layers": 12, "use_swiglu_ffn": False}
_PREPROCESSOR_DEFAULTS = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5), "rescale_factor": 1 / 255}
"""transformers' defaults for values that its files omit."""


def transformers_record(path: Path) -> ModelRecord | None:
    """Return the record of weights that transformers saved, from the files in their folder.

    None if there are no such files, or they do not have all that a record needs: see `missing_metadata`.

    Raises:
        RecordError: a file is damaged, or has an invalid value.
    """
    configuration = read_configuration(path.parent) if path.name in WEIGHTS_NAMES else {}
    if not configuration or _missing_metadata(configuration):
        return None
    encoder = encoder_of(configuration)
    assert encoder is not None  # else `_missing_metadata` reports it
    is_metric = configuration.get("depth_estimation_type") == "metric"
    declared: dict[str, Any] = {
        "encoder": encoder,
        "version": version_of(configuration, encoder),
        "max_depth": float(configuration["max_depth"]) if is_metric else None,
    }
    hub_name = hub_name_of(path.parent)
    known = find_by_hub_name(hub_name) if hub_name else None
    if known is not None and any(getattr(known, name) != value for name, value in declared.items()):
        known = None  # another model of the same name
    return ModelRecord(
        name=name_from(hub_name.rpartition("/")[2] if hub_name else path.absolute().parent.name),
        output="depth" if is_metric else "inverse_depth",
        license=known.license if known else "unknown",
        training_focal=known.training_focal if known else None,
        repository=hub_name,
        **declared,
        **_preprocessing(path.parent / "preprocessor_config.json"),
    )


def missing_metadata(folder: Path) -> str:
    """Return why a folder's `config.json` gives no record; "" if it does or is missing. Raises `RecordError`."""
    configuration = read_configuration(folder)
    return _missing_metadata(configuration) if "model_type" in configuration else ""


def read_configuration(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's `config.json`, {} if it is missing. Raises `RecordError` if it is damaged."""
    path = folder / CONFIGURATION
    return _read_json(path) if path.is_file() else {}


def encoder_of(configuration: dict[str, Any]) -> str | None:
    """Return the size of the configured encoder, a key of `ENCODERS`; None for another encoder."""
    backbone = _backbone(configuration)
    width, depth, swiglu = (backbone.get(name, default) for name, default in _DINOV2_DEFAULTS.items())
    for name, encoder in ENCODERS.items():
        if (encoder.dimension, encoder.depth, encoder.swiglu, encoder.skips) == (width, depth, swiglu, None):
            return name
    return None


def version_of(configuration: dict[str, Any], encoder: str) -> str | None:
    """Return the version whose blocks the configured decoder reads, or None. transformers counts blocks from 1.

    Args:
        configuration: content of `config.json`.
        encoder: size, a key of `ENCODERS`.
    """
    backbone = _backbone(configuration)
    indices = backbone.get("out_indices")
    if indices is None:
        stages = backbone.get("out_features")
        indices = [str(stage).removeprefix("stage") for stage in stages] if isinstance(stages, list) else []
    taps = [int(index) - 1 for index in indices if str(index).isdigit()] if isinstance(indices, list) else []
    return next((version for version, blocks in ENCODERS[encoder].taps.items() if list(blocks) == taps), None)


def is_length(value: Any) -> bool:
    """Return whether a value of a JSON file is a positive number of meters."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _missing_metadata(configuration: dict[str, Any]) -> str:
    """Return why a configuration gives no record, as text for a message; "" if it does."""
    model_type = configuration.get("model_type")
    if model_type != MODEL_TYPE:
        return f"{CONFIGURATION} has model_type {model_type!r}, must be {MODEL_TYPE!r}"
    encoder = encoder_of(configuration)
    if encoder is None:
        return f"{CONFIGURATION} describes another encoder than {', '.join(ENCODERS)}"
    if version_of(configuration, encoder) is None:
        return f"{CONFIGURATION} has out_indices of neither V1 nor V2 in its backbone_config"
    kind, max_depth = configuration.get("depth_estimation_type"), configuration.get("max_depth")
    is_relative = kind == "relative" or (kind is None and max_depth in (None, 1))  # transformers' defaults
    if not is_relative and not (kind == "metric" and is_length(max_depth)):
        return f"{CONFIGURATION} has depth_estimation_type {kind!r}, max_depth {max_depth!r}"
    return ""


def _backbone(configuration: dict[str, Any]) -> dict[str, Any]:
    backbone = configuration.get("backbone_config")
    return backbone if isinstance(backbone, dict) else {}


def _preprocessing(path: Path) -> dict[str, Any]:
    """Return the fields of a record from `preprocessor_config.json`; {} if the file is missing."""
    if not path.is_file():
        return {}
    read = {**_PREPROCESSOR_DEFAULTS, **_read_json(path)}
    try:
        # transformers normalizes (factor * pixel - mean) / std, a record (pixel / 255 - mean) / std.
        gain = 255 * float(read["rescale_factor"]) if read.get("do_rescale", True) else 255.0
        gain = 1.0 if math.isclose(gain, 1.0) else gain
        normalizes = read.get("do_normalize", True)
        mean, std = (read["image_mean"], read["image_std"]) if normalizes else ((0.0,) * 3, (1.0,) * 3)
        scaled = (tuple(float(value) / gain for value in values) for values in (mean, std))
        return {**dict(zip(("mean", "std"), scaled, strict=True)), **_input_size(read)}
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise RecordError(f"{path} has no supported preprocessing: {error}") from error


def _input_size(read: dict[str, Any]) -> dict[str, Any]:
    """Return the size to which images are resized, rounded to whole patches."""
    size = read.get("size")
    if size is None:
        return {}
    if isinstance(size, dict) and "shortest_edge" in size:
        size = size["shortest_edge"]
    sides = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
    multiple = int(read.get("ensure_multiple_of") or PATCH_SIZE)
    multiple = multiple if multiple % PATCH_SIZE == 0 else PATCH_SIZE
    rounded = tuple(max(1, round(side / multiple)) * multiple for side in sides)
    return {"input_size": rounded, "input_multiple": multiple}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}, which describes the weights in its folder, is damaged: {error}") from error
    return content if isinstance(content, dict) else {}
