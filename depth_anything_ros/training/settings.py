"""The sections of a stage's configuration: data, network, losses, optimizer, run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.manifest import check_manifest
from depth_anything_ros.zoo.encoders import PATCH_SIZE, encoder_taps


class StrictModel(BaseModel):
    """Settings that cannot be changed after they are read, and that reject unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSettings(StrictModel):
    """A source of samples: a folder of shards, or a dataset on disk.

    Attributes:
        shards: folder of shards.
        labels: folder of pseudo-labels for these shards, made by `depth_anything_ros label`.
        set: name of a dataset, as `data list` prints it.
        root: folder of that dataset; for the set rgbd also a YAML file that names the folder.
        fields: regular expressions that fields of a dataset's paths must match, such as ``split: train``.
        limit: number of samples to use, from the first (only with ``set``); 0 for all.
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
            raise ValueError("labels need shards: remove labels, or give shards")
        if self.fields and self.set is None:
            raise ValueError("fields need a set: shards are used as they were packed")
        if self.limit and self.set is None:
            raise ValueError("limit needs a set: shards are always read completely")
        return self

    def check_exists(self) -> None:
        """Check that the folders exist, without reading them. Raise `DataError`, naming the one that does not."""
        if self.root is not None and not self.root.exists():
            raise DataError(f"{self.root} does not exist; set the source's root to the dataset's folder")
        for folder, made_by in ((self.shards, "data pack"), (self.labels, "label")):
            if folder is not None:
                check_manifest(folder, made_by)


class NetworkSettings(StrictModel):
    """The network to train.

    Attributes:
        encoder: tiny, hybrid, vits, vitb, vitl or vitg.
        version: v1 or v2; it decides which encoder blocks the decoder uses.
        start: file (of DINOv2, or any checkpoint) or model name whose encoder training starts from. A larger encoder is
            cut to size. None: random weights.
        start_decoder: whether to take the decoder from ``start`` too.
        max_depth: largest output of the network, meters; only for the stage metric.
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
            raise ValueError("start_decoder needs start, the file with the decoder")
        return self


class DataSettings(StrictModel):
    """Samples and batches.

    Attributes:
        labeled: sources with depth or classes.
        unlabeled: sources that a teacher labels, or has labeled.
        validation: sources that are scored during training. The scores decide which weights are kept.
        evaluation: sources that the result is scored on; none of their images are trained on or used for validation.
        validation_images: number of validation images, the same number from each source.
        overlap: action for training images that are also in ``validation`` or ``evaluation``. "refuse" ends the
            command, "take_out" trains without them, "allow" trains with them.
        allow: data that may stay unused: "partial_labels" (shards without labels), "unused_labels" (labels of some
            sources next to a teacher that labels all), "unused_teacher" (a teacher next to labels of all sources).
        labeled_batch_size: labeled images in a step, over all devices and accumulated parts.
        unlabeled_batch_size: unlabeled images in a step, over all devices and accumulated parts.
        sizes: (height, width) of crops, multiples of 14; each step draws one.
        smallest_crop: side of the smallest crop, as a fraction of the largest crop in the image. 1 is the paper's: the
            short side becomes the crop's.
        workers: processes that read ahead, for each device.
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
    workers: int = Field(4, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> DataSettings:
        for height, width in self.sizes:
            if height % PATCH_SIZE or width % PATCH_SIZE or height < 1 or width < 1:
                raise ValueError(f"sizes holds {height}x{width}: both sides must be multiples of {PATCH_SIZE}")
        for kind in ("labeled", "unlabeled"):
            if bool(getattr(self, kind)) != bool(getattr(self, f"{kind}_batch_size")):
                raise ValueError(
                    f"{kind} (sources) and {kind}_batch_size (images in a step) need each other: give both"
                )
        if self.validation_images < len(self.validation):
            raise ValueError(
                f"validation has {len(self.validation)} sources, but validation_images is {self.validation_images}: "
                "each source needs at least one"
            )
        if not self.sizes or not (self.labeled or self.unlabeled):
            raise ValueError("give at least one size, and labeled or unlabeled sources")
        return self


class AugmentationSettings(StrictModel):
    """Changes to the images that the network sees; the default strengths are UniMatch's (arXiv 2208.09910).

    All values are drawn uniformly.

    Attributes:
        brightness: largest relative change.
        contrast: largest relative change.
        saturation: largest relative change.
        hue: largest change, turns in HSV.
        color_share: fraction of images with these changes of colors.
        gray_share: fraction of images without colors.
        blur_share: fraction of images that are blurred.
        blur: range of the Gaussian's standard deviation, pixels; at most 2, since the kernel has a radius of 6 pixels.
        cut_share: fraction of images with a piece of another image (CutMix).
        cut_area: range of that piece's area, as a fraction of the image's.
        cut_aspect: range of that piece's height / width.
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
                raise ValueError(
                    f"{name} is {least:g} to {greatest:g}: must be an ascending range within {lowest:g} to {highest:g}"
                )
        return self


class LossSettings(StrictModel):
    """Weights of losses; the defaults are the paper's.

    Attributes:
        gradient: weight of gradient matching (2 in V2, 0 in V1).
        scale: weight of the scale-invariant loss, on labeled images only. Not in the paper; it helps if the labels'
            value for infinite depth is known.
        log: weight of the loss of logarithms, on labeled images only. Not in the paper; like δ1, it counts the ratio
            of predicted to true depth, far away too.
        trimmed: fraction of a pseudo-label's worst pixels that is dropped (0.1 in V2).
        alignment: weight of feature alignment: with a frozen copy of the start encoder, or in the stage compress with
            the larger encoder.
        tolerance: alpha; tokens with a larger cosine do not count for alignment.
        aligned_on: images whose features are aligned.
        silog_variance: lambda of the scale-invariant logarithmic loss.
    """

    gradient: float = Field(0.0, ge=0.0)
    scale: float = Field(0.0, ge=0.0)
    log: float = Field(0.0, ge=0.0)
    trimmed: float = Field(0.0, ge=0.0, lt=1.0)
    alignment: float = Field(1.0, ge=0.0)
    tolerance: float = Field(0.85, ge=-1.0, le=1.0)
    aligned_on: Literal["unlabeled", "labeled"] = "unlabeled"
    silog_variance: float = Field(0.5, ge=0.0, le=1.0)


class TeacherSettings(StrictModel):
    """The teacher that labels unlabeled images during a step, if they have no labels.

    Attributes:
        model: name, checkpoint, .onnx file or folder, as for `predict`.
        record: JSON record of a model without one.
        version: v1 or v2, for a checkpoint without this information.
    """

    model: str
    record: Path | None = None
    version: str | None = None


class OptimizerSettings(StrictModel):
    """AdamW and its schedule; the default learning rates are the paper's.

    Attributes:
        steps: steps of the run.
        encoder_lr: learning rate of the encoder.
        decoder_lr: learning rate of the decoder.
        weight_decay: of matrices; biases, norms and gains have none.
        betas: of AdamW.
        schedule: decay of the learning rates to zero: "linear", "cosine" or "power" (exponent 0.9, as in V2's metric
            fine-tuning).
        warmup_steps: steps of linear warmup.
        grad_clip: largest norm of the gradient.
        ema_decay: decay of the moving average of weights, which is validated and kept; 0 for no average.
        grad_accum_steps: number of parts in which a step's images go through the network.
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
    """How a run executes; only ``seed`` and ``precision`` affect what it learns.

    Attributes:
        seed: of all random numbers.
        precision: "auto" is bf16-mixed if the device has bfloat16 arithmetic (GPUs from Ampere on, processors with
            AVX512-BF16 or AMX, or Arm's bf16), else 32-true. A run that resumes keeps its precision. float16 is not
            available: no loss limits the scale of a relative network's output, which overflows it.
        strategy: "auto" is DDP on several devices; "fsdp" shards weights, gradients and optimizer.
        compile: whether to compile encoder and decoder with torch.compile.
        activation_checkpointing: whether to compute activations in encoder blocks again instead of keeping them.
        log_every: steps between entries of the log.
        save_every: steps between saved states.
        validate_every: steps between validations.
        keep: number of saved states to keep.
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
    """The classes, and how predictions are scored.

    Attributes:
        classes: number of classes.
        scored_size: (height, width) whose area an image has in the network, with its own aspect ratio. None: the first
            of ``data.sizes``.
        scales: sides of images relative to that, over which the multi-scale score averages predictions.
        flip: whether the multi-scale score also averages over mirrored images.
    """

    classes: int = Field(ge=2, le=255)
    scored_size: tuple[PositiveInt, PositiveInt] | None = None
    scales: tuple[PositiveFloat, ...] = Field((0.5, 0.75, 1.0, 1.25, 1.5, 1.75), min_length=1)
    flip: bool = True
