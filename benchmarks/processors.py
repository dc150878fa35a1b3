"""Measures accuracy and time of each precision of each CPU backend on processors with different features.

    python benchmarks/processors.py [--model tiny] [--encoder vits --size 308x406] [--turns 30] [--json FILE]

Each kind of processor has its own process: this processor, this processor under the variables of oneDNN and PyTorch,
and a processor with only AVX2 (`without_avx512.py`). In a process, frames are measured in turns, so that a change of
the clock rate affects all of them: trust ratios. A precision that the gate rejects is measured too, and marked: an
estimator never uses it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from depth_anything_ros.commands.arguments import size as parse_size
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import BACKENDS, is_installed
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator

HERE = Path(__file__).resolve().parent
BACKENDS_OF_PROCESSORS = ("openvino", "onnxruntime", "torch")
WITHOUT_VNNI = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "as it is": ([], {}),
    "AVX-512 without VNNI (oneDNN's variable)": ([], WITHOUT_VNNI),
    "AVX2 (variables)": ([], AVX2),
    "AVX2 (no AVX-512 registers)": ([sys.executable, str(HERE / "without_avx512.py")], {}),
}
"""The prefix of the command, and the environment, by the name of the row."""

HEADING = """\
| processor | backend, precision | gate | correlation | AbsRel | worst pixel | ms | against its fp32 |
|---|---|---|---|---|---|---|---|"""


def main() -> int:
    """Measure every kind of processor, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="tiny", help="name, .onnx file or folder (default: tiny)")
    parser.add_argument("--encoder", choices=("tiny", "vits"), help="random weights of this size instead; needs --size")
    parser.add_argument("--size", type=parse_size, metavar="HxW", help="network input (default: the model's usual one)")
    parser.add_argument("--turns", type=int, default=30, metavar="N", help="frames of each row (default: 30)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: the backend's choice")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="measure only this row; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.encoder is not None and arguments.size is None:
        parser.error("--encoder needs --size")
    if arguments.child:
        print(json.dumps(measure(arguments)))
        return 0
    report = {}
    print(HEADING, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        words = [str(HERE / "processors.py"), "--child", "--turns", str(arguments.turns), "--model"]
        words.append(written_model(arguments, Path(folder)))
        for name in ("size", "threads"):
            value = getattr(arguments, name)
            if value is not None:
                words += [f"--{name}", "x".join(map(str, value)) if name == "size" else str(value)]
        for way in arguments.way or WAYS:
            before, variables = WAYS[way]
            environment = {**os.environ, **variables, "DEPTH_ANYTHING_ROS_CACHE": str(Path(folder) / "cache")}
            done = subprocess.run(
                [*before, sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            report[way] = json.loads(done.stdout.splitlines()[-1])
            for row in report[way]["rows"]:
                print(line(way, report[way], row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2))
    return 0


def written_model(arguments: argparse.Namespace, folder: Path) -> str:
    """Return the model to run; random weights are written first.

    Args:
        arguments: --model, --encoder and --size.
        folder: for random weights.
    """
    if arguments.encoder is None:
        return arguments.model
    from depth_anything_ros.bench.random_model import write_random_model

    (folder / "random").mkdir()
    write_random_model(arguments.encoder, arguments.size, folder / "random")
    return str(folder / "random")


def measure(arguments: argparse.Namespace) -> dict:
    """Return the features of this processor, and a row for each choice of backend and precision."""
    logging.disable(logging.WARNING)
    rows, runners = [], {}
    for name in BACKENDS_OF_PROCESSORS:
        for precision in BACKENDS[name].precisions if is_installed(name) else ():
            choice = BackendChoice(name, precision)
            row: dict = {"choice": str(choice), "precision": precision, "backend": name}
            try:
                runner = Estimator(
                    arguments.model, name, None, arguments.size, arguments.threads, precision, False, False
                )
                size = runner.input_size_for(*runner.record.input_size)
                verdict = runner.judge(size)
            except ModelError as error:
                rows.append({**row, "refused": str(error)})
                continue
            rows.append({**row, "passed": verdict.passed, **vars(verdict)})
            runners[str(choice)] = runner
    image = gate.images()[0]
    seconds = take_turns({name: lambda run=run: run.estimate(image) for name, run in runners.items()}, arguments.turns)
    for row in rows:
        if row["choice"] in seconds:
            own = seconds[f"{row['backend']} fp32"]
            row["seconds"] = median(seconds[row["choice"]])
            row["against fp32"] = median(mine / fp32 for mine, fp32 in zip(seconds[row["choice"]], own, strict=True))
    return {"processor": str(processor()), "rows": rows}


def take_turns(calls: dict, turns: int) -> dict[str, list[float]]:
    """Return the seconds of each call, measured in turns after one untimed turn.

    Args:
        calls: functions by name.
        turns: number of timed turns.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if turn:
                taken[name].append(time.perf_counter() - started)
    return taken


def line(way: str, report: dict, row: dict) -> str:
    """Return one row of the table.

    Args:
        way: a key of `WAYS`.
        report: Report of `measure`.
        row: Row of the report.
    """
    head = f"| {way}: {report['processor']} | {row['choice']} |"
    if "refused" in row:
        reason = row["refused"].partition(";")[0].replace("|", "/")
        return f"{head} does not run: {reason} | | | | | |"
    verdict = "passes" if row["passed"] else "**rejected**"
    numbers = f"{row['correlation']:.5f} | {row['abs_rel']:.4f} | {row['worst']:.3f}"
    return f"{head} {verdict} | {numbers} | {1000 * row['seconds']:.2f} | {row['against fp32']:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
