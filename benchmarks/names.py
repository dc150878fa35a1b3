"""What millions of names cost: memory and time to open, pack, resume and label a set.

    python benchmarks/names.py [--names 10000000] [--only STEP …] [--processes 8] [--workers 4] [--json FILE]

Makes folders, a list and shards of so many names in a temporary folder, where many names are links to one small
picture, and measures each step in a process of its own: seconds, and MiB beyond what that process took before. The
folder takes some 4 GB of disk for ten million names, and is removed in the end. Steps: tree, flat, list, train-tree,
shards, train-shards, overlap, label, pack, pack-again.
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
"""What a step reads besides the tree."""
FLAT = 10
"""The flat folder has this part of all names."""


def main() -> int:
    """Makes the data, runs the steps and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--names", type=int, default=10_000_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS), metavar="STEP")
    parser.add_argument("--processes", type=int, default=8, metavar="N", help="that train (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="of each of them (default: %(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the data here, and use what is there")
    parser.add_argument("--json", type=Path, metavar="FILE")
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
    print(in_words(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def make(folder: Path, count: int, needed: set[str]) -> None:
    """The data that is needed, but for what is there."""
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
    """The rows of one step."""
    options = {"NAMES_PROCESSES": str(arguments.processes), "NAMES_WORKERS": str(arguments.workers)}
    environment = {**os.environ, **options, "DEPTH_ANYTHING_ROS_CACHE": str(folder / "cache")}
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--names", str(arguments.names)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"step {step} failed; see above")
    return [{"names": arguments.names, **row} for row in json.loads(done.stdout)]


def in_words(report: dict) -> str:
    """A table of what was measured."""
    lines = ["| step | names | s | peak MiB | kept MiB |", "|---|---:|---:|---:|---:|"]
    for row in report["rows"]:
        peak = f"{row['peak_mib']:.0f}" if "peak_mib" in row else ""
        lines.append(f"| {row['what']} | {row['names']:,} | {row['seconds']:.1f} | {peak} | {row['kept_mib']:.0f} |")
    return "\n".join([*lines, "", f"{report['load']:.1f} threads wanted the cores in the last five minutes"])


if __name__ == "__main__":
    sys.exit(main())
