"""Protocols as data: which pixels are scored, how predictions are aligned, and the numbers that papers publish.

A mean over a set gives each image the same weight, regardless of its number of pixels. A mean over sets gives each set
the same weight, regardless of its number of images. `protocol_files.py` reads the files; docs/evaluation.md explains
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.evaluation.crops import CROPS, INPUT_CROPS
from depth_anything_ros.evaluation.sparse_patterns import check_pattern

FARTHEST = "farthest"
"""The floor 1 / max(true depth) of each image, as in MoGe's evaluation."""
SPACES = ("inverse_depth", "depth", "log")
METHODS = ("none", "median", "scale", "scale_and_shift")
FITS = ("least_squares", "robust")
TASKS = ("depth", "pairs", "video", "completion", "segmentation")
AVERAGING = {
    "depth": ("images", "sets"),
    "video": ("images", "videos", "sets"),
    "completion": ("images", "sets"),
    "pairs": ("pairs", "sets"),
    "segmentation": ("pixels", "sets"),
}
"""Means by task, such as over images, then over sets. Only classes are scored over the pixels of several images."""


@dataclass(frozen=True)
class Alignment:
    """How a prediction becomes meters before it is scored.

    Attributes:
        space: the quantity in which scale and shift are fitted: "inverse_depth", "depth" or "log" (of depth).
        method: "none", "median" (ratio of medians), "scale" or "scale_and_shift".
        fit: "least_squares", or "robust": the least sum of absolute errors, in depth relative to the truth.
        max_side: the fit uses a nearest-neighbor copy of at most this many pixels on its longer side; None for all.
    """

    space: str = "inverse_depth"
    method: str = "scale_and_shift"
    fit: str = "least_squares"
    max_side: int | None = None

    def __post_init__(self) -> None:
        """Check the names. Raises `ValueError`."""
        for name, value, choices in (
            ("space", self.space, SPACES),
            ("method", self.method, METHODS),
            ("fit", self.fit, FITS),
        ):
            _check_choice(f"alignment.{name}", value, choices)

    def __str__(self) -> str:
        if self.method == "none":
            return "no alignment"
        fit = "" if self.method == "median" else f", {self.fit.replace('_', ' ')}"
        return f"{self.method.replace('_', ' ')} in {self.space.replace('_', ' ')}{fit}"


@dataclass(frozen=True)
class Split:
    """The frames of a set that a protocol scores.

    Attributes:
        name: the name of the split.
        count: the number of its frames, or of its pairs of points; 0 if it is not fixed.
        fields: selects frames by fields of their paths, such as ``{split: test}``; see `ImageSet.select`.
        file: a text file in the set's folder with one frame per line; its first word is the path of the image.
        sequences: the number of videos; 0 if it is not fixed.
    """

    name: str = "all"
    count: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    file: str | None = None
    sequences: int = 0


@dataclass(frozen=True)
class SetRules:
    """The pixels of a set that are scored, and how.

    Attributes:
        alignment: of every prediction.
        floor: lower limit of aligned inverse depth: "farthest", or a number in 1/meters.
        clip: whether aligned depth is limited to ``min_depth`` and ``max_depth``.
        crop: names of `CROPS`; only pixels inside all of them are scored.
        input_crop: a name of `INPUT_CROPS`; image and truth are cropped before the model sees them.
        min_depth: smaller true depth is not scored, meters; None for no limit.
        max_depth: larger true depth is not scored, meters; None for no limit.
        resize: (width, height) at which predictions are aligned and scored; None for the size of the truth.
        flip: whether the prediction is averaged with that of the mirrored image.
        boundary: whether boundary F1 is scored. It needs dense truth with sharp edges.
        truth: where the true depth comes from.
        split: the frames.
        patterns: sparse points of each frame that a completion task gives; see `sparse_patterns.py`.
    """

    alignment: Alignment = field(default_factory=Alignment)
    floor: str | float = FARTHEST
    clip: bool = False
    crop: tuple[str, ...] = ()
    input_crop: str | None = None
    min_depth: float | None = None
    max_depth: float | None = None
    resize: tuple[int, int] | None = None
    flip: bool = False
    boundary: bool = False
    truth: str = "the depth of the set"
    split: Split = field(default_factory=Split)
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check names and limits. Raises `ValueError`."""
        for name in self.crop:
            _check_choice("crop", name, tuple(CROPS))
        if self.input_crop is not None:
            _check_choice("input_crop", self.input_crop, tuple(INPUT_CROPS))
        for pattern in self.patterns:
            check_pattern(pattern)
        if isinstance(self.floor, str):
            _check_choice("floor", self.floor, (FARTHEST, "a number"))
        elif not self.floor > 0:
            raise ValueError(f"floor is {self.floor}, must be positive or {FARTHEST}")
        if self.clip and (self.min_depth is None or self.max_depth is None):
            raise ValueError("clip needs min_depth and max_depth")

    @property
    def depth_range(self) -> tuple[float, float] | None:
        """Return the limits of true depth in meters, or None without any."""
        if self.min_depth is None and self.max_depth is None:
            return None
        return self.min_depth or 0.0, np.inf if self.max_depth is None else self.max_depth

    def input_of(self, frame: LabeledImage) -> LabeledImage:
        """Return the frame that the model sees, with its truth."""
        if self.input_crop is None:
            return frame
        rows, columns = INPUT_CROPS[self.input_crop](*frame.depth.shape)
        depth = np.ascontiguousarray(frame.depth[rows, columns])
        height, width = depth.shape
        camera = frame.camera and frame.camera.cropped(columns.start, rows.start, width, height)
        sparse = None if frame.sparse is None else frame.sparse[rows, columns]
        image = np.ascontiguousarray(frame.image[rows, columns])
        return replace(frame, image=image, depth=depth, camera=camera, sparse=sparse)

    def scored(self, frame: LabeledImage) -> LabeledImage:
        """Return the frame at the size of `resize`. Truth is sampled at the nearest pixel, never interpolated."""
        if self.resize is None or self.resize == frame.depth.shape[::-1]:
            return frame
        if frame.sparse is not None:
            raise DataError(f"{frame.name} has sparse points, which cannot be resized")
        depth = cv2.resize(frame.depth, self.resize, interpolation=cv2.INTER_NEAREST_EXACT)
        image = cv2.resize(frame.image, self.resize, interpolation=cv2.INTER_AREA)
        return replace(frame, image=image, depth=depth, camera=frame.camera and frame.camera.resized(*self.resize))

    def inside(self, size: tuple[int, int]) -> np.ndarray:
        """Return the pixels inside all crops, bool (H, W).

        Args:
            size: (height, width).
        """
        inside = np.ones(size, bool)
        for name in self.crop:
            one = np.zeros(size, bool)
            one[CROPS[name](*size)] = True
            inside &= one
        return inside

    def mask(self, frame: LabeledImage) -> np.ndarray:
        """Return the pixels to score, bool (H, W). Raises `DataError` if there are none."""
        mask = frame.valid & self.inside(frame.depth.shape)
        if self.depth_range is not None:
            low, high = self.depth_range
            with np.errstate(invalid="ignore"):
                mask &= (frame.depth > low) & (frame.depth < high)
        if not mask.any():
            raise DataError(f"{frame.name}: no pixel with known depth is left to score")
        return mask


@dataclass(frozen=True)
class Published:
    """Numbers of a paper that belong to a protocol.

    Attributes:
        source: the paper and its table.
        tolerance: relative difference up to which a measured number reproduces the published one.
        measures: names of the measures.
        models: values in the order of ``measures``, by model and set.
        notes: why the numbers of a set do not reproduce, by set. Without a note they do.
    """

    source: str
    tolerance: float
    measures: tuple[str, ...]
    models: Mapping[str, Mapping[str, tuple[float, ...]]]
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the number of values. Raises `ValueError`."""
        for model, sets in self.models.items():
            for name, values in sets.items():
                if len(values) != len(self.measures):
                    raise ValueError(f"published.models.{model}.{name} needs {len(self.measures)} numbers")


@dataclass(frozen=True)
class Protocol:
    """A protocol of evaluation.

    Attributes:
        name: the name of its file.
        title: what it is, one sentence.
        task: "depth", "pairs" (which of two points is nearer), "video", "completion" or "segmentation".
        sets: the rules by set.
        defaults: the rules of other sets; None if the protocol has none and scores only ``sets``.
        published: numbers to compare with.
    """

    name: str
    title: str
    task: str = "depth"
    sets: Mapping[str, SetRules] = field(default_factory=dict)
    defaults: SetRules | None = None
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        """Check the task. Raises `ValueError`."""
        _check_choice("task", self.task, TASKS)
        everywhere = [*self.sets.values(), *([] if self.defaults is None else [self.defaults])]
        if self.task == "video" and any(rules.alignment != Alignment() for rules in everywhere):
            raise ValueError(f"a video is aligned by {Alignment()}, nothing else")
        if self.task == "completion" and not all(rules.patterns for rules in everywhere):
            raise ValueError("every set of a completion needs patterns")

    @property
    def is_open(self) -> bool:
        """Return whether it scores any set and any number of frames."""
        return self.defaults is not None

    def alignment_of(self, set_name: str) -> str:
        """Return how predictions on a set become meters, in words. Raises `DataError` as `rules`."""
        rules = self.rules(set_name)
        if self.task in ("pairs", "segmentation"):
            return "no alignment"
        if self.task == "completion":
            return "robust fit and local correction to sparse points"
        unit = "sequence" if self.task == "video" else "image"
        floor = "1 / max(true depth)" if rules.floor == FARTHEST else f"{rules.floor:g} / m"
        return (
            str(rules.alignment)
            if rules.alignment.method == "none"
            else f"{rules.alignment} for each {unit}, floor {floor}"
        )

    def rules(self, set_name: str) -> SetRules:
        """Return the rules of a set. Raises `DataError` if the protocol does not score it."""
        rules = self.sets.get(set_name, self.defaults)
        if rules is None:
            raise DataError(f"protocol {self.name} does not score {set_name}; its sets are {', '.join(self.sets)}")
        return rules


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, must be {', '.join(choices[:-1])} or {choices[-1]}")
