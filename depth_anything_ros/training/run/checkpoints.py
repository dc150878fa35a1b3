"""A run's states on disk, written atomically in a thread while training goes on, and read back exactly."""

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
    """A state could not be written; the message describes the state of the run."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a run's state atomically, so that a kill leaves the previous file.

    Args:
        path: the file.
        state: nested dictionaries and lists of tensors and plain values.

    Raises:
        StateError: the file cannot be written.
    """
    try:
        with atomic_path(path) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError on a full disk
        raise StateError(
            f"{path} could not be written: {error}. Free some space and run the same command again; it continues from "
            "the last written state, if there is one"
        ) from error


def load_state(path: Path) -> dict[str, Any] | None:
    """Return the state of an earlier run, or None if there is none. Raise ValueError for a damaged file."""
    if not path.exists():
        return None
    with path.open("rb") as file:  # outside the try block: an unreachable file is not damaged
        try:
            if damaged := zipfile.ZipFile(file).testzip():  # PyTorch does not check checksums
                raise ValueError(f"{damaged} in it has another checksum")
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file may raise any error
            raise ValueError(
                f"cannot resume from {path}: {error}; delete it to resume from the state before, or to start again"
            ) from error


def snapshot(value: Any) -> Any:
    """Return a copy of nested dictionaries and lists of tensors, in main memory, that training does not change."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(snapshot(item) for item in value)
    return value


class Checkpoints:
    """The last states of a run, in a folder, written by a thread while training goes on.

    A kill during a write leaves the previous state. The next save removes the partial file.

    Args:
        folder: the folder, created when needed.
        keep: number of states to keep.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def paths(self) -> list[Path]:
        """Return the files of the states, the oldest first."""
        return sorted(path for path in self._folder.glob("state_*.pt") if re.fullmatch(r"state_\d+\.pt", path.name))

    def newest(self) -> dict[str, Any] | None:
        """Return the last state, or None for a new run. Raise ValueError for a damaged file."""
        paths = self.paths()
        return load_state(paths[-1]) if paths else None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Copy a state and start to write it, after the previous write has ended.

        Args:
            step: its step.
            state: as for `save_state`.

        Raises:
            StateError: the previous state could not be written.
        """
        self.wait()
        self._folder.mkdir(parents=True, exist_ok=True)
        for left_behind in self._folder.glob(".state_*.partial"):  # from a killed process
            left_behind.unlink()
        self._thread = threading.Thread(target=self._write, args=(step, snapshot(state)))
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is being written. Raise `StateError` if the last write failed."""
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
        except Exception as error:  # `wait` raises it in the training thread
            self._error = error
