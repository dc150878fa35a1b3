"""Writes docs/models.md: every model at hand, by protocol, on recordings, with its rate, size and license.

    python benchmarks/models.py [--data ../shared/data] [--models ../shared/models] [--output docs/models.md]

Scored are the bundled model, the ONNX files of --models that have a record, and the known models in the cache, on
every set of --data, on two bags that are made of it (benchmarks/make_bags.py), and beside baselines. Numbers of models
that are not at hand are in models_published.yaml, with their sources. Scores do not depend on the machine's load, rates
do. Models and sets that could not be scored are named, and the exit status is then 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import make_bags
from models_facts import REFERENCES, honesty_of, models_in, rate_of, size_of
from models_page import BUNDLED, Measured, page

from depth_anything_ros.api.evaluate import evaluate, open_models
from depth_anything_ros.commands.models import state
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.sequence_sets import SEQUENCES
from depth_anything_ros.evaluation.bag_set import BagTruth
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.options import EvaluationOptions
from depth_anything_ros.evaluation.run import Evaluation, evaluate_models
from depth_anything_ros.evaluation.scored_sets import SCORED_SETS, EvaluationSet, bag_sets
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.peers import record_of_peer

CROPPED = ("nyuv2", "kitti_depth", "kitti_object")
"""Sets whose scored pixels differ between the protocols full and published."""


def found_models(folder: Path) -> list[str]:
    """Return the models at hand: the bundled one, ONNX files with a record, and known models in the cache."""
    files = [
        str(path) for path in models_in(folder) if record_of_peer(path) or path.with_suffix(".record.json").is_file()
    ]
    return [BUNDLED, *files, *(name for name, record in known_models().items() if state(record) == "cached")]


def scores(models: Sequence[Estimator], data: Path, limit: int, workers: int) -> dict[str, Evaluation]:
    """Return the evaluations by protocol."""
    sets = [name for name, declared in SCORED_SETS.items() if declared.is_present(data)]
    sequences = [source.name for source in SEQUENCES if (data / source.name).is_dir()]
    requests = [("full", sets), ("published", [name for name in CROPPED if name in sets])]
    requests += [("video", sequences)]
    found = {}
    for protocol, names in requests:
        if names:
            print(f"protocol {protocol}: {', '.join(names)}", file=sys.stderr, flush=True)
            fixed = None if protocol == "video" else limit
            found[protocol] = evaluate(models, data, names, limit=fixed, protocol=protocol, workers=workers)
    return found


def bags(
    estimators: dict[str, Estimator], data: Path, limit: int, workers: int, measured: Measured, folder: Path
) -> None:
    """Make the bags whose data is there, and add the evaluation on them."""
    paths = []
    for name, read in make_bags.RECORDINGS.items():
        if (data / name).is_dir():
            make_bags.write_bag(folder / name, read(data / name, limit or sys.maxsize))
            paths.append(folder / name)
    if not paths:
        return
    print(f"bags: {', '.join(path.name for path in paths)}", file=sys.stderr, flush=True)
    sets = bag_sets(paths, BagTruth())
    options = EvaluationOptions(0, workers=workers, robot=ObstacleOptions())
    measured.bags = evaluate_models(estimators, Path(), sets, options)
    measured.left_out += measured.bags.left_out
    for declared in sets:
        for name, estimator in estimators.items():
            value = honesty_of(estimator, (declared.read(Path(), frame) for frame in _some(declared)))
            if value is not None:
                measured.honesty[declared.name, name] = value


def _some(declared: EvaluationSet) -> list[str]:
    """Return every fifth frame."""
    return declared.frame_names(Path())[::5]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the page. Return 1 if something was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="DIR", help="folder of sets")
    parser.add_argument(
        "--models", type=Path, default=Path("../shared/models"), metavar="DIR", help="folder of ONNX files"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/models.md"), metavar="FILE")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="frames per set and bag (default: 0, all)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="to measure each rate (default: 20)")
    parser.add_argument("--backend", default="auto", metavar="NAME", help="of the rates (default: auto, the fastest)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads that score (default: 2)")
    args = parser.parse_args(arguments)
    if not args.data.is_dir():
        parser.error(f"--data {args.data} is not a folder")
    models = found_models(args.models)
    command = ".venv/bin/python benchmarks/models.py --data SETS --models MODELS --output docs/models.md"
    measured = Measured(command, REFERENCES)
    estimators = open_models(models, backend="onnxruntime", precision="fp32")
    for given, (name, estimator) in zip(models, estimators.items(), strict=True):
        record = record_of_peer(Path(given))
        measured.sizes[name] = size_of(given, record)
        measured.rates[name] = rate_of(given, record, args.seconds, args.backend)
        print(f"{name}: {estimator.provenance}, {measured.sizes[name]}, {measured.rates[name]}", file=sys.stderr)
    try:
        measured.evaluations = scores(list(estimators.values()), args.data, args.limit, args.workers)
        for evaluation in measured.evaluations.values():
            measured.left_out += evaluation.left_out
        with tempfile.TemporaryDirectory() as folder:
            bags(estimators, args.data, args.limit, args.workers, measured, Path(folder))
    except (DataError, OSError) as error:
        print(f"models.py: {error}", file=sys.stderr)
        return 1
    atomic_write(args.output, page(measured).encode())
    for text in measured.left_out:
        print(f"left out: {text}", file=sys.stderr)
    print(f"wrote {args.output}", file=sys.stderr)
    return int(bool(measured.left_out))


if __name__ == "__main__":
    sys.exit(main())
