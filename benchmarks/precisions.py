"""Measures the accuracy of each backend and precision: AbsRel and δ1 relative to ONNX Runtime in fp32.

    python benchmarks/precisions.py --data DIR [--model M ...] [--limit 10] [--json FILE]

Scores are those of `depth_anything_ros evaluate` (aligned in inverse depth, mean over frames, then over sets). A
precision that the gate rejects is scored too, and marked: an estimator never uses it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import typed_backend

from depth_anything_ros.data.check import evenly_spaced
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.results import SetResult, mean_over_sets
from depth_anything_ros.evaluation.scored_sets import find_sets
from depth_anything_ros.evaluation.scoring import score_models
from depth_anything_ros.runtime.backends import BACKENDS, REFERENCE, is_installed
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.errors import ModelError, UnavailableError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.zoo.peers import record_of_peer


@dataclass(frozen=True)
class Candidate:
    """A choice that can run here. ``rejection`` is the gate's reason, None if it passes."""

    estimator: Estimator
    rejection: str | None


def main() -> int:
    """Evaluate, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the sets")
    parser.add_argument("--model", action="append", metavar="M", help="name or .onnx file; repeatable (default: tiny)")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="frames per set (default: 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    args = parser.parse_args()
    typed_backend.register()
    lines = ["| model | backend, precision | AbsRel | change | δ1 | change | gate |", "|---|---|---|---|---|---|---|"]
    report = {}
    for model in args.model or ["tiny"]:
        scores, rejections = score(model, args.data, args.limit)
        reference = scores[str(REFERENCE)]
        for name, (abs_rel, delta1) in scores.items():
            change = f"{abs_rel - reference[0]:+.4f} | {delta1:.4f} | {delta1 - reference[1]:+.4f}"
            gate = "rejected" if rejections[name] else "the reference" if name == str(REFERENCE) else "passed"
            lines.append(f"| {Path(model).stem} | {name} | {abs_rel:.4f} | {change} | {gate} |")
        report[Path(model).stem] = {"scores": scores, "refusals": rejections}
    print("\n".join(lines))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))
    return 0


def score(model: str, data: Path, limit: int) -> tuple[dict[str, tuple[float, float]], dict[str, str | None]]:
    """Return (AbsRel, δ1) by choice, the reference first, and the gate's rejections.

    Args:
        model: name or .onnx file.
        data: folder of the sets.
        limit: frames per set.
    """
    candidates = {str(REFERENCE): open_candidate(model, REFERENCE)}
    for name, entry in BACKENDS.items():
        for precision in entry.precisions if is_installed(name) else ():
            choice = BackendChoice(name, precision)
            if choice == REFERENCE or name in ("torch:compile", "torch:cuda_compile"):
                continue
            try:
                candidates[str(choice)] = open_candidate(model, choice)
            except UnavailableError as error:
                print(f"{choice} left out: {error}", file=sys.stderr)
                break
            except ModelError as error:
                print(f"{choice} left out: {error}", file=sys.stderr)
    models = [
        ScoredModel(name, candidate.estimator.estimate, candidate.estimator.record.output)
        for name, candidate in candidates.items()
    ]
    results = []
    for declared in find_sets(data, None):
        names = declared.frame_names(data)
        chosen = evenly_spaced(names, limit)
        rows = score_models(models, (declared.read(data, frame) for frame in chosen))
        results.append(SetResult(declared.name, declared.terms, len(chosen), len(names), rows))
    means = mean_over_sets(results)
    scores = {name: (means[name].abs_rel, means[name].delta1) for name in candidates}
    return scores, {name: candidate.rejection for name, candidate in candidates.items()}


def open_candidate(model: str, choice: BackendChoice) -> Candidate:
    """Open a choice, even if the gate rejects it.

    Args:
        model: name or .onnx file.
        choice: backend and precision.

    Raises:
        ModelError: the choice cannot run.
    """
    record = record_of_peer(Path(model))
    ungated = Estimator(model, choice.backend, record, precision=choice.precision, gated=False)
    if ungated.precision != choice.precision:
        raise ModelError(ungated.provenance)
    try:
        gated = Estimator(model, choice.backend, record, precision=choice.precision)
        rejection = None if gated.precision == choice.precision else gated.provenance
    except ModelError as error:
        rejection = str(error)
    return Candidate(ungated, rejection)


if __name__ == "__main__":
    sys.exit(main())
