"""The worker thread: it takes the frames of all cameras from the scheduler and runs them through the model.

`FrameProcessor` prepares a frame for the model, and converts the result to depth and publishes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from depth_anything_ros.ros.depth_node.frame_processor import FrameProcessor
from depth_anything_ros.ros.depth_node.frame_scheduler import FrameScheduler
from depth_anything_ros.ros.depth_node.frame_task import Task
from depth_anything_ros.ros.io.image_input import CameraFrame
from depth_anything_ros.runtime.backends.interface import MAX_BATCH
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator

MAX_FAILED_BATCHES = 10
"""Failed batches in a row, after which frames run one by one until a model is loaded again."""


class DepthWorker:
    """The thread that processes the frames of all cameras, one by one or in batches.

    A frame that fails is dropped alone; the next one is processed as usual.

    Args:
        scheduler: where frames wait.
        processors: the steps of each camera, by its name.
        logger: the node's logger.
        is_running: returns whether the node may still publish.

    Attributes:
        batch: the largest number of frames to run at once.
    """

    def __init__(
        self,
        scheduler: FrameScheduler[CameraFrame],
        processors: Mapping[str, FrameProcessor],
        logger: Any,
        is_running: Callable[[], bool],
    ) -> None:
        self.batch = 1
        self._scheduler, self._processors = scheduler, processors
        self._logger, self._is_running = logger, is_running
        self._estimator: Estimator | None = None
        self._thread: threading.Thread | None = None
        self._failed_batches, self._has_reported_batch = 0, False

    def set_model(self, estimator: Estimator) -> None:
        """Use this model. Only while the worker is stopped."""
        self._failed_batches, self._has_reported_batch = 0, False
        self.batch = MAX_BATCH if len(self._processors) > 1 and estimator.batches else 1
        self._estimator = estimator

    def release_model(self) -> None:
        """Forget the model. Only while the worker is stopped."""
        self._estimator = None

    def start(self) -> None:
        """Start processing frames."""
        self._scheduler.open()
        self._thread = threading.Thread(target=self._work, name="depth", daemon=True)
        self._thread.start()

    def stop(self) -> list[str]:
        """Finish the current frame and stop. Returns the names of the cameras that had a frame waiting."""
        thread, self._thread = self._thread, None
        forgotten = self._scheduler.close()
        if thread is not None:
            thread.join()
        return forgotten

    def _work(self) -> None:
        while frames := self._scheduler.take(self.batch):
            tasks = []
            for camera, frame in frames:
                processor = self._processors[camera]
                with self._dropping_failed(processor):
                    task = processor.prepare(frame)
                    if task is not None:
                        tasks.append((processor, task))
            if len(tasks) > 1 and all(task.prepared.outputs.confidence is None for _, task in tasks):
                self._run_batch(tasks)
            else:
                for processor, task in tasks:
                    self._run(processor, task)

    def _run(self, processor: FrameProcessor, task: Task) -> None:
        estimator = self._model()
        with self._dropping_failed(processor):
            started = time.perf_counter()
            frame = task.prepared
            estimator.estimate(frame.rgb, frame.size, frame.values, frame.outputs.confidence)
            seconds = time.perf_counter() - started
            processor.finish(task, estimator.input_size_for(*frame.rgb.shape[:2]), seconds)

    def _run_batch(self, tasks: Sequence[tuple[FrameProcessor, Task]]) -> None:
        """Run frames of several cameras at once. If that fails, run them one by one, so only the bad one is lost."""
        estimator = self._model()
        started = time.perf_counter()
        try:
            frames = [task.prepared for _, task in tasks]
            images, sizes, arrays = zip(*((frame.rgb, frame.size, frame.values) for frame in frames), strict=True)
            estimator.estimate_batch(images, sizes, arrays)
        except Exception as error:
            self._report_failed_batch(error)
            for processor, task in tasks:
                self._run(processor, task)
            return
        seconds = time.perf_counter() - started
        self._failed_batches = 0
        for processor, task in tasks:
            with self._dropping_failed(processor):
                processor.finish(task, estimator.input_size_for(*task.prepared.rgb.shape[:2]), seconds)

    def _model(self) -> Estimator:
        assert self._estimator is not None  # the worker is stopped while there is no model
        return self._estimator

    @contextmanager
    def _dropping_failed(self, processor: FrameProcessor) -> Iterator[None]:
        """Drop the frame if the block raises."""
        try:
            yield
        except ModelError as error:
            processor.drop(error, "model failed")
        except Exception as error:
            if self._is_running():  # otherwise the context was shut down in the middle of a frame
                processor.drop(error, "error")

    def _report_failed_batch(self, error: Exception) -> None:
        """Log a model's first failed batch, and use no more batches after many failed in a row."""
        if not self._has_reported_batch:
            self._has_reported_batch = True
            self._logger.warning(f"a batch failed, its frames run one by one: {error}")
        self._failed_batches += 1
        if self._failed_batches == MAX_FAILED_BATCHES:
            self.batch = 1
            self._logger.error(f"{self._failed_batches} batches in a row failed: frames now run one by one")
