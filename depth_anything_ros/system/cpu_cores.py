"""The number of cores that this process may use, by CPU affinity and control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SYSTEM = Path("/")


def usable_cores(system: Path = SYSTEM) -> int:
    """Return how many threads can compute at once, at least 1. Use it instead of `os.cpu_count`.

    A quota of 1.5 cores, as with a container's ``--cpus 1.5``, counts as 2. ``system`` is the root of /proc and /sys.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([bound, *_quotas(system)])))


def _quotas(system: Path) -> Iterator[float]:
    """Yield the limits, in cores, of this process's control groups, versions 1 and 2."""
    groups = dict(_groups(_read(system / "proc/self/cgroup")))
    for root, mount_point, controllers in _mounts(_read(system / "proc/self/mountinfo")):
        for name in controllers & groups.keys():
            folder, mounted = system / mount_point, PurePosixPath(root)
            group = PurePosixPath(groups[name])
            # In a container the path may be the host's. The limit is then at the mount point itself.
            inside = group.relative_to(mounted).parts if group.is_relative_to(mounted) else ()
            for depth in range(len(inside) + 1):  # the limit of each parent group applies too
                yield from _quota(folder.joinpath(*inside[:depth]))


def _groups(cgroup: str) -> Iterator[tuple[str, str]]:
    """Yield (controller, path of its group) from /proc/self/cgroup; the controller is "" for version 2."""
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, path


def _mounts(mountinfo: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield (root, mount point without the first slash, controllers) from /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        root, mount_point = left.split(" ")[3:5]
        if kind == "cgroup2":
            yield root, mount_point.lstrip("/"), {""}
        elif kind == "cgroup" and "cpu" in options.split(","):
            yield root, mount_point.lstrip("/"), {"cpu"}


def _quota(folder: Path) -> Iterator[float]:
    """Yield the limit of one group in cores; nothing if it has no limit."""
    numbers = _read(folder / "cpu.max").split()  # "max 100000" without a limit
    numbers = numbers or [_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(numbers) == 2 and all(number.isdigit() for number in numbers) and int(numbers[1]):  # -1 without a limit
        yield int(numbers[0]) / int(numbers[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # not Linux, or a group without that controller
        return ""
