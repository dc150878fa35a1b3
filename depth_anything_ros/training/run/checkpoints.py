"""A run's states on disk: written whole or not at all, beside the work; read back exactly."""

from __future__ import annotations

import re
import threading
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depth_anything_ros.system.atomic_file import atomic_path


class StateError(RuntimeError):
    """A state could not be written; the message says what became of the run."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a run's state beside its place and moves it there, so that a kill leaves the previous one.

    Raises `StateError`, naming the file, where it cannot be written.
    """
    try:
        with atomic_path(path) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:  # torch.save says RuntimeError where a disk is full
        raise StateError(
            f"{path} could not be written: {error}. Make room and run the same command again: it goes on from the last "
            "state that was written, if there is one"
        ) from error


def load_state(path: Path) -> dict[str, Any] | None:
    """The state of an earlier run, or None if there is none. Raises ValueError, naming a damaged file."""
    if not path.exists():
        return None
    with path.open("rb") as file:  # what cannot be reached is not called damaged
        try:
            if damaged := zipfile.ZipFile(file).testzip():  # PyTorch does not look at checksums
                raise ValueError(f"{damaged} in it has another checksum")
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file ends in whatever its bytes happen to mean
            raise ValueError(
                f"cannot resume from {path}: {error}; delete it to go on from the state before, or to start anew"
            ) from error


def snapshot(value: Any) -> Any:
    """A copy of nested dictionaries and lists of tensors, in main memory, that training does not change."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(snapshot(item) for item in value)
    return value


class Checkpoints:
    """The last states of a run, in a folder, written by a thread while training goes on.

    A state that is being written when the process is killed is not there, the one before is; what had been written of
    it is removed when the next is saved.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def paths(self) -> list[Path]:
        """The states that are there, the oldest first."""
        return sorted(path for path in self._folder.glob("state_*.pt") if re.fullmatch(r"state_\d+\.pt", path.name))

    def newest(self) -> dict[str, Any] | None:
        """The last state, or None for a new run. Raises ValueError, naming a damaged file."""
        paths = self.paths()
        return load_state(paths[-1]) if paths else None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Copies a state and begins to write it; waits first for the one before.

        Raises `StateError` where that could not be written.
        """
        self.wait()
        self._folder.mkdir(parents=True, exist_ok=True)
        for left_behind in self._folder.glob(".state_*.partial"):  # by a process that was killed
            left_behind.unlink()
        self._thread = threading.Thread(target=self._write, args=(step, snapshot(state)))
        self._thread.start()

    def wait(self) -> None:
        """Waits until nothing is being written. Raises `StateError` where it could not be."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, step: int, state: dict[str, Any]) -> None:
        try:
            save_state(self._folder / f"state_{step:09d}.pt", state)
            for path in self.paths()[: -self._keep]:
                path.unlink(missing_ok=True)
        except Exception as error:  # whatever it is, `wait` raises it where it is seen
            self._error = error
