"""How far a depth map is from the truth, in the measures that the literature uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import numpy as np

_DELTA = 1.25


def _measure(heading: str) -> Any:
    """A field of `Scores`, with its heading in tables."""
    return field(metadata={"heading": heading})


@dataclass(frozen=True)
class Scores:
    """The errors of one image, or their mean over several. P: predicted, Z: true depth, meters; g = ln P - ln Z.

    Definitions: Eigen et al. (NIPS 2014) and, for SILog and log10, as ZoeDepth and Marigold compute them.
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
    """the same below 1.25^2"""
    delta3: float = _measure("δ3")
    """the same below 1.25^3"""
    silog: float = _measure("SILog")
    """100 sqrt(mean g^2 - (mean g)^2)"""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The measures' names, in order."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def headings(cls) -> tuple[str, ...]:
        """What tables call the measures, in order."""
        return tuple(field.metadata["heading"] for field in fields(cls))

    @classmethod
    def mean(cls, scores: Iterable[Scores]) -> Scores:
        """The mean of each measure: every item counts once. Raises ValueError if there is none."""
        table = np.array([astuple(score) for score in scores], dtype=np.float64)
        if table.size == 0:
            raise ValueError("there is nothing to take the mean of")
        return cls(*table.mean(axis=0).tolist())


def score_depth(predicted: np.ndarray, true: np.ndarray) -> Scores:
    """Scores of positive depths ``predicted`` against ``true``: both (N,), meters, the valid pixels only.

    Raises ValueError if there are no pixels, or a depth is not a positive finite number.
    """
    if predicted.shape != true.shape or true.size == 0:
        raise ValueError(f"depths must be as many as the true ones and at least one: {predicted.shape}, {true.shape}")
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
