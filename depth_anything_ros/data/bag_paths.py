"""Checks of paths that are given as a ROS bag, with the fix if they are not one."""

from __future__ import annotations

from pathlib import Path

METADATA = "metadata.yaml"
_RECORDINGS = (".mcap", ".db3", ".bag")
_COMPRESSED = tuple(
    f"{ending}{packing}" for ending in _RECORDINGS for packing in (".zstd", ".zst", ".lz4", ".gz", ".bz2")
)
_SHOWN = 3


def bag_problem(path: Path) -> str | None:
    """Return why a path cannot be a bag, with the fix; None if it may be one.

    A ROS 2 bag is the folder that `ros2 bag record` creates, or one uncompressed .mcap or .db3 file. A ROS 1 bag is a
    .bag file.
    """
    if not path.exists():
        return "no such file or folder"
    if path.is_dir():
        return _folder_problem(path)
    name = path.name.lower()
    if name == METADATA:
        return f"it only describes a bag: give its folder {path.parent}"
    if name.endswith(_COMPRESSED):
        return _compressed_problem(path)
    if name.endswith(".bag.active"):
        return f"its recorder was killed: run `rosbag reindex {path.name}`, and give the .bag file"
    if not name.endswith(_RECORDINGS):
        return "it is not a bag: give the folder of a bag (with metadata.yaml), a .mcap, a .db3, or a ROS 1 .bag file"
    if not path.stat().st_size:
        return "the file is empty"
    return None


def _compressed_problem(path: Path) -> str:
    if (path.parent / METADATA).exists():
        return f"it is compressed: give the folder of the bag {path.parent}"
    tool = {".gz": "gunzip", ".bz2": "bunzip2", ".lz4": "unlz4"}.get(path.suffix.lower(), "unzstd")
    return f"it is compressed: run `{tool} {path.name}`, and give {path.with_suffix('')}, or give the folder of its bag"


def _folder_problem(folder: Path) -> str | None:
    if (folder / METADATA).exists():
        return None
    entries = sorted(folder.iterdir())
    recordings = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(_RECORDINGS)]
    compressed = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(_COMPRESSED)]
    below = [entry for entry in entries if entry.is_dir() and (entry / METADATA).exists()]
    if any(entry.suffix.lower() != ".bag" for entry in recordings):
        return (
            f"the folder has no {METADATA}, maybe because the recorder was killed: run `ros2 bag reindex "
            f"{folder}`, or give {_one_of(recordings)}"
        )
    if recordings or below:
        return f"it is a folder of {len(recordings) + len(below)} bags: give {_one_of([*recordings, *below])}"
    if compressed:
        problem = _compressed_problem(compressed[0])
        return f"the folder has no {METADATA}, and {compressed[0].name} is compressed: {problem}"
    return f"it is not a bag: the folder has no {METADATA} and no .mcap, .db3 or .bag file"


def _one_of(entries: list[Path]) -> str:
    names = ", ".join(map(str, entries[:_SHOWN]))
    return names if len(entries) == 1 else f"one of {names}{', …' if len(entries) > _SHOWN else ''}"
