"""Everything that only a GPU can show, in one command of minutes.

    python -m benchmarks.gpu --minutes 8 --output DIR [--only STEP …] [--encoder FILE] [--dry-run]

Runs from a checkout: it needs PyTorch with CUDA, NumPy, OpenCV, and what `gpu_machine` packs; no ROS, no network, no
installed package. The steps come in order of worth, each in a process of its own with a time limit; what a step has not
used is left to those that follow. Each writes its findings to DIR/STEP.json as it makes them and what it prints to
DIR/STEP.log, so that a step that fails, hangs or is ended loses nothing but its own rest. In the end, and after each
step, DIR/report.md is the page and DIR/report.json all of it.

--dry-run walks every step on a processor, with tiny sizes and stand-ins for CUDA and TensorRT.

Exit status 0: every step ended, and all that they check holds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gpu.child import PLANTS
from benchmarks.gpu.report import page
from benchmarks.gpu.steps import STEPS, Step
from depth_anything_ros.whole_file import write_whole

ROOT = Path(__file__).resolve().parent.parent.parent
GRACE = 2.0
"""Seconds that an ended step has to end."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended: "done", "failed" or "out of time", with the last lines that it printed where it is not done."""

    name: str
    title: str
    ended: str
    seconds: float
    said: str
    found: dict


def main() -> int:
    """Runs the steps."""
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * arguments.minutes
    chosen = [step for step in STEPS if not arguments.only or step.name in arguments.only]
    outcomes: list[Outcome] = []
    for number, step in enumerate(chosen):
        left = max(0.0, ends - time.monotonic())
        seconds = left * step.share / sum(later.share for later in chosen[number:])
        print(f"{step.name}: {seconds:.0f} s at most", flush=True)
        outcomes.append(_run(step, seconds, arguments))
        _write(outcomes, arguments)
        failed = [check["name"] for check in outcomes[-1].found["checks"] if not check["passed"]]
        said = "".join(f"; does not hold: {name}" for name in failed)
        print(f"{step.name}: {outcomes[-1].ended} in {outcomes[-1].seconds:.0f} s{said}", flush=True)
    print(f"{arguments.output / 'report.md'}")
    return int(any(outcome.ended != "done" for outcome in outcomes))


def _run(step: Step, seconds: float, arguments: argparse.Namespace) -> Outcome:
    """One step in a process group of its own, which ends with it."""
    results, log = arguments.output / f"{step.name}.json", arguments.output / f"{step.name}.log"
    device = "cpu" if arguments.dry_run else "cuda"
    command = [sys.executable, "-u", "-m", "benchmarks.gpu.child", step.name, "--device", device]
    command += ["--results", str(results), "--folder", str(arguments.output / "work" / step.name)]
    command += ["--seconds", f"{seconds:.0f}"]
    command += ["--encoder", str(arguments.encoder)] if arguments.encoder else []
    planted = dict(plant.split("=") for plant in arguments.plant)
    command += ["--plant", planted[step.name]] if step.name in planted else []
    results.unlink(missing_ok=True)
    started = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            ended = "done" if process.wait(timeout=seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            ended = "out of time"
        finally:
            _end(process)
    took = time.monotonic() - started
    found = json.loads(results.read_text()) if results.exists() else {"tables": {}, "checks": [], "notes": []}
    said = "" if ended == "done" else "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    return Outcome(step.name, step.title, ended, took, said, found)


def _environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _end(process: subprocess.Popen) -> None:
    """Ends what is left of a step's process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _write(outcomes: list[Outcome], arguments: argparse.Namespace) -> None:
    write_whole(arguments.output / "report.json", json.dumps([asdict(one) for one in outcomes], indent=2).encode())
    write_whole(arguments.output / "report.md", page([asdict(one) for one in outcomes], arguments.dry_run).encode())


def _arguments() -> argparse.Namespace:
    names = [step.name for step in STEPS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="for all steps together (default: 8)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the report and what steps write")
    parser.add_argument("--only", nargs="+", choices=names, metavar="STEP", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--encoder", type=Path, metavar="FILE", help="weights of a ViT-S to begin with (default: random)"
    )
    parser.add_argument("--dry-run", action="store_true", help="on a processor, with tiny sizes and stand-ins")
    parser.add_argument(
        "--plant", nargs="*", default=[], metavar="STEP=FAULT", help=f"a fault to be reported: {', '.join(PLANTS)}"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
