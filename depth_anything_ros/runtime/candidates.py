"""Candidates to run a model: choices that are tried until one works, and measured if their order is unknown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.errors import ModelError, UnavailableError, UnavailablePrecisionError
from depth_anything_ros.runtime.measured_choice import KeptAnswers, Question, seconds_a_frame
from depth_anything_ros.runtime.network import Network
from depth_anything_ros.runtime.precision_choice import rivals

OpenNetwork = Callable[[BackendChoice], Network]
"""Returns a choice's network after it has passed the gate. Raises `ModelError`."""

log = logging.getLogger(__name__)


class Candidates:
    """The choices that may still run a model, best first.

    Args:
        choices: at least one.
        requested: precision, or "auto".
        measured: whether choices of unknown order are measured against each other, see `rivals`.
        rebuild: whether to measure even if a stored answer exists.

    Attributes:
        rejections: text on each failed choice that users should see.
        reasons: why each choice was passed over, including backends that are not installed.
    """

    def __init__(self, choices: Sequence[BackendChoice], requested: str, measured: bool, rebuild: bool = False) -> None:
        self.rejections: list[str] = []
        self.reasons: dict[BackendChoice, str] = {}
        self._choices, self._requested, self._rebuild = list(choices), requested, rebuild
        self._measures, self._measured = measured, set[BackendChoice]()
        self._rejection: ModelError | None = None
        self._unavailable: list[str] = []

    @property
    def best(self) -> BackendChoice:
        """The best remaining choice."""
        return self._choices[0]

    def first_that_works(
        self, open_network: OpenNetwork, ask: Callable[[Sequence[BackendChoice]], Question]
    ) -> Network:
        """Return a network of the best choice that works. A failed choice is not tried again, unless it is the last.

        Args:
            open_network: opens a choice's network.
            ask: returns what a measurement of some choices depends on.

        Raises:
            ModelError: no choice works.
        """
        while True:
            network = self._fastest(open_network, ask)
            if network is not None:
                return network
            choice = self.best
            try:
                return open_network(choice)
            except ModelError as error:
                self.pass_over(choice, error)

    def pass_over(self, choice: BackendChoice, error: ModelError) -> None:
        """Remove a failed choice and log it.

        Args:
            choice: that failed.
            error: of the choice.

        Raises:
            ModelError: no other choice remains; the message has the reason.
        """
        remaining = [other for other in self._choices if other != choice]
        unavailable = isinstance(error, UnavailableError)
        self.reasons[choice] = str(error)
        if unavailable and not isinstance(error, UnavailablePrecisionError):
            remaining = [other for other in remaining if other.backend != choice.backend]
        if unavailable:
            self._unavailable.append(choice.backend)
        if not remaining:
            raise (self._rejection or self._none_available(error) if unavailable else None) or error
        if not unavailable:
            self._rejection = error
            self.rejections.append(f"{choice} ({error})")
            log.warning("%s refused: %s; trying %s", choice, error, remaining[0])
        elif choice.precision == self._requested and isinstance(error, UnavailablePrecisionError):
            # Only a requested precision needs a warning; an optional device may be missing.
            self.rejections.append(f"{choice} ({error})")
            log.warning("%s is not available: %s; trying %s", choice, error, remaining[0])
        else:
            log.debug("%s is not available: %s", choice, error)
        self._choices = remaining

    def _none_available(self, last: ModelError) -> ModelError | None:
        """Return the error if several choices were tried and none is available; None if there was only one."""
        if len(self._unavailable) < 2:
            return None
        tried = ", ".join(self._unavailable)
        return UnavailableError(
            f"nothing here computes in precision {self._requested}: request another, or auto (tried: {tried}; {last})"
        )

    def _fastest(self, open_network: OpenNetwork, ask: Callable[[Sequence[BackendChoice]], Question]) -> Network | None:
        """Sort the first choices by speed, measured once if their order is unknown.

        Return the fastest one's network if the measurement opened it. Raises `ModelError` if none works.
        """
        compared = rivals(self._choices, self._requested == "auto") if self._measures else []
        if not compared or self.best in self._measured:
            return None
        question, answers = ask(compared), KeptAnswers()
        networks: dict[str, Network] = {}
        seconds = self._kept(answers, question)
        if seconds is None:
            with answers.exclusive(question):
                seconds = self._kept(answers, question)
                if seconds is None:
                    networks = self._working_networks(compared, open_network)
                    if len(networks) < 2:  # nothing to compare; another start may have more
                        return networks.get(str(self.best))
                    image = gate.images()[0]
                    seconds = seconds_a_frame({name: partial(run, image) for name, run in networks.items()})
                    answers.write(question, seconds)
        self._measured.update(compared)
        rank = {name: index for index, name in enumerate(seconds)}
        measured = sorted(self._choices[: len(compared)], key=lambda choice: rank.get(str(choice), len(rank)))
        self._choices[: len(compared)] = measured
        times = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in seconds.items())
        log.info("time per frame, measured here %s: %s", "now" if networks else "before", times)
        return networks.get(str(self.best))

    def _kept(self, answers: KeptAnswers, question: Question) -> dict[str, float] | None:
        return None if self._rebuild else answers.read(question)

    def _working_networks(self, compared: Sequence[BackendChoice], open_network: OpenNetwork) -> dict[str, Network]:
        """Return the networks, by name, of the choices that run here and pass the gate.

        Raises `ModelError` if none does and no other choice remains.
        """
        networks: dict[str, Network] = {}
        for choice in compared:
            if choice not in self._choices:  # removed with another of its backend
                continue
            try:
                networks[str(choice)] = open_network(choice)
            except ModelError as error:
                self.pass_over(choice, error)
        return networks
