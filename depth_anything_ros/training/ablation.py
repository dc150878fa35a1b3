"""Ablations: variants of one stage, and a table of what each is worth, beside the paper's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from depth_anything_ros.training.configuration import ConfigurationError, StrictModel, in_words, read_yaml


class Variant(StrictModel):
    """One row: what is changed in the base, by dotted names, and AbsRel of the paper's row by its columns."""

    name: str
    changes: dict[str, Any] = Field(default_factory=dict)
    paper: dict[str, float] = Field(default_factory=dict)

    @property
    def folder(self) -> str:
        """What its folder is called."""
        return re.sub(r"\W+", "_", self.name).strip("_")


class Ablation(StrictModel):
    """``base``: the stage's configuration, beside the ablation's file. ``source``: where the paper's numbers stand."""

    title: str
    source: str
    base: Path
    variants: tuple[Variant, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_told_apart(self) -> Ablation:
        names: dict[str, str] = {}
        for variant in self.variants:
            if not variant.folder:
                raise ValueError(f"variant {variant.name!r} needs a letter or a digit in its name")
            if variant.folder in names:
                raise ValueError(
                    f"variants {names[variant.folder]!r} and {variant.name!r} would share the folder {variant.folder}"
                )
            names[variant.folder] = variant.name
        return self


def read_ablation(path: Path) -> Ablation:
    """Reads an ablation; its base is looked for beside it. Raises `ConfigurationError`, naming the file."""
    try:
        ablation = Ablation.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {in_words(error)}") from error
    return ablation.model_copy(update={"base": path.parent / ablation.base})


Row = Mapping[str, tuple[float, float]]
"""AbsRel and δ1 by column."""


def row_of(trained: Mapping[str, Any], evaluated: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """A variant's scores by column, from what `train` and `evaluate` wrote."""
    row = {}
    if scores := trained["scores"]:
        row["held-out"] = scores["abs_rel"], scores["delta1"]
    for result in (evaluated or {}).get("sets", []):
        scores = next(entry["scores"] for entry in result["rows"] if entry["aligned"] and not entry["baseline"])
        row[result["name"]] = scores["abs_rel"], scores["delta1"]
    if evaluated:
        sets = [scores for name, scores in row.items() if name != "held-out"]
        row["mean of sets"] = tuple(sum(values) / len(values) for values in zip(*sets, strict=True))
    return row


def table(ablation: Ablation, rows: Sequence[Row]) -> str:
    """Markdown: a line a variant, AbsRel / δ1 by column, the paper's AbsRel in the last columns; empty for none."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    papers = list(dict.fromkeys(name for variant in ablation.variants for name in variant.paper))
    lines = [
        f"{ablation.title}. AbsRel ↓ / δ1 ↑ here; the paper's AbsRel ({ablation.source}) in the columns behind.",
        "",
        "| | " + " | ".join([*columns, *(f"paper: {name}" for name in papers)]) + " |",
        "|---" * (1 + len(columns) + len(papers)) + "|",
    ]
    for variant, row in zip(ablation.variants, rows, strict=True):
        cells = [f"{row[name][0]:.3f} / {row[name][1]:.3f}" if name in row else "" for name in columns]
        cells += [f"{variant.paper[name]:.3f}" if name in variant.paper else "" for name in papers]
        lines.append(f"| {variant.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def read_result(path: Path) -> dict[str, Any]:
    """What a command wrote with --json."""
    return json.loads(path.read_text())
