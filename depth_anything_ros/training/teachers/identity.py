"""The identity of a teacher: the hash of its files, and the parts of its record that affect labels.

Nothing here imports PyTorch, which takes seconds: processes that only decode images do not need it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda.driver import computes_bfloat16
from depth_anything_ros.runtime.graph import Graph, read_graph
from depth_anything_ros.runtime.input_sizes import Size, free_size, nearest_size
from depth_anything_ros.runtime.model_files import find_model_files, graphs_by_size, record_within
from depth_anything_ros.training.settings import TeacherSettings
from depth_anything_ros.zoo.cache import sha256_once
from depth_anything_ros.zoo.record import ModelRecord, name_from
from depth_anything_ros.zoo.resolve import resolve

DECISIVE = ("output", "input", "mean", "std", "confidence", "max_depth", "input_multiple")
"""Fields of a record that affect labels, besides version and size."""


@dataclass(frozen=True)
class NetworkSizes:
    """The network's input size for an image, (height, width).

    ``fixed``: sizes of its graphs; empty if it accepts any size, which then comes from ``record``.
    """

    record: ModelRecord
    fixed: tuple[Size, ...] = ()

    def of(self, height: int, width: int) -> Size:
        """Return the network's input size for an image; an image of such a size keeps it.

        Args:
            height: of the image.
            width: of the image.
        """
        return nearest_size(self.fixed, height, width) if self.fixed else free_size(self.record, height, width)


@dataclass(frozen=True)
class Teacher:
    """A teacher, not loaded; small, so that it can be sent to the machine that loads it.

    ``sha256``: of its file, or of the hashes of its graphs and their weights.
    """

    settings: TeacherSettings
    sha256: str
    sizes: NetworkSizes
    is_graph: bool

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides its labels, as plain values."""
        record = self.sizes.record
        return {
            "name": record.name,
            "sha256": self.sha256,
            "version": record.version or self.settings.version,
            "sizes": [list(size) for size in self.sizes.fixed] or min(record.input_size),
            "record": json.loads(json.dumps({name: getattr(record, name) for name in DECISIVE})),
        }

    def precision(self, device: str) -> str:
        """Return its arithmetic on "cpu" or "cuda": bf16 on GPUs, unless one of this machine only emulates it."""
        if self.is_graph:
            return "the backend's choice"
        emulates = any(not computes_bfloat16(gpu.compute_capability) for gpu in cuda_driver.devices())
        return "bf16" if device == "cuda" and not emulates else "fp32"


def find_teacher(settings: TeacherSettings, size: int | None = None) -> Teacher:
    """Find a teacher's files, without loading it.

    Args:
        settings: the teacher.
        size: short side of images in the network, pixels, if the network accepts any size. Default: the record's
            preference, 518 without a record.

    Raises:
        ModelError: the model does not exist or is damaged; the zoo has further error classes for that.
        ValueError: the network does not accept the size.
    """
    resolved = resolve(settings.model, described=settings.record is not None)
    if resolved.weights is None:
        return _find_graphs(settings, size)
    record = ModelRecord.read(settings.record) if settings.record else resolved.record
    record = record or ModelRecord(name_from(resolved.weights.stem), "inverse_depth", "unknown")
    return Teacher(settings, sha256_once(resolved.weights), NetworkSizes(_at_size(record, size)), is_graph=False)


def _find_graphs(settings: TeacherSettings, size: int | None) -> Teacher:
    files = find_model_files(settings.model, settings.record)
    graphs = graphs_by_size({key: read_graph(path) for key, path in files.graphs.items()}, None)
    record = files.record or record_within(next(iter(graphs.values())))
    fixed = tuple(sorted(key for key in graphs if key is not None))
    if fixed and size is not None:
        made_for = ", ".join(f"{height}x{width}" for height, width in fixed)
        raise ValueError(f"{settings.model} has fixed sizes ({made_for}): remove --size")
    return Teacher(settings, _hash_of(graphs), NetworkSizes(_at_size(record, size), fixed), is_graph=True)


def _hash_of(graphs: dict[Size | None, Graph]) -> str:
    digest = hashlib.sha256()
    for size in sorted(graphs, key=str):
        digest.update(f"{size} {graphs[size].sha256} {graphs[size].weights_sha256}\n".encode())
    return digest.hexdigest()


def _at_size(record: ModelRecord, size: int | None) -> ModelRecord:
    if size is None:
        return record
    if size < 1 or size % record.input_multiple:
        raise ValueError(f"--size {size}: {record.name} needs a multiple of {record.input_multiple}")
    return replace(record, input_size=(size, size))
