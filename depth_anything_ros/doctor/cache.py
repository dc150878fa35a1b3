"""Check the cache: its folder and size, and whether engines, models and exported graphs are intact."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.runtime.engines.cache import SIDECAR, EngineCache
from depth_anything_ros.zoo.cache import CACHE_VARIABLE, CachedModel, DamagedModelError, cache_directory, sha256_of
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER, is_bundled, known_models
from depth_anything_ros.zoo.record import ModelRecord
from depth_anything_ros.zoo.seal import check_seal

LEAST_FREE = 1 << 30
"""Bytes of free disk space below which a build of an engine can fail."""


def folder(section: Section, options: Options) -> None:
    """Report the folder, its size, and whether it can be written."""
    cache = cache_directory()
    parts = {path.name: _size(path) for path in sorted(cache.iterdir())} if _is_readable(cache) else {}
    section.facts.update(folder=str(cache), bytes=parts)
    listed = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in parts.items())
    section.add_line(f"{cache}: {listed or 'empty'}")
    existing = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        section.note(
            f"{existing} cannot be written, so every start measures and builds again: sudo chown -R $USER {existing}, "
            f"or export {CACHE_VARIABLE}=FOLDER"
        )
        return
    free = shutil.disk_usage(existing).free
    section.facts["free_bytes"] = free
    if free < LEAST_FREE:
        section.note(
            f"only {free / 1e6:.0f} MB are free on the disk of {existing}: free some, or export {CACHE_VARIABLE}=FOLDER"
        )


def bundled(section: Section, options: Options) -> None:
    """Check the bundled model."""
    record = ModelRecord.read(BUNDLED_FOLDER / "record.json")
    for file in record.files:
        path = BUNDLED_FOLDER / file.name
        if not path.is_file() or (file.sha256 and sha256_of(path) != file.sha256):
            section.problem(f"{path} of the bundled model is missing or damaged: install the package again")
    section.add_line(f"bundled model {record.name}: {'intact' if not section.findings else 'see below'}")


def engines(section: Section, options: Options) -> None:
    """Check every engine against its hashes."""
    cache = EngineCache()
    listed: list[dict[str, object]] = []
    section.facts["engines"] = listed
    sidecars = sorted(cache.folder.glob(f"*/{SIDECAR}")) if _is_readable(cache.folder) else []
    stored = {engine.folder: engine for engine in cache.engines()} if sidecars else {}
    for path in (sidecar.parent for sidecar in sidecars):
        engine = stored.get(path)
        damage = f"its {SIDECAR} cannot be read" if engine is None else engine.damage()
        rejected = None if engine is None else engine.sidecar.get("rejected")
        state = "damaged" if damage else "rejected" if rejected else "intact"
        listed.append({"name": path.name, "bytes": _size(path), "state": state})
        section.add_line(
            f"engine {path.name}: {_size(path) / 1e6:.1f} MB, {state}{f' by the gate: {rejected}' if rejected else ''}"
        )
        if damage:
            section.note(
                f"engine {path.name} is built again at its next use: {damage}; to free its space: rm -r {path}"
            )
    if not listed:
        section.add_line("no engine is stored")
    for partial in sorted(cache.folder.glob(".*.partial")):
        section.note(f"{partial} belongs to a killed or running build: if no build runs, rm -r {partial}")


def models(section: Section, options: Options) -> None:
    """Check fetched models against their records, and exported graphs against their seals."""
    states: dict[str, str] = {}
    section.facts["models"] = states
    for record in known_models().values():
        if is_bundled(record) or CachedModel(record).missing() or not record.files:
            continue
        try:
            CachedModel(record).verify()
            states[record.name] = "intact"
        except DamagedModelError as error:
            states[record.name] = "damaged"
            section.problem(f"the fetched model {record.name} is damaged: {error}")
        except OSError as error:
            states[record.name] = "unknown"
            section.note(f"the fetched model {record.name} cannot be checked: {error}")
    for path in sorted((cache_directory() / "exports").glob("*/*.onnx")):
        name = f"{path.parent.name}/{path.name}"
        try:
            states[name] = "intact" if check_seal(path) else "unknown"  # without a seal there is no hash to check
        except (DamagedModelError, OSError) as error:
            states[name] = "damaged"
            section.problem(
                f"an exported graph is damaged: {error}; rm {path}, then depth_anything_ros build its model"
            )
    for name, state in states.items():
        section.add_line(f"{'exported' if '/' in name else 'model'} {name}: {state}")


STEPS = (folder, bundled, engines, models)


def _is_readable(path: Path) -> bool:
    return path.is_dir() and os.access(path, os.R_OK | os.X_OK)


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder that can be read."""
    return sum(size for size in _sizes(path))


def _sizes(path: Path) -> Iterator[int]:
    paths = [path] if not path.is_dir() else [Path(root, name) for root, _, names in os.walk(path) for name in names]
    for each in paths:
        try:
            yield each.lstat().st_size
        except OSError:  # removed in between, or not readable
            continue
