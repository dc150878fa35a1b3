"""Memory of processes, as the system tells it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

NVIDIA_SMI = ("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")


def resident_mebibytes(peak: bool = False) -> float:
    """This process's resident memory in MiB, now or at its peak.

    Not `resource.getrusage`: its peak contains what the parent had when it forked.
    """
    entry = "VmHWM" if peak else "VmRSS"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {entry}")


def available_bytes() -> int:
    """Memory that this process can still take without swapping, as the system and its control groups tell."""
    entries = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(entries["MemAvailable"].split()[0]) << 10
    for folder, version in _control_groups():
        limit_file, used_file, cache_entry = _CONTROL_GROUP_FILES[version]
        try:
            limit = (folder / limit_file).read_text().strip()
            used = int((folder / used_file).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # there is no limit here
            continue
        if limit.isdecimal():
            available = min(available, int(limit) - used + int(statistics.get(cache_entry, 0)))
    return max(0, available)


_CONTROL_GROUP_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
"""By version: the files of limit and use, and the entry of memory.stat that can be given back."""


def _control_groups() -> Iterator[tuple[Path, int]]:
    """The folders that may limit this process's memory, from its own control group upwards, and their version."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, controllers, group in (line.split(":", 2) for line in lines):
        if controllers == "" or "memory" in controllers.split(","):
            version = 1 if controllers else 2
            root = Path("/sys/fs/cgroup", "memory" if controllers else "")
            folder = root / group.strip("/")
            for one in (folder, *folder.parents):
                if one.is_relative_to(root):
                    yield one, version


def gpu_mebibytes(process: int) -> float | None:
    """What a process holds of the memory of NVIDIA GPUs, in MiB; None where the driver's tool does not say.

    Jetson boards share one memory and list no processes; nor does a container that has process numbers of its own.
    """
    if shutil.which(NVIDIA_SMI[0]) is None:
        return None
    answer = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=30, check=False)
    fields = (line.split(",") for line in answer.stdout.splitlines() if line.count(",") == 1)
    used = [float(memory) for number, memory in fields if number.strip() == str(process) and memory.strip().isdigit()]
    return sum(used) if used else None
