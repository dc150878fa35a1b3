"""Evaluation of models on sets: the loop over sets and frames, for the command and for Python programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.evaluation.baselines import BASELINES
from depth_anything_ros.evaluation.metrics import Measures
from depth_anything_ros.evaluation.options import EvaluationOptions
from depth_anything_ros.evaluation.page import Gallery, html_page
from depth_anything_ros.evaluation.predictions import ScoredModel, unsuitable
from depth_anything_ros.evaluation.protocol import Protocol, SetRules
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.report import json_report, markdown_report, text_report
from depth_anything_ros.evaluation.results import SetResult, main_values, mean_over_sets
from depth_anything_ros.evaluation.scored_sets import EvaluationSet
from depth_anything_ros.evaluation.set_evaluation import evaluate_set
from depth_anything_ros.postprocessing.meters import focal_gain
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.extras import import_problem


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of models and baselines on sets with known depth. ``str`` returns the tables.

    Attributes:
        results: the scores on each set.
        protocol: the protocol.
        models: the estimators by their names in the tables.
        refused: sets and models that could not be scored, each with the reason.
        gallery: the worst and best images, for the page.
    """

    results: Sequence[SetResult]
    protocol: Protocol
    models: Mapping[str, Estimator]
    refused: Sequence[str] = ()
    gallery: Gallery = field(default_factory=Gallery)

    @property
    def means(self) -> dict[str, Measures]:
        """Return the mean scores over the sets by the row's title. Each set has the same weight."""
        return mean_over_sets(self.results)

    @property
    def left_out(self) -> list[str]:
        """Return the sets and frames that could not be scored, each with the reason."""
        return [*self.refused, *(text for result in self.results for text in result.left_out)]

    def to_markdown(self) -> str:
        """Return a table of the main measures with one line per set, beside published numbers."""
        return markdown_report(self.results, self.protocol)

    def to_json(self) -> str:
        """Return all scores, image by image, and the records of the models."""
        return json.dumps(self._report(), indent=2, ensure_ascii=False)

    def to_html(self) -> str:
        """Return one page with all scores, plots, and the worst and best images; it needs no network."""
        return html_page(self._report(), self.gallery)

    def _report(self) -> dict[str, Any]:
        models = {
            name: {"record": json.loads(estimator.record.to_json()), "provenance": estimator.provenance}
            for name, estimator in self.models.items()
        }
        return json_report(self.results, self.protocol, models)

    def __str__(self) -> str:
        return text_report(self.results, self.protocol)

    def __repr__(self) -> str:
        sets = ", ".join(f"{result.frames} frames of {result.name}" for result in self.results)
        rows = (f"{title} {main_values(mean)}" for title, mean in self.means.items())
        left_out = f"; {len(self.left_out)} left out" if self.left_out else ""
        return f"Evaluation({sets}: {', '.join(rows)}{left_out})"


def evaluate_models(
    models: Mapping[str, Estimator], root: Path, sets: Iterable[EvaluationSet], options: EvaluationOptions
) -> Evaluation:
    """Score models on sets. Sets and frames that cannot be scored are left out and reported.

    Args:
        models: estimators by their names in the tables.
        root: the folder that contains the sets.
        sets: the sets.
        options: how models are scored.

    Raises:
        DataError: no set is left.
    """
    protocol = find_protocol(options.protocol)
    scored = [_scored_model(name, estimator) for name, estimator in models.items()]
    if options.baselines:
        scored += [ScoredModel(name, predict, "inverse_depth", is_baseline=True) for name, predict in BASELINES.items()]
    results, refused, gallery = [], [], Gallery()
    for declared in sets:
        try:
            rules = protocol.rules(declared.name)
            suitable = _suitable(scored, rules, refused)
            results.extend(evaluate_set(declared, root, suitable, rules, options, gallery))
        except (DataError, OSError, ImportError) as error:  # other sets can still be scored
            reason = import_problem(error) if isinstance(error, ImportError) else error
            refused.append(f"{declared.name}: {reason}")
    refused = list(dict.fromkeys(refused))
    if not results:
        raise DataError("; ".join(refused) or "there is no set to score")
    for text in refused:
        options.warn(f"left out: {text}")
    return Evaluation(results, protocol, models, refused, gallery)


def _suitable(models: Sequence[ScoredModel], rules: SetRules, refused: list[str]) -> list[ScoredModel]:
    """Return the models that the rules can score; the reason for each other model goes to ``refused``."""
    reasons = [unsuitable(model, rules) for model in models]
    suitable = [model for model, reason in zip(models, reasons, strict=True) if reason is None]
    texts = [reason for model, reason in zip(models, reasons, strict=True) if reason and not model.is_baseline]
    if all(model.is_baseline for model in suitable) and texts:
        raise DataError("; ".join(texts))
    refused.extend(texts)
    return suitable


def _scored_model(name: str, estimator: Estimator) -> ScoredModel:
    """Return the estimator as a `ScoredModel`. Its meters are corrected for the lens of each image."""
    record = estimator.record

    def gain(frame: LabeledImage) -> float | None:
        if frame.camera is None:
            return None
        return focal_gain(frame.camera, estimator.input_size_for(*frame.image.shape[:2]), record.reference_focal)

    corrects = record.reference_focal is not None
    return ScoredModel(
        name,
        estimator.estimate,
        record.output,
        is_metric=record.is_metric,
        gain=gain if corrects else None,
        has_unknown_shift=record.scale_model == "depth_affine",
        load=estimator.load_for if isinstance(estimator, Estimator) else None,
    )
