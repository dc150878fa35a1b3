"""Measures the cost of millions of names: memory and time to open, pack, resume and label a set.

    python benchmarks/names.py [--names 10000000] [--only STEP …] [--processes 8] [--workers 4] [--json FILE]

It creates folders, a list and shards with this many names in a temporary folder, where many names link to one small
picture. Each step runs in its own process. The results are seconds, and MiB above the memory before the step. Ten
million names need about 4 GB of disk, which is freed at the end. Steps: tree, flat, list, train-tree, shards,
train-shards, overlap, label, pack, pack-again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from names_data import PER_FOLDER, make_flat, make_list, make_shards, make_tree
from names_steps import STEPS, trainer

NEEDS = {
    "flat": ["flat"],
    "list": ["list.txt"],
    "train-tree": ["small tree"],
    "shards": ["shards"],
    "train-shards": ["shards", "small tree", "small shards"],
    "overlap": ["shards", "added"],
    "label": ["shards"],
    "pack-again": ["shards"],
}
"""The data that a step reads besides the tree."""
FLAT = 10
"""The flat folder has one name for this many of the tree."""


def main() -> int:
    """Create the data, run the steps and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--names", type=int, default=10_000_000, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(STEPS),
        default=list(STEPS),
        metavar="STEP",
        help="steps to run (default: all)",
    )
    parser.add_argument("--processes", type=int, default=8, metavar="N", help="of the training (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="of each process (default: %(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the data here, and reuse existing data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--trainer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shared", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trainer:
        trainer(arguments.trainer, arguments.shared, arguments.workers)
        return 0
    if arguments.step:
        print(json.dumps(STEPS[arguments.step](arguments.folder, arguments.names)))
        return 0
    if arguments.names < 2 * PER_FOLDER or arguments.names % PER_FOLDER:
        parser.error(f"--names must be a multiple of {PER_FOLDER}, {2 * PER_FOLDER} or more")
    with tempfile.TemporaryDirectory(prefix="names_") as temporary:
        folder = arguments.folder or Path(temporary)
        make(folder, arguments.names, {"tree"}.union(*(NEEDS.get(step, ()) for step in arguments.only)))
        rows = [row for step in arguments.only for row in measure(step, folder, arguments)]
    report = {"names": arguments.names, "load": os.getloadavg()[1], "rows": rows}
    print(as_table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def make(folder: Path, count: int, needed: set[str]) -> None:
    """Create the missing data.

    Args:
        folder: Folder of all data.
        count: number of names.
        needed: the data that the steps need.
    """
    folder.mkdir(parents=True, exist_ok=True)
    making = {
        "tree": lambda: make_tree(folder / "tree", count),
        "small tree": lambda: make_tree(folder / "small tree", PER_FOLDER),
        "added": lambda: make_tree(folder / "added", PER_FOLDER),
        "flat": lambda: make_flat(folder / "flat", count // FLAT),
        "list.txt": lambda: make_list(folder / "list.txt", "tree", count),
        "shards": lambda: make_shards(folder / "shards", folder / "tree", count),
        "small shards": lambda: make_shards(folder / "small shards", folder / "small tree", PER_FOLDER),
    }
    for name, make_it in making.items():
        if name in needed and not (folder / name).exists():
            began = time.monotonic()
            make_it()
            print(f"made {name} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def measure(step: str, folder: Path, arguments: argparse.Namespace) -> list[dict]:
    """Run one step in its own process, and return its rows.

    Args:
        step: a key of `STEPS`.
        folder: Folder of all data.
        arguments: --names, --processes and --workers.
    """
    options = {"NAMES_PROCESSES": str(arguments.processes), "NAMES_WORKERS": str(arguments.workers)}
    environment = {**os.environ, **options, "DEPTH_ANYTHING_ROS_CACHE": str(folder / "cache")}
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--names", str(arguments.names)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"step {step} failed; see above")
    return [{"names": arguments.names, **row} for row in json.loads(done.stdout)]


def as_table(report: dict) -> str:
    """Return the measurements as a Markdown table."""
    lines = ["| step | names | s | peak MiB | kept MiB |", "|---|---:|---:|---:|---:|"]
    for row in report["rows"]:
        peak = f"{row['peak_mib']:.0f}" if "peak_mib" in row else ""
        lines.append(f"| {row['what']} | {row['names']:,} | {row['seconds']:.1f} | {peak} | {row['kept_mib']:.0f} |")
    return "\n".join([*lines, "", f"average load in the last five minutes: {report['load']:.1f} threads"])


if __name__ == "__main__":
    sys.exit(main())
