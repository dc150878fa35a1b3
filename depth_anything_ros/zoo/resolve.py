"""Find a model's files by its name or path: explicit path, then cache, then bundled, then hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from depth_anything_ros.zoo.cache import CachedModel, DamagedModelError, sha256_of, sha256_once
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER, UnknownModelError, find, is_bundled, known_models
from depth_anything_ros.zoo.download import DownloadError, download
from depth_anything_ros.zoo.hub_names import find_by_hub_name
from depth_anything_ros.zoo.hugging_face import transformers_record
from depth_anything_ros.zoo.model_folder import MODELS, model_in
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord
from depth_anything_ros.zoo.seal import check_seal, safetensors_header


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine.

    Attributes:
        record: None for a file without a record that is not in the catalog either.
        path: the model's file, or the folder of a model with several files.
        source: "path", "cache", "bundled" or "hub" (downloaded just now).
        fault: the reason why a folder has no usable model, or "".
    """

    record: ModelRecord | None
    path: Path
    source: str
    fault: str = ""

    @property
    def weights(self) -> Path | None:
        """The weight file: in a folder, the only file that is not a graph. None if there are only graphs."""
        if self.path.is_file():
            return None if self.path.suffix == ".onnx" else self.path
        names = [file.name for file in self.record.files if not file.name.endswith(".onnx")] if self.record else []
        return self.path / names[0] if len(names) == 1 else None


def resolve(model: str | Path | ModelRecord, *, fetch: bool = True, described: bool = False) -> ResolvedModel:
    """Find a model's files, and download them if needed.

    Args:
        model: a name in the catalog, a path, or the record of a model outside the catalog. A known name has priority
            over a file of that name in the working directory; write ``./name`` for the file.
        fetch: whether a download is allowed.
        described: whether the caller has its own record, so that none is read from the files.

    Raises:
        FileNotFoundError: a path does not exist.
        UnknownModelError: a name is unknown.
        RecordError: the record of the bundled model, the folder or the file is damaged.
        DamagedModelError: a file's SHA-256 differs from its record or its seal.
        DownloadError: the files are not here and the download failed, or ``fetch`` is False.
    """
    if isinstance(model, ModelRecord):
        return _resolve_record(model, fetch)
    if isinstance(model, str) and model in known_models():
        return _resolve_record(known_models()[model], fetch)
    if model == "":  # an empty path means the working folder
        raise UnknownModelError("the model's name is empty; give a name of `depth_anything_ros models list`, or a path")
    path = Path(model).expanduser()
    if path.exists():
        return _resolve_path(path, described)
    if isinstance(model, str) and (known := find_by_hub_name(model)):
        raise UnknownModelError(f"{model} is the name on the hub; give this package's name for it: {known.name}")
    if isinstance(model, Path) or os.sep in model or path.suffix:
        raise FileNotFoundError(f"no such model file or folder: {model}{_advice(str(model))}")
    return _resolve_record(find(model), fetch)


def _advice(model: str) -> str:
    """Return the advice for a name that looks like a hub repository, else ""."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith(".") or PurePosixPath(model).suffix in MODELS:
        return ""
    return f"; if it is on the Hugging Face hub, fetch it (hf download {model} --local-dir FOLDER) and give the folder"


def _resolve_path(path: Path, described: bool) -> ResolvedModel:
    """Resolve a file, a folder with a `record.json`, or a folder with one model."""
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
        raise DownloadError(f"the record of {record.name!r} lists no files")
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
    """Raise `DamagedModelError` if an existing file's SHA-256 differs from the record."""
    for file in record.files:
        path = folder / file.name
        if file.sha256 is not None and path.is_file() and sha256_once(path) != file.sha256:
            raise DamagedModelError(
                f"{path} is truncated, or not the file of its record: its SHA-256 is not {file.sha256}; {remedy}"
            )


def _location(cached: CachedModel) -> Path:
    files = cached.record.files
    return cached.path(files[0]) if len(files) == 1 else cached.folder


def _record_of(path: Path) -> ModelRecord | None:
    """Return a file's record: from the file, its sidecar, transformers' files, or the catalog by hash."""
    record = safetensors_record(path) if path.suffix == ".safetensors" else None
    sidecar = path.with_suffix(".record.json")
    if record is None and sidecar.is_file():
        record = ModelRecord.read(sidecar)
    return record or transformers_record(path) or _known_by_hash(path)


def _known_by_hash(path: Path) -> ModelRecord | None:
    for record in known_models().values():
        for file in record.files:
            # Only a file with an official name is hashed, since hashing takes long.
            if PurePosixPath(file.name).name == path.name and sha256_of(path) == file.sha256:
                return record
    return None


def safetensors_record(path: Path) -> ModelRecord | None:
    """Return the record in a safetensors file's metadata, or None. Needs no library.

    Raises:
        DamagedModelError: the file's header is not that of a complete safetensors file, or its seal does not match.
    """
    check_seal(path)
    header, _ = safetensors_header(path)
    text = header.get("__metadata__", {}).get(METADATA_KEY)
    return None if text is None else ModelRecord.from_json(text)
