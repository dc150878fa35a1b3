"""The way of a frame: taken from the scheduler, prepared, run through the model, turned into depth, published.

`DepthWorker` is the thread that does this for all cameras. `FrameProcessor` holds the steps of one camera.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.geometry.output_geometry import OutputGeometry
from depth_anything_ros.postprocessing.depth_products import DepthBuffers, DepthSettings
from depth_anything_ros.processing.frame_settings import FrameSettings
from depth_anything_ros.processing.frame_steps import FrameSteps
from depth_anything_ros.processing.parameters import StreamParameters
from depth_anything_ros.ros.depth_node.frame_scheduler import FrameScheduler
from depth_anything_ros.ros.depth_node.frame_statistics import FrameStatistics
from depth_anything_ros.ros.depth_node.frame_task import Task
from depth_anything_ros.ros.depth_node.message_size import large_cloud_advice
from depth_anything_ros.ros.depth_node.outputs import SCALE, DepthOutputs
from depth_anything_ros.ros.depth_node.stream_geometry import UNCORRECTED, StreamGeometry
from depth_anything_ros.ros.depth_node.stream_log import StreamLog
from depth_anything_ros.ros.io.image_decoding import BadImageError, ImageDecoder
from depth_anything_ros.ros.io.image_input import CameraFrame, ImageInput
from depth_anything_ros.ros.io.messages import OutputMessages, scale_message
from depth_anything_ros.runtime.backends.interface import MAX_BATCH
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.malloc import give_back_freed_memory

MAX_FAILED_BATCHES = 10
"""Failed batches in a row, after which frames run one by one until a model is loaded again."""
_RANGE_ADVICE = "if that is wrong, set input_range to LOW,HIGH"


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


class FrameProcessor:
    """The steps of one camera's frames before and after the model. For the worker's thread.

    Args:
        images: the camera's input.
        outputs: the camera's publishers.
        geometry: finds the geometry of a frame's outputs.
        statistics: counts each frame.
        log: the camera's log.
        clock: the node's clock, for the age of a frame.
        shared_memory: bytes of shared memory that the middleware has for a message; None for no limit.

    Attributes:
        settings: settings of the next frame, None without a model. They are replaced as a whole, because the worker may
            be starting a frame.
        steps: the computations, which need no ROS.
    """

    def __init__(
        self,
        images: ImageInput,
        outputs: DepthOutputs,
        geometry: StreamGeometry,
        statistics: FrameStatistics,
        log: StreamLog,
        clock: Clock,
        shared_memory: int | None,
    ) -> None:
        self.settings: FrameSettings | None = None
        self.steps = FrameSteps(ImageDecoder)
        self._images, self._outputs, self._geometry = images, outputs, geometry
        self._statistics, self._log, self._clock = statistics, log, clock
        self._shared_memory = shared_memory
        self._messages: OutputMessages | None = None

    def reset(self) -> None:
        """Free all buffers and forget the settings. Only while the worker is stopped."""
        self.settings, self._messages = None, None
        self.steps.reset()

    def prepare(self, frame: CameraFrame) -> Task | None:
        """Make a frame ready for the model: decode, find the geometry, choose the buffers, rectify.

        Returns None for a frame that does not need the model, or that is dropped. It is counted then.
        """
        settings = self.settings
        assert settings is not None  # the worker is stopped while there is no model
        requested = self._outputs.requested(settings.scale.gives_depth)
        if not requested:
            self._statistics.ignore()
            return None
        try:
            rgb = self._decode(frame, settings.parameters)
        except BadImageError as error:
            self._statistics.drop(error.cause, str(error))
            self._log.warn_once(error.fault, f"frame dropped: {error}")
            return None
        parameters, depth = settings.parameters, settings.depth
        size = parameters.output_size_for(*rgb.shape[:2])
        consequence = "" if settings.scale.reference_focal is None else UNCORRECTED
        geometry = self._geometry.find(
            frame, rgb.shape[:2], size, parameters.rectified, parameters.rectify, consequence
        )
        info = geometry.info if geometry is not None and "info" in requested else None
        messages = self._messages_for(size, depth)
        outputs = self._outputs.arrays(requested, messages, geometry is not None)
        if outputs.points is not None:
            self._warn_of_large_cloud(size, depth.stride, messages)
        if not outputs and SCALE not in requested:
            self._publish_info_alone(frame, messages, outputs, geometry, info)
            return None
        prepared = self.steps.prepare(frame.header, rgb, size, geometry, outputs, settings)
        return Task(frame, prepared, info, messages)

    def finish(self, task: Task, network_size: tuple[int, int], model_seconds: float) -> None:
        """Turn the model's map into depth, images and cloud, and publish them.

        Args:
            task: the frame; the model has written ``task.values``.
            network_size: (height, width) of the network's input.
            model_seconds: how long the model took.
        """
        prepared = task.prepared
        settings, outputs = self.steps.scale(prepared, network_size)
        if self.steps.measured is not None and self._outputs.scale_is_requested:
            report = self.steps.measured.report(prepared.settings.parameters.scale_hold)
            self._outputs.publish_scale(scale_message(task.frame.header, report))
        if prepared.outputs and not outputs:
            self._statistics.drop("no scale", self.steps.scale_problem)
            self._outputs.publish(task.frame.header, task.messages, outputs, task.info)
            return
        self.steps.derive(prepared, network_size, settings, outputs)
        self._outputs.publish(task.frame.header, task.messages, outputs, task.info)
        seconds, nanoseconds = task.frame.stamp
        age = 1e-9 * (self._clock.now().nanoseconds - nanoseconds) - seconds
        has_stamp = (seconds, nanoseconds) != (0, 0)
        total_seconds = time.perf_counter() - task.frame.received
        self._statistics.publish(model_seconds, total_seconds, age if has_stamp else None)

    def drop(self, error: Exception, cause: str) -> None:
        """Count a frame whose processing failed, and log each different error once."""
        self._statistics.drop(cause, " ".join(str(error).split()))
        text = str(error) if cause == "model failed" else f"{error}\n{traceback.format_exc()}"
        self._log.error_once(text, f"frame lost: {text}")

    def _decode(self, frame: CameraFrame, parameters: StreamParameters) -> np.ndarray:
        """Return the image as RGB, uint8 (h, w, 3) of any strides. Raises `BadImageError`."""
        if isinstance(frame.source, np.ndarray):
            return frame.source
        rgb, note = self.steps.decode(frame.source, parameters.input_range), self.steps.note
        if note is not None:
            self._log.warn_once(note.partition(":")[0], f"{self._images.image_topic}: {note}; {_RANGE_ADVICE}")
        return rgb

    def _messages_for(self, size: tuple[int, int], depth: DepthSettings) -> OutputMessages:
        """Return the reusable messages of this size; they are created again only when it changes."""
        shape = (*size, depth.stride, depth.colored)
        if self._messages is None:
            self._messages = OutputMessages(*shape)
        elif not self._messages.fit(*shape):
            self._messages = OutputMessages(*shape)
            self.steps.free_buffers()
            give_back_freed_memory()
        return self._messages

    def _warn_of_large_cloud(self, size: tuple[int, int], stride: int, messages: OutputMessages) -> None:
        advice = large_cloud_advice(size, stride, messages.points.message.point_step, self._shared_memory)
        if advice:
            self._log.warn_once("large cloud", advice)

    def _publish_info_alone(
        self,
        frame: CameraFrame,
        messages: OutputMessages,
        outputs: DepthBuffers,
        geometry: OutputGeometry | None,
        info: CameraInfo | None,
    ) -> None:
        """Publish camera_info for a frame of which nothing else is requested, or can be computed."""
        self._outputs.publish(frame.header, messages, outputs, info)
        if geometry is None:
            self._statistics.drop("no camera_info", self._geometry.problem or "")
        else:
            self._statistics.ignore()
