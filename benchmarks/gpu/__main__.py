"""All measurements and checks that need a GPU, in one command of minutes.

    python -m benchmarks.gpu --minutes 8 --output DIR [--only STEP …] [--encoder FILE] [--scenes DIR]
                             [--dry-run]

Runs from a checkout. It needs PyTorch with CUDA, NumPy, OpenCV, and the packages of `gpu_machine`; no ROS, no network,
no installed package. The steps run in order of importance, each in its own process with a time limit. Later steps get
the time that a step does not use. DIR gets a few files: `report.md` is the report, `report.json` all data, `logs.txt`
the output of the steps. They are written every second, so that a step that fails, hangs or is ended loses only its own
rest. The steps end with this command. Their working folder is another one, which is deleted at the end, unless --work
names it.

--dry-run runs every step on the CPU, with tiny sizes and fakes of CUDA and TensorRT.

The exit status is 0 if every step ended and all checks passed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks.gpu.child import PLANTS
from benchmarks.gpu.report import Outcome, Report
from benchmarks.gpu.running import run_step
from benchmarks.gpu.steps import STEPS


def main() -> int:
    """Run the steps."""
    arguments = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    arguments.output.mkdir(parents=True, exist_ok=True)
    work = nullcontext(arguments.work) if arguments.work else tempfile.TemporaryDirectory(prefix="benchmarks_gpu_")
    with work as folder:
        outcomes = _run_all(arguments, Path(folder))
    print(arguments.output / "report.md")
    return int(any(not outcome.is_good for outcome in outcomes))


def _run_all(arguments: argparse.Namespace, work: Path) -> list[Outcome]:
    """Run every chosen step, until one is stopped from outside."""
    chosen = [step for step in STEPS if not arguments.only or step.name in arguments.only]
    report = Report(arguments.output, arguments.dry_run, [step.title for step in chosen])
    planted = dict(plant.split("=") for plant in arguments.plant)
    ends = time.monotonic() + 60 * arguments.minutes
    for number, step in enumerate(chosen):
        left = max(0.0, ends - time.monotonic())
        seconds = left * step.share / sum(later.share for later in chosen[number:])
        print(f"{step.name}: {seconds:.0f} s at most", flush=True)
        words = ["--device", "cpu" if arguments.dry_run else "cuda", "--output", str(arguments.output.absolute())]
        words += ["--encoder", str(arguments.encoder.absolute())] if arguments.encoder else []
        words += ["--scenes", str(arguments.scenes.absolute())] if arguments.scenes else []
        words += ["--plant", planted[step.name]] if step.name in planted else []
        outcome = run_step(step, seconds, work, words, report.show_running)
        report.add(outcome)
        print("\n".join(outcome.lines()), flush=True)  # in case the files are not returned
        if outcome.ended == "stopped":
            break
    return report.outcomes


def _plant(text: str) -> str:
    step, _, fault = text.partition("=")
    if step not in [one.name for one in STEPS] or fault not in PLANTS:
        raise argparse.ArgumentTypeError(f"{text}: write STEP=FAULT, with one of {', '.join(PLANTS)}")
    return text


def _arguments() -> argparse.Namespace:
    names = [step.name for step in STEPS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="for all steps together (default: 8)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the report")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="working folder, which is kept (default: a temporary one)"
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="STEP", help=f"steps to run: {', '.join(names)}")
    parser.add_argument("--encoder", type=Path, metavar="FILE", help="initial weights of a ViT-S (default: random)")
    parser.add_argument("--scenes", type=Path, metavar="DIR", help="shards of rendered scenes to train on as well")
    parser.add_argument("--dry-run", action="store_true", help="run on the CPU, with tiny sizes and fakes")
    parser.add_argument(
        "--plant",
        nargs="*",
        default=[],
        type=_plant,
        metavar="STEP=FAULT",
        help=f"plant a fault, which the report must show: {', '.join(PLANTS)}",
    )
    arguments = parser.parse_args()
    if arguments.encoder and not arguments.encoder.is_file():
        parser.error(f"--encoder {arguments.encoder}: file not found")
    if arguments.scenes and not arguments.scenes.is_dir():
        parser.error(f"--scenes {arguments.scenes}: folder not found")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
