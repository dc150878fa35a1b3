"""Depth metrics of the literature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import numpy as np

_DELTA = 1.25


def _measure(heading: str) -> Any:
    """Return a field of `Scores` with its heading in tables."""
    return field(metadata={"heading": heading})


@dataclass(frozen=True)
class Scores:
    """The errors of one image, or their mean over several images.

    P is predicted depth, Z true depth, in meters; g = ln P - ln Z. Definitions are those of Eigen et al. (NIPS 2014).
    SILog and log10 follow ZoeDepth and Marigold.
    """

    abs_rel: float = _measure("AbsRel")
    """mean |P - Z| / Z"""
    sq_rel: float = _measure("SqRel")
    """mean (P - Z)^2 / Z, meters"""
    rmse: float = _measure("RMSE")
    """sqrt mean (P - Z)^2, meters"""
    rmse_log: float = _measure("RMSElog")
    """sqrt mean g^2"""
    log10: float = _measure("log10")
    """mean |log10 P - log10 Z|"""
    delta1: float = _measure("δ1")
    """share of pixels with max(P/Z, Z/P) < 1.25"""
    delta2: float = _measure("δ2")
    """the same with 1.25^2"""
    delta3: float = _measure("δ3")
    """the same with 1.25^3"""
    silog: float = _measure("SILog")
    """100 sqrt(mean g^2 - (mean g)^2)"""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the measures, in order."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def headings(cls) -> tuple[str, ...]:
        """Return the table headings of the measures, in order."""
        return tuple(field.metadata["heading"] for field in fields(cls))

    @classmethod
    def mean(cls, scores: Iterable[Scores]) -> Scores:
        """Return the mean of each measure, with equal weights. Raises `ValueError` for an empty input."""
        table = np.array([astuple(score) for score in scores], dtype=np.float64)
        if table.size == 0:
            raise ValueError("there are no scores to average")
        return cls(*table.mean(axis=0).tolist())


def score_depth(predicted: np.ndarray, true: np.ndarray) -> Scores:
    """Score the depth of the valid pixels.

    Args:
        predicted: positive depth (N,), meters.
        true: true depth (N,), meters.

    Raises:
        ValueError: there are no pixels, or a depth is not positive and finite.
    """
    if predicted.shape != true.shape or true.size == 0:
        raise ValueError(f"predicted {predicted.shape} and true {true.shape} depth must have the same nonzero size")
    predicted = predicted.astype(np.float64)
    true = true.astype(np.float64)
    for name, depth in (("predicted", predicted), ("true", true)):
        if not (np.isfinite(depth).all() and depth.min() > 0):
            raise ValueError(f"{name} depth must be positive and finite")
    difference = predicted - true
    log_ratio = np.log(predicted) - np.log(true)
    ratio = np.maximum(predicted / true, true / predicted)
    within = [float(np.mean(ratio < _DELTA**power)) for power in (1, 2, 3)]
    squared_log = float(np.mean(log_ratio**2))
    return Scores(
        abs_rel=float(np.mean(np.abs(difference) / true)),
        sq_rel=float(np.mean(difference**2 / true)),
        rmse=float(np.sqrt(np.mean(difference**2))),
        rmse_log=squared_log**0.5,
        log10=float(np.mean(np.abs(log_ratio))) / float(np.log(10)),
        delta1=within[0],
        delta2=within[1],
        delta3=within[2],
        silog=100 * max(squared_log - float(np.mean(log_ratio)) ** 2, 0.0) ** 0.5,
    )
