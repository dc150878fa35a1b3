"""The configuration of a stage: read from YAML, changed from the command line, and checked."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

import yaml
from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails

from depth_anything_ros.training.earlier_names import RENAMED
from depth_anything_ros.training.settings import (
    AugmentationSettings,
    DataSettings,
    LossSettings,
    NetworkSettings,
    OptimizerSettings,
    RunSettings,
    SegmentationSettings,
    SourceSettings,
    StrictModel,
    TeacherSettings,
)
from depth_anything_ros.zoo.record import name_from

_SHOULD = "Input should be"


class ConfigurationError(ValueError):
    """A configuration has an unknown setting or an invalid value."""


class StageConfiguration(StrictModel):
    """All settings of a stage.

    Attributes:
        stage: compress, teacher, student, distil, metric or segment.
        name: name of the resulting model.
        license: license of the resulting model, for its record.
        augmentation: of unlabeled images; None for none.
        labeled_augmentation: of labeled images, which are never mixed; None for none.
    """

    stage: Literal["compress", "teacher", "student", "distil", "metric", "segment"]
    name: str
    license: str = "unknown"
    network: NetworkSettings
    data: DataSettings
    optimizer: OptimizerSettings
    losses: LossSettings = LossSettings()
    augmentation: AugmentationSettings | None = AugmentationSettings()
    labeled_augmentation: AugmentationSettings | None = None
    teacher: TeacherSettings | None = None
    segmentation: SegmentationSettings | None = None
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _is_consistent(self) -> StageConfiguration:
        if self.name != name_from(self.name):
            raise ValueError(
                f"name is {self.name!r}: it is used for the model and its files, so it may contain only letters, "
                "digits, '_', '-' and '.'"
            )
        metric = self.network.max_depth is not None
        if metric != (self.stage == "metric"):
            raise ValueError("network.max_depth must be given for the stage metric, and only for it")
        if (self.stage == "segment") != (self.segmentation is not None):
            raise ValueError("segmentation must be given for the stage segment, and only for it")
        if self.stage in ("student", "distil"):
            if not self.data.unlabeled:
                raise ValueError(f"the stage {self.stage} needs unlabeled images, but data.unlabeled is empty")
            if self.teacher is None and not self.carry_labels:
                raise ValueError("unlabeled sources need labels, or a teacher that labels them: give labels or teacher")
            if self.losses.alignment and self.losses.aligned_on == "labeled" and not self.data.labeled:
                raise ValueError("losses.aligned_on is labeled, but data.labeled is empty")
            if self.data.unlabeled_batch_size % (2 * self.optimizer.grad_accum_steps):
                raise ValueError(
                    "unlabeled_batch_size must be even in each part of a step, because images are mixed in pairs"
                )
        elif self.data.unlabeled or self.teacher:
            raise ValueError(f"the stage {self.stage} uses neither data.unlabeled nor a teacher: remove them")
        if self.stage == "compress" and (self.network.start is None or self.network.start_decoder):
            raise ValueError("the stage compress needs network.start, a larger encoder, and no network.start_decoder")
        if self.labeled_augmentation is not None and self.labeled_augmentation.cut_share:
            raise ValueError("labeled_augmentation.cut_share must be 0, because labeled images are not mixed")
        for kind in ("labeled", "unlabeled"):
            if getattr(self.data, f"{kind}_batch_size") % self.optimizer.grad_accum_steps:
                raise ValueError(f"data.{kind}_batch_size must be a multiple of optimizer.grad_accum_steps")
        return self

    @property
    def carry_labels(self) -> bool:
        """Whether all unlabeled images have pseudo-labels, so that no teacher is needed."""
        return all(source.labels is not None for source in self.data.unlabeled)

    @classmethod
    def from_dictionary(cls, values: dict[str, Any]) -> StageConfiguration:
        """Build a configuration. Raise `ConfigurationError` with every invalid setting."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(in_words(error)) from error

    @classmethod
    def read(cls, path: str | Path, changes: dict[str, Any] | None = None) -> StageConfiguration:
        """Read a configuration from YAML.

        Args:
            path: the YAML file.
            changes: values that replace those of the file, by dotted names.

        Raises:
            ConfigurationError: the file cannot be read, or a setting is invalid; the message has the file's name.
        """
        values = read_yaml(path)
        for name, value in (changes or {}).items():
            set_dotted(values, name, value)
        try:
            return cls.from_dictionary(values)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    @property
    def sources(self) -> list[tuple[str, SourceSettings]]:
        """All sources of data with their kinds, such as "labeled"."""
        kinds = ("labeled", "unlabeled", "validation", "evaluation")
        return [(kind, source) for kind in kinds for source in getattr(self.data, kind)]

    def check_sources(self) -> None:
        """Check that all sources exist, without opening them. Raise `DataError`, naming the first that does not."""
        for _, source in self.sources:
            source.check_exists()

    @property
    def scored_size(self) -> tuple[int, int]:
        """(height, width) whose area a validation image has in the network, with its own aspect ratio."""
        own = self.segmentation.scored_size if self.segmentation else None
        return own or self.data.sizes[0]

    def to_dictionary(self) -> dict[str, Any]:
        """Return the settings as plain values, for a run's record."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings that decide the result, as plain values.

        Sources, weights and teachers appear by their paths. A run resumes only with the same `without_paths`: its
        fingerprint has their versions and hashes instead.
        """
        values = self.to_dictionary()
        values["run"] = {name: values["run"][name] for name in ("seed", "precision")}
        for name in ("workers", "validation", "evaluation", "validation_images", "overlap", "allow"):
            del values["data"][name]
        del values["optimizer"]["grad_accum_steps"]  # changes only rounding
        del values["license"]
        if not values["losses"]["log"]:
            del values["losses"]["log"]  # runs that began before it existed go on
        if self.segmentation is not None:
            values["segmentation"] = {"classes": self.segmentation.classes}
        return values


def without_paths(fingerprint: dict[str, Any]) -> dict[str, Any]:
    """Return a `StageConfiguration.fingerprint`, of this release or an earlier one, without paths."""
    left = {name: value for name, value in fingerprint.items() if name not in ("license", "teacher")}
    for section, names in (("data", ("labeled", "unlabeled")), ("network", ("start",))):
        left[section] = {name: value for name, value in left[section].items() if name not in names}
    return left


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file with names and values. Raise `ConfigurationError` with the file's name."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ConfigurationError(f"cannot read {path}: {reason}") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path} must contain names and values, as 'name: value'")
    return values


def set_dotted(values: dict[str, Any], name: str, value: Any) -> None:
    """Set a value in nested dictionaries.

    Args:
        values: the dictionaries, changed in place; missing sections are added.
        name: dotted name, such as ``section.name``.
        value: the value.

    Raises:
        ConfigurationError: a section in the name is a plain value.
    """
    *sections, last = name.split(".")
    for section in sections:
        inner = values.get(section)
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{name}: {section} is a value, not a section")
        values[section] = inner = dict(inner)
        values = inner
    values[last] = value


def known_names(kind: type[StrictModel]) -> list[str]:
    """Return the names of all settings in all sections."""
    return [name for section in kind.__subclasses__() for name in section.model_fields]


def _text_of(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return "must be given"
    if problem["type"] == "path_type":
        return f"is {shorten(repr(problem['input']), 60)}, must be a path"
    text = problem["msg"].removeprefix("Value error, ")
    if not text.startswith(_SHOULD):
        return text
    expected = text.removeprefix(_SHOULD).partition(", unable to parse")[0]
    return f"is {shorten(repr(problem['input']), 60)}, must be{expected}"


def in_words(error: ValidationError) -> str:
    """Return pydantic's errors as text, one setting after the other."""
    problems = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        text = _text_of(problem)
        if problem["type"] == "extra_forbidden":
            last = str(problem["loc"][-1])
            near = get_close_matches(last, known_names(StrictModel), n=1)
            text = "unknown setting" + (f" (did you mean {near[0]}?)" if near else "")
            text = f"is now called {RENAMED[last]}" if last in RENAMED else text
        problems.append(f"{name}: {text}" if name else text)
    return "; ".join(problems)
