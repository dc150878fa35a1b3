"""Loads a node's model in a thread of its own, so that progress is told, and waiting can be given up."""

from __future__ import annotations

import logging
import threading

import numpy as np

from depth_anything_ros.ros.depth_node.parameters import ModelParameters
from depth_anything_ros.runtime.backends import MAX_BATCH, BuildOptions
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.malloc import give_back_freed_memory

POLL = 0.1
"""Seconds between looks at whether to give up."""
LOGGED_STEP = 0.1
"""Share of a build between two lines of the log."""

log = logging.getLogger(__name__)


class LoadingAbortedError(ModelError):
    """The node ends before its model was ready."""


class ModelLoader:
    """Loads, builds, gates and warms up models, one at a time.

    ``progress`` says in words what it is at, "" while it is at nothing.
    """

    def __init__(self) -> None:
        self.progress = ""
        self._aborted = threading.Event()
        self._logged = 0.0

    def load(self, parameters: ModelParameters, cameras: int) -> Estimator:
        """The model that the parameters name, ready for so many cameras' frames.

        Raises:
            ModelError: the model is absent, damaged, not what its record says, or nothing here runs it right; or
                `abort` was called.
            ValueError: a parameter is not what it may be.
        """
        outcome: list[Estimator | BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                outcome.append(self._load(parameters, cameras))
            except BaseException as error:  # crosses to the caller's thread
                outcome.append(error)
            done.set()

        self.progress, self._logged = f"loading {parameters.model}", 0.0
        # A daemon: a library in the middle of a build cannot be stopped, and must not keep the process from ending.
        threading.Thread(target=work, name="load model", daemon=True).start()
        try:
            while not done.wait(POLL):
                if self._aborted.is_set():
                    raise LoadingAbortedError(f"loading {parameters.model} was given up")
        finally:
            self.progress = ""
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def abort(self) -> None:
        """Ends `load`, now and later. A build is stopped at its next step, what it has made so far is not kept."""
        self._aborted.set()

    def _load(self, parameters: ModelParameters, cameras: int) -> Estimator:
        estimator = Estimator(
            parameters.model,
            parameters.backend,
            parameters.record,
            size=parameters.input_size,
            threads=parameters.threads,
            precision=parameters.precision,
            building=BuildOptions(report=self._report),
        )
        if estimator.waits_for_image:  # an engine takes minutes, and of many sizes the camera has one
            log.info(
                "%s builds its engine when the first image comes; input.height and .width say its size before",
                estimator.backend_name,
            )
        else:
            warm_up(estimator, cameras)
        give_back_freed_memory()  # loading takes a multiple of what is kept
        return estimator

    def _report(self, phase: str, fraction: float) -> None:
        """Told by a builder; what is raised here stops it."""
        if self._aborted.is_set():
            raise LoadingAbortedError("the build was given up")
        text = f"building an engine: {phase}, {100 * fraction:.0f} %"
        self.progress = text if fraction < 1.0 else ""
        grown = fraction - self._logged  # less than nothing where another build begins
        if not 0 <= grown < LOGGED_STEP or fraction >= 1.0:
            self._logged = fraction
            log.info("%s", text)


def warm_up(estimator: Estimator, cameras: int) -> None:
    """Runs what a first frame, and a first batch of so many cameras, would wait for."""
    image = np.zeros((*estimator.record.input_size, 3), np.uint8)
    estimator.estimate(image)
    if cameras > 1 and estimator.batches:
        for count in range(2, min(cameras, MAX_BATCH) + 1):
            estimator.estimate_batch([image] * count)
