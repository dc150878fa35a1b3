"""Measures what each extra costs: size of the installation, time and memory of the import, in fresh environments.

    python benchmarks/sizes.py [--extras none ros view ...] [--wheel FILE] [--constraint FILE] [--folder DIR]
                               [--limit MB] [--json FILE]

Each extra is installed by pip with its dependencies into an environment of its own, which is deleted afterwards. Size:
all files of the environment, without pip. Import: the package's estimator and all packages of the extra, the median of
several processes. Its time is that of the CPU, so that other programs of the machine disturb it less; its memory is
the resident one after it. The exit status is 1 if a robot's installation (`none`; its ROS 2 comes from apt) is larger
than the limit, or an extra cannot be installed. The other extras are measured then too. Needs the network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from email import message_from_bytes
from pathlib import Path
from statistics import median

from depth_anything_ros.system.extras import EXTRAS, INCLUDED

REPOSITORY = Path(__file__).resolve().parents[1]
NONE = "none"
LIMIT = 400.0
"""MB of a robot's installation."""
REPEATS = 5
ESTIMATOR = "depth_anything_ros.runtime.estimator"
SHARED = {"ros-kilted": ("rclpy", "sensor_msgs"), "meshes": ("numba", "PIL"), "docs": ("mkdocs", "mkdocstrings")}
"""Packages of an extra that `EXTRAS` lists under another one, or not at all."""
MEASURE = """
import sys, time
started = time.process_time()
for name in sys.argv[1:]:
    __import__(name)
seconds = time.process_time() - started
memory = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(seconds, int(memory.split()[1]))
"""


@dataclass(frozen=True)
class Cost:
    """The cost of an extra.

    Attributes:
        extra: its name, or `NONE`.
        size: MB (10^6 bytes) of the environment.
        seconds: CPU time of the import.
        memory: MiB that are resident after the import.
    """

    extra: str
    size: float
    seconds: float
    memory: float


def main() -> int:
    """Install, measure, print a table, write JSON. Return 1 if a robot's installation is too large."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--extras", nargs="+", metavar="EXTRA", help=f"{NONE} or extras of setup.py; default: all")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="of the package; default: built from the checkout")
    parser.add_argument("--constraint", type=Path, default=REPOSITORY / "constraints.txt", metavar="FILE")
    parser.add_argument("--folder", type=Path, help="where the environments are made (default: a temporary folder)")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="MB", help="of a robot's installation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="written after each extra")
    arguments = parser.parse_args()
    costs: list[Cost] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        wheel = arguments.wheel or build_wheel(Path(folder))
        choices = [NONE, *extras_of(wheel)]
        if unknown := sorted(set(arguments.extras or ()) - set(choices)):
            parser.error(f"no extra {', '.join(unknown)}; there are {', '.join(choices)}")
        for extra in arguments.extras or choices:
            print(f"installing {extra}", file=sys.stderr, flush=True)
            try:
                costs.append(cost_of(extra, wheel, arguments.constraint, Path(folder) / "environment"))
            except subprocess.CalledProcessError as error:
                failed[extra] = ((error.stderr or "").strip().splitlines() or [str(error)])[-1]
            if arguments.json:
                arguments.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=2))
    print("\n".join(table(costs)))
    return report_problems(costs, failed, arguments.limit)


def report_problems(costs: Sequence[Cost], failed: Mapping[str, str], limit: float) -> int:
    """Print what is too large and what could not be measured. Return the exit status.

    Args:
        costs: what was measured.
        failed: the reasons, by extra.
        limit: MB of a robot's installation.
    """
    problems = [
        f"{cost.extra}: {cost.size:.0f} MB is more than {limit:g} MB"
        for cost in costs
        if cost.extra == NONE and cost.size > limit
    ]
    problems += [f"{extra}: not measured: {reason}" for extra, reason in failed.items()]
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def extras_of(wheel: Path) -> list[str]:
    """Return the extras of a wheel, in the order of setup.py."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(metadata)).get_all("Provides-Extra", [])


def build_wheel(folder: Path) -> Path:
    """Build the package's wheel in a copy of the repository.

    Args:
        folder: receives the copy and the wheel.
    """
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for name in filter(None, tracked.stdout.split("\0")):
        target = folder / "sources" / name
        if (REPOSITORY / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target)
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "sources"))
    return next(folder.glob("*.whl"))


def cost_of(extra: str, wheel: Path, constraint: Path, environment: Path) -> Cost:
    """Install an extra into a fresh environment, measure it, and delete the environment.

    Args:
        extra: its name, or `NONE`.
        wheel: Wheel of the package.
        constraint: pip's constraints.
        environment: folder that does not exist.

    Raises:
        subprocess.CalledProcessError: it cannot be installed or imported.
    """
    venv.create(environment, with_pip=False)
    try:
        python = environment / "bin" / "python"
        wanted = str(wheel) if extra == NONE else f"{wheel}[{extra}]"
        pip(str(python), "install", "--constraint", str(constraint), wanted)
        seconds, memory = import_cost(python, modules_of(extra))
        return Cost(extra, size_of(environment), seconds, memory)
    finally:
        shutil.rmtree(environment)


def pip(python: str, *words: str) -> None:
    """Run this environment's pip for another interpreter. Raises `subprocess.CalledProcessError`."""
    command = [sys.executable, "-m", "pip", "--python", python, *words, "--quiet"]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True, env=clean_environment())


def clean_environment() -> dict[str, str]:
    """Return the environment variables without the ones that make packages from elsewhere look installed.

    The last two come from the ROS wheels, if this environment has them. The fresh one would load these libraries.
    """
    of_here = {"PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    return {name: value for name, value in os.environ.items() if name not in of_here}


def modules_of(extra: str) -> list[str]:
    """Return the modules whose import is measured."""
    extras = {extra, *INCLUDED.get(extra, ())}
    return [ESTIMATOR, *(package for package, its in EXTRAS.items() if its in extras), *SHARED.get(extra, ())]


def import_cost(python: Path, modules: Sequence[str]) -> tuple[float, float]:
    """Return the median CPU seconds and MiB of an import. A first process writes the compiled files.

    Args:
        python: the interpreter.
        modules: Modules to import.

    Raises:
        subprocess.CalledProcessError: a module cannot be imported.
    """
    runs = []
    for _ in range(REPEATS + 1):
        command = [str(python), "-c", MEASURE, *modules]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment(), cwd="/")
        seconds, kibibytes = answer.stdout.split()[-2:]
        runs.append((float(seconds), int(kibibytes) / 1024))
    return median(run[0] for run in runs[1:]), median(run[1] for run in runs[1:])


def size_of(folder: Path) -> float:
    """Return the MB of all files in a folder; links are not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def table(costs: Sequence[Cost]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    base = next((cost.size for cost in costs if cost.extra == NONE), None)
    yield "| Extra | Installation, MB | more than none, MB | Import, CPU s | Memory, MiB |"
    yield "|---|---|---|---|---|"
    for cost in costs:
        more = "" if base is None or cost.extra == NONE else f"{cost.size - base:.0f}"
        yield f"| {cost.extra} | {cost.size:.0f} | {more} | {cost.seconds:.2f} | {cost.memory:.0f} |"


if __name__ == "__main__":
    sys.exit(main())
