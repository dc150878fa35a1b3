"""Runs a `depth_anything_ros` command in this process, with transient input errors if `torture.py` requests them.

``TORTURE_IO`` in the environment is "SEED PROBABILITY": opening a file below the working folder for reading fails with
EIO with this probability, at most twice per file. Only Python's `open` fails.
"""

from __future__ import annotations

import errno
import os
import random
import sys
from collections import Counter
from pathlib import Path

MAX_PER_FILE = 2


def install(seed: int, probability: float) -> None:
    """Make `open` fail at random from now on.

    Args:
        seed: Seed of the random numbers.
        probability: Probability of a failure.
    """
    draw, failed, here = random.Random(seed), Counter(), str(Path.cwd())

    def hook(event: str, arguments: tuple) -> None:
        if event != "open" or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        path, mode = os.path.abspath(os.fsdecode(arguments[0])), arguments[1] or "r"
        if not path.startswith(here) or "r" not in mode or "+" in mode or path.endswith((".lock", ".py")):
            return
        if failed[path] < MAX_PER_FILE and draw.random() < probability:
            failed[path] += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    sys.addaudithook(hook)


def main() -> int:
    """Run the command."""
    from depth_anything_ros.cli import main as run

    if requested := os.environ.get("TORTURE_IO"):
        seed, probability = requested.split()
        install(int(seed), float(probability))
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
