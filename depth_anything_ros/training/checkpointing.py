"""A run's state on disk: written whole or not at all, read back exactly."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from depth_anything_ros.whole_file import replacing


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a run's state beside its place and moves it there, so that a kill leaves the previous one."""
    with replacing(path) as partial:
        torch.save(state, partial)


def load_state(path: Path) -> dict[str, Any] | None:
    """The state of an earlier run, or None if there is none. Raises ValueError, naming a damaged file."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"cannot resume from {path}: {error}; delete it to start anew") from error
