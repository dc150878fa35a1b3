"""A model that is named and cannot run yet is fetched and exported, once, by what needs it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from depth_anything_ros.runtime.backends import BACKENDS
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.input_sizes import free_size
from depth_anything_ros.system.extras import require
from depth_anything_ros.zoo.cache import CachedModel
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.exports import WEIGHTS, exported_path, find_exported, holds_weights_only
from depth_anything_ros.zoo.record import ModelRecord, name_from
from depth_anything_ros.zoo.resolve import resolve

if TYPE_CHECKING:
    from depth_anything_ros.model.depth_anything import DepthAnything

CAMERA = (480, 640)
"""Height and width of the usual camera's images, whose shape the graph is made for."""


def prepare_model(model: str | Path, backend: str = "auto", record: ModelRecord | Path | None = None) -> None:
    """Fetches and exports ``model`` if it is weights, no graph was made of them, and ``backend`` runs graphs.

    Says on standard error what it does. The graph goes into the cache, where the node finds it by the model's name too.
    Weights that are given a ``record`` are left to `export`, which makes it part of the graph.

    Raises:
        ModelError: the weights cannot be exported.
        MissingPackagesError: what is needed for that is not installed; nothing was fetched then.
        OSError, ValueError: the weights cannot be fetched or read.
    """
    weights, described = (None, None) if record else _weights(model)
    runs_weights = backend in BACKENDS and BACKENDS[backend].reads_weights
    if weights is None or runs_weights or find_exported(weights, described):
        return
    absent = isinstance(weights, ModelRecord) and CachedModel(weights).missing()
    require(*(["huggingface_hub", "filelock"] if absent else []), "torch", "onnx", "safetensors")
    _export(weights)


def _weights(model: str | Path) -> tuple[ModelRecord | Path | None, ModelRecord | None]:
    """The known model, or the file, that holds weights and no graph, None for all others; and a file's record."""
    known = known_models().get(model) if isinstance(model, str) else None
    if known is not None:
        return (known if holds_weights_only(known) else None), None
    path = Path(model).expanduser()
    if not path.is_dir() and not (path.suffix in WEIGHTS and path.is_file()):
        return None, None
    resolved = resolve(path)
    return (resolved.path, resolved.record) if resolved.path.suffix in WEIGHTS else (None, None)


def _export(weights: ModelRecord | Path) -> None:
    """Exports the weights for the usual camera's images, into the cache."""
    from depth_anything_ros.export.onnx import export_onnx
    from depth_anything_ros.export.tracing import ExportError

    resolved = resolve(weights)
    if resolved.weights is None:
        raise ModelError(resolved.fault or f"{resolved.path}: does not hold exactly one file of weights")
    network, record = load_network(resolved.weights, resolved.record)
    size = free_size(record, *CAMERA)
    path = exported_path(weights, size, resolved.record)
    _say(f"exporting {record.name} for images of {size[0]}x{size[1]}, once")
    try:
        export_onnx(network, record, size, path)
    except ExportError as error:
        raise ModelError(str(error)) from error
    _say(f"exported: {path}")


def load_network(
    weights: Path,
    record: ModelRecord | None,
    version: str | None = None,
    max_depth: float | None = None,
    relative: bool = False,
) -> tuple[DepthAnything, ModelRecord]:
    """The network in a file of weights, and a record that describes it, which lists no files."""
    from depth_anything_ros.model.checkpoints import load_checkpoint

    network = load_checkpoint(weights, version, max_depth, record, relative)
    if record is None:
        record = ModelRecord(
            name=name_from(weights.stem),
            output="inverse_depth" if network.max_depth is None else "depth",
            license="unknown",
            encoder=network.encoder,
            version=network.version,
            max_depth=network.max_depth,
        )
    return network, replace(record, files=())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
