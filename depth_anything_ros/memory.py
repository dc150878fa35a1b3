"""Memory of processes, as the system tells it."""

from __future__ import annotations

import shutil
import subprocess
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
