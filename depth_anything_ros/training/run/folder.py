"""What a run leaves on disk: its record, its log, its states, its best weights and its checkpoint."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from depth_anything_ros import __version__
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.output_folder import RUN, Made, OutputFolder, claimed

MADE = Made(RUN, RUN, "train")
PACKAGES = ("torch", "lightning-fabric", "numpy", "opencv-python-headless", "webdataset")


@dataclass(frozen=True)
class StageFolder:
    """Where a stage of training keeps what it makes."""

    root: Path

    @property
    def record(self) -> Path:
        """What the run was made from: configuration, data, versions, revision."""
        return self.root / "run.json"

    @property
    def states(self) -> Path:
        """Everything that going on needs, at several steps."""
        return self.root / "states"

    @property
    def best(self) -> Path:
        """The weights that did best on held-out images so far, and how well."""
        return self.root / "best.pt"

    @property
    def log(self) -> Path:
        """One JSON object a line: losses and scores by step."""
        return self.root / "log.jsonl"

    @property
    def events(self) -> Path:
        """TensorBoard's files."""
        return self.root / "tensorboard"

    @contextmanager
    def claimed(self) -> Iterator[OutputFolder]:
        """Keeps other processes from training in this folder while the block runs.

        Raises `FolderError` where one does already, or the folder holds something else.
        """
        with claimed(self.root, MADE) as folder:
            yield folder

    def remove_left_behind(self) -> None:
        """Removes what a process that was killed had only partly written."""
        for partial in self.root.glob(".*.partial"):
            partial.unlink(missing_ok=True)

    def checkpoint(self, name: str) -> Path:
        """The result, as a robot loads it."""
        return self.root / f"{name}.safetensors"


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """What differs in two nested dictionaries of plain values, by dotted names: "optimizer.steps was 400, is 40"."""
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        inner = [differences(before.get(key), now.get(key), f"{name}.{key}" if name else key) for key in keys]
        return [line for lines in inner for line in lines]
    return [f"{name} was {json.dumps(before)}, is {json.dumps(now)}"]


def describe_run(configuration: dict[str, Any], data: dict[str, list[str]], devices: int) -> dict[str, Any]:
    """What to keep of how a run came about; ``data``: names and versions of sources, by kind."""
    return {
        "configuration": configuration,
        "data": data,
        "devices": devices,
        "revision": git_revision(Path(__file__).parent),
        "versions": {"depth_anything_ros": __version__, "python": platform.python_version(), **_versions()},
        "command": sys.argv,
        "host": platform.node(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_revision(folder: Path) -> str | None:
    """The commit that a folder is at, with a + where files differ from it; None outside of a repository."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(folder), *command], capture_output=True, text=True, check=True, timeout=30
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Writes a run's record; a run that goes on adds its own to those before."""
    records = json.loads(path.read_text()) if path.exists() else []
    atomic_write(path, (json.dumps([*records, record], indent=2) + "\n").encode())
