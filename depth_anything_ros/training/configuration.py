"""What a training run is told: one frozen dataclass, read from YAML, changed from the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from depth_anything_ros.model.configurations import PATCH_SIZE


class ConfigurationError(ValueError):
    """A training configuration names an unknown setting or a value of the wrong kind."""


@dataclass(frozen=True)
class TrainingConfiguration:
    """Everything that decides the result of a run; two runs that share it and the machine's type give the same model.

    Sizes are (height, width) of the network's input, drawn anew for every batch. Rates are for AdamW, encoder and
    decoder apart as in the paper, warmed up linearly and then lowered to zero along a cosine. For the share
    ``feature_until`` of the steps the encoder learns from the pretrained one's features, at ``encoder_rate``; then from
    depth, at ``end_to_end_rate``, warmed up and lowered anew. Without a pretrained encoder it learns from depth
    throughout, at ``encoder_rate``.
    """

    encoder: str = "tiny"
    version: str = "v2"
    seed: int = 0
    scenes: int = 8000
    scene_size: tuple[int, int] = (266, 350)
    held_out: int = 64
    steps: int = 6000
    batch: int = 8
    sizes: tuple[tuple[int, int], ...] = ((196, 252), (196, 252), (182, 294), (140, 364), (238, 210))
    encoder_rate: float = 5e-4
    end_to_end_rate: float = 2e-5
    decoder_rate: float = 1e-3
    warm_up: int = 200
    weight_decay: float = 0.02
    clip: float = 1.0
    gradient_weight: float = 0.5
    scale_weight: float = 0.2
    feature_until: float = 0.6
    average: float = 0.998
    save_every: int = 200
    validate_every: int = 500
    precision: str = "bf16-mixed"
    workers: int = 1

    def __post_init__(self) -> None:
        """Turns YAML's lists into tuples and checks what would otherwise fail late."""
        object.__setattr__(self, "scene_size", tuple(self.scene_size))
        object.__setattr__(self, "sizes", tuple(tuple(size) for size in self.sizes))
        for name, sizes in (("sizes", self.sizes), ("scene_size", (self.scene_size,))):
            for height, width in sizes:
                if height % PATCH_SIZE or width % PATCH_SIZE:
                    raise ConfigurationError(
                        f"{name} holds {height}x{width}: both sides must be multiples of {PATCH_SIZE}"
                    )
        for name in ("scenes", "held_out", "steps", "batch", "save_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is {getattr(self, name)}: must be at least 1")

    @classmethod
    def from_dictionary(cls, values: dict[str, Any]) -> TrainingConfiguration:
        """Builds a configuration. Raises `ConfigurationError` for unknown settings and wrong kinds of values."""
        known = {field.name: field for field in fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigurationError(f"unknown settings: {', '.join(unknown)}; known are {', '.join(known)}")
        for name, value in values.items():
            default = known[name].default
            number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
            sequence = isinstance(default, tuple) and isinstance(value, (list, tuple))
            if not (number or sequence or type(value) is type(default)):
                raise ConfigurationError(f"{name} is {value!r}: must be of type {type(default).__name__}")
        return cls(**values)

    @classmethod
    def read(cls, path: str | Path, changes: dict[str, Any] | None = None) -> TrainingConfiguration:
        """Reads YAML and applies changes on top. Raises `ConfigurationError`, naming the file."""
        try:
            values = yaml.safe_load(Path(path).read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ConfigurationError(f"cannot read {path}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path}: must hold names and values")
        try:
            return cls.from_dictionary({**values, **(changes or {})})
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    def to_dictionary(self) -> dict[str, Any]:
        """The settings as plain values, for a run's record."""
        return asdict(self)
