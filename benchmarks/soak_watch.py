"""The memory and threads of a process over time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Usage:
    """The resources of a process at a time: MiB resident, of which own and shared; threads; file descriptors."""

    seconds: float
    resident: float
    own: float
    shared: float
    threads: int
    descriptors: int


def sample(process: int, started: float) -> Usage:
    """Return the present resources of a process.

    Args:
        process: its id.
        started: time of the start, by `time.monotonic`.

    Raises:
        OSError: the process has ended.
    """
    fields = {}
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.split()
    resident, own, shared = (int(fields[name][0]) / 1024 for name in ("VmRSS", "RssAnon", "RssShmem"))
    descriptors = sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    return Usage(time.monotonic() - started, resident, own, shared, int(fields["Threads"][0]), descriptors)


class Watch:
    """Samples a process once per second in a thread, until it ends or `close` is called."""

    def __init__(self, process: int, started: float) -> None:
        self.samples: list[Usage] = [sample(process, started)]
        self._process, self._started = process, started
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sampling."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(1.0):
            try:
                self.samples.append(sample(self._process, self._started))
            except OSError:
                return

    def typical(self, since: float) -> Usage:
        """Return the medians of the samples since a time, or the latest sample."""
        chosen = [entry for entry in self.samples if entry.seconds >= since] or self.samples[-1:]
        columns = [[getattr(entry, name) for entry in chosen] for name in Usage.__dataclass_fields__]
        return Usage(*map(median, columns[:4]), *(int(median(column)) for column in columns[4:]))


def sparkline(values: list[float], width: int = 60) -> str:
    """Return the values as a line of bars, with their minimum and maximum.

    Args:
        values: averaged to at most ``width`` bars.
        width: in characters.
    """
    if not values:
        return ""
    step = max(1, -(-len(values) // width))
    means = [fmean(values[start : start + step]) for start in range(0, len(values), step)]
    low, high = min(means), max(means)
    reach = (high - low) or 1.0
    bars = "".join(BARS[round((value - low) / reach * (len(BARS) - 1))] for value in means)
    return f"{bars}  {low:.1f} to {high:.1f}"
