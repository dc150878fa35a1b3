"""What a path is that is given as a ROS bag and is none, and what to give instead."""

from __future__ import annotations

from pathlib import Path

METADATA = "metadata.yaml"
_RECORDINGS = (".mcap", ".db3", ".bag")
_COMPRESSED = tuple(
    f"{ending}{packing}" for ending in _RECORDINGS for packing in (".zstd", ".zst", ".lz4", ".gz", ".bz2")
)
_SHOWN = 3


def why_no_bag(path: Path) -> str | None:
    """What is wrong with a path that cannot be a bag, and the fix; None where it may be one.

    A bag of ROS 2 is the folder that `ros2 bag record` makes, or one .mcap or .db3 that is not compressed; one of ROS 1
    is a .bag.
    """
    if not path.exists():
        return "there is no such file or folder"
    if path.is_dir():
        return _why_no_bag_folder(path)
    name = path.name.lower()
    if name == METADATA:
        return f"it only describes a bag: give its folder, {path.parent}"
    if name.endswith(_COMPRESSED):
        return _of_compressed(path)
    if name.endswith(".bag.active"):
        return f"its recorder was killed: run `rosbag reindex {path.name}`, and give the .bag"
    if not name.endswith(_RECORDINGS):
        return "it is no bag: give a bag's folder (with metadata.yaml), a .mcap, a .db3, or a .bag of ROS 1"
    if not path.stat().st_size:
        return "the file is empty"
    return None


def _of_compressed(path: Path) -> str:
    if (path.parent / METADATA).exists():
        return f"it is compressed: give the folder of the bag, {path.parent}"
    tool = {".gz": "gunzip", ".bz2": "bunzip2", ".lz4": "unlz4"}.get(path.suffix.lower(), "unzstd")
    return f"it is compressed: run `{tool} {path.name}`, and give {path.with_suffix('')}; or give the folder of its bag"


def _why_no_bag_folder(folder: Path) -> str | None:
    if (folder / METADATA).exists():
        return None
    entries = sorted(folder.iterdir())
    recordings = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(_RECORDINGS)]
    compressed = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(_COMPRESSED)]
    below = [entry for entry in entries if entry.is_dir() and (entry / METADATA).exists()]
    if any(entry.suffix.lower() != ".bag" for entry in recordings):
        return (
            f"the folder has no {METADATA}, as where a recorder was killed: run `ros2 bag reindex {folder}`, or give "
            f"{_one_of(recordings)}"
        )
    if recordings or below:
        return f"it is a folder of {len(recordings) + len(below)} bags: give {_one_of([*recordings, *below])}"
    if compressed:
        return f"the folder has no {METADATA}, and {compressed[0].name} is compressed: {_of_compressed(compressed[0])}"
    return f"it is no bag: the folder has no {METADATA}, no .mcap, no .db3 and no .bag"


def _one_of(entries: list[Path]) -> str:
    names = ", ".join(map(str, entries[:_SHOWN]))
    return names if len(entries) == 1 else f"one of {names}{', …' if len(entries) > _SHOWN else ''}"
