"""The record that describes a model: what it predicts, what it wants to be fed, where it comes from.

A record travels inside whatever is exported (ONNX metadata, safetensors metadata, engine sidecar), so that a node
configures itself from the file it is given and refuses a relative model where metres were asked for.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

METADATA_KEY = "depth_anything_ros.record"
"""Key under which the record's JSON is stored in ONNX and safetensors metadata."""

OUTPUTS = ("inverse_depth", "depth")
INPUTS = ("uint8_nhwc", "float_nchw")


class RecordError(ValueError):
    """A record is malformed; the message names the field and what it may hold."""


@dataclass(frozen=True)
class ModelFile:
    """One file of a model. ``size`` is the (height, width) an ONNX graph was exported for, None for weights."""

    name: str
    sha256: str | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class ModelRecord:
    """What there is to know about one model, apart from its weights.

    ``output``: "inverse_depth" (relative: larger is nearer, unknown scale and shift) or "depth" (metres along the
    optical axis). ``input``: "uint8_nhwc" (raw RGB pixels; normalisation lies in the graph) or "float_nchw" (RGB
    divided by 255, then ``(x - mean) / std`` on the host). ``encoder`` and ``version`` are None for networks that
    are not Depth Anything. ``training_focal`` is in pixels of the network's input, where known.
    ``input_size`` (height, width) is fixed where the network takes one size only, else the preferred short side
    twice; ``input_multiple`` is what both sides must be a multiple of. ``nominal_scale`` (a, b) turns relative
    output into plausible, not measured, metres: depth = 1 / (a * inverse_depth + b). ``confidence`` names the graph's
    output that says how sure it is of each pixel (larger is surer), None where there is none; the depth is then the
    first of the other outputs.
    """

    name: str
    output: str
    licence: str
    encoder: str | None = None
    version: str | None = None
    max_depth: float | None = None
    training_focal: float | None = None
    input: str = "uint8_nhwc"
    input_size: tuple[int, int] = (518, 518)
    input_multiple: int = 14
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    nominal_scale: tuple[float, float] | None = None
    confidence: str | None = None
    repository: str | None = None
    files: tuple[ModelFile, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        """Turns lists (as JSON gives) into tuples and checks every closed set of values."""
        for name in ("input_size", "mean", "std", "nominal_scale"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        files = tuple(self._file(entry) for entry in self.files)
        object.__setattr__(self, "files", files)
        if self.output not in OUTPUTS:
            raise RecordError(f"record of {self.name!r}: output is {self.output!r}, must be one of {OUTPUTS}")
        if self.input not in INPUTS:
            raise RecordError(f"record of {self.name!r}: input is {self.input!r}, must be one of {INPUTS}")
        for name, length in (("input_size", 2), ("mean", 3), ("std", 3), ("nominal_scale", 2)):
            value = getattr(self, name)
            if value is not None and len(value) != length:
                raise RecordError(f"record of {self.name!r}: {name} has {len(value)} values, must have {length}")
        if self.confidence is not None and not (isinstance(self.confidence, str) and self.confidence):
            raise RecordError(f"record of {self.name!r}: confidence is {self.confidence!r}, must name an output")
        if any(value <= 0 for value in self.std):
            raise RecordError(f"record of {self.name!r}: std is {self.std}, must be positive")
        if self.input_multiple < 1 or any(side < 1 for side in self.input_size):
            raise RecordError(f"record of {self.name!r}: input_size and input_multiple must be positive")

    @staticmethod
    def _file(entry: ModelFile | dict[str, Any]) -> ModelFile:
        if isinstance(entry, ModelFile):
            return entry
        size = entry.get("size")
        return ModelFile(entry["name"], entry.get("sha256"), tuple(size) if size else None)

    @property
    def is_metric(self) -> bool:
        """Whether the network itself predicts metres."""
        return self.output == "depth"

    def to_json(self) -> str:
        """The record as JSON text, to be stored under `METADATA_KEY`."""
        values = asdict(self)
        if self.confidence is None:  # releases that do not know the field refuse it
            del values["confidence"]
        return json.dumps(values, indent=2)

    @classmethod
    def from_json(cls, text: str) -> ModelRecord:
        """Parses `to_json`'s text. Raises `RecordError` for bad JSON, unknown fields or missing ones."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecordError(f"record is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise RecordError("record must be a JSON object")
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise RecordError(f"record has unknown fields: {', '.join(sorted(unknown))}")
        missing = {"name", "output", "licence"} - set(values)
        if missing:
            raise RecordError(f"record lacks: {', '.join(sorted(missing))}")
        try:
            return cls(**values)
        except (TypeError, KeyError, AttributeError) as error:
            raise RecordError(f"record of {values['name']!r} is malformed: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> ModelRecord:
        """Reads a record from a JSON file. Raises `RecordError`, naming the file."""
        try:
            return cls.from_json(Path(path).read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"cannot read record {path}: {error}") from error
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error
