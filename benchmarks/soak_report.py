"""The output of `soak.py`: a line every ten seconds, and the summary at the end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass

from soak_client import DEPTH, INFO, POINTS, SoakClient
from soak_watch import Usage, Watch, sparkline

from depth_anything_ros.bench.timing import Timing

PERIOD = 10.0
MAX_LATENCIES = 200_000


@dataclass(frozen=True)
class Event:
    """A fault: its start, the seconds until depth returned, and the failure, if there was one."""

    fault: str
    began: float
    recovery: float | None
    failure: str | None


class Reporter:
    """Collects events, prints them, and judges the result at the end."""

    def __init__(self, client: SoakClient, watch: Watch, started: float, growth_limit: float) -> None:
        self._client, self._watch, self._started, self._limit = client, watch, started, growth_limit
        self._events: list[Event] = []
        self._latencies: list[float] = []
        self._baseline: Usage | None = None
        self._end: Usage | None = None
        self._exit_status: int | None = None
        self._due = PERIOD

    @property
    def is_warm(self) -> bool:
        """Return whether the warm-up is over, so that memory counts."""
        return self._baseline is not None

    def _now(self) -> float:
        return time.monotonic() - self._started

    def add(self, event: Event) -> None:
        """Add a fault that is over."""
        self._events.append(event)
        outcome = f"recovered after {event.recovery:.2f} s" if event.failure is None else f"FAILED: {event.failure}"
        print(f"{event.began:7.1f} s  {event.fault}: {outcome}", flush=True)
        self.tick()

    def set_baseline(self, calm: float) -> None:
        """End the warm-up. Memory is compared with the last ``calm`` seconds."""
        self._baseline = self._watch.typical(self._now() - calm)
        print(f"{self._now():7.1f} s  warm: {_memory(self._baseline)}", flush=True)

    def set_end(self, calm: float) -> None:
        """End the measurement. The final memory is the memory in the last ``calm`` seconds."""
        self._end = self._watch.typical(self._now() - calm)

    def end(self, exit_status: int | None) -> None:
        """Set the exit status of the node; None if it had to be killed."""
        self._exit_status = exit_status

    def tick(self) -> None:
        """Print a line if one is due."""
        if self._now() < self._due:
            return
        self._due += PERIOD
        traffic = self._client.traffic()
        self._latencies = (self._latencies + traffic.latencies)[-MAX_LATENCIES:]
        self._client.sent.read()
        wrong = sum(traffic.wrong.values())
        print(
            f"{self._now():7.1f} s  {_memory(self._watch.samples[-1])}; latency {_percentiles(traffic.latencies)}; "
            f"sent {sum(self._client.sent.counts.values()) - self._client.sent.counts['due']}, "
            f"depth {traffic.received[DEPTH]}, clouds {traffic.received[POINTS]}, wrong {wrong}; "
            f"dropped: {_counts(self._client.dropped)}",
            flush=True,
        )

    def report(self) -> dict:
        """Return all results as plain values; ``holds`` is whether all verdicts are positive."""
        traffic = self._client.traffic()
        self._latencies += traffic.latencies
        baseline = self._baseline or self._watch.samples[0]
        growth = {name: getattr(self._end, name) - getattr(baseline, name) for name in asdict(baseline)}
        failures = [event for event in self._events if event.failure is not None]
        verdicts = {
            "every fault was recovered from": not failures,
            "no output was wrong": not traffic.wrong,
            f"memory grew by {self._limit:g} MiB at most": growth["resident"] <= self._limit,
            "no thread was left": growth["threads"] <= 0,
            "no file descriptor was left": growth["descriptors"] <= 0,
            "the node ended with status 0": self._exit_status == 0,
        }
        sent = self._client.sent.counts
        elsewhere = sent["sound"] + sent["malformed"] - self._client.published - sum(self._client.dropped.values())
        return {
            "holds": all(verdicts.values()),
            "verdicts": verdicts,
            "seconds": self._end.seconds,
            "faults": [asdict(event) for event in self._events],
            "memory": {"warm": asdict(baseline), "end": asdict(self._end), "growth": growth},
            "samples": [asdict(entry) for entry in self._watch.samples],
            "latency_milliseconds": _latency(self._latencies),
            "sent": {name: sent[name] for name in ("sound", "malformed", "due")},
            "published": self._client.published,
            "received": {name: traffic.received[name] for name in (DEPTH, POINTS, INFO)},
            "points_without_camera_info": traffic.received["points without camera_info"],
            "dropped": dict(self._client.dropped),
            # The node was disabled, inactive, unheard or at its maximum rate, or the image was lost on the way.
            "not_taken": elsewhere,
            "diagnostics_not_ok": dict(self._client.warnings),
            "wrong": dict(traffic.wrong),
            "wrong_examples": self._client.faults,
            "exit_status": self._exit_status,
        }

    def print_report(self, report: dict) -> None:
        """Print the summary of a report."""
        samples = self._watch.samples
        for title, name in (("resident MiB", "resident"), ("own", "own"), ("shared", "shared")):
            print(f"{title:14} {sparkline([getattr(entry, name) for entry in samples])}")
        print(f"{'threads':14} {sparkline([entry.threads for entry in samples])}")
        for moment in ("warm", "end"):
            print(f"{moment:14} {_memory(Usage(**report['memory'][moment]))}")
        latency = ", ".join(f"{name} {value:.1f} ms" for name, value in report["latency_milliseconds"].items())
        print(f"stamp to client: {latency}")
        print(f"images sent: {_counts(report['sent'])}; published {report['published']}")
        print(f"received: {_counts(report['received'])}; dropped by the node: {_counts(report['dropped'])}")
        print(f"not taken by the node (inactive, unheard, above max_rate), or lost on the way: {report['not_taken']}")
        print(f"diagnostics not OK: {_counts(report['diagnostics_not_ok'])}")
        print(f"faults: {_tally(self._events)}")
        for event in self._events:
            if event.failure is not None:
                print(f"  FAILED at {event.began:.1f} s: {event.fault}: {event.failure}")
        for text, count in report["wrong"].items():
            print(f"  WRONG, {count} times: {text}")
        for example in report["wrong_examples"]:
            print(f"    {example}")
        for text, holds in report["verdicts"].items():
            print(f"{'yes' if holds else 'NO':4}{text}")


def _memory(entry: Usage) -> str:
    return (
        f"{entry.resident:.1f} MiB resident ({entry.own:.1f} own, {entry.shared:.1f} shared), {entry.threads} threads, "
        f"{entry.descriptors} descriptors"
    )


def _latency(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    timing = Timing.of(seconds)
    return {"p50": timing.p50, "p95": timing.p95, "p99": timing.p99}


def _percentiles(seconds: list[float]) -> str:
    return "/".join(f"{value:.0f}" for value in _latency(seconds).values()) + " ms" if seconds else "none"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"


def _tally(events: list[Event]) -> str:
    """Return the count of each fault, with the longest recovery."""
    counts = Counter(event.fault for event in events)
    longest = {name: max((event.recovery or 0.0) for event in events if event.fault == name) for name in counts}
    return "; ".join(f"{count} x {name} ({longest[name]:.2f} s)" for name, count in sorted(counts.items()))
