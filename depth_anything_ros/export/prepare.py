"""Fetch and export a model that cannot run yet, once, before the program that needs it."""

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
from depth_anything_ros.zoo.exports import WEIGHTS, exported_path, find_exported, needs_export
from depth_anything_ros.zoo.peers import POINT_MAPS, PointMap
from depth_anything_ros.zoo.record import ModelRecord, name_from
from depth_anything_ros.zoo.resolve import resolve

if TYPE_CHECKING:
    from depth_anything_ros.model.depth_anything import DepthAnything

CAMERA = (480, 640)
"""Height and width of a common camera's images, whose aspect ratio the graph gets."""


def prepare_model(model: str | Path, backend: str = "auto", record: ModelRecord | Path | None = None) -> None:
    """Fetch and export a model that has only weights, for a backend that needs a graph.

    Nothing happens if a graph was exported from it before. The function reports its work on standard error. The graph
    goes into the cache, where the node also finds it by the model's name.

    Args:
        model: name or path.
        backend: name of the backend, or "auto".
        record: the user's record of the model. With one, nothing happens: `export` makes it part of the graph.

    Raises:
        ModelError: the weights cannot be exported.
        MissingPackagesError: a required package is missing; nothing was fetched.
        OSError: the weights cannot be fetched or read.
        ValueError: the weights cannot be read.
    """
    weights, described = (None, None) if record else _weights(model)
    runs_weights = backend in BACKENDS and BACKENDS[backend].reads_weights
    if weights is None or runs_weights or find_exported(weights, described):
        return
    known = weights if isinstance(weights, ModelRecord) else None
    ports = POINT_MAPS.get(known.name) if known else None
    missing = known is not None and known.repository is not None and CachedModel(known).missing()
    of_hub = ["huggingface_hub", "filelock"] if missing else []
    require(*of_hub, "onnx", *(["torch", "safetensors"] if ports is None else []))
    if known is None or ports is None:
        _export(weights)
    else:
        _export_points(known, ports)


def _weights(model: str | Path) -> tuple[ModelRecord | Path | None, ModelRecord | None]:
    """Return a model or file that has weights but no graph (else None), and the record of a file."""
    known = known_models().get(model) if isinstance(model, str) else None
    if known is not None:
        return (known if needs_export(known) else None), None
    path = Path(model).expanduser()
    if not path.is_dir() and not (path.suffix in WEIGHTS and path.is_file()):
        return None, None
    resolved = resolve(path)
    return (resolved.path, resolved.record) if resolved.path.suffix in WEIGHTS else (None, None)


def _export(weights: ModelRecord | Path) -> None:
    """Export the weights into the cache, for images of a common camera."""
    from depth_anything_ros.export.onnx import export_onnx
    from depth_anything_ros.export.tracing import ExportError

    resolved = resolve(weights)
    if resolved.weights is None:
        raise ModelError(resolved.fault or f"{resolved.path}: must have exactly one weight file; give that file")
    network, record = load_network(resolved.weights, resolved.record)
    size = free_size(record, *CAMERA)
    path = exported_path(weights, size, resolved.record)
    _report(f"exporting {record.name} for images of {size[0]}x{size[1]}, once")
    try:
        export_onnx(network, record, size, path)
    except ExportError as error:
        raise ModelError(str(error)) from error
    _report(f"exported: {path}")


def _export_points(record: ModelRecord, ports: PointMap) -> None:
    """Make a depth model of a graph of points, in the cache, for images of a common camera."""
    from depth_anything_ros.export.point_maps import export_point_map

    graph, size = resolve(record).path, free_size(record, *CAMERA)
    path = exported_path(record, size)
    _report(f"making a depth model of {record.name} for images of {size[0]}x{size[1]}, once")
    export_point_map(graph, record, ports, size, path)
    _report(f"exported: {path}")


def load_network(
    weights: Path,
    record: ModelRecord | None,
    version: str | None = None,
    max_depth: float | None = None,
    relative: bool = False,
) -> tuple[DepthAnything, ModelRecord]:
    """Load the network from a weight file.

    Args:
        weights: the file.
        record: of the model; None creates one from the network.
        version: see `load_checkpoint`.
        max_depth: see `load_checkpoint`.
        relative: see `load_checkpoint`.

    Returns:
        The network, and its record without files.
    """
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


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
