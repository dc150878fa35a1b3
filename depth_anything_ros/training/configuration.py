"""What a stage of training is told: read from YAML, checked, changed from the command line."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from depth_anything_ros.training.earlier_names import RENAMED
from depth_anything_ros.zoo.encoders import PATCH_SIZE, encoder_taps
from depth_anything_ros.zoo.record import name_from


class ConfigurationError(ValueError):
    """A configuration names an unknown setting, or a value that does not do."""


class StrictModel(BaseModel):
    """Settings that cannot change, and refuse what they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSettings(StrictModel):
    """Where samples come from: a folder of ``shards``, or a ``set`` as `data list` names it under its ``root``.

    The root of the set rgbd may be a YAML file that names the folder.

    ``labels``: pseudo-labels of these shards, made by `depth_anything_ros label`. ``fields``: regular
    expressions that fields of a set's paths must match, such as ``split: train``. ``limit``: the first so many alone
    (of a set); 0 for all.
    """

    shards: Path | None = None
    labels: Path | None = None
    set: str | None = None
    root: Path | None = None
    fields: dict[str, str] = {}
    limit: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> SourceSettings:
        if (self.shards is None) == (self.set is None) or (self.set is None) != (self.root is None):
            raise ValueError("give either shards, or set and root")
        if self.labels is not None and self.shards is None:
            raise ValueError("labels belong to shards")
        if self.fields and self.set is None:
            raise ValueError("fields belong to a set: shards are read as they were packed")
        if self.limit and self.set is None:
            raise ValueError("limit belongs to a set: shards are read whole")
        return self


class NetworkSettings(StrictModel):
    """The network that is trained.

    ``encoder``: tiny, vits, vitb, vitl or vitg. ``version``: v1 or v2, which decides what blocks the decoder looks at.
    ``max_depth``: meters, for the stage metric alone, where the network's output ends.
    ``start``: whose encoder training starts from: a file (DINOv2's, or any checkpoint) or a model's name; a larger
    encoder is cut to size; None for random weights. ``start_decoder``: takes the decoder from there too.
    """

    encoder: str = "vits"
    version: str = "v2"
    start: str | None = None
    start_decoder: bool = False
    max_depth: float | None = Field(None, gt=0.0)

    @model_validator(mode="after")
    def _is_known(self) -> NetworkSettings:
        encoder_taps(self.encoder, self.version)
        if self.start_decoder and self.start is None:
            raise ValueError("start_decoder needs start, the file that the decoder is in")
        return self


class DataSettings(StrictModel):
    """Samples and batches.

    Numbers of images are those of a whole step, over all devices and accumulated parts. ``sizes`` (height, width) are
    multiples of 14, one drawn for every step. ``validation`` is scored during training and decides which weights are
    kept: ``validation_images`` of it, equally many of each source. ``evaluation``: what the result will be scored on;
    nothing of it is held out or trained on. ``overlap``: of images that are to be trained on and are held out, or in
    ``evaluation``, too: "refuse" ends the command, "take_out" trains on the others alone, "allow" trains on them all.
    ``allow``: what may be left unused: "partial_labels" (shards without labels), "unused_labels" (those of some sources
    beside a teacher that labels all), "unused_teacher" (beside labels of all sources).
    ``workers``: processes that read ahead, for each device.
    """

    labeled: tuple[SourceSettings, ...] = ()
    unlabeled: tuple[SourceSettings, ...] = ()
    validation: tuple[SourceSettings, ...] = ()
    evaluation: tuple[SourceSettings, ...] = ()
    validation_images: PositiveInt = 64
    overlap: Literal["refuse", "take_out", "allow"] = "refuse"
    allow: tuple[Literal["partial_labels", "unused_labels", "unused_teacher"], ...] = ()
    labeled_batch_size: int = Field(0, ge=0)
    unlabeled_batch_size: int = Field(0, ge=0)
    sizes: tuple[tuple[int, int], ...] = ((518, 518),)
    smallest_crop: float = Field(1.0, gt=0.0, le=1.0)
    """Side of a crop's least part of the largest that the image allows; 1 is the paper's: short side to the crop's."""
    workers: int = Field(4, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> DataSettings:
        for height, width in self.sizes:
            if height % PATCH_SIZE or width % PATCH_SIZE or height < 1 or width < 1:
                raise ValueError(f"sizes holds {height}x{width}: both sides must be multiples of {PATCH_SIZE}")
        for kind in ("labeled", "unlabeled"):
            if bool(getattr(self, kind)) != bool(getattr(self, f"{kind}_batch_size")):
                raise ValueError(f"{kind} names sources and {kind}_batch_size how many images a step has: give both")
        if self.validation_images < len(self.validation):
            raise ValueError(
                f"validation has {len(self.validation)} sources, validation_images is {self.validation_images}: "
                "each needs one"
            )
        if not self.sizes or not (self.labeled or self.unlabeled):
            raise ValueError("there must be a size, and labeled or unlabeled sources")
        return self


class AugmentationSettings(StrictModel):
    """What a network sees instead of the clean image; strengths are those of UniMatch (arXiv 2208.09910).

    ``hue``: turns in HSV. ``blur``: range of the Gaussian's standard deviation, pixels, at most 2: the kernel ends 6
    pixels from its middle. ``cut_area``: range of the share of the image that is another's (CutMix); ``cut_aspect``:
    of height by width of that piece. Both are drawn uniformly.
    """

    brightness: float = Field(0.5, ge=0.0, lt=1.0)
    contrast: float = Field(0.5, ge=0.0, lt=1.0)
    saturation: float = Field(0.5, ge=0.0, lt=1.0)
    hue: float = Field(0.25, ge=0.0, le=0.5)
    color_share: float = Field(0.8, ge=0.0, le=1.0)
    gray_share: float = Field(0.2, ge=0.0, le=1.0)
    blur_share: float = Field(0.5, ge=0.0, le=1.0)
    blur: tuple[float, float] = (0.1, 2.0)
    cut_share: float = Field(0.5, ge=0.0, le=1.0)
    cut_area: tuple[float, float] = (0.02, 0.4)
    cut_aspect: tuple[float, float] = (0.3, 1 / 0.3)

    @model_validator(mode="after")
    def _are_ranges(self) -> AugmentationSettings:
        for name, lowest, highest in (("blur", 0.0, 2.0), ("cut_area", 0.0, 1.0), ("cut_aspect", 0.001, 1000.0)):
            least, greatest = getattr(self, name)
            if not lowest <= least <= greatest <= highest:
                raise ValueError(f"{name} is {least:g} to {greatest:g}: must rise, within {lowest:g} to {highest:g}")
        return self


class LossSettings(StrictModel):
    """Weights of losses; the paper's own are the defaults.

    ``gradient``: of gradient matching (2 in V2, 0 in V1). ``scale``: of the scale-invariant loss, on labeled images
    alone; not the paper's, and of use where labels know which value is infinitely far. ``trimmed``: share of a
    pseudo-label's worst pixels that is left out (0.1 in V2). ``alignment``: to a frozen copy of the encoder that
    training started from, and in the stage compress to the larger one; ``tolerance`` is alpha. ``aligned_on``: whose
    features are compared. ``silog_variance``: lambda of the scale-invariant logarithmic loss.
    """

    gradient: float = Field(0.0, ge=0.0)
    scale: float = Field(0.0, ge=0.0)
    trimmed: float = Field(0.0, ge=0.0, lt=1.0)
    alignment: float = Field(1.0, ge=0.0)
    tolerance: float = Field(0.85, ge=-1.0, le=1.0)
    aligned_on: Literal["unlabeled", "labeled"] = "unlabeled"
    silog_variance: float = Field(0.5, ge=0.0, le=1.0)


class TeacherSettings(StrictModel):
    """Who labels the unlabeled images during a step, where they carry no labels: ``model`` as `predict` takes it."""

    model: str
    record: Path | None = None
    version: str | None = None


class OptimizerSettings(StrictModel):
    """AdamW and its schedule; the paper's rates are the defaults.

    ``schedule``: how rates fall to zero: "linear", "cosine" or "power" (0.9, as V2's metric fine-tuning).
    ``ema_decay``: of the exponential moving average of weights that is validated and kept; 0 for none.
    ``grad_accum_steps``: parts in which a step's images go through the network.
    """

    steps: PositiveInt
    encoder_lr: float = Field(5e-6, ge=0.0)
    decoder_lr: float = Field(5e-5, ge=0.0)
    weight_decay: float = Field(0.01, ge=0.0)
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["linear", "cosine", "power"] = "linear"
    warmup_steps: int = Field(0, ge=0)
    grad_clip: float = Field(1.0, gt=0.0)
    ema_decay: float = Field(0.0, ge=0.0, lt=1.0)
    grad_accum_steps: PositiveInt = 1


class RunSettings(StrictModel):
    """How a run goes; what it learns depends on ``seed`` and ``precision`` alone.

    ``precision``: "auto" is bf16-mixed where the device computes in bfloat16 (GPUs from Ampere on, processors with
    AVX512-BF16 or AMX, or Arm's bf16), else 32-true; a run that goes on keeps what it began with. float16 is not
    offered: a relative network's output, whose scale no loss holds, outgrows it.
    ``strategy``: "auto" is DDP where there are several devices, "fsdp" shards weights, gradients and optimizer.
    ``activation_checkpointing``: keeps no activations inside encoder blocks. ``keep``: how many of the last states
    stay.
    """

    seed: int = Field(0, ge=0)
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    compile: bool = False
    activation_checkpointing: bool = False
    log_every: PositiveInt = 10
    save_every: PositiveInt = 1000
    validate_every: PositiveInt = 1000
    keep: PositiveInt = 2


class SegmentationSettings(StrictModel):
    """How many classes there are, and how images are scored.

    ``scored_size``: (height, width), about so many pixels of an image go through the network, in its own proportions;
    None for the first of ``data.sizes``. ``scales`` and ``flip``: sides of images, as shares of that, and whether
    mirrored ones too, over which the multi-scale score averages predictions.
    """

    classes: int = Field(ge=2, le=255)
    scored_size: tuple[PositiveInt, PositiveInt] | None = None
    scales: tuple[PositiveFloat, ...] = Field((0.5, 0.75, 1.0, 1.25, 1.5, 1.75), min_length=1)
    flip: bool = True


class StageConfiguration(StrictModel):
    """Everything that decides what a stage of training gives.

    ``stage``: compress, teacher, student, distil, metric or segment. ``name`` and ``license``: of the model that is
    made, in its record. ``augmentation``: of unlabeled images, ``labeled_augmentation``: of labeled ones, which are
    never mixed.
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
                f"name is {self.name!r}: it becomes the model's and its files', and may hold letters, digits, '_', '-' "
                "and '.' only"
            )
        metric = self.network.max_depth is not None
        if metric != (self.stage == "metric"):
            raise ValueError("network.max_depth must be given for the stage metric, and for no other")
        if (self.stage == "segment") != (self.segmentation is not None):
            raise ValueError("segmentation must be given for the stage segment, and for no other")
        if self.stage in ("student", "distil"):
            if not self.data.unlabeled:
                raise ValueError(f"the stage {self.stage} learns from unlabeled images: data.unlabeled is empty")
            if self.teacher is None and not self.carry_labels:
                raise ValueError("unlabeled sources must carry labels, or teacher must say who labels them")
            if self.losses.alignment and self.losses.aligned_on == "labeled" and not self.data.labeled:
                raise ValueError("losses.aligned_on is labeled, but there are no labeled images")
            if self.data.unlabeled_batch_size % (2 * self.optimizer.grad_accum_steps):
                raise ValueError("unlabeled_batch_size must be even in each part of a step: images are mixed in pairs")
        elif self.data.unlabeled or self.teacher:
            raise ValueError(f"the stage {self.stage} has no use for data.unlabeled, nor for a teacher")
        if self.stage == "compress" and (self.network.start is None or self.network.start_decoder):
            raise ValueError("the stage compress needs network.start, a larger encoder, and trains its own decoder")
        if self.labeled_augmentation is not None and self.labeled_augmentation.cut_share:
            raise ValueError("labeled images are not mixed: labeled_augmentation.cut_share must be 0")
        for kind in ("labeled", "unlabeled"):
            if getattr(self.data, f"{kind}_batch_size") % self.optimizer.grad_accum_steps:
                raise ValueError(f"data.{kind}_batch_size must be a multiple of optimizer.grad_accum_steps")
        return self

    @property
    def carry_labels(self) -> bool:
        """Whether all unlabeled images come with pseudo-labels, so that no teacher is needed."""
        return all(source.labels is not None for source in self.data.unlabeled)

    @classmethod
    def from_dictionary(cls, values: dict[str, Any]) -> StageConfiguration:
        """Builds a configuration. Raises `ConfigurationError`, naming every setting that is wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(in_words(error)) from error

    @classmethod
    def read(cls, path: str | Path, changes: dict[str, Any] | None = None) -> StageConfiguration:
        """Reads YAML and applies changes, by dotted names, on top. Raises `ConfigurationError`, naming the file."""
        values = read_yaml(path)
        for name, value in (changes or {}).items():
            set_dotted(values, name, value)
        try:
            return cls.from_dictionary(values)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    @property
    def scored_size(self) -> tuple[int, int]:
        """(height, width): about so many pixels of a held-out image go through the network."""
        own = self.segmentation.scored_size if self.segmentation else None
        return own or self.data.sizes[0]

    def to_dictionary(self) -> dict[str, Any]:
        """The settings as plain values, for a run's record."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> dict[str, Any]:
        """What decides the result, as plain values; sources, weights and teachers by their places.

        A run goes on only with the same `without_places`: there it is what lies there, told by versions and hashes.
        """
        values = self.to_dictionary()
        values["run"] = {name: values["run"][name] for name in ("seed", "precision")}
        for name in ("workers", "validation", "evaluation", "validation_images", "overlap", "allow"):
            del values["data"][name]
        del values["optimizer"]["grad_accum_steps"]  # in how many parts a step goes through changes its rounding alone
        del values["license"]
        if self.segmentation is not None:
            values["segmentation"] = {"classes": self.segmentation.classes}
        return values


def without_places(fingerprint: dict[str, Any]) -> dict[str, Any]:
    """What `StageConfiguration.fingerprint` gives, in this release or an earlier one, without where anything lies."""
    left = {name: value for name, value in fingerprint.items() if name not in ("license", "teacher")}
    for section, names in (("data", ("labeled", "unlabeled")), ("network", ("start",))):
        left[section] = {name: value for name, value in left[section].items() if name not in names}
    return left


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds names and values. Raises `ConfigurationError`, naming the file."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: must hold names and values")
    return values


def set_dotted(values: dict[str, Any], name: str, value: Any) -> None:
    """Sets ``section.name`` in nested dictionaries. Raises `ConfigurationError` where a section is none."""
    *sections, last = name.split(".")
    for section in sections:
        inner = values.get(section)
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{name}: {section} holds no settings")
        values[section] = inner = dict(inner)
        values = inner
    values[last] = value


def known_names(kind: type[StrictModel]) -> list[str]:
    """The names of all settings, of whatever section."""
    return [name for section in kind.__subclasses__() for name in section.model_fields]


def in_words(error: ValidationError) -> str:
    """What pydantic found, a setting at a time."""
    problems = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            near = get_close_matches(name, known_names(StrictModel), n=1)
            text = "there is no such setting" + (f" (did you mean {near[0]}?)" if near else "")
            text = f"is called {RENAMED[name]} now" if name in RENAMED else text
        problems.append(f"{place}: {text}" if place else text)
    return "; ".join(problems)
