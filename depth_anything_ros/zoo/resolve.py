"""From what a user calls a model to the files it lies in: explicit path, then cache, then bundled, then hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from depth_anything_ros.zoo.cache import CachedModel, DamagedModelError, sha256_of, sha256_once
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER, UnknownModelError, find, is_bundled, known_models
from depth_anything_ros.zoo.download import DownloadError, download
from depth_anything_ros.zoo.hub_names import known_by_hub_name
from depth_anything_ros.zoo.hugging_face import record_beside
from depth_anything_ros.zoo.model_folder import MODELS, model_in
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord
from depth_anything_ros.zoo.seal import check_seal, safetensors_header


@dataclass(frozen=True)
class ResolvedModel:
    """A model found on this machine.

    ``record`` is None for a file that carries none and is not in the catalog. ``path`` is the model's file, or the
    folder of a model of several files. ``source`` is "path", "cache", "bundled" or "hub" (fetched just now).
    ``fault`` is why a folder stands for no model, "" where it does.
    """

    record: ModelRecord | None
    path: Path
    source: str
    fault: str = ""

    @property
    def weights(self) -> Path | None:
        """The file of weights, in a folder the one that is no graph; None where there are graphs alone."""
        if self.path.is_file():
            return None if self.path.suffix == ".onnx" else self.path
        names = [file.name for file in self.record.files if not file.name.endswith(".onnx")] if self.record else []
        return self.path / names[0] if len(names) == 1 else None


def resolve(model: str | Path | ModelRecord, *, fetch: bool = True, described: bool = False) -> ResolvedModel:
    """Finds a model's files, fetching them if need be.

    Args:
        model: a name in the catalog, a path, or the record of a model that is not in the catalog. A known name
            wins over a file of that name in the working directory; write ``./name`` for the file.
        fetch: whether the hub may be asked.
        described: whether the caller has a record of its own, so that none is looked for beside a file.

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
        return _resolve_path(path, described)
    if isinstance(model, str) and (known := known_by_hub_name(model)):
        raise UnknownModelError(f"{model} is the hub's name; here the model is called {known.name}: give that")
    if isinstance(model, Path) or os.sep in model or path.suffix:
        raise FileNotFoundError(f"no such model file or folder: {model}{_advice(str(model))}")
    return _resolve_record(find(model), fetch)


def _advice(model: str) -> str:
    """What to do with what may be the identifier of a repository on the hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith(".") or PurePosixPath(model).suffix in MODELS:
        return ""
    return f"; if it is on the Hugging Face hub, fetch it (hf download {model} --local-dir FOLDER) and give the folder"


def _resolve_path(path: Path, described: bool) -> ResolvedModel:
    """A file, a folder with a `record.json`, or one that stands for the one model in it."""
    if path.is_dir() and (path / "record.json").is_file():
        record = ModelRecord.read(path / "record.json")
        _check_folder(path, record, "copy or export it again")
        return ResolvedModel(record, path, "path")
    if path.is_dir():
        content = model_in(path)
        if content.file is None:
            return ResolvedModel(None, path, "path", content.fault)
        path = content.file
    return ResolvedModel(None if described else _record_of(path), path, "path")


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


def _record_of(path: Path) -> ModelRecord | None:
    """The record of a file that the user gives: in it, beside it, as transformers says it, or known by its hash."""
    record = safetensors_record(path) if path.suffix == ".safetensors" else None
    beside = path.with_suffix(".record.json")
    if record is None and beside.is_file():
        record = ModelRecord.read(beside)
    return record or record_beside(path) or _known_by_hash(path)


def _known_by_hash(path: Path) -> ModelRecord | None:
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
