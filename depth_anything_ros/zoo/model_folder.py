"""Find the model file in a folder without `record.json`: the only model in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.zoo.exports import WEIGHTS
from depth_anything_ros.zoo.hugging_face import CONFIGURATION, WEIGHTS_NAMES

MODELS = (*WEIGHTS, ".onnx")
"""Suffixes of model files."""


@dataclass(frozen=True)
class FolderContent:
    """The model's file, or None and the reason in ``fault``."""

    file: Path | None
    fault: str = ""


def model_in(folder: Path) -> FolderContent:
    """Find the only model in a folder.

    It reads the output of transformers and of the hub's client (`config.json` next to weights; in the client's cache
    also the folder of the repository), and any folder with a single model file.
    """
    if (folder / "snapshots").is_dir():
        return _snapshot(folder)
    if (folder / CONFIGURATION).is_file():
        for name in WEIGHTS_NAMES:
            if (folder / name).is_file():
                return FolderContent(folder / name)
            if (folder / f"{name}.index.json").is_file():
                return FolderContent(
                    None,
                    f"{folder}: its weights are split over several files ({name}.index.json); save them as one, with "
                    "save_pretrained(FOLDER, max_shard_size='20GB')",
                )
    files = sorted(path for path in folder.iterdir() if path.suffix in MODELS and path.is_file())
    if len(files) == 1:
        return FolderContent(files[0])
    if files:
        return FolderContent(
            None, f"{folder}: the folder has no record.json, but several models: {_names(files)}; give one of them"
        )
    below = sorted(path.relative_to(folder) for path in folder.glob("*/*") if path.suffix in MODELS)
    hint = f"; give one of {_names(below)} with a record" if below else ""
    return FolderContent(
        None, f"{folder}: the folder has no record.json, and no model file ({', '.join(MODELS)}){hint}"
    )


def _snapshot(folder: Path) -> FolderContent:
    """Return the model in a repository's folder in the cache of the hub's client: from `main`, or the only snapshot."""
    snapshots = folder / "snapshots"
    main = folder / "refs" / "main"
    commit = snapshots / main.read_text().strip() if main.is_file() else snapshots
    candidates = [commit] if commit != snapshots and commit.is_dir() else sorted(snapshots.iterdir())
    if len(candidates) == 1:
        return model_in(candidates[0])
    return FolderContent(None, f"{folder}: has {len(candidates)} snapshots: {_names(candidates)}; give one of them")


def _names(paths: list[Path]) -> str:
    shown = ", ".join(path.name if path.is_absolute() else str(path) for path in paths[:5])
    return f"{shown}, … ({len(paths)})" if len(paths) > 5 else shown
