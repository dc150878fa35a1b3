"""What may run a model: choices that are tried until one works, and are measured where no order is known."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import rivals
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.errors import ModelError, UnavailableError, UnavailablePrecisionError
from depth_anything_ros.runtime.measured_choice import KeptAnswers, Question, seconds_a_frame
from depth_anything_ros.runtime.network import Network

OpenNetwork = Callable[[BackendChoice], Network]
"""A choice's network, once it has passed the gate. Raises `ModelError`."""

log = logging.getLogger(__name__)


class Candidates:
    """The choices that may yet run a model, the best first.

    Args:
        choices: at least one.
        asked: the precision that was asked for, or "auto".
        measured: whether those whose order nobody knows are measured against each other, see `rivals`.
        anew: measures even if an answer is kept.

    Attributes:
        refusals: what people are to be told of those that failed.
        reasons: why each that was passed over was; those of a backend that is not here as well.
    """

    def __init__(self, choices: Sequence[BackendChoice], asked: str, measured: bool, rebuild: bool = False) -> None:
        self.refusals: list[str] = []
        self.reasons: dict[BackendChoice, str] = {}
        self._choices, self._asked, self._rebuild = list(choices), asked, rebuild
        self._measures, self._measured = measured, set[BackendChoice]()
        self._refusal: ModelError | None = None
        self._unavailable: list[str] = []

    @property
    def best(self) -> BackendChoice:
        """The one to take."""
        return self._choices[0]

    def first_that_works(
        self, open_network: OpenNetwork, ask: Callable[[Sequence[BackendChoice]], Question]
    ) -> Network:
        """A network of the best choice; one that fails is not tried again, unless it is the last.

        ``ask`` says what a measurement of some choices depends on. Raises `ModelError` where none works.
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
        """Leaves out a choice that failed, and says so. Raises what went wrong where no other is left."""
        remaining = [other for other in self._choices if other != choice]
        unavailable = isinstance(error, UnavailableError)
        self.reasons[choice] = str(error)
        if unavailable and not isinstance(error, UnavailablePrecisionError):
            remaining = [other for other in remaining if other.backend != choice.backend]
        if unavailable:
            self._unavailable.append(choice.backend)
        if not remaining:
            raise (self._refusal or self._none_available(error) if unavailable else None) or error
        if not unavailable:
            self._refusal = error
            self.refusals.append(f"{choice} ({error})")
            log.warning("%s refused: %s; trying %s", choice, error, remaining[0])
        elif choice.precision == self._asked and isinstance(error, UnavailablePrecisionError):
            # Who asks for a precision is told why it is another; a device that nobody named may be missing.
            self.refusals.append(f"{choice} ({error})")
            log.warning("%s is not available: %s; trying %s", choice, error, remaining[0])
        else:
            log.debug("%s is not available: %s", choice, error)
        self._choices = remaining

    def _none_available(self, last: ModelError) -> ModelError | None:
        """What to say where several choices were tried and none can be had; None where it was one."""
        if len(self._unavailable) < 2:
            return None
        tried = ", ".join(self._unavailable)
        return UnavailableError(
            f"nothing here computes in precision {self._asked}: ask for another, or auto (tried: {tried}; {last})"
        )

    def _fastest(self, open_network: OpenNetwork, ask: Callable[[Sequence[BackendChoice]], Question]) -> Network | None:
        """Puts the first choices in the order of their speed, where that has to be measured, once.

        Returns the fastest one's network if it was opened for that. Raises `ModelError` where none works.
        """
        compared = rivals(self._choices, self._asked == "auto") if self._measures else []
        if not compared or self.best in self._measured:
            return None
        question, answers = ask(compared), KeptAnswers()
        networks: dict[str, Network] = {}
        seconds = self._kept(answers, question)
        if seconds is None:
            with answers.asked_once(question):
                seconds = self._kept(answers, question)
                if seconds is None:
                    networks = self._those_that_work(compared, open_network)
                    if len(networks) < 2:  # nothing to compare; another start may find more
                        return networks.get(str(self.best))
                    image = gate.images()[0]
                    seconds = seconds_a_frame({name: partial(run, image) for name, run in networks.items()})
                    answers.write(question, seconds)
        self._measured.update(compared)
        rank = {name: place for place, name in enumerate(seconds)}
        measured = sorted(self._choices[: len(compared)], key=lambda choice: rank.get(str(choice), len(rank)))
        self._choices[: len(compared)] = measured
        told = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in seconds.items())
        log.info("a frame takes, as measured here %s: %s", "now" if networks else "before", told)
        return networks.get(str(self.best))

    def _kept(self, answers: KeptAnswers, question: Question) -> dict[str, float] | None:
        return None if self._rebuild else answers.read(question)

    def _those_that_work(self, compared: Sequence[BackendChoice], open_network: OpenNetwork) -> dict[str, Network]:
        """The networks by name of those choices that run here and pass the gate.

        Raises `ModelError` where none does, and there is no other choice.
        """
        networks: dict[str, Network] = {}
        for choice in compared:
            if choice not in self._choices:  # gone with another of its backend
                continue
            try:
                networks[str(choice)] = open_network(choice)
            except ModelError as error:
                self.pass_over(choice, error)
        return networks
