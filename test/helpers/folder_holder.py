"""A process that writes into a folder until the test ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from depth_anything_ros.system.output_folder import Made, claimed
folder, kind, holds, command, rank, processes = sys.argv[1:]
with claimed(Path(folder), Made(kind, holds, command), int(rank), int(processes)):
    print("claimed", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held(
    folder: Path, kind: str, holds: str, command: str = "a command", rank: int = 0, processes: int = 1
) -> Iterator[subprocess.Popen]:
    """A process that has claimed the folder; it ends when it gets a line, or with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, (folder, kind, holds, command, rank, processes))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout.readline() == "claimed\n"
        yield process
    finally:
        process.kill()
        process.communicate()
