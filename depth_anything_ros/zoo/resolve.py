"""From what a user calls a model to the files it lies in: explicit path, then cache, then bundled, then hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from depth_anything_ros.zoo.cache import CachedModel, DamagedModelError, sha256_of, sha256_once
from depth_anything_ros.zoo.catalogue import BUNDLED_FOLDER, UnknownModelError, find, is_bundled, known_models
from depth_anything_ros.zoo.download import DownloadError, download
from depth_anything_ros.zoo.hub_names import known_by_hub_name
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord
from depth_anything_ros.zoo.seal import check_seal, safetensors_header


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
        DamagedModelError: a file is not the one its record names, or not as it was sealed.
        DownloadError: the files are not here and could not be fetched, or ``fetch`` is False.
    """
    if isinstance(model, ModelRecord):
        return _resolve_record(model, fetch)
    if isinstance(model, str) and model in known_models():
        return _resolve_record(known_models()[model], fetch)
    if model == "":  # would be the working folder
        raise UnknownModelError("the model's name is empty; give one of `depth_anything_ros models list`, or a path")
    path = Path(model).expanduser()
    if path.exists():
        record = _record_beside(path)
        if record is not None and path.is_dir():
            _check_folder(path, record, "copy or export it again")
        return ResolvedModel(record, path, "path")
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
        _check_folder(BUNDLED_FOLDER, record, "reinstall the package")
        return ResolvedModel(record, BUNDLED_FOLDER, "bundled")
    if not fetch:
        raise DownloadError(f"{record.name!r} is not in the cache; run: depth_anything_ros models fetch {record.name}")
    download(cached)
    cached.verify()
    return ResolvedModel(record, _location(cached), "hub")


def _check_folder(folder: Path, record: ModelRecord, remedy: str) -> None:
    """Raises `DamagedModelError` where a file that is there is not the one that the record names."""
    for file in record.files:
        path = folder / file.name
        if file.sha256 is not None and path.is_file() and sha256_once(path) != file.sha256:
            raise DamagedModelError(
                f"{path} is truncated, or not the file its record names: its SHA-256 is not {file.sha256}; {remedy}"
            )


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
        DamagedModelError: the file's header is not that of a whole safetensors file, or it is not as it was sealed.
    """
    check_seal(path)
    header, _ = safetensors_header(path)
    text = header.get("__metadata__", {}).get(METADATA_KEY)
    return None if text is None else ModelRecord.from_json(text)
