"""One step in its own process: `python -m benchmarks.gpu.child STEP …`, started by `__main__`."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path

from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import STEPS, StepContext

PLANTS = ("raise", "hang", "wrong")
"""Faults that can be planted in a step, to test that they are reported."""


class PlantedError(RuntimeError):
    """The planted fault."""


def main() -> int:
    """Run the step to its end."""
    arguments = _arguments()
    faulthandler.enable()
    faulthandler.register(signal.SIGTERM, all_threads=False, chain=True)  # prints where the step was ended
    threading.Thread(target=_end_with_parent, daemon=True).start()
    is_dry, is_wrong = arguments.device == "cpu", arguments.plant == "wrong"
    results = Results(arguments.results, arguments.seconds, is_dry, is_wrong)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.plant == "raise":
        raise PlantedError("planted")
    if arguments.plant == "hang":
        threading.Event().wait()
    step = next(step for step in STEPS if step.name == arguments.step)
    step.run(
        StepContext(arguments.device, arguments.folder, arguments.output, arguments.encoder, arguments.scenes), results
    )
    return 0


def _end_with_parent() -> None:
    """End this process and its children when the pipe from its parent closes."""
    os.read(sys.stdin.fileno(), 1)  # sys.stdin's lock would block the interpreter's end
    os.killpg(0, signal.SIGKILL)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=[step.name for step in STEPS])
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--plant", choices=PLANTS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
