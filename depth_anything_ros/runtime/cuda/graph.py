"""Repeat the same work on a CUDA stream, recorded once and replayed: one launch instead of hundreds."""

from __future__ import annotations

import logging
from collections.abc import Callable

from cuda.bindings import runtime as cudart

from depth_anything_ros.runtime.cuda.memory import call
from depth_anything_ros.runtime.errors import ModelError

log = logging.getLogger(__name__)


class RepeatedWork:
    """Work whose addresses and sizes never change.

    The first run enqueues it, which TensorRT needs before a recording, and then records it as a CUDA graph. Later runs
    launch the graph. If the recording fails, every run enqueues.

    Args:
        stream: for the work.
        enqueue: puts the work on the stream; must neither allocate nor wait. Raises `ModelError`.
        name: for the log.
    """

    def __init__(self, stream: cudart.cudaStream_t, enqueue: Callable[[], None], name: str) -> None:
        self._stream, self._enqueue, self._name = stream, enqueue, name
        self._executable: cudart.cudaGraphExec_t | None = None
        self._recorded = False

    def run(self) -> None:
        """Run the work and wait for its end. Raises `ModelError`."""
        if self._executable is None:
            self._enqueue()
        else:
            call(cudart.cudaGraphLaunch, self._executable, self._stream)
        call(cudart.cudaStreamSynchronize, self._stream)
        if not self._recorded:
            self._recorded = True
            self._record()

    def close(self) -> None:
        """Free the graph. Later runs enqueue."""
        if self._executable is not None:
            executable, self._executable = self._executable, None
            call(cudart.cudaGraphExecDestroy, executable)

    def _record(self) -> None:
        try:
            graph = self._capture()
            try:
                # The function without `WithFlags` has other arguments in CUDA 11.
                self._executable = call(cudart.cudaGraphInstantiateWithFlags, graph, 0)
            finally:
                call(cudart.cudaGraphDestroy, graph)
        except ModelError as error:
            log.warning("%s: no CUDA graph, so every frame enqueues each part: %s", self._name, error)

    def _capture(self) -> cudart.cudaGraph_t:
        # This thread only: CUDA calls of other threads must not break the recording.
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(cudart.cudaStreamBeginCapture, self._stream, mode)
        try:
            self._enqueue()
        except ModelError:
            code, graph = cudart.cudaStreamEndCapture(self._stream)  # otherwise the stream stays unusable
            if int(code) == 0:
                call(cudart.cudaGraphDestroy, graph)
            raise
        return call(cudart.cudaStreamEndCapture, self._stream)
