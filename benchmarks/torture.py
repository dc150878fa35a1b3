"""Tests the data engine under faults of machines and disks: no loss, and no result that differs silently.

    python benchmarks/torture.py [--rounds 200] [--seed 0] [--data DIR] [--only STEP …] [--json FILE]

The engine's steps run once undisturbed: photographs are packed and labeled, a student is trained and evaluated. Each
round then repeats one step on its own disk in memory, with a fault at a random moment. A round fails if

- a file that the step reads has changed;
- a command ends with status 0, but its result differs from the undisturbed one;
- the same command, repeated after the fault, does not end with status 0 and exactly the undisturbed result.

The exit status is 0 if no round failed. It needs Linux with `unshare`, to mount disks, as root or with user namespaces.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from torture_faults import FAULTS, Scene, disk, wait
from torture_steps import Step, hash_of, prepare, run_undisturbed, steps

INSIDE = "TORTURE_NAMESPACE"


@dataclass(frozen=True)
class Round:
    """One round: the exit statuses of the disturbed commands, and the problem, or ""."""

    number: int
    step: str
    fault: str
    statuses: list[int]
    fault_seconds: float
    wrong: str
    printed: str = ""


class Torture:
    """The undisturbed results, and the rounds that are compared with them."""

    def __init__(self, folder: Path, data: Path | None) -> None:
        self._whole, self._folder = folder / "whole", folder
        self.steps = steps(data)
        prepare(self._whole)
        self._seconds, self._expected = {}, {}
        for step in self.steps:
            started = time.monotonic()
            run_undisturbed(step.command, self._whole)
            self._seconds[step.name] = time.monotonic() - started
            self._expected[step.name] = step.fingerprint(self._whole / step.leaves)
            print(f"undisturbed: {step.name} in {self._seconds[step.name]:.1f} s", flush=True)

    def run(self, number: int, step: Step, fault: str, draw: random.Random) -> Round:
        """Run one round.

        Args:
            number: Number of the round.
            step: Step to disturb.
            fault: a key of `FAULTS`.
            draw: draws the moment of the fault.
        """
        round_folder = self._folder / "round"
        with disk(round_folder / "disk"):
            folder = round_folder / "disk"
            for name in step.reads:
                _copy(self._whole / name, folder / name)
            before = {name: hash_of(folder / name) for name in step.reads}
            scene = Scene(step, folder, self._seconds[step.name], draw)
            started = time.monotonic()
            statuses = FAULTS[fault](scene)
            seconds = time.monotonic() - started
            wrong = self._after_fault(scene, statuses) or self._after_repetition(scene)
            changed = [name for name in step.reads if hash_of(folder / name) != before[name]]
            if changed:
                wrong += f"; {', '.join(changed)} changed, which the step only reads"
            printed = scene.printed() if wrong else ""
        shutil.rmtree(round_folder, ignore_errors=True)
        return Round(number, step.name, fault, statuses, seconds, wrong.removeprefix("; "), printed)

    def _after_fault(self, scene: Scene, statuses: list[int]) -> str:
        left = scene.step.fingerprint(scene.folder / scene.step.leaves)
        if 0 in statuses and left != self._expected[scene.step.name]:
            return f"; status 0, but the result is {left[:16]}"
        return ""

    def _after_repetition(self, scene: Scene) -> str:
        status = wait(scene.start())
        left = scene.step.fingerprint(scene.folder / scene.step.leaves)
        if status:
            return f"; repeated, the command ends with status {status}"
        if left != self._expected[scene.step.name]:
            return f"; repeated, the result is {left[:16]}"
        return ""


def _copy(source: Path, target: Path) -> None:
    """Copy with modification times, which identify files."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def report(rounds: list[Round]) -> None:
    """Print a table of rounds by step and fault, and the failed rounds."""
    names = list(dict.fromkeys(one.step for one in rounds))
    total = Counter((one.fault, one.step) for one in rounds)
    failed = Counter((one.fault, one.step) for one in rounds if one.wrong)
    print("| fault | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for fault in FAULTS:
        cells = [f"{total[fault, name] - failed[fault, name]} of {total[fault, name]}" for name in names]
        print(f"| {fault.replace('_', ' ')} | " + " | ".join(cells) + " |")
    for one in rounds:
        if one.wrong:
            print(f"round {one.number}, {one.step}, {one.fault}, statuses {one.statuses}: {one.wrong}")
            print("    " + one.printed.replace("\n", "\n    "))


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="number of rounds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults' moments (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder of the set tum (default: no evaluation)")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="disturb only these steps (default: all)")
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS), help="default: all")
    parser.add_argument("--json", type=Path, help="write the rounds here")
    return parser.parse_args(words)


def enter_namespace() -> None:
    """Restart this program in its own mount namespace, where it may mount disks."""
    if os.environ.get(INSIDE) is None:
        os.environ[INSIDE] = "1"
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        os.execvp("unshare", ["unshare", "--mount", *user, sys.executable, *sys.argv])


def main() -> int:
    """Run all rounds. Return 1 if one failed, else 0."""
    args = parse()
    enter_namespace()
    rounds: list[Round] = []
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="torture_") as folder:
        torture = Torture(Path(folder), None if args.data is None else args.data.resolve())
        chosen = [step for step in torture.steps if args.only is None or step.name in args.only]
        for number in range(args.rounds):
            step, fault = chosen[number % len(chosen)], args.faults[number // len(chosen) % len(args.faults)]
            rounds.append(torture.run(number, step, fault, draw))
            last = rounds[-1]
            print(
                f"round {number + 1}: {step.name}, {fault}, {last.statuses}: {last.wrong or 'nothing lost'}", flush=True
            )
            if args.json:
                args.json.write_text(json.dumps([asdict(one) for one in rounds], indent=2))
    report(rounds)
    return int(any(one.wrong for one in rounds))


if __name__ == "__main__":
    sys.exit(main())
