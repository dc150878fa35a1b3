"""Reports of scores as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from depth_anything_ros.evaluation.bootstrap import LEVEL, SAMPLES, SEED, Difference, Interval
from depth_anything_ros.evaluation.comparison import (
    comparisons,
    difference_in_words,
    interval_of,
    limits_of,
    mean_interval,
    model_pairs,
)
from depth_anything_ros.evaluation.metrics import Measures
from depth_anything_ros.evaluation.protocol import Protocol
from depth_anything_ros.evaluation.published import published_markdown, verdicts
from depth_anything_ros.evaluation.results import Row, SetResult, common_type, main_measures, mean_over_sets, row_title
from depth_anything_ros.evaluation.robot_report import robot_markdown, robot_values


def text_report(results: Sequence[SetResult], protocol: Protocol) -> str:
    """Return one table per set, one of the means, and which model is better than which.

    Args:
        results: the scores on each set.
        protocol: with the published numbers.
    """
    parts = []
    for result in results:
        left_out = f", {len(result.left_out)} left out" if result.left_out else ""
        heading = f"{result.title}: {result.frames} of {result.available} frames{left_out}; {result.terms}"
        parts.append(
            _text_table(
                heading,
                [
                    (row_title(row.model, row.aligned), row.scores, interval_of([row]), row.milliseconds)
                    for row in result.rows
                ],
            )
        )
    if len(results) > 1:
        rows = [
            (title, scores, mean_interval(results, title), None) for title, scores in mean_over_sets(results).items()
        ]
        parts.append(_text_table(f"mean over {len(results)} sets, each counting once", rows))
    parts.extend(_stated(results))
    parts.extend(_temporal(results))
    parts.extend(comparisons(results))
    parts.extend(_differences(results))
    parts.extend(verdicts(results, protocol))
    parts.extend(filter(None, [robot_markdown(results)]))
    return "\n\n".join(parts)


def _differences(results: Sequence[SetResult]) -> list[str]:
    """Return a sentence on each pair of models, and one on the sets that these leave out."""
    sentences = [difference_in_words(*pair) for pair in model_pairs(results)]
    single = [result.title for result in results if result.frames == 1]
    if sentences and single:
        sentences.append(f"one image says nothing about how sure a difference is, so not counted: {', '.join(single)}")
    return sentences


def _stated(results: Sequence[SetResult]) -> list[str]:
    """Return a sentence on the depth that each bag has with its σ."""
    return [f"{result.title}: {result.stated}" for result in results if result.stated is not None]


def _temporal(results: Sequence[SetResult]) -> list[str]:
    """Return the temporal alignment error of each row that has one."""
    return [
        f"{row_title(row.model, row.aligned)} on {result.title}: temporal alignment error {row.tae:.2f} %"
        for result in results
        for row in result.rows
        if row.tae is not None
    ]


def _text_table(heading: str, rows: Sequence[tuple[str, Measures, Interval | None, float | None]]) -> str:
    width = max(len(title) for title, *_ in rows)
    shown = rows[0][1].in_tables()
    main = rows[0][1].heading(main_measures(rows[0][1])[0])
    titles = "".join(f"{name:>9}" for name in (*shown.values(), "ms"))
    lines = [heading, " " * width + titles + f"   95 % of {main}"]
    for title, scores, interval, milliseconds in rows:
        cells = "".join(f"{getattr(scores, name):9.3f}" for name in shown)
        time = " " * 9 if milliseconds is None else f"{milliseconds:9.1f}"
        limits = "" if interval is None else f"   {interval.low:.3f} to {interval.high:.3f}"
        lines.append((f"{title:<{width}}{cells}" + time + limits).rstrip())
    return "\n".join(lines)


def markdown_report(results: Sequence[SetResult], protocol: Protocol) -> str:
    """Return a table with one line per set, the best value of a line bold, and the published numbers.

    Unaligned rows are left out, unless the protocol does not align.

    Args:
        results: the scores on each set.
        protocol: with the published numbers.
    """
    aligned = any(row.aligned for row in results[0].rows)
    titles = [row_title(row.model, row.aligned) for row in results[0].rows if row.aligned == aligned]
    scores = results[0].rows[0].scores
    arrows = [f"{scores.heading(name)} {'↑' if scores.high_is_better(name) else '↓'}" for name in main_measures(scores)]
    lines = [f"| {' / '.join(arrows)} | frames | {' | '.join(titles)} |", "|---|---|" + "---|" * len(titles)]
    for result in results:
        cells = _markdown_cells([result.row(title).scores for title in titles])
        lines.append(f"| {result.title} | {result.frames} | {' | '.join(cells)} |")
    if len(results) > 1:
        means = mean_over_sets(results)
        lines.append(
            f"| **mean over the sets** | | {' | '.join(_markdown_cells([means[title] for title in titles]))} |"
        )
    text = "\n".join(lines) + "\n"
    sentences = [
        *_stated(results),
        *_temporal(results),
        *_differences(results),
        *verdicts(results, protocol),
    ]
    parts = [text, *published_markdown(results, protocol), "\n".join(f"- {line}" for line in sentences)]
    parts.extend(["", robot_markdown(results)])
    return "\n".join(part for part in parts if part.strip()).rstrip("\n") + "\n"


def _markdown_cells(scores: Sequence[Measures]) -> list[str]:
    names = main_measures(scores[0])
    best = {
        name: (max if scores[0].high_is_better(name) else min)(getattr(score, name) for score in scores)
        for name in names
    }
    return [
        " / ".join(_bold(getattr(score, name), getattr(score, name) == best[name]) for name in names)
        for score in scores
    ]


def _bold(value: float, bold: bool) -> str:
    return f"**{value:.3f}**" if bold else f"{value:.3f}"


def json_report(results: Sequence[SetResult], protocol: Protocol, models: dict[str, Any]) -> dict[str, Any]:
    """Return all scores, image by image, as plain values.

    Args:
        results: the scores on each set.
        protocol: the protocol.
        models: information about each model, by name.
    """
    return {
        "protocol": protocol.name,
        "title": protocol.title,
        "alignment": "; ".join(dict.fromkeys(protocol.alignment_of(result.name) for result in results)),
        "bootstrap": {"samples": SAMPLES, "level": LEVEL, "seed": SEED},
        "measures": _json_measures(results),
        "models": models,
        "sets": [
            {
                "name": result.title,
                "terms": result.terms,
                "frames": result.frames,
                "available": result.available,
                "rules": asdict(protocol.rules(result.name)),
                "left_out": list(result.left_out),
                "stated": None if result.stated is None else result.stated.values(),
                "rows": [_json_row(row) for row in result.rows],
            }
            for result in results
        ],
        "mean": {title: asdict(scores) for title, scores in mean_over_sets(results).items()},
        "pairs": [_json_pair(*pair) for pair in model_pairs(results)],
        "published": [asdict(item) for item in protocol.published],
    }


def _json_measures(results: Sequence[SetResult]) -> list[dict[str, Any]]:
    """Return name, heading and the better side of each measure that all rows have."""
    kind = common_type([row.scores for result in results for row in result.rows])
    return [
        {
            "key": name,
            "heading": kind.heading(name),
            "better": "high" if kind.high_is_better(name) else "low",
            "in_tables": name in kind.in_tables(),
        }
        for name in kind.names()
    ]


def _json_pair(better: str, other: str, scores: Measures, difference: Difference, sets: int) -> dict[str, Any]:
    return {
        "better": better,
        "other": other,
        "measure": main_measures(scores)[0],
        "difference": difference.mean,
        "interval": list(limits_of(difference)),
        "probability": difference.probability,
        "sets": sets,
    }


def _json_row(row: Row) -> dict[str, Any]:
    intervals = {name: interval_of([row], name) for name in row.scores.names()}
    return {
        "contender": row.model,
        "aligned": row.aligned,
        "baseline": row.is_baseline,
        "scores": asdict(row.scores),
        "intervals": {name: [limits.low, limits.high] for name, limits in intervals.items() if limits is not None},
        "milliseconds": row.milliseconds,
        "uncorrected": row.uncorrected,
        **({} if row.robot is None else {"for_robots": robot_values(row)}),
        **({"sequences": row.sequences} if row.sequences else {}),
        "images": {name: asdict(scores) for name, scores in row.images.items()},
    }
