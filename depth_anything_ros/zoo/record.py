"""The record that describes a model: its output, its required input and its origin.

Every exported file contains a record (ONNX metadata, safetensors metadata, engine sidecar). So a node configures itself
from the file, and rejects a relative model if meters are required.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from pathlib import Path, PurePosixPath
from typing import Any

METADATA_KEY = "depth_anything_ros.record"
"""Key of the record's JSON in ONNX and safetensors metadata."""

OUTPUTS = ("inverse_depth", "depth")
INPUTS = ("uint8_nhwc", "float_nchw")

SCALES = {
    "inverse_affine": "inverse_depth",
    "depth_scale": "depth",
    "depth_affine": "depth",
    "metric": "depth",
}
"""The conversion of a model's output d to depth Z in meters, each with the output that it applies to.

inverse_affine: Z = 1 / (a d + b), Depth Anything V1 and V2, MiDaS. depth_scale: Z = a d, Depth Anything 3 relative.
depth_affine: Z = a d + b, MoGe-1. metric: Z = d, times f / `ModelRecord.reference_focal` if that is known.
"""

_USUAL_SCALE = {"inverse_depth": "inverse_affine", "depth": "metric"}
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_MAX_NAME_LENGTH = 150
"""Characters. Names become file and folder names, which may have 255."""


class RecordError(ValueError):
    """A record is malformed. The message names the field and its valid values."""


@dataclass(frozen=True)
class ModelFile:
    """One file of a model. ``size`` is the (height, width) of an ONNX graph's input, None for weights."""

    name: str
    sha256: str | None = None
    size: tuple[int, int] | None = None


def leads_inside(name: Any) -> bool:
    """Return whether a file's name, from an untrusted file, stays within its folder."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name or re.match(r"[A-Za-z]:", name):
        return False
    path = PurePosixPath(name)
    return path.name != "" and not path.is_absolute() and ".." not in path.parts


def name_from(text: str) -> str:
    """Return a valid record name for a file's name: other characters become '_'."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text).lstrip(".")[:_MAX_NAME_LENGTH] or "unnamed"


@dataclass(frozen=True)
class ModelRecord:
    """The metadata of one model.

    Attributes:
        name: letters, digits, '_', '-' and '.', since files and folders get this name.
        output: "inverse_depth" (larger is nearer) or "depth" (along the optical axis, larger is farther).
        license: of the weights, an SPDX identifier or "unknown".
        encoder: size, a key of `ENCODERS`; None for networks other than Depth Anything.
        version: "v1" or "v2"; None for networks other than Depth Anything.
        max_depth: meters that a metric model was trained to, or None.
        training_focal: focal length in pixels of the network's input, the mean of fx and fy, in the training of a
            metric model.
        canonical_focal: focal length in the same pixels for which a metric model predicts depth with every lens (Depth
            Anything 3 metric: 300). With neither of the two, the output is in meters for any lens, or it is unknown.
        scale: a key of `SCALES`, the conversion to meters; None means "inverse_affine" for inverse depth, "metric" for
            depth.
        input: "uint8_nhwc" (raw RGB pixels; the graph normalizes) or "float_nchw" (RGB divided by 255, then
            ``(x - mean) / std`` on the host).
        input_size: (height, width). Fixed if the network takes only one size, else twice the preferred short side.
        input_multiple: divisor of both sides.
        mean: of the normalization, per RGB channel, for values 0..1.
        std: of the normalization, per RGB channel.
        nominal_scale: (a, b) of ``scale`` for plausible, not measured, meters of relative output (b is 0 for
            "depth_scale"); None if unknown.
        scale_rate: relative error of depth after one second with the same scale, for `scale.tracker` while no sensor
            measures; None: its default. `calibrate` measures it.
        confidence: name of the graph's confidence output (larger is more certain), or None. The depth is then the first
            of the other maps.
        repository: on the Hugging Face hub, or None.
        files: of the model.
        description: for people.
    """

    name: str
    output: str
    license: str
    encoder: str | None = None
    version: str | None = None
    max_depth: float | None = None
    training_focal: float | None = None
    canonical_focal: float | None = None
    scale: str | None = None
    input: str = "uint8_nhwc"
    input_size: tuple[int, int] = (518, 518)
    input_multiple: int = 14
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    nominal_scale: tuple[float, float] | None = None
    scale_rate: float | None = None
    confidence: str | None = None
    repository: str | None = None
    files: tuple[ModelFile, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        """Convert lists (from JSON) to tuples and check every field."""
        for name in ("input_size", "mean", "std", "nominal_scale"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        files = tuple(self._file(entry) for entry in self.files)
        object.__setattr__(self, "files", files)
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name) and len(self.name) <= _MAX_NAME_LENGTH):
            raise self._error(
                "a name may hold letters, digits, '_', '-' and '.' only, not begin with '.', and have at most "
                f"{_MAX_NAME_LENGTH} characters"
            )
        for file in files:
            if not leads_inside(file.name):
                raise self._error(f"a file is called {file.name!r}, must be a relative path without '..'")
            if file.sha256 is not None and not isinstance(file.sha256, str):
                raise self._error(f"the sha256 of {file.name} is {file.sha256!r}, must be text")
            if file.size is not None and not (len(file.size) == 2 and all(map(_is_length, file.size))):
                raise self._error(f"the size of {file.name} is {file.size}, must be two positive integers")
        if self.output not in OUTPUTS:
            raise self._error(f"output is {self.output!r}, must be one of {OUTPUTS}")
        if self.input not in INPUTS:
            raise self._error(f"input is {self.input!r}, must be one of {INPUTS}")
        for name, length in (("input_size", 2), ("mean", 3), ("std", 3), ("nominal_scale", 2)):
            value = getattr(self, name)
            if value is None and name == "nominal_scale":
                continue
            if value is None or len(value) != length:
                raise self._error(f"{name} has {len(value or ())} values, must have {length}")
            if not all(map(_is_finite, value)):
                raise self._error(f"{name} is {value}, must be finite numbers")
        if self.confidence is not None and not (isinstance(self.confidence, str) and self.confidence):
            raise self._error(f"confidence is {self.confidence!r}, must be the name of an output")
        if any(value <= 0 for value in self.std):
            raise self._error(f"std is {self.std}, must be positive")
        if not all(map(_is_length, (*self.input_size, self.input_multiple))):
            raise self._error("input_size and input_multiple must be positive integers")
        self._check_scale()

    def _check_scale(self) -> None:
        """Check ``scale`` and the fields that depend on it. The default scale is stored as None, for comparisons."""
        if self.scale_model not in SCALES:
            raise self._error(f"scale is {self.scale!r}, must be one of {tuple(SCALES)}")
        if SCALES[self.scale_model] != self.output:
            raise self._error(
                f"scale {self.scale!r} belongs to {SCALES[self.scale_model]!r}, output is {self.output!r}"
            )
        if self.scale == _USUAL_SCALE[self.output]:
            object.__setattr__(self, "scale", None)
        for name in ("max_depth", "training_focal", "canonical_focal", "scale_rate"):
            value = getattr(self, name)
            if value is not None and not (_is_finite(value) and value > 0):
                raise self._error(f"{name} is {value!r}, must be a positive finite number")
        if self.canonical_focal is not None and not self.is_metric:
            raise self._error(f"canonical_focal belongs to scale 'metric', but scale is {self.scale_model!r}")
        if self.canonical_focal is not None and self.training_focal is not None:
            raise self._error("it has both training_focal and canonical_focal, must have at most one")
        if self.nominal_scale is not None and self.nominal_scale[0] <= 0:
            raise self._error(f"nominal_scale is {self.nominal_scale}, its first value must be positive")
        if self.scale == "depth_scale" and self.nominal_scale is not None and self.nominal_scale[1] != 0:
            raise self._error(
                f"nominal_scale is {self.nominal_scale}, its second value must be 0 for scale 'depth_scale'"
            )

    def _error(self, problem: str) -> RecordError:
        return RecordError(f"record of {self.name!r}: {problem}")

    @staticmethod
    def _file(entry: ModelFile | dict[str, Any]) -> ModelFile:
        if isinstance(entry, ModelFile):
            return entry
        size = entry.get("size")
        return ModelFile(**{**entry, "size": None if size is None else tuple(size)})

    @property
    def is_metric(self) -> bool:
        """Whether the network predicts meters, possibly only for one focal length."""
        return self.scale_model == "metric"

    @property
    def scale_model(self) -> str:
        """The conversion of the output to meters, a key of `SCALES`."""
        return _USUAL_SCALE[self.output] if self.scale is None else self.scale

    @property
    def predicts_depth(self) -> bool:
        """Whether the output is depth, of any scale, and not inverse depth."""
        return self.output == "depth"

    @property
    def reference_focal(self) -> float | None:
        """The focal length, in pixels of the network's input, for which metric output is correct; None: any or unknown.

        Depth is the output times f / reference_focal, where f is the camera's at the network's input size.
        """
        if not self.is_metric:
            return None
        return self.training_focal if self.canonical_focal is None else self.canonical_focal

    def to_json(self) -> str:
        """Return the record as JSON text for `METADATA_KEY`."""
        values = asdict(self)
        for name in ("confidence", "canonical_focal", "scale", "scale_rate"):  # earlier releases reject unknown fields
            if values[name] is None:
                del values[name]
        return json.dumps(values, indent=2)

    @classmethod
    def from_json(cls, text: str) -> ModelRecord:
        """Parse the text of `to_json`. Raises `RecordError` for bad JSON, unknown or missing fields."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecordError(f"record is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise RecordError("record must be a JSON object")
        values = with_current_spelling(values)
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise RecordError(f"record has unknown fields: {', '.join(sorted(unknown))}")
        missing = {"name", "output", "license"} - set(values)
        if missing:
            raise RecordError(f"record has no {', '.join(sorted(missing))}")
        try:
            return cls(**values)
        except (TypeError, KeyError, AttributeError) as error:
            raise RecordError(f"record of {values['name']!r} is malformed: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> ModelRecord:
        """Read a record from a JSON file. Raises `RecordError`, which names the file."""
        try:
            return cls.from_json(Path(path).read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"cannot read record {path}: {error}") from error
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error


def with_current_spelling(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record's fields with the current spelling of license: releases before 0.2 wrote "licence"."""
    if "license" in record:
        return record
    return {"license" if name == "licence" else name: value for name, value in record.items()}


def _is_length(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
