"""What a robot needs to know, as Markdown and as plain values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from depth_anything_ros.evaluation.results import Row, SetResult, row_title

_NONE = "–"


def robot_values(row: Row) -> dict[str, Any] | None:
    """Return the values of a row with the latency of its predictions, None if they were not measured."""
    if row.robot is None:
        return None
    return {
        **row.robot.values(),
        "latency_milliseconds": {"median": row.milliseconds, "percentile_95": row.milliseconds_95},
    }


def robot_markdown(results: Sequence[SetResult]) -> str:
    """Return the section "For robots": tables of each set, or "" if nothing was measured."""
    parts = [part for result in results for part in _of_set(result)]
    return "\n".join(["## For robots", "", *parts]) if parts else ""


def _of_set(result: SetResult) -> list[str]:
    rows = [(row_title(row.model, row.aligned), robot_values(row)) for row in result.rows if row.robot is not None]
    if not rows:
        return []
    first = rows[0][1]
    lines = [
        f"### {result.title}",
        "",
        f"Voxels of {100 * first['voxel']:g} cm, occupied by {first['min_points']} or more points.",
        "",
        "| | missed obstacles | false obstacles | scale spread | scale drift/minute | flicker | ms, median / 95 % |",
        "|---|---|---|---|---|---|---|",
        *(_summary(title, values) for title, values in rows),
        "",
        "| by range | " + " | ".join(_range_names(first["range_edges"])) + " |",
        "|---|" + "---|" * (len(first["range_edges"]) - 1),
        *(line for title, values in rows for line in _by_range(title, values)),
        "",
        "| AbsRel by region | left | middle | right |",
        "|---|---|---|---|",
        *(line for title, values in rows for line in _by_region(title, values)),
        "",
    ]
    return lines


def _summary(title: str, values: dict[str, Any]) -> str:
    obstacles = values["obstacles"] or {"missed_rate": None, "false_rate": None}
    latency = values["latency_milliseconds"]
    cells = [
        _share(obstacles["missed_rate"]),
        _share(obstacles["false_rate"]),
        _percent(values["scale_spread_percent"]),
        _percent(values["scale_drift_percent_per_minute"], "+"),
        _percent(values["flicker_percent"]),
        f"{latency['median']:.1f} / {latency['percentile_95']:.1f}",
    ]
    return f"| {title} | {' | '.join(cells)} |"


def _by_range(title: str, values: dict[str, Any]) -> list[str]:
    obstacles = values["obstacles"]
    lines = [
        f"| {title}, AbsRel | {' | '.join(map(_number, values['abs_rel_by_range']))} |",
        f"| {title}, too far by | {' | '.join(_percent(_excess(bias), '+') for bias in values['bias_by_range'])} |",
    ]
    if obstacles is not None:
        for name in ("missed", "false"):
            lines.append(f"| {title}, {name} | {' | '.join(map(_share, obstacles[f'{name}_rate_by_range']))} |")
    return lines


def _by_region(title: str, values: dict[str, Any]) -> list[str]:
    names = ("top", "center", "bottom")
    rows = zip(names, values["abs_rel_by_region"], strict=True)
    return [f"| {title}, {name} | {' | '.join(map(_number, cells))} |" for name, cells in rows]


def _range_names(edges: Sequence[float | None]) -> list[str]:
    pairs = itertools.pairwise(edges)
    return [f"from {low:g} m" if high is None else f"{low:g}–{high:g} m" for low, high in pairs]


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f} %"


def _percent(value: float | None, sign: str = "") -> str:
    return _NONE if value is None else f"{value:{sign}.1f} %"


def _excess(bias: float | None) -> float | None:
    """Return by how many percent depth is too far, from a mean of ln P - ln Z."""
    return None if bias is None else 100 * math.expm1(bias)
