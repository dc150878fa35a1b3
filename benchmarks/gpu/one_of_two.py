"""One of two processes that need the same engine at once. It prints whether it built it, and a hash of its map."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from benchmarks.gpu.stand_ins import for_cuda
from benchmarks.gpu.steps import StepContext
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.estimator import Estimator


def main() -> None:
    """Load the engine and run it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph", type=Path)
    parser.add_argument("precision")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dry", action="store_true")
    arguments = parser.parse_args()
    with for_cuda(StepContext("cpu" if arguments.dry else "cuda", arguments.folder, arguments.folder)):
        estimator = Estimator(arguments.graph, "tensorrt", precision=arguments.precision, gated=False, fallback=False)
        depth = estimator.estimate(gate.images()[0][:96, :128].copy())
        (engine,) = estimator.engines()
        print(json.dumps({"is_new": engine.is_new, "map": hashlib.sha256(depth.round(2).tobytes()).hexdigest()}))


if __name__ == "__main__":
    main()
