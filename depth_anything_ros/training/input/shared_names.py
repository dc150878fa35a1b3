"""A folder where the processes of one machine share file names of datasets: the first lists, the others map its file.

Otherwise eight processes list the same tens of millions of files, and hold their names eight times.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from depth_anything_ros.system.process_rank import Task
from depth_anything_ros.training.distributed.placement import Placement


def names_folder(task: Task, placement: Placement) -> Path | None:
    """Return the folder that the processes of this run share on this machine, or None for a single process.

    Its name contains the process that started them all. Folders of runs that have ended are removed.

    Args:
        task: how this process was started.
        placement: number of devices and machines.
    """
    processes = placement.devices if placement.starts_others else task.local_count
    if processes < 2:
        return None
    starts = placement.starts_others and os.environ.get("LOCAL_RANK", "0") == "0"
    owner = os.getpid() if starts else os.getppid()
    started = _start_time(owner)
    if started is None:
        return None
    prefix = f"depth_anything_ros-names-{os.getuid()}-"
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        process, _, time = folder.name[len(prefix) :].partition("-")
        if process.isdigit() and _start_time(int(process)) != time:
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.gettempdir()) / f"{prefix}{owner}-{started}"


def remove(folder: Path | None) -> None:
    """Remove the folder; call it when all processes have opened its files, which stay open."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _start_time(process: int) -> str | None:
    """Return when a process started, in the system's ticks; None if it does not exist, or the system has no /proc."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
