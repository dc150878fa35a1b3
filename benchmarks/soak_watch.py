"""A process's memory and threads over time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Usage:
    """What a process had at a time: MiB resident, of it MiB of its own and MiB shared with others; threads."""

    seconds: float
    resident: float
    own: float
    shared: float
    threads: int
    descriptors: int


def sample(process: int, started: float) -> Usage:
    """What the process has now. Raises OSError when it is gone."""
    fields = {}
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.split()
    resident, own, shared = (int(fields[name][0]) / 1024 for name in ("VmRSS", "RssAnon", "RssShmem"))
    descriptors = sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    return Usage(time.monotonic() - started, resident, own, shared, int(fields["Threads"][0]), descriptors)


class Watch:
    """Samples a process once a second, from a thread of its own, until it ends or `close` is called."""

    def __init__(self, process: int, started: float) -> None:
        self.samples: list[Usage] = [sample(process, started)]
        self._process, self._started = process, started
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Takes no more samples."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(1.0):
            try:
                self.samples.append(sample(self._process, self._started))
            except OSError:
                return

    def typical(self, since: float) -> Usage:
        """The medians of the samples taken since then; of the latest one if there is none."""
        chosen = [entry for entry in self.samples if entry.seconds >= since] or self.samples[-1:]
        columns = [[getattr(entry, name) for entry in chosen] for name in Usage.__dataclass_fields__]
        return Usage(*map(median, columns[:4]), *(int(median(column)) for column in columns[4:]))


def sparkline(values: list[float], width: int = 60) -> str:
    """The values as a line of bars, averaged to at most ``width`` of them, with the least and the greatest."""
    if not values:
        return ""
    step = max(1, -(-len(values) // width))
    means = [fmean(values[start : start + step]) for start in range(0, len(values), step)]
    low, high = min(means), max(means)
    reach = (high - low) or 1.0
    bars = "".join(BARS[round((value - low) / reach * (len(BARS) - 1))] for value in means)
    return f"{bars}  {low:.1f} to {high:.1f}"
