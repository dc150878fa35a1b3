"""The memory of processes, as the system reports it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

NVIDIA_SMI = ("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")


def resident_mebibytes(peak: bool = False) -> float:
    """Return this process's resident memory in MiB, or its peak.

    `resource.getrusage` does not fit: its peak includes the parent's memory at the fork.
    """
    entry = "VmHWM" if peak else "VmRSS"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {entry}")


def available_bytes() -> int:
    """Return the memory that this process can still take without swapping, by the system and its control groups."""
    entries = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(entries["MemAvailable"].split()[0]) << 10
    for folder, version in _control_groups():
        limit_file, used_file, cache_entry = _CONTROL_GROUP_FILES[version]
        try:
            limit = (folder / limit_file).read_text().strip()
            used = int((folder / used_file).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no limit here
            continue
        if limit.isdecimal():
            available = min(available, int(limit) - used + int(statistics.get(cache_entry, 0)))
    return max(0, available)


_CONTROL_GROUP_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
"""By version: the files of limit and use, and the entry of memory.stat that can be reclaimed."""


def _control_groups() -> Iterator[tuple[Path, int]]:
    """Yield (folder, version) of each control group that may limit this process's memory, from its own upwards."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, controllers, group in (line.split(":", 2) for line in lines):
        if controllers == "" or "memory" in controllers.split(","):
            version = 1 if controllers else 2
            root = Path("/sys/fs/cgroup", "memory" if controllers else "")
            folder = root / group.strip("/")
            for candidate in (folder, *folder.parents):
                if candidate.is_relative_to(root):
                    yield candidate, version


def gpu_mebibytes(process: int) -> float | None:
    """Return the GPU memory of a process in MiB, over all NVIDIA GPUs; None if nvidia-smi does not list it.

    Jetson boards share one memory and list no processes. A container with its own process ids lists none either.
    """
    if shutil.which(NVIDIA_SMI[0]) is None:
        return None
    answer = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=30, check=False)
    fields = (line.split(",") for line in answer.stdout.splitlines() if line.count(",") == 1)
    used = [float(memory) for number, memory in fields if number.strip() == str(process) and memory.strip().isdigit()]
    return sum(used) if used else None
