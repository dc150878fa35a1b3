"""The weights of a run with the best validation scores so far, in a file."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict

from depth_anything_ros.training.distributed.ranks import on_rank_zero
from depth_anything_ros.training.earlier_names import state_with_present_names
from depth_anything_ros.training.run.checkpoints import load_state, save_state
from depth_anything_ros.training.run.whole_state import WHOLE
from depth_anything_ros.training.validation.predictions import is_better
from depth_anything_ros.training.validation.scorer import Scores, Validation

log = logging.getLogger(__name__)


class BestWeights:
    """The best weights so far. The first process of the run writes them.

    Args:
        path: the file.
        validation: the validation images; scores on other images do not count. None: there are none.
        score: name of the score that decides; larger is better.
        fabric: the devices of the run.
    """

    def __init__(self, path: Path, validation: Validation | None, score: str, fabric: Fabric) -> None:
        self._path, self._validation, self._score, self._fabric = path, validation, score, fabric
        self._scores: Scores | None = None

    def load(self, step: int) -> dict[str, Any] | None:
        """Return the best step, scores and weights up to ``step``, or None if there are none.

        A state of a later step, left by a killed run, does not count: the run reaches that step again. Weights with
        scores on other validation images do not count either, and a warning reports them.
        """
        best = load_state(self._path)
        if best is None or self._validation is None or best["step"] > step:
            return None
        best = state_with_present_names(best)
        if best["validation"] == self._validation.described:
            return best
        log.warning(
            "%s: ignoring the best weights so far, of step %d: their scores are from other validation images (%s, not "
            "%s). The next best weights replace the file; copy it to keep it",
            *(self._path, best["step"], best["validation"], self._validation.described),
        )
        return None

    def resume(self, step: int) -> int:
        """Continue with the best weights up to ``step``; return their step, 0 if there are none."""
        best = self.load(step)
        self._scores = best["scores"] if best else None
        return best["step"] if best else 0

    def keep_if_better(self, step: int, scores: Scores, by_source: dict[str, Scores], network: nn.Module) -> None:
        """Save the weights if their scores are the best so far. All devices call this together.

        Args:
            step: steps done.
            scores: validation scores by name, means over sources.
            by_source: the same for each source.
            network: holds the weights, which may be sharded.

        Raises:
            StateError: the file could not be written.
        """
        if math.isnan(scores[self._score]):
            log.warning("step %d: the network's output for validation images is NaN; its weights are not kept", step)
        if not is_better(scores, self._scores, self._score):
            return
        self._scores = scores
        weights = get_model_state_dict(network, options=WHOLE)
        best = {"step": step, "scores": scores, "by_source": by_source, "network": weights}
        best["validation"] = self._validation.described
        on_rank_zero(self._fabric, lambda: save_state(self._path, best))
