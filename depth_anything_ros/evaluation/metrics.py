"""Depth metrics of the literature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

_DELTA = 1.25


def measure(heading: str, in_tables: bool = True, is_better: str = "low") -> Any:
    """Return a field of `Measures`.

    Args:
        heading: its heading in tables.
        in_tables: whether tables show it; JSON has all.
        is_better: "low" or "high", the better values.
    """
    return field(metadata={"heading": heading, "in_tables": in_tables, "is_better": is_better})


@dataclass(frozen=True)
class Measures:
    """The base of scores: named numbers with means."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the measures, in order."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def in_tables(cls) -> dict[str, str]:
        """Return the headings of the measures that tables show, by name."""
        return {field.name: field.metadata["heading"] for field in fields(cls) if field.metadata["in_tables"]}

    @classmethod
    def heading(cls, name: str) -> str:
        """Return the heading of a measure."""
        return cls.__dataclass_fields__[name].metadata["heading"]

    @classmethod
    def high_is_better(cls, name: str) -> bool:
        """Return whether larger values of a measure are better."""
        return cls.__dataclass_fields__[name].metadata["is_better"] == "high"

    @classmethod
    def mean(cls: type[M], scores: Iterable[Measures]) -> M:
        """Return the mean of each measure, with equal weights. Raises `ValueError` for an empty input."""
        names = cls.names()
        table = np.array([[getattr(score, name) for name in names] for score in scores], dtype=np.float64)
        if table.size == 0:
            raise ValueError("there are no scores to average")
        return cls(*table.mean(axis=0).tolist())


M = TypeVar("M", bound=Measures)


@dataclass(frozen=True)
class Scores(Measures):
    """The errors of one image, or their mean over several images.

    P is predicted depth, Z true depth, in meters; g = ln P - ln Z. Definitions are those of Eigen et al. (NIPS 2014).
    SILog and log10 follow ZoeDepth and Marigold.
    """

    abs_rel: float = measure("AbsRel")
    """mean |P - Z| / Z"""
    sq_rel: float = measure("SqRel")
    """mean (P - Z)^2 / Z, meters"""
    rmse: float = measure("RMSE")
    """sqrt mean (P - Z)^2, meters"""
    rmse_log: float = measure("RMSElog")
    """sqrt mean g^2"""
    log10: float = measure("log10")
    """mean |log10 P - log10 Z|"""
    delta1: float = measure("δ1", is_better="high")
    """share of pixels with max(P/Z, Z/P) < 1.25"""
    delta2: float = measure("δ2", is_better="high")
    """the same with 1.25^2"""
    delta3: float = measure("δ3", is_better="high")
    """the same with 1.25^3"""
    silog: float = measure("SILog")
    """100 sqrt(mean g^2 - (mean g)^2)"""
    mae: float = measure("MAE", in_tables=False)
    """mean |P - Z|, meters"""
    irmse: float = measure("iRMSE", in_tables=False)
    """1000 sqrt mean (1/P - 1/Z)^2, 1/km"""


@dataclass(frozen=True)
class BoundaryScores(Scores):
    """Scores with those of edges."""

    boundary_f1: float = measure("edge F1", is_better="high")
    """F1 of occlusion edges at one pixel, from 0 to 1; see `boundary.py`"""


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
        mae=float(np.mean(np.abs(difference))),
        irmse=1000 * float(np.sqrt(np.mean((1.0 / predicted - 1.0 / true) ** 2))),
    )
