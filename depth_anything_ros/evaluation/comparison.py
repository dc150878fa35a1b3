"""Which model is better: intervals of means, pairs of models, and models against baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from depth_anything_ros.evaluation.bootstrap import Difference, Interval, confidence_interval, paired_difference
from depth_anything_ros.evaluation.metrics import Measures
from depth_anything_ros.evaluation.results import Row, SetResult, common_type, main_measures, row_title


def interval_of(rows: Sequence[Row], measure: str | None = None) -> Interval | None:
    """Return the confidence interval of the mean over rows of a model, None if an image is alone.

    Args:
        rows: of one model, one for each set.
        measure: default: the first main measure.
    """
    measure = measure or main_measures(rows[0].scores)[0]
    return confidence_interval([row.values(measure) for row in rows])


def mean_interval(results: Sequence[SetResult], title: str) -> Interval | None:
    """Return the interval of the mean over sets of the first main measure.

    Args:
        results: the scores on each set.
        title: of the row.
    """
    return interval_of([row for result in results if (row := result.row(title)) is not None])


def model_pairs(results: Sequence[SetResult]) -> Iterator[tuple[str, str, Measures, Difference, int]]:
    """Yield pairs of models: the better one, the other, a score, their difference and the number of sets.

    Only sets with at least two images count, and only models that have a row on each. Both rows are aligned, or none.
    """
    usable = [result for result in results if result.frames > 1]
    if not usable:
        return
    rows = {row_title(row.model, row.aligned): row for row in usable[0].rows if not row.is_baseline}
    complete = [title for title in rows if all(result.row(title) is not None for result in usable)]
    for first, second in combinations(complete, 2):
        if rows[first].aligned != rows[second].aligned:
            continue
        scores = usable[0].row(first).scores
        measure = main_measures(scores)[0]
        groups = [[result.row(title).values(measure) for result in usable] for title in (first, second)]
        difference = paired_difference(*groups)
        if difference is None:  # scores that are no means over images
            continue
        if (difference.mean > 0) != scores.high_is_better(measure):
            first, second, difference = second, first, paired_difference(*groups[::-1])
        yield first, second, scores, difference, len(usable)


def difference_in_words(better: str, other: str, scores: Measures, difference: Difference, sets: int) -> str:
    """Return who is better, by how much, and how sure that is.

    Args:
        better: the model with the better mean.
        other: the other model.
        scores: of either, for the name of the measure.
        difference: of the means of the first main measure, ``better`` less ``other``.
        sets: number of sets.
    """
    low, high = sorted(abs(limit) if difference.is_sure else limit for limit in limits_of(difference))
    measure = scores.heading(main_measures(scores)[0])
    over = f" in the mean over {sets} sets" if sets > 1 else ""
    limits = f"95 %: {low:.3f} to {high:.3f}"
    if not difference.is_sure:
        return f"{better} and {other} do not differ significantly in {measure}{over}: {difference.mean:+.3f} ({limits})"
    return f"{better} beats {other} by {abs(difference.mean):.3f} {measure}{over} ({limits})"


def limits_of(difference: Difference) -> tuple[float, float]:
    """Return the limits of a difference."""
    return difference.interval.low, difference.interval.high


def comparisons(results: Sequence[SetResult]) -> list[str]:
    """Return one sentence per model and baseline: on how many sets the model has the better AbsRel and δ1."""
    if not results:
        return []
    aligned = [row for row in results[0].rows if row.aligned and "abs_rel" in row.scores.names()]
    sentences = []
    for model in (row.model for row in aligned if not row.is_baseline):
        for baseline in (row.model for row in aligned if row.is_baseline):
            pairs = [(result.row(model).scores, result.row(baseline).scores) for result in results]
            abs_rel = sum(ours.abs_rel < theirs.abs_rel for ours, theirs in pairs)
            delta1 = sum(ours.delta1 > theirs.delta1 for ours, theirs in pairs)
            mean_ours, mean_theirs = (common_type(scores).mean(scores) for scores in zip(*pairs, strict=True))
            sentences.append(
                f"{model} beats {baseline} on {abs_rel} of {len(pairs)} sets in AbsRel and {delta1} in δ1; in the mean "
                f"AbsRel {mean_ours.abs_rel:.3f} against {mean_theirs.abs_rel:.3f}, "
                f"δ1 {mean_ours.delta1:.3f} against {mean_theirs.delta1:.3f}"
            )
    return sentences
