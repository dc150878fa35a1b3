"""Ablations: variants of one stage, and a table of their scores beside the paper's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from depth_anything_ros.training.configuration import ConfigurationError, in_words, read_yaml
from depth_anything_ros.training.settings import StrictModel


class Variant(StrictModel):
    """One row of the table.

    Attributes:
        name: the row's name.
        changes: settings to change in the base, by dotted names.
        paper: AbsRel of this row in the paper, by column.
    """

    name: str
    changes: dict[str, Any] = Field(default_factory=dict)
    paper: dict[str, float] = Field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The name of the variant's folder."""
        return re.sub(r"\W+", "_", self.name).strip("_")


class Ablation(StrictModel):
    """An ablation: a base configuration and its variants.

    Attributes:
        title: heading of the table.
        source: the paper and table with the paper's numbers, if variants have any.
        base: the base configuration's file, relative to the ablation's file.
    """

    title: str
    source: str = ""
    base: Path
    variants: tuple[Variant, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _have_distinct_folders(self) -> Ablation:
        names: dict[str, str] = {}
        for variant in self.variants:
            if not variant.folder:
                raise ValueError(f"variant {variant.name!r} needs a letter or a digit in its name")
            if variant.folder in names:
                raise ValueError(
                    f"variants {names[variant.folder]!r} and {variant.name!r} both need the folder "
                    f"{variant.folder}: rename one"
                )
            names[variant.folder] = variant.name
        return self


def read_ablation(path: Path) -> Ablation:
    """Read an ablation; its base is relative to its file. Raise `ConfigurationError` with the file's name."""
    try:
        ablation = Ablation.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {in_words(error)}") from error
    return ablation.model_copy(update={"base": path.parent / ablation.base})


Row = Mapping[str, tuple[float, float]]
"""AbsRel and δ1 by column."""


VALIDATION = "held-out"
"""Column of the validation scores, by its key in the JSON of `ablate`."""
_HEADINGS = {VALIDATION: "validation"}


def row_of(trained: Mapping[str, Any], evaluated: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """Return a variant's AbsRel and δ1 by column.

    Args:
        trained: the JSON result of `train`.
        evaluated: the JSON result of `evaluate`; None if the variant was not evaluated.
    """
    row = {}
    if scores := trained["scores"]:
        row[VALIDATION] = scores["abs_rel"], scores["delta1"]
    for result in (evaluated or {}).get("sets", []):
        scores = next(entry["scores"] for entry in result["rows"] if entry["aligned"] and not entry["baseline"])
        row[result["name"]] = scores["abs_rel"], scores["delta1"]
    if evaluated:
        sets = [scores for name, scores in row.items() if name != VALIDATION]
        row["mean of sets"] = tuple(sum(values) / len(values) for values in zip(*sets, strict=True))
    return row


def table(ablation: Ablation, rows: Sequence[Row]) -> str:
    """Return the table in Markdown.

    It has AbsRel / δ1 by column, then the paper's AbsRel. A cell without a score is empty.

    Args:
        ablation: the variants, one row each.
        rows: the scores of each variant, in the same order.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    papers = list(dict.fromkeys(name for variant in ablation.variants for name in variant.paper))
    paper = f"; the last columns are the paper's AbsRel ({ablation.source})" if papers else ""
    lines = [
        f"{ablation.title}. AbsRel ↓ / δ1 ↑{' here' if papers else ''}{paper}.",
        "",
        "| | "
        + " | ".join([*(_HEADINGS.get(name, name) for name in columns), *(f"paper: {name}" for name in papers)])
        + " |",
        "|---" * (1 + len(columns) + len(papers)) + "|",
    ]
    for variant, row in zip(ablation.variants, rows, strict=True):
        cells = [f"{row[name][0]:.3f} / {row[name][1]:.3f}" if name in row else "" for name in columns]
        cells += [f"{variant.paper[name]:.3f}" if name in variant.paper else "" for name in papers]
        lines.append(f"| {variant.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def read_result(path: Path) -> dict[str, Any]:
    """Read the JSON that a command wrote with --json."""
    return json.loads(path.read_text())
