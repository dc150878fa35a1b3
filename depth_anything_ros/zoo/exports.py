"""Find graphs that were exported from weights. The cache keeps them, so that each export happens once."""

from __future__ import annotations

import hashlib
from glob import escape
from pathlib import Path

from depth_anything_ros import __version__
from depth_anything_ros.zoo.cache import CachedModel, cache_directory, sha256_once
from depth_anything_ros.zoo.peers import POINT_MAPS
from depth_anything_ros.zoo.record import ModelRecord

Size = tuple[int, int]

WEIGHTS = (".pth", ".pt", ".safetensors", ".bin")
"""Suffixes of checkpoints."""


def needs_export(record: ModelRecord) -> bool:
    """Return whether a model has files, but no graph of depth among them: weights alone, or a graph of points."""
    has_graph = any(file.name.endswith(".onnx") for file in record.files) and record.name not in POINT_MAPS
    return bool(record.files) and not has_graph


def exported_path(weights: ModelRecord | Path, size: Size, record: ModelRecord | None = None) -> Path:
    """Return the path of the graph that this version exports from exactly these weights. It need not exist.

    Args:
        weights: a file, or the record of a model with one file, which need not be here if the record has its SHA-256.
        size: (height, width) of the graph's input.
        record: of a file, if any: another record gives another graph.
    """
    return _folder() / f"{_stem(weights, record)}_{size[0]}x{size[1]}.onnx"


def find_exported(weights: ModelRecord | Path, record: ModelRecord | None = None) -> Path | None:
    """Return the latest graph exported from the weights, or None.

    Args:
        weights: see `exported_path`.
        record: see `exported_path`.
    """
    graphs = _folder().glob(f"{escape(_stem(weights, record))}_*x*.onnx")
    return max(graphs, key=lambda path: path.stat().st_mtime, default=None)


def _folder() -> Path:
    return cache_directory() / "exports" / __version__


def _stem(weights: ModelRecord | Path, record: ModelRecord | None) -> str:
    if isinstance(weights, Path):
        described = hashlib.sha256(record.to_json().encode()).hexdigest()[:8] if record else "undescribed"
        return f"{weights.stem}_{sha256_once(weights)[:16]}_{described}"
    file = weights.files[0]
    cached = CachedModel(weights)
    digest = file.sha256 or cached.expected_sha256(file) or "unknown"
    return f"{weights.name}_{digest[:16]}"
