"""Loads a node's model in a separate thread, so that progress is reported and loading can be aborted."""

from __future__ import annotations

import logging
import threading

import numpy as np

from depth_anything_ros.processing.parameters import ModelParameters
from depth_anything_ros.runtime.backends.interface import MAX_BATCH, BuildOptions
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.malloc import give_back_freed_memory

POLL = 0.1
"""Seconds between checks for an abort."""
LOGGED_STEP = 0.1
"""Fraction of a build between two log lines."""

log = logging.getLogger(__name__)


class LoadingAbortedError(ModelError):
    """Loading was aborted because the node ends."""


class ModelLoader:
    """Loads, builds, gates and warms up models, one at a time.

    Attributes:
        progress: what the loader is doing now; "" while idle.
    """

    def __init__(self) -> None:
        self.progress = ""
        self._aborted = threading.Event()
        self._logged = 0.0

    def load(self, parameters: ModelParameters, cameras: int) -> Estimator:
        """Load the model that the parameters name.

        Args:
            parameters: which model, and what runs it.
            cameras: number of cameras, for the warm-up of batches.

        Raises:
            ModelError: the model is missing, damaged, does not match its record, or no backend runs it correctly; or
                `abort` was called.
            ValueError: a parameter is invalid.
        """
        outcome: list[Estimator | BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                outcome.append(self._load(parameters, cameras))
            except BaseException as error:  # raised again in the caller's thread
                outcome.append(error)
            done.set()

        self.progress, self._logged = f"loading {parameters.model}", 0.0
        # A daemon, because a library cannot be stopped in the middle of a build, and the process must be able to end.
        threading.Thread(target=work, name="load model", daemon=True).start()
        try:
            while not done.wait(POLL):
                if self._aborted.is_set():
                    raise LoadingAbortedError(f"loading {parameters.model} was aborted")
        finally:
            self.progress = ""
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def abort(self) -> None:
        """End `load`, now and later. A build stops at its next step and is discarded."""
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
        if estimator.waits_for_image:  # one engine takes minutes; only the camera's size is needed
            log.info(
                "%s builds its engine when the first image arrives; set input.height and input.width to build it now",
                estimator.backend_name,
            )
        else:
            warm_up(estimator, cameras)
        give_back_freed_memory()  # loading needs a multiple of the final memory
        return estimator

    def _report(self, phase: str, fraction: float) -> None:
        """Log the progress of a build. An exception raised here stops it."""
        if self._aborted.is_set():
            raise LoadingAbortedError("the build was aborted")
        text = f"building an engine: {phase}, {100 * fraction:.0f} %"
        self.progress = text if fraction < 1.0 else ""
        grown = fraction - self._logged  # negative when another build starts
        if not 0 <= grown < LOGGED_STEP or fraction >= 1.0:
            self._logged = fraction
            log.info("%s", text)


def warm_up(estimator: Estimator, cameras: int) -> None:
    """Run the model once for a frame and for each size of batch, so that the first frames do not wait.

    Args:
        estimator: the loaded model.
        cameras: number of cameras.
    """
    image = np.zeros((*estimator.record.input_size, 3), np.uint8)
    estimator.estimate(image)
    if cameras > 1 and estimator.batches:
        for count in range(2, min(cameras, MAX_BATCH) + 1):
            estimator.estimate_batch([image] * count)
