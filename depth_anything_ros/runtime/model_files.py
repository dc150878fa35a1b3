"""Find the graphs of a model and its record, and verify the files by their hashes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from pathlib import Path

from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.graph import Graph
from depth_anything_ros.zoo.cache import sha256_once
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.exports import WEIGHTS, find_exported, needs_export
from depth_anything_ros.zoo.hugging_face import missing_metadata
from depth_anything_ros.zoo.peers import POINT_MAPS
from depth_anything_ros.zoo.record import METADATA_KEY, ModelFile, ModelRecord, RecordError
from depth_anything_ros.zoo.resolve import resolve

Size = tuple[int, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine.

    Attributes:
        record: None if the only one is in the graph's metadata.
        graphs: files by the (height, width) of their input. A model with a single file has the key None, since only
            the graph knows its size. Empty for a checkpoint alone.
        origin: of the files, for logs.
        weights: the checkpoint, or None.
    """

    record: ModelRecord | None
    graphs: dict[tuple[int, int] | None, Path]
    origin: str
    weights: Path | None = None


def find_model_files(
    model: str | Path, record: ModelRecord | str | Path | None = None, weights: bool = False
) -> ModelFiles:
    """Find a model's graphs and verify every file whose hash is known.

    Args:
        model: a name in the zoo, an .onnx file, or a folder. The folder has a `record.json` and a graph per size, or a
            single model file, such as transformers writes.
        record: of the model, or the JSON file with it. Default: from the zoo or `record.json`, else from
            `NAME.record.json` in the model's folder, else from transformers' files there.
        weights: whether a checkpoint is required instead of a graph.

    Raises:
        ModelError: the model is unknown, missing, damaged or not exported (or, with ``weights``, only exported), or the
            record is malformed.
    """
    try:
        known = known_models().get(model) if isinstance(model, str) else None
        if known is not None and not weights and needs_export(known):
            return _exported(known, known.name, record is not None)  # avoids a useless download of gigabytes
        is_described = record is not None
        resolved = resolve(model, described=is_described)
        if record is None:
            record = resolved.record
        if isinstance(record, (str, Path)):
            record = ModelRecord.read(record)
    except (OSError, ValueError) as error:  # the zoo's messages name the fix
        raise ModelError(str(error)) from error
    is_bundled = resolved.source == "bundled"
    origin = resolved.source if is_bundled else f"{resolved.source} {resolved.path}"
    if resolved.path.is_dir():
        if record is None:
            raise ModelError(resolved.fault)
        graphs = _graphs_of_folder(resolved.path, record)
        return ModelFiles(record, graphs, origin, _weights_of_folder(resolved.path, record))
    if resolved.path.suffix != ".onnx":
        is_unknown = resolved.record is None and resolved.path.suffix not in WEIGHTS
        if is_unknown and (record is None or not weights):
            raise ModelError(
                f"{resolved.path} is not a model: give an .onnx file, weights ({', '.join(WEIGHTS)}), a folder of an "
                "export, or a name of `depth_anything_ros models list`"
            )
        if not weights:
            return _exported(resolved.path, model, is_described, resolved.record)
        return ModelFiles(record, {}, origin, resolved.path)
    for files in (record.files if record else (), _files_of_bundle(resolved.path.parent)):
        _check_listed(resolved.path, files)
    return ModelFiles(record, {None: resolved.path}, origin)


def record_within(graph: Graph) -> ModelRecord:
    """Return the record in the metadata of a graph that this package exported."""
    if METADATA_KEY not in graph.metadata:
        reason = missing_metadata(graph.path.parent)
        raise ModelError(
            f"{graph.path} does not declare what it predicts{reason and f' ({reason})'}: describe it in "
            f"{graph.path.with_suffix('.record.json').name} in its folder, or give a record"
        )
    try:
        return ModelRecord.from_json(graph.metadata[METADATA_KEY])
    except RecordError as error:
        raise ModelError(f"{graph.path}: {error}") from error


def warn_of_maps(graph: Graph | None, record: ModelRecord) -> None:
    """Log which output is used as depth, if a graph has several maps and its record names no confidence.

    Args:
        graph: None for a checkpoint.
        record: of the model.
    """
    if graph is not None and record.confidence is None and len(graph.maps) > 1:
        log.warning(
            "%s has several outputs that may be the map: %s; %s is used. If one is the confidence, name it in the "
            "record (confidence); if another is the depth, export that one first",
            *(graph.path, ", ".join(graph.maps), graph.maps[0]),
        )


NOT_OF_THE_NETWORK = ("name", "license", "licence", "files", "input_size", "repository", "description", "scale_rate")
"""Fields that may differ between a folder's record and the records in its graphs."""


def check_agreement(record: ModelRecord, graph: Graph) -> None:
    """Compare a folder's `record.json`, which has no hash of its own, with the record in one of its graphs.

    Args:
        record: of the folder.
        graph: of the folder.

    Raises:
        ModelError: they describe different networks.
    """
    if METADATA_KEY not in graph.metadata:
        return
    within = record_within(graph)
    names = [field.name for field in fields(ModelRecord) if field.name not in NOT_OF_THE_NETWORK]
    differing = [
        f"{name} ({getattr(record, name)!r} against {getattr(within, name)!r})"
        for name in names
        if getattr(record, name) != getattr(within, name)
    ]
    if differing:
        raise ModelError(
            f"{graph.path.parent / 'record.json'} and the record in {graph.path.name} differ in "
            f"{', '.join(differing)}: one of them is damaged; export the model again. To use a record of your "
            "own, give it (--record, the parameter record)"
        )


def graphs_by_size(graphs: dict[Size | None, Graph], size: Size | None) -> dict[Size | None, Graph]:
    """Return the graphs to use by input size; the key None means a graph for any size.

    Args:
        graphs: by size. The key None means a single file, whose size only the graph knows.
        size: the requested (height, width), which leaves one graph; None for all.

    Raises:
        ModelError: there is no graph for ``size``.
    """
    if None in graphs:
        graphs = {graphs[None].input_size: graphs[None]}
    if size is None:
        return graphs
    if None in graphs:
        return {size: graphs[None]}
    if size not in graphs:
        sizes = ", ".join(f"{height}x{width}" for height, width in filter(None, graphs))
        raise ModelError(f"the model has no graph for {size[0]}x{size[1]}, only for {sizes}")
    return {size: graphs[size]}


def _exported(
    weights: ModelRecord | Path, model: str | Path, is_described: bool, record: ModelRecord | None = None
) -> ModelFiles:
    """Return the graph that was exported from weights, with their record. Raises `ModelError`, which names the command.

    ``model`` is the user's name of the weights, ``record`` describes a weight file.
    """
    if is_described:
        raise ModelError(
            f"{model} has weights, not a graph that can run, and your record must become part of the graph. "
            f"First run: depth_anything_ros export {model} --record FILE --output MODEL.onnx, then give that file"
        )
    graph = find_exported(weights, record)
    if graph is None:
        content = "a graph of points" if isinstance(weights, ModelRecord) and weights.name in POINT_MAPS else "weights"
        raise ModelError(
            f"{model} has {content}, not a graph that can run; run once: depth_anything_ros build {model}, which "
            "fetches missing files, and exports the model"
        )
    return ModelFiles(None, {None: graph}, f"exported {graph}")


def _check_listed(graph: Path, files: tuple[ModelFile, ...]) -> None:
    """Check a graph that is listed among a model's files, and the weights that it may refer to."""
    if graph.name in (file.name for file in files):
        for file in files:
            is_other_graph = file.name.endswith(".onnx") and file.name != graph.name
            if not is_other_graph and (graph.parent / file.name).is_file():
                _check_hash(graph.parent / file.name, file.sha256)


def _files_of_bundle(folder: Path) -> tuple[ModelFile, ...]:
    """Return the files that a `record.json` in the graph's folder lists; none without a valid record."""
    try:
        return ModelRecord.read(folder / "record.json").files
    except RecordError:
        return ()


def _graphs_of_folder(folder: Path, record: ModelRecord) -> dict[tuple[int, int] | None, Path]:
    """Return the folder's graphs by size, after verifying all files in the record, including the weights."""
    graphs: dict[Size | None, Path] = {}
    for file in record.files:
        _check_hash(folder / file.name, file.sha256)
        if file.name.endswith(".onnx"):
            if file.size is None:
                raise ModelError(f"{folder}: the record of {record.name!r} has no size for {file.name}")
            graphs[file.size] = folder / file.name
    if not graphs:
        raise ModelError(f"{folder}: the record of {record.name!r} lists no .onnx graph")
    return graphs


def _weights_of_folder(folder: Path, record: ModelRecord) -> Path | None:
    """Return the only file of the record that is not a graph, or None."""
    names = [file.name for file in record.files if not file.name.endswith(".onnx")]
    return folder / names[0] if len(names) == 1 else None


def _check_hash(path: Path, sha256: str | None) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing, although the model's record lists it")
    if sha256 is not None and sha256_once(path) != sha256:
        raise ModelError(f"{path} is truncated, or not the file of its record: its SHA-256 is not {sha256}")
