"""The data engine under all that goes wrong with machines and disks: whether anything is lost or silently other.

    python benchmarks/torture.py [--rounds 200] [--seed 0] [--data DIR] [--only STEP …] [--json FILE]

The steps of the engine run once undisturbed: photographs are packed and labeled, a student is trained and evaluated.
Then each round repeats one step on a disk of its own in memory, while a fault happens at a random moment. A round fails
if

- a file that the step reads has changed;
- a command ends with status 0, but its result is not that of the undisturbed command;
- the same command, repeated after the fault, does not end with status 0 and exactly that result.

Exit status 0: no round failed. It needs Linux with `unshare`, to mount disks, as root or with user namespaces.
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
    """One round: the exit statuses of the disturbed commands, and what was wrong, "" for nothing."""

    number: int
    step: str
    fault: str
    statuses: list[int]
    fault_seconds: float
    wrong: str
    printed: str = ""


class Torture:
    """The undisturbed results, and rounds against them."""

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
        """One round."""
        place = self._folder / "round"
        with disk(place / "disk"):
            folder = place / "disk"
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
        shutil.rmtree(place, ignore_errors=True)
        return Round(number, step.name, fault, statuses, seconds, wrong.removeprefix("; "), printed)

    def _after_fault(self, scene: Scene, statuses: list[int]) -> str:
        left = scene.step.fingerprint(scene.folder / scene.step.leaves)
        if 0 in statuses and left != self._expected[scene.step.name]:
            return f"; status 0, and yet the result is {left[:16]}"
        return ""

    def _after_repetition(self, scene: Scene) -> str:
        status = wait(scene.start())
        left = scene.step.fingerprint(scene.folder / scene.step.leaves)
        if status:
            return f"; given again, the command ends with status {status}"
        if left != self._expected[scene.step.name]:
            return f"; given again, the result is {left[:16]}"
        return ""


def _copy(source: Path, target: Path) -> None:
    """With the times, by which files are told from others."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def report(rounds: list[Round]) -> None:
    """Prints a table: rounds by step and fault, and those that failed."""
    names = list(dict.fromkeys(found.step for found in rounds))
    total = Counter((found.fault, found.step) for found in rounds)
    failed = Counter((found.fault, found.step) for found in rounds if found.wrong)
    print("| fault | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for fault in FAULTS:
        cells = [f"{total[fault, name] - failed[fault, name]} of {total[fault, name]}" for name in names]
        print(f"| {fault.replace('_', ' ')} | " + " | ".join(cells) + " |")
    for found in rounds:
        if found.wrong:
            print(f"round {found.number}, {found.step}, {found.fault}, statuses {found.statuses}: {found.wrong}")
            print("    " + found.printed.replace("\n", "\n    "))


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder that holds the set tum; default: do not evaluate")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="disturb these steps alone")
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--json", type=Path, help="write the rounds here")
    return parser.parse_args(words)


def enter_namespace() -> None:
    """Starts this program again in a namespace of its own, where it may mount disks that nobody else sees."""
    if os.environ.get(INSIDE) is None:
        os.environ[INSIDE] = "1"
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        os.execvp("unshare", ["unshare", "--mount", *user, sys.executable, *sys.argv])


def main() -> int:
    """Runs all rounds; the exit status is 1 if one failed."""
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
                args.json.write_text(json.dumps([asdict(found) for found in rounds], indent=2))
    report(rounds)
    return int(any(found.wrong for found in rounds))


if __name__ == "__main__":
    sys.exit(main())
