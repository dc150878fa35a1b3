"""Depth that a bag has with its σ, as `bag` or a live node wrote it, against the true depth of the bag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.evaluation.bag_set import BagDepthSet
from depth_anything_ros.evaluation.breakdown import Honesty, honesty
from depth_anything_ros.evaluation.metrics import Scores, score_depth
from depth_anything_ros.evaluation.protocol import SetRules


@dataclass(frozen=True)
class StatedDepth:
    """Depth in a bag and its σ: means over the images that have both.

    Attributes:
        depth: topic of the depth.
        sigma: topic of its standard deviation.
        images: number of images.
        coverage: share of the pixels with true depth that have depth and σ.
        scores: of the meters as they are.
        honesty: whether σ is the real error.
    """

    depth: str
    sigma: str
    images: int
    coverage: float
    scores: Scores
    honesty: Honesty

    def values(self) -> dict[str, Any]:
        """Return plain values, with a sentence."""
        return asdict(self) | {"text": str(self)}

    def __str__(self) -> str:
        scores, found = self.scores, self.honesty
        return (
            f"{self.depth} of the bag, {self.images} images, {100 * self.coverage:.0f} % of the pixels: AbsRel "
            f"{scores.abs_rel:.3f}, δ1 {scores.delta1:.3f}. σ of {self.sigma}: normalized error "
            f"{found.normalized_error:.2f} (1 if σ is right), {100 * found.within_one:.0f} % within σ and "
            f"{100 * found.within_two:.0f} % within 2 σ (68 and 95 % of normal errors). Both look "
            "too good if the sensor of the true depth also gave the scale"
        )


def stated_depth(source: BagDepthSet, bag: Path, names: Iterable[str], rules: SetRules) -> StatedDepth | None:
    """Return how right the depth of a bag and its σ are; None if it has none with a σ.

    Args:
        source: the bag as a set.
        bag: the bag.
        names: of the frames.
        rules: the pixels to score.

    Raises:
        DataError: the bag cannot be read.
    """
    topics = source.stated_topics(bag)
    if topics is None:
        return None
    scores, honesties, shares = [], [], []
    for name in names:
        try:
            frame, stated = source.read(bag, name), source.stated(bag, name)
            mask = rules.mask(rules.scored(frame))
        except DataError:  # of the frame: reported where models are scored
            continue
        if stated is None or stated.depth.shape != frame.depth.shape:
            continue
        known = mask & (stated.depth > 0) & np.isfinite(stated.depth) & (stated.sigma > 0) & np.isfinite(stated.sigma)
        if not known.any():
            continue
        depth, true = stated.depth[known].astype(np.float64), frame.depth[known]
        scores.append(score_depth(depth, true))
        honesties.append(honesty(depth, true, stated.sigma[known] / depth))
        shares.append(np.count_nonzero(known) / np.count_nonzero(mask))
    if not scores:
        return None
    mean = Honesty(*np.mean([list(vars(one).values()) for one in honesties], axis=0).tolist())
    return StatedDepth(*topics, len(scores), float(np.mean(shares)), Scores.mean(scores), mean)
