"""The sources of a stage: opened, checked for unused data, and listed with the images that are used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.sets import ALL_SETS
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.sources import CLASSES, EmptySetError, Source, block_and_index
from depth_anything_ros.data.splits import TEST
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.input.mixture import open_source
from depth_anything_ros.training.input.overlap import Sources
from depth_anything_ros.training.settings import SourceSettings
from depth_anything_ros.training.validation.choice import shares

log = logging.getLogger(__name__)

KINDS = ("labeled", "unlabeled", "validation", "evaluation")


def open_sources(configuration: StageConfiguration, names: Path | None = None) -> Sources:
    """Open every source of a stage, by kind.

    Args:
        configuration: the stage's settings.
        names: a folder in which the processes of a machine share the datasets' file names, or None.

    Raises:
        DataError: a source does not exist, would be unused without permission in ``data.allow``, or is labeled or
            for validation and has no labels.
    """
    check_labels(configuration)
    sources: Sources = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for number, settings in enumerate(getattr(configuration.data, kind)):
            shared = names and names / f"{kind}-{number}"
            try:
                source = open_source(_used(kind, settings, configuration), shared)
            except EmptySetError as error:
                if kind != "evaluation":
                    raise
                log.warning("%s: the images of this evaluation source are not kept out of training", error)
                continue
            _check_shards(source, configuration)
            if kind == "labeled":
                _check_known(source, configuration)
            elif kind == "validation" and not source.annotation:
                raise DataError(
                    f"no sample of {source.name} has depth or classes, so it cannot be used for validation; remove it "
                    "from data.validation"
                )
            if kind != "evaluation":
                _warn_of_test_images(kind, source)
            sources[kind].append(source)
    return sources


def check_labels(configuration: StageConfiguration) -> None:
    """Raise `DataError` if labels, or a teacher, would be unused without permission in ``data.allow``."""
    named = configuration.data.unlabeled
    labels = [source for source in named if source.labels is not None]
    if configuration.teacher is None or not labels:
        return
    teacher, allowed = configuration.teacher.model, configuration.data.allow
    if len(labels) == len(named) and "unused_teacher" not in allowed:
        raise DataError(
            f"all unlabeled sources have labels, so the teacher {teacher} is unused: remove teacher or the labels, or "
            "set data.allow=[unused_teacher]"
        )
    if len(labels) < len(named) and "unused_labels" not in allowed:
        folders = ", ".join(str(source.labels) for source in labels)
        raise DataError(
            f"{len(labels)} of {len(named)} unlabeled sources have labels ({folders}), which are unused, since the "
            f"teacher {teacher} labels all: give labels for all and no teacher, remove these labels, or set "
            "data.allow=[unused_labels]"
        )


def _used(kind: str, settings: SourceSettings, configuration: StageConfiguration) -> SourceSettings:
    """Return the settings, without labels that a teacher makes again."""
    is_unused = kind == "unlabeled" and not configuration.carry_labels
    return settings.model_copy(update={"labels": None}) if is_unused else settings


def _check_shards(source: Source, configuration: StageConfiguration) -> None:
    if not isinstance(source, ShardSource) or source.shards == source.all_shards:
        return
    if "partial_labels" not in configuration.data.allow:
        raise DataError(
            f"{source.labels}: labels for {source.shards} of {source.all_shards} shards of {source.folder} "
            f"({sum(source.blocks)} of {source.all_images} images): label the others with `depth_anything_ros label`, "
            "or use these alone with data.allow=[partial_labels]"
        )


def _warn_of_test_images(kind: str, source: Source) -> None:
    """Warn if a known dataset is used together with its test images."""
    declared = ALL_SETS.get(source.name)
    if declared is not None and TEST in declared.split_names and "split" not in source.fields:
        log.warning(
            "%s (%s) is not narrowed to a split, so it may contain the images that papers score; see `fields` and "
            "`data pack --fields split=train`",
            *(source.name, kind),
        )


def _check_known(source: Source, configuration: StageConfiguration) -> None:
    first = source.sample_name(*block_and_index(source, 0))
    if configuration.stage == "segment":
        if source.annotation != CLASSES:
            raise DataError(f"{first} has no classes: the stage segment needs labeled images with classes")
    elif source.annotation in ("", CLASSES):
        raise DataError(f"{first} has no depth: labeled images need depth")


def is_scored(source: Source, configuration: StageConfiguration) -> bool:
    """Return whether a stage can score a source's images: meters need depth in meters.

    Args:
        source: the source.
        configuration: the stage's settings.
    """
    if configuration.stage == "segment":
        return source.annotation == CLASSES
    return source.is_metric if configuration.stage == "metric" else source.annotation not in ("", CLASSES)


def sources_table(configuration: StageConfiguration, sources: Sources) -> str:
    """Return a table with one line for each source: its images, its labels, and its share of every step.

    Args:
        configuration: the stage's settings.
        sources: the opened sources by kind.
    """
    rows = [("", "source", "images", "labels", "in each step")]
    for kind in ("labeled", "unlabeled"):
        total = sum(sum(source.blocks) for source in sources[kind])
        of_step = getattr(configuration.data, f"{kind}_batch_size")
        for source in sources[kind]:
            count = sum(source.blocks)
            labels = (
                source.annotation if kind == "labeled" or configuration.carry_labels else _by_teacher(configuration)
            )
            images = f"{count}, {source.taken} taken out" if getattr(source, "taken", 0) else str(count)
            rows.append((kind, source.name, images, labels, f"{of_step * count / total:.3g} of {of_step}"))
    sizes = [sum(source.blocks) for source in sources["validation"]]
    for source, size, share in zip(
        sources["validation"], sizes, shares(sizes, configuration.data.validation_images), strict=True
    ):
        rows.append(("validation", source.name, f"{share} of {size}", source.annotation or "none", ""))
    for source in sources["evaluation"]:
        labels = (source.annotation or "none") + ("" if is_scored(source, configuration) else ", not scored")
        rows.append(("evaluation", source.name, str(sum(source.blocks)), labels, ""))
    return _aligned(rows)


def _by_teacher(configuration: StageConfiguration) -> str:
    return f"labeled by {configuration.teacher.model}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
