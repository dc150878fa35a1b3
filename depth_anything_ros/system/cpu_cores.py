"""How many cores this process may use: the machine's, less those that affinity and control groups keep from it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SYSTEM = Path("/")


def usable_cores(system: Path = SYSTEM) -> int:
    """How many threads can compute at once here, at least 1: what to take in place of `os.cpu_count`.

    A quota of 1.5 cores, as of a container with ``--cpus 1.5``, counts as 2. ``system``: where /proc and /sys are.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([bound, *_quotas(system)])))


def _quotas(system: Path) -> Iterator[float]:
    """The limits, in cores, of the control groups that this process is in, of version 1 and 2."""
    groups = dict(_groups(_read(system / "proc/self/cgroup")))
    for root, place, controllers in _mounts(_read(system / "proc/self/mountinfo")):
        for name in controllers & groups.keys():
            folder, mounted = system / place, PurePosixPath(root)
            group = PurePosixPath(groups[name])
            # In a container the path may be the host's: the limit then lies at the top of what is mounted.
            inside = group.relative_to(mounted).parts if group.is_relative_to(mounted) else ()
            for depth in range(len(inside) + 1):  # a group cannot have more than those that it is in
                yield from _quota(folder.joinpath(*inside[:depth]))


def _groups(cgroup: str) -> Iterator[tuple[str, str]]:
    """The path of the group for each controller, "" for all those of version 2, from /proc/self/cgroup."""
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, path


def _mounts(mountinfo: str) -> Iterator[tuple[str, str, set[str]]]:
    """What is mounted, where (without the first slash), and for which controllers, from /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        root, place = left.split(" ")[3:5]
        if kind == "cgroup2":
            yield root, place.lstrip("/"), {""}
        elif kind == "cgroup" and "cpu" in options.split(","):
            yield root, place.lstrip("/"), {"cpu"}


def _quota(folder: Path) -> Iterator[float]:
    """The limit of one group, in cores; nothing where it has none."""
    numbers = _read(folder / "cpu.max").split()  # "max 100000" without a limit
    numbers = numbers or [_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(numbers) == 2 and all(number.isdigit() for number in numbers) and int(numbers[1]):  # -1 without a limit
        yield int(numbers[0]) / int(numbers[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # not Linux, or a group without that controller
        return ""
