"""`depth_anything_ros models`: lists, shows, fetches and verifies the models that are known by name; seals files."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.zoo.cache import CachedModel, DamagedModelError, cache_directory, sha256_of
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER, find, is_bundled, known_models
from depth_anything_ros.zoo.hub_names import find_by_hub_name
from depth_anything_ros.zoo.record import ModelRecord
from depth_anything_ros.zoo.resolve import resolve
from depth_anything_ros.zoo.seal import seal_again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    model = "name from `models list`, or the JSON file of your own record"
    for name, summary in (
        ("list", "list every known model, its license, and whether its files are on this machine"),
        ("show", "show one model's record: its output, its input, and its origin"),
        ("fetch", "download models from the hub into the cache"),
        ("verify", "hash the files of the given models, or of all models on this machine, again"),
        ("seal", "write a file's SHA-256 into it, after your own tool has changed an export"),
    ):
        action = actions.add_parser(name, help=summary, description=summary)
        if name == "show":
            action.add_argument("model", type=parse.model, help=model)
        elif name == "seal":
            files = {"nargs": "+", "type": parse.existing_file, "metavar": "FILE"}
            action.add_argument("files", help=".onnx or .safetensors", **files)
        elif name != "list":
            several = "+" if name == "fetch" else "*"
            action.add_argument("models", nargs=several, type=parse.model, metavar="MODEL", help=model)
        action.add_argument("--json", type=parse.output_file, metavar="FILE", help="write the result here as JSON too")


def run(arguments: argparse.Namespace) -> int:
    """Run one action. Return 1 if a file is damaged, else 0."""
    if arguments.action == "list":
        results = list_models()
    elif arguments.action == "show":
        results = show_model(arguments.model)
    elif arguments.action == "fetch":
        results = fetch_models(arguments.models)
    elif arguments.action == "seal":
        results = seal_files(arguments.files)
    else:
        results = verify_models(arguments.models)
    if arguments.json:
        atomic_write(arguments.json, json.dumps(results, indent=2).encode())
    damaged = arguments.action == "verify" and any(result["state"] == "damaged" for result in results)
    return int(damaged)


def list_models() -> list[dict[str, Any]]:
    """Print and return one row per model."""
    rows = []
    for record in known_models().values():
        limit = f" to {record.max_depth:g}" if record.max_depth else ""
        output = f"meters{limit}" if record.is_metric else record.output
        rows.append(
            {
                "name": record.name,
                "encoder": record.encoder,
                "version": record.version,
                "output": output.replace("_", " "),
                "license": record.license,
                "state": state(record),
            }
        )
    cells = (["-" if value is None else str(value) for value in row.values()] for row in rows)
    table = [[column.upper() for column in rows[0]], *cells]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return rows


def show_model(name: str) -> dict[str, Any]:
    """Print and return a record, with the folder of its files."""
    record = _record(name)
    folder = BUNDLED_FOLDER if state(record) == "bundled" else CachedModel(record).folder
    result = {**asdict(record), "state": state(record), "folder": str(folder)}
    for key, value in result.items():
        if key == "files":
            value = "".join(f"\n  {file['name']}  sha256 {file['sha256'] or 'pinned when fetched'}" for file in value)
        print(f"{key}: {value}")
    return result


def fetch_models(names: list[str]) -> list[dict[str, Any]]:
    """Download the models that are missing, and print and return their folders."""
    results = []
    for record in [_record(name) for name in names]:
        resolved = resolve(record)
        print(f"{record.name}: {resolved.path} ({resolved.source}, license {record.license})")
        results.append({"name": record.name, "path": str(resolved.path), "source": resolved.source})
    return results


def verify_models(names: list[str]) -> list[dict[str, Any]]:
    """Hash every file of the given models, or of all on this machine; print and return the state of each."""
    results = []
    for record in [_record(name) for name in names] or [r for r in known_models().values() if state(r) != "absent"]:
        result = {"name": record.name, "state": "absent", "problem": None}
        try:
            if state(record) == "cached":
                CachedModel(record).verify(thorough=True)
                result["state"] = "verified"
            elif state(record) == "bundled":
                _verify_bundled(record)
                result["state"] = "verified"
        except DamagedModelError as error:
            result.update(state="damaged", problem=str(error))
        print(f"{record.name}: {result['problem'] or result['state']}")
        results.append(result)
    if not results:
        print(f"nothing to verify: no model in {cache_directory()}")
    return results


def seal_files(paths: list[Path]) -> list[dict[str, Any]]:
    """Write the hash of each file into it, so that every load detects later damage; print and return the hashes."""
    for path in paths:
        seal_again(path)
        print(f"{path}: sealed")
    return [{"file": str(path), "sha256": sha256_of(path)} for path in paths]


def state(record: ModelRecord) -> str:
    """Return "cached", "bundled" or "absent": where all of a model's files are."""
    if not CachedModel(record).missing():
        return "cached"
    return "bundled" if is_bundled(record) else "absent"


def _record(name: str) -> ModelRecord:
    if record := find_by_hub_name(name):
        return record
    return ModelRecord.read(name) if name.endswith(".json") else find(name)


def _verify_bundled(record: ModelRecord) -> None:
    for file in record.files:
        path = BUNDLED_FOLDER / file.name
        if file.sha256 and sha256_of(path) != file.sha256:
            raise DamagedModelError(f"{path} differs from the installed file; reinstall the package")
