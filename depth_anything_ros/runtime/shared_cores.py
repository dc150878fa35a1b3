"""Images of a recording that run two at a time, each on half of the cores, where that changes no bit of the result.

A small network on all cores waits at every layer for the slowest of them. Two networks at once do not, so that each
image takes less of the processor. A large network gains nothing and needs twice the memory.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

import numpy as np

from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator, Size
from depth_anything_ros.system.cpu_cores import usable_cores

AT_ONCE = 2
SLOW = 0.05
"""Seconds of an image from which a network gains nothing."""
BACKENDS = ("openvino", "onnxruntime")
"""Those that are faster so."""
_TRIES = 3

log = logging.getLogger(__name__)


def load_halves(whole: Estimator, load: Callable[[BackendChoice, int], Estimator]) -> list[Estimator]:
    """Return the same network twice, each for half of the cores; none if nothing is gained.

    Args:
        whole: the network on all cores.
        load: loads it again with a backend and a number of threads.
    """
    threads = usable_cores() // AT_ONCE
    if not threads or whole.backend_name not in BACKENDS or _seconds_of(whole) > SLOW:
        return []
    choice = BackendChoice(whole.backend_name, whole.precision)
    try:
        return [load(choice, threads) for _ in range(AT_ONCE)]
    except ModelError as error:
        log.info("one image at a time: %s", error)
        return []


def _seconds_of(estimator: Estimator) -> float:
    """Return the shortest time of an image."""
    height, width = estimator.record.input_size
    image, seconds = np.zeros((height, width, 3), np.uint8), []
    for _ in range(_TRIES):
        started = time.perf_counter()
        estimator.estimate(image)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


class SharedCores:
    """Estimates images in up to ``count`` threads. Each result has the bits that one image at a time gives.

    The first image of each size runs on all cores and on half of them. If the results differ, all images of this size
    run one at a time.

    Args:
        whole: the network on all cores.
        halves: from `load_halves`.

    Attributes:
        count: the most images at once.
    """

    def __init__(self, whole: Estimator, halves: list[Estimator]) -> None:
        self.count = max(len(halves), 1)
        self._whole, self._half = whole, halves[0] if halves else None
        self._free: queue.SimpleQueue[Estimator] = queue.SimpleQueue()
        for half in halves:
            self._free.put(half)
        self._lock = threading.Lock()
        self._agrees: dict[tuple[int, ...], bool] = {}

    def estimate(self, image: np.ndarray, size: Size, out: np.ndarray, confidence: np.ndarray | None) -> None:
        """Write the network's output for an image; see `Estimator.estimate`.

        Raises:
            ModelError: the model failed.
        """
        if self._half is None:
            self._whole.estimate(image, size, out, confidence)
            return
        with self._lock:
            if image.shape not in self._agrees:
                self._agrees[image.shape] = self._compare(image)
            if not self._agrees[image.shape]:
                self._whole.estimate(image, size, out, confidence)
                return
        half = self._free.get()
        try:
            half.estimate(image, size, out, confidence)
        finally:
            self._free.put(half)

    def _compare(self, image: np.ndarray) -> bool:
        """Return whether half of the cores give the same bits as all of them."""
        half = self._free.get()
        try:
            return bool(np.array_equal(self._whole.estimate(image), half.estimate(image), equal_nan=True))
        finally:
            self._free.put(half)
