"""Follow and stop a build: one fraction from a builder's nested phases."""

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
    """A converter from phases, steps and their nesting to one increasing fraction, which can also cancel the build.

    Any thread may call the methods; calls of ``report`` do not overlap.

    Args:
        report: receives the name of the current phase and the finished fraction 0..1. An exception from it stops the
            build and is stored in ``error``.
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
        """Start a phase.

        Args:
            name: of the phase.
            parent: name of the phase in whose current step it runs, or None.
            steps: of the phase.
        """
        with self._lock:
            self._phases[name] = _Phase(parent if parent in self._phases else None, max(steps, 1))
            self._notify(name)

    def step(self, name: str, index: int) -> bool:
        """Finish a step of a phase.

        Args:
            name: of the phase.
            index: of the step, from 0.

        Returns:
            Whether the build should continue.
        """
        with self._lock:
            phase = self._phases.get(name)
            if phase is not None:
                phase.done = min(index + 1, phase.steps)
                self._notify(name)
            return not self._canceled

    def finish(self, name: str) -> None:
        """End a phase, even if some of its steps are missing."""
        with self._lock:
            self._phases.pop(name, None)

    def complete(self, name: str) -> None:
        """Report the end of the whole build."""
        with self._lock:
            self._fraction = 1.0
            self._notify(name)

    def cancel(self) -> None:
        """Make the builder stop at its next step."""
        self._canceled = True

    def _notify(self, name: str) -> None:
        self._fraction = max(self._fraction, self._fraction_at(name))
        grown = self._reported is None or self._fraction - self._reported >= MIN_STEP or self._fraction == 1.0
        if self._report is None or self._canceled or self._fraction == self._reported or not grown:
            return
        self._reported = self._fraction
        try:
            self._report(name, self._fraction)
        except BaseException as error:  # a builder's callback must not raise it; the caller of the build does
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
    """Run the work in a separate thread and return its result, or raise its exception.

    A builder would not see KeyboardInterrupt. It cancels ``progress`` and is raised after the work has stopped.

    Args:
        work: to run.
        progress: of the work.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # crosses to the caller's thread
            future.set_exception(error)

    # A daemon thread, so that a second interrupt ends the process even if the builder does not stop.
    threading.Thread(target=run, name="build", daemon=True).start()
    try:
        return future.result()
    except KeyboardInterrupt:
        progress.cancel()
        wait([future])
        raise
