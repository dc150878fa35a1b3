"""Which graphs a model consists of, what describes them, and the proof that they are the ones its record names."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from pathlib import Path

from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.graph import Graph
from depth_anything_ros.zoo.cache import sha256_once
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.exports import WEIGHTS, find_exported, holds_weights_only
from depth_anything_ros.zoo.hugging_face import missing_metadata
from depth_anything_ros.zoo.record import METADATA_KEY, ModelFile, ModelRecord, RecordError
from depth_anything_ros.zoo.resolve import resolve

Size = tuple[int, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine.

    ``record`` is None if the only one is within the graph's metadata. ``graphs`` maps the (height, width) that each
    graph is for to its file; a model that is a single file has the key None: only the graph itself knows its size.
    ``weights`` is its checkpoint, None if there is none; one that is nothing else has no graphs.
    ``origin`` says for logs where the files came from.
    """

    record: ModelRecord | None
    graphs: dict[tuple[int, int] | None, Path]
    origin: str
    weights: Path | None = None


def find_model_files(
    model: str | Path, record: ModelRecord | str | Path | None = None, weights: bool = False
) -> ModelFiles:
    """Finds a model's graphs and checks every file whose hash is known.

    Args:
        model: a name in the zoo, an .onnx file, a folder with a `record.json` and a graph per size, or one that holds a
            single model file, such as transformers writes.
        record: what describes the model, or the JSON file that holds it; default: what the zoo or `record.json`
            says, else the file `NAME.record.json` beside the model's, else what transformers wrote beside it.
        weights: whether a checkpoint is wanted, and no graph needed.

    Raises:
        ModelError: the model is unknown, absent, damaged or not exported (or, with ``weights``, nothing but exported),
            or the record is malformed.
    """
    try:
        known = known_models().get(model) if isinstance(model, str) else None
        if known is not None and not weights and holds_weights_only(known):
            return _exported(known, known.name, record is not None)  # and no gigabytes are fetched in vain
        is_described = record is not None
        resolved = resolve(model, described=is_described)
        if record is None:
            record = resolved.record
        if isinstance(record, (str, Path)):
            record = ModelRecord.read(record)
    except (OSError, ValueError) as error:  # what the zoo raises says what to do about it
        raise ModelError(str(error)) from error
    origin = f"{resolved.source} {resolved.path}"
    if resolved.path.is_dir():
        if record is None:
            raise ModelError(resolved.fault)
        graphs = _graphs_of_folder(resolved.path, record)
        return ModelFiles(record, graphs, origin, _weights_of_folder(resolved.path, record))
    if resolved.path.suffix != ".onnx":
        is_unknown = resolved.record is None and resolved.path.suffix not in WEIGHTS
        if is_unknown and (record is None or not weights):
            raise ModelError(
                f"{resolved.path} is no model: give an .onnx file, weights ({', '.join(WEIGHTS)}), a folder of an "
                "export, or a name of `depth_anything_ros models list`"
            )
        if not weights:
            return _exported(resolved.path, model, is_described, resolved.record)
        return ModelFiles(record, {}, origin, resolved.path)
    for files in (record.files if record else (), _files_of_bundle(resolved.path.parent)):
        _check_listed(resolved.path, files)
    return ModelFiles(record, {None: resolved.path}, origin)


def record_within(graph: Graph) -> ModelRecord:
    """The record that one of our exports carries in its metadata."""
    if METADATA_KEY not in graph.metadata:
        unsaid = missing_metadata(graph.path.parent)
        raise ModelError(
            f"{graph.path} says nothing about what it predicts{unsaid and f' ({unsaid})'}: describe it in "
            f"{graph.path.with_suffix('.record.json').name} beside it, or name a record"
        )
    try:
        return ModelRecord.from_json(graph.metadata[METADATA_KEY])
    except RecordError as error:
        raise ModelError(f"{graph.path}: {error}") from error


def warn_of_maps(graph: Graph | None, record: ModelRecord) -> None:
    """Says which output is taken for the depth, where a graph has several maps and the record calls none confidence."""
    if graph is not None and record.confidence is None and len(graph.maps) > 1:
        log.warning(
            "%s has several outputs that may be the map: %s; %s is taken. Where one is the confidence, name it in the "
            "record (confidence); where another is the depth, export that one first",
            *(graph.path, ", ".join(graph.maps), graph.maps[0]),
        )


NOT_OF_THE_NETWORK = ("name", "license", "licence", "files", "input_size", "repository", "description")
"""Fields that may differ between a folder's record and those within its graphs."""


def check_agreement(record: ModelRecord, graph: Graph) -> None:
    """Holds a folder's `record.json`, which has no hash of its own, to the record within one of its graphs.

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
            f"{graph.path.parent / 'record.json'} and the record within {graph.path.name} disagree in "
            f"{', '.join(differing)}: one of them is damaged; export the model again. To run it by a record of your "
            "own name that one (--record, the parameter record)"
        )


def graphs_by_size(graphs: dict[Size | None, Graph], size: Size | None) -> dict[Size | None, Graph]:
    """The graphs to use by input size; the key None stands for one that takes any size.

    Only the graph knows a single file's size. A requested ``size`` leaves one graph.
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
    """The graph that was made of weights, which holds their record. Raises `ModelError`, naming what makes it.

    ``model``: what the user calls them; ``record``: what describes a file of weights, where anything does.
    """
    if is_described:
        raise ModelError(
            f"{model} holds weights, not a graph that can run, and a record of its own is made part of the graph; "
            f"first do: depth_anything_ros export {model} --record FILE --output MODEL.onnx, then name that file"
        )
    graph = find_exported(weights, record)
    if graph is None:
        raise ModelError(
            f"{model} holds weights, not a graph that can run; do once: depth_anything_ros build {model}, which "
            "fetches what is not here, and exports it"
        )
    return ModelFiles(None, {None: graph}, f"exported {graph}")


def _check_listed(graph: Path, files: tuple[ModelFile, ...]) -> None:
    """Checks a graph that is listed among a model's files, and the weights there that it may point into."""
    if graph.name in (file.name for file in files):
        for file in files:
            is_other_graph = file.name.endswith(".onnx") and file.name != graph.name
            if not is_other_graph and (graph.parent / file.name).is_file():
                _check_hash(graph.parent / file.name, file.sha256)


def _files_of_bundle(folder: Path) -> tuple[ModelFile, ...]:
    """The files that a `record.json` in the folder of a graph lists, none where there is none that is a record."""
    try:
        return ModelRecord.read(folder / "record.json").files
    except RecordError:
        return ()


def _graphs_of_folder(folder: Path, record: ModelRecord) -> dict[tuple[int, int] | None, Path]:
    """The folder's graphs by size, after a check of all that the record lists: the weights lie beside the graphs."""
    graphs: dict[Size | None, Path] = {}
    for file in record.files:
        _check_hash(folder / file.name, file.sha256)
        if file.name.endswith(".onnx"):
            if file.size is None:
                raise ModelError(f"{folder}: the record of {record.name!r} does not say the size of {file.name}")
            graphs[file.size] = folder / file.name
    if not graphs:
        raise ModelError(f"{folder}: the record of {record.name!r} lists no .onnx graph")
    return graphs


def _weights_of_folder(folder: Path, record: ModelRecord) -> Path | None:
    """The one file of the record that is no graph."""
    others = [file.name for file in record.files if not file.name.endswith(".onnx")]
    return folder / others[0] if len(others) == 1 else None


def _check_hash(path: Path, sha256: str | None) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing, though the model's record lists it")
    if sha256 is not None and sha256_once(path) != sha256:
        raise ModelError(f"{path} is truncated, or not the file its record names: its SHA-256 is not {sha256}")
