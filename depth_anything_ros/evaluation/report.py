"""Reports of scores as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from depth_anything_ros.evaluation.metrics import Scores
from depth_anything_ros.evaluation.protocol import Row


@dataclass(frozen=True)
class SetResult:
    """The scores on one set.

    Attributes:
        name: the name of the set.
        terms: its terms of use.
        frames: the number of scored frames.
        available: the number of frames in the set.
        rows: one row per model, two for a metric model.
        left_out: frames and files that could not be scored, each with the reason.
    """

    name: str
    terms: str
    frames: int
    available: int
    rows: list[Row]
    left_out: Sequence[str] = ()


def row_title(model: str, aligned: bool) -> str:
    """Return the title of a row in tables.

    Args:
        model: the name of the model.
        aligned: whether the row is of aligned depth.
    """
    return model if aligned else f"{model} (meters as they are)"


def mean_over_sets(results: Sequence[SetResult]) -> dict[str, Scores]:
    """Return the mean of each row over the sets by the row's title. Each set has the same weight."""
    rows: dict[str, list[Scores]] = {}
    for result in results:
        for row in result.rows:
            rows.setdefault(row_title(row.model, row.aligned), []).append(row.scores)
    return {title: Scores.mean(scores) for title, scores in rows.items()}


def text_report(results: Sequence[SetResult]) -> str:
    """Return one table per set, one of the means, and how often each model beats each baseline."""
    parts = []
    for result in results:
        left_out = f", {len(result.left_out)} left out" if result.left_out else ""
        heading = f"{result.name}: {result.frames} of {result.available} frames{left_out}; {result.terms}"
        rows = [(row_title(row.model, row.aligned), row.scores, row.milliseconds) for row in result.rows]
        parts.append(_text_table(heading, rows))
    if len(results) > 1:
        rows = [(title, scores, None) for title, scores in mean_over_sets(results).items()]
        parts.append(_text_table(f"mean over {len(results)} sets, each counting once", rows))
    parts.extend(comparisons(results))
    return "\n\n".join(parts)


def _text_table(heading: str, rows: Sequence[tuple[str, Scores, float | None]]) -> str:
    width = max(len(title) for title, _, _ in rows)
    lines = [heading, " " * width + "".join(f"{name:>9}" for name in (*Scores.headings(), "ms"))]
    for title, scores, milliseconds in rows:
        cells = "".join(f"{value:9.3f}" for value in astuple(scores))
        lines.append(f"{title:<{width}}{cells}" + ("" if milliseconds is None else f"{milliseconds:9.1f}"))
    return "\n".join(lines)


def comparisons(results: Sequence[SetResult]) -> list[str]:
    """Return one sentence per model and baseline: on how many sets the model has the better AbsRel and δ1."""
    if not results:
        return []
    aligned = [row for row in results[0].rows if row.aligned]
    sentences = []
    for model in (row.model for row in aligned if not row.is_baseline):
        for baseline in (row.model for row in aligned if row.is_baseline):
            pairs = [(_scores_of(result, model), _scores_of(result, baseline)) for result in results]
            abs_rel = sum(ours.abs_rel < theirs.abs_rel for ours, theirs in pairs)
            delta1 = sum(ours.delta1 > theirs.delta1 for ours, theirs in pairs)
            mean_ours, mean_theirs = (Scores.mean(scores) for scores in zip(*pairs, strict=True))
            sentences.append(
                f"{model} beats {baseline} on {abs_rel} of {len(pairs)} sets in AbsRel and {delta1} in δ1; in the mean "
                f"AbsRel {mean_ours.abs_rel:.3f} against {mean_theirs.abs_rel:.3f}, "
                f"δ1 {mean_ours.delta1:.3f} against {mean_theirs.delta1:.3f}"
            )
    return sentences


def _scores_of(result: SetResult, model: str) -> Scores:
    return next(row.scores for row in result.rows if row.model == model and row.aligned)


def markdown_report(results: Sequence[SetResult]) -> str:
    """Return a table of AbsRel and δ1 with one line per set; the best value of a line is bold. Aligned rows only."""
    models = [row.model for row in results[0].rows if row.aligned]
    lines = [
        f"| AbsRel ↓ / δ1 ↑ | frames | {' | '.join(models)} |",
        "|---|---|" + "---|" * len(models),
    ]
    for result in results:
        cells = _markdown_cells([_scores_of(result, model) for model in models])
        lines.append(f"| {result.name} | {result.frames} | {' | '.join(cells)} |")
    if len(results) > 1:
        means = mean_over_sets(results)
        cells = _markdown_cells([means[model] for model in models])
        lines.append(f"| **mean over the sets** | | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _markdown_cells(scores: Sequence[Scores]) -> list[str]:
    best_abs_rel = min(score.abs_rel for score in scores)
    best_delta1 = max(score.delta1 for score in scores)
    return [
        f"{_bold(score.abs_rel, score.abs_rel == best_abs_rel)} / {_bold(score.delta1, score.delta1 == best_delta1)}"
        for score in scores
    ]


def _bold(value: float, bold: bool) -> str:
    return f"**{value:.3f}**" if bold else f"{value:.3f}"


def json_report(results: Sequence[SetResult], protocol: str, models: dict[str, Any]) -> dict[str, Any]:
    """Return all scores, image by image, as plain values.

    Args:
        results: the scores on each set.
        protocol: "full" or "published".
        models: information about each model, by name.
    """
    return {
        "protocol": protocol,
        "alignment": "least squares in inverse depth for each image, floor 1 / max(true depth)",
        "models": models,
        "sets": [
            {
                "name": result.name,
                "terms": result.terms,
                "frames": result.frames,
                "available": result.available,
                "left_out": list(result.left_out),
                "rows": [_json_row(row) for row in result.rows],
            }
            for result in results
        ],
        "mean": {title: asdict(scores) for title, scores in mean_over_sets(results).items()},
    }


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "contender": row.model,
        "aligned": row.aligned,
        "baseline": row.is_baseline,
        "scores": asdict(row.scores),
        "milliseconds": row.milliseconds,
        "uncorrected": row.uncorrected,
        "images": {name: asdict(scores) for name, scores in row.images.items()},
    }
