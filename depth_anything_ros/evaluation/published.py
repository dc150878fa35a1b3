"""Measured scores beside those that papers publish."""

from __future__ import annotations

from collections.abc import Sequence

from depth_anything_ros.evaluation.protocol import Protocol
from depth_anything_ros.evaluation.results import SetResult

TAE = "tae"
"""The measure of a published temporal alignment error, percent."""


def verdicts(results: Sequence[SetResult], protocol: Protocol) -> list[str]:
    """Return, for each model with published numbers, whether they are reproduced.

    Args:
        results: the scores on each set.
        protocol: with the published numbers.
    """
    sentences = []
    for published in protocol.published:
        for result in results:
            for row in result.rows:
                values = published.models.get(row.model, {}).get(result.name)
                if values is None or (row.aligned and protocol.rules(result.name).alignment.method == "none"):
                    continue
                measure, value = published.measures[0], values[0]
                measured = row.tae if measure == TAE else getattr(row.scores, measure)
                if measured is None:
                    continue
                heading = "TAE" if measure == TAE else row.scores.heading(measure)
                change = measured / value - 1
                within = abs(change) <= published.tolerance
                note = published.notes.get(result.name)
                verdict = "reproduced" if within else "not reproduced"
                expected = f"; expected, since {note}" if note and not within else ""
                incomplete = "; frames differ from the split" if result.left_out else ""
                sentences.append(
                    f"{row.model} on {result.name}: {heading} {measured:.3f}, "
                    f"published {value:.3f} ({change:+.1%}, tolerance {published.tolerance:.0%}): "
                    f"{verdict}{expected}{incomplete}"
                )
    return sentences


def published_markdown(results: Sequence[SetResult], protocol: Protocol) -> list[str]:
    """Return one table of published numbers for each source, with a column per model.

    Args:
        results: the scores on each set.
        protocol: with the published numbers.
    """
    tables = []
    for published in protocol.published:
        sets = [result.name for result in results if any(result.name in of for of in published.models.values())]
        models = [model for model, values in published.models.items() if any(name in values for name in sets)]
        if not models:
            continue
        lines = [
            f"Published: {published.source}",
            "",
            f"| {' / '.join(published.measures)} | {' | '.join(models)} |",
            "|---|" + "---|" * len(models),
        ]
        for name in sets:
            cells = [" / ".join(f"{value:.3f}" for value in published.models[model].get(name, ())) for model in models]
            lines.append(f"| {name} | {' | '.join(cell or '–' for cell in cells)} |")
        notes = [f"{name}: {note}" for name, note in published.notes.items() if name in sets]
        tables.append("\n".join([*lines, *(["", *notes] if notes else [])]) + "\n")
    return tables
