"""The same work on a CUDA stream frame after frame, recorded once and replayed: one launch instead of hundreds."""

from __future__ import annotations

import logging
from collections.abc import Callable

from cuda.bindings import runtime as cudart

from depth_anything_ros.runtime.cuda.memory import call
from depth_anything_ros.runtime.errors import ModelError

log = logging.getLogger(__name__)


class RepeatedWork:
    """Work whose addresses and sizes never change.

    The first run enqueues it as it is, which TensorRT needs before it can be recorded, and then records it as a CUDA
    graph; later runs launch the graph. Where recording fails, every run enqueues.

    Args:
        stream: where it runs.
        enqueue: puts the work on the stream; must neither allocate nor wait. Raises `ModelError`.
        name: for the log.
    """

    def __init__(self, stream: cudart.cudaStream_t, enqueue: Callable[[], None], name: str) -> None:
        self._stream, self._enqueue, self._name = stream, enqueue, name
        self._executable: cudart.cudaGraphExec_t | None = None
        self._recorded = False

    def run(self) -> None:
        """Does the work and waits for its end. Raises `ModelError`."""
        if self._executable is None:
            self._enqueue()
        else:
            call(cudart.cudaGraphLaunch, self._executable, self._stream)
        call(cudart.cudaStreamSynchronize, self._stream)
        if not self._recorded:
            self._recorded = True
            self._record()

    def close(self) -> None:
        """Frees the graph; later runs enqueue."""
        if self._executable is not None:
            executable, self._executable = self._executable, None
            call(cudart.cudaGraphExecDestroy, executable)

    def _record(self) -> None:
        try:
            graph = self._capture()
            try:
                # CUDA 11 has other arguments for the function without `WithFlags`.
                self._executable = call(cudart.cudaGraphInstantiateWithFlags, graph, 0)
            finally:
                call(cudart.cudaGraphDestroy, graph)
        except ModelError as error:
            log.warning("%s: no CUDA graph, so each frame is enqueued piece by piece: %s", self._name, error)

    def _capture(self) -> cudart.cudaGraph_t:
        # Of this thread alone: other threads' calls of CUDA must not spoil the recording.
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(cudart.cudaStreamBeginCapture, self._stream, mode)
        try:
            self._enqueue()
        except ModelError:
            code, graph = cudart.cudaStreamEndCapture(self._stream)  # or the stream would stay unusable
            if int(code) == 0:
                call(cudart.cudaGraphDestroy, graph)
            raise
        return call(cudart.cudaStreamEndCapture, self._stream)
