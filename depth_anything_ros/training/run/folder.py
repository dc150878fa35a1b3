"""The folder of a run: its record, its log, its states, its best weights and its checkpoint."""

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
    """The folder of a stage's run, and the paths in it."""

    root: Path

    @property
    def record(self) -> Path:
        """What the run is made from: configuration, data, versions, revision."""
        return self.root / "run.json"

    @property
    def states(self) -> Path:
        """The folder of states, at several steps, from which the run resumes."""
        return self.root / "states"

    @property
    def best(self) -> Path:
        """The weights with the best validation scores so far, and these scores."""
        return self.root / "best.pt"

    @property
    def log(self) -> Path:
        """Losses and scores by step, one JSON object in each line."""
        return self.root / "log.jsonl"

    @property
    def events(self) -> Path:
        """The folder of TensorBoard's files."""
        return self.root / "tensorboard"

    @contextmanager
    def claimed(self) -> Iterator[OutputFolder]:
        """Lock the folder against other training processes while the block runs.

        Raise `FolderError` if another process trains there, or the folder holds something else.
        """
        with claimed(self.root, MADE) as folder:
            yield folder

    def remove_left_behind(self) -> None:
        """Remove partial files of killed processes."""
        for partial in self.root.glob(".*.partial"):
            partial.unlink(missing_ok=True)

    def checkpoint(self, name: str) -> Path:
        """Return the path of the resulting checkpoint.

        Args:
            name: of the model.
        """
        return self.root / f"{name}.safetensors"


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Return the differences between two nested dictionaries, such as "optimizer.steps was 400, is 40".

    Args:
        before: plain values.
        now: plain values.
        name: dotted name of these values.
    """
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        inner = [differences(before.get(key), now.get(key), f"{name}.{key}" if name else key) for key in keys]
        return [line for lines in inner for line in lines]
    return [f"{name} was {json.dumps(before)}, is {json.dumps(now)}"]


def describe_run(configuration: dict[str, Any], data: dict[str, list[str]], devices: int) -> dict[str, Any]:
    """Return the record of a run.

    Args:
        configuration: all settings, as plain values.
        data: names and versions of the sources, by kind.
        devices: number of devices.
    """
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
    """Return the commit of a folder, with a + if files differ from it; None outside of a repository."""
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
    """Append a record to the run's records.

    Args:
        path: the file.
        record: of this call, plain values.
    """
    records = json.loads(path.read_text()) if path.exists() else []
    atomic_write(path, (json.dumps([*records, record], indent=2) + "\n").encode())
