"""A build that can be followed and stopped: one number out of the nested phases that a builder tells of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

MIN_STEP = 0.01
Result = TypeVar("Result")


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """Turns phases, steps and their nesting into a fraction that only grows, and says whether to go on.

    The methods may be called from any thread; ``report`` is called one at a time.

    Args:
        report: gets the name of the phase at work and the fraction 0..1 of the whole; what it raises stops the build
            and is kept in ``error``.
    """

    def __init__(self, report: Callable[[str, float], None] | None = None) -> None:
        self.error: BaseException | None = None
        self._report = report
        self._fraction = 0.0
        self._reported: float | None = None
        self._phases: dict[str, _Phase] = {}
        self._canceled = False
        self._lock = threading.RLock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, within one step of its parent."""
        with self._lock:
            self._phases[name] = _Phase(parent if parent in self._phases else None, max(steps, 1))
            self._tell(name)

    def step(self, name: str, index: int) -> bool:
        """A step of a phase is done, counted from 0; returns whether the build is to go on."""
        with self._lock:
            phase = self._phases.get(name)
            if phase is not None:
                phase.done = min(index + 1, phase.steps)
                self._tell(name)
            return not self._canceled

    def finish(self, name: str) -> None:
        """A phase ends, with all its steps done or not."""
        with self._lock:
            self._phases.pop(name, None)

    def complete(self, name: str) -> None:
        """The whole is done."""
        with self._lock:
            self._fraction = 1.0
            self._tell(name)

    def cancel(self) -> None:
        """From the next step on, the builder is told to stop."""
        self._canceled = True

    def _tell(self, name: str) -> None:
        self._fraction = max(self._fraction, self._fraction_at(name))
        grown = self._reported is None or self._fraction - self._reported >= MIN_STEP or self._fraction == 1.0
        if self._report is None or self._canceled or self._fraction == self._reported or not grown:
            return
        self._reported = self._fraction
        try:
            self._report(name, self._fraction)
        except BaseException as error:  # raised again where the build was asked for: a builder's callback must not
            self.error = error
            self.cancel()

    def _fraction_at(self, name: str) -> float:
        fraction, seen = 0.0, set()
        while name in self._phases and name not in seen:
            seen.add(name)
            phase = self._phases[name]
            fraction = min((phase.done + fraction) / phase.steps, 1.0)
            name = phase.parent or ""
        return fraction


def in_thread(work: Callable[[], Result], progress: BuildProgress) -> Result:
    """Does the work in a thread of its own and returns what it returns, or raises what it raises.

    KeyboardInterrupt, which a builder would not see, cancels ``progress`` and is raised once the work has stopped.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # crosses to the caller's thread
            future.set_exception(error)

    # A daemon, so that a second interrupt ends the process even if the builder does not stop.
    threading.Thread(target=run, name="build", daemon=True).start()
    try:
        return future.result()
    except KeyboardInterrupt:
        progress.cancel()
        wait([future])
        raise
