"""Where the processes of one machine share the names of sets: the first finds them, the others map its file.

Eight processes would else look through the same tens of millions of files, and hold eight times their names.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from depth_anything_ros.system.process_rank import Task
from depth_anything_ros.training.distributed.placement import Placement


def names_folder(task: Task, placement: Placement) -> Path | None:
    """A folder that the processes of this machine have in common, and no other run; None for one that is alone.

    It bears the name of the process that started them all. Those of runs that have ended are removed.
    """
    processes = placement.devices if placement.starts_others else task.local_count
    if processes < 2:
        return None
    starts = placement.starts_others and os.environ.get("LOCAL_RANK", "0") == "0"
    owner = os.getpid() if starts else os.getppid()
    begun = _begun(owner)
    if begun is None:
        return None
    prefix = f"depth_anything_ros-names-{os.getuid()}-"
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        process, _, time = folder.name[len(prefix) :].partition("-")
        if process.isdigit() and _begun(int(process)) != time:
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.gettempdir()) / f"{prefix}{owner}-{begun}"


def remove(folder: Path | None) -> None:
    """To be called when all processes have opened what lies there, which stays open."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _begun(process: int) -> str | None:
    """When a process began, in the system's ticks; None where there is none, or the system does not say."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
