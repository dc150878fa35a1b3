"""A loaded teacher."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Event

import cv2
import numpy as np
import torch

from depth_anything_ros.runtime.errors import ModelError, WrongOutputError
from depth_anything_ros.training.run.stop_request import StoppedError
from depth_anything_ros.training.teachers.identity import Teacher
from depth_anything_ros.training.teachers.networks import TorchTeacher, open_teacher


class OpenTeacher:
    """A loaded teacher.

    Args:
        teacher: the teacher to load.
        device: of the weights, "cpu" or "cuda" (the current GPU); a graph's backend chooses among the devices it sees.
        threads: most threads for computing on a CPU.

    Attributes:
        threads: number of threads that may call it at once. On a CPU each computes alone: the result of one thread does
            not depend on the number of cores, the result of several together may. A graph is called by one thread, and
            its backend uses several.

    Raises:
        ModelError, CheckpointError: it cannot be loaded.
    """

    def __init__(self, teacher: Teacher, device: str, threads: int = 1) -> None:
        self._is_graph, self._device = teacher.is_graph, device
        self._in_bfloat16 = teacher.precision(device) == "bf16"
        self._module = open_teacher(teacher.settings, teacher.sizes.record if teacher.is_graph else None, threads)
        if isinstance(self._module, TorchTeacher) == teacher.is_graph:
            raise ModelError(f"{teacher.settings.model} has changed since the command started; run it again")
        if not teacher.is_graph:
            self._module.to(device)
        self.threads = threads if device == "cpu" and not teacher.is_graph else 1
        self._is_stopped = Event()

    def stop(self) -> None:
        """Let every later `predict` raise `StoppedError`, so that waiting threads wait for one batch at most."""
        self._is_stopped.set()

    def predict(self, pixels: np.ndarray) -> list[np.ndarray | None]:
        """Predict a batch.

        Args:
            pixels: RGB uint8 (N, H, W, 3), of a size that the network accepts.

        Returns:
            N maps of inverse depth, float32 (H, W); None for a map without any number.
        """
        if self._is_stopped.is_set():
            raise StoppedError("the teacher was stopped")
        if self._is_graph:
            return [self._predict_one(image) for image in pixels]
        cast = torch.autocast("cuda", torch.bfloat16) if self._in_bfloat16 else nullcontext()
        with cast:
            return list(self._module(torch.from_numpy(pixels).to(self._device)).cpu().numpy())

    def _predict_one(self, image: np.ndarray) -> np.ndarray | None:
        try:
            return self._module(torch.from_numpy(image)[None])[0].numpy()
        except WrongOutputError:
            return None


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let PyTorch and OpenCV compute in the calling thread; see `OpenTeacher.threads`."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
