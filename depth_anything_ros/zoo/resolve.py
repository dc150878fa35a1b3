"""From what a user calls a model to the files it lies in: explicit path, then cache, then bundled, then hub."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from depth_anything_ros.zoo.cache import CachedModel, DamagedModelError, sha256_of
from depth_anything_ros.zoo.catalogue import BUNDLED_FOLDER, UnknownModelError, find, is_bundled, known_models
from depth_anything_ros.zoo.download import DownloadError, download
from depth_anything_ros.zoo.hub_names import known_by_hub_name
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord


@dataclass(frozen=True)
class ResolvedModel:
    """A model found on this machine.

    ``record`` is None for a file that carries none and is not in the catalogue. ``path`` is the model's file, or the
    folder of a model of several files. ``source`` is "path", "cache", "bundled" or "hub" (fetched just now).
    """

    record: ModelRecord | None
    path: Path
    source: str

    @property
    def weights(self) -> Path | None:
        """The file of weights, in a folder the one that is no graph; None where there are graphs alone."""
        if self.path.is_file():
            return None if self.path.suffix == ".onnx" else self.path
        names = [file.name for file in self.record.files if not file.name.endswith(".onnx")] if self.record else []
        return self.path / names[0] if len(names) == 1 else None


def resolve(model: str | Path | ModelRecord, *, fetch: bool = True) -> ResolvedModel:
    """Finds a model's files, fetching them if need be.

    Args:
        model: a name in the catalogue, a path, or the record of a model that is not in the catalogue. A known name
            wins over a file of that name in the working directory; write ``./name`` for the file.
        fetch: whether the hub may be asked.

    Raises:
        FileNotFoundError: a path leads nowhere.
        UnknownModelError: a name is unknown.
        RecordError: the bundled model's record, or that of the folder or file given, is damaged.
        DamagedModelError: a file in the cache is not the one its record names.
        DownloadError: the files are not here and could not be fetched, or ``fetch`` is False.
    """
    if isinstance(model, ModelRecord):
        return _resolve_record(model, fetch)
    if isinstance(model, str) and model in known_models():
        return _resolve_record(known_models()[model], fetch)
    path = Path(model).expanduser()
    if path.exists():
        return ResolvedModel(_record_beside(path), path, "path")
    if isinstance(model, str) and (known := known_by_hub_name(model)):
        raise UnknownModelError(f"{model} is the hub's name; here the model is called {known.name}: give that")
    if isinstance(model, Path) or os.sep in model or path.suffix:
        raise FileNotFoundError(f"no such model file or folder: {model}")
    return _resolve_record(find(model), fetch)


def _resolve_record(record: ModelRecord, fetch: bool) -> ResolvedModel:
    cached = CachedModel(record)
    if not record.files:
        raise DownloadError(f"the record of {record.name!r} names no files")
    if not cached.missing():
        cached.verify()
        return ResolvedModel(record, _location(cached), "cache")
    if known_models().get(record.name) == record and is_bundled(record):
        return ResolvedModel(record, BUNDLED_FOLDER, "bundled")
    if not fetch:
        raise DownloadError(f"{record.name!r} is not in the cache; run: depth_anything_ros models fetch {record.name}")
    download(cached)
    cached.verify()
    return ResolvedModel(record, _location(cached), "hub")


def _location(cached: CachedModel) -> Path:
    files = cached.record.files
    return cached.path(files[0]) if len(files) == 1 else cached.folder


def _record_beside(path: Path) -> ModelRecord | None:
    """The record that a path given by the user carries: in its folder, in its metadata, or known by its hash."""
    if path.is_dir():
        record = path / "record.json"
        return ModelRecord.read(record) if record.is_file() else None
    if path.suffix == ".safetensors":
        return safetensors_record(path)
    for record in known_models().values():
        for file in record.files:
            # Only a file that also bears the official name is hashed: that is what makes the name believable.
            if PurePosixPath(file.name).name == path.name and sha256_of(path) == file.sha256:
                return record
    return None


def safetensors_record(path: Path) -> ModelRecord | None:
    """The record in a safetensors file's metadata, read without any library, or None if it holds none.

    Raises:
        DamagedModelError: the file's header is not that of a whole safetensors file.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= path.stat().st_size - 8:
            raise DamagedModelError(f"{path} is truncated or not a safetensors file")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise DamagedModelError(f"{path} is not a safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise DamagedModelError(f"{path} is not a safetensors file: its header is no JSON object")
    text = header.get("__metadata__", {}).get(METADATA_KEY)
    return None if text is None else ModelRecord.from_json(text)
