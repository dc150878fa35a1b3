"""One camera from its images to its outputs: all that a depth node keeps of it, but for the model."""

from __future__ import annotations

import math
import os
import threading
import time
import traceback
from dataclasses import dataclass, replace

import numpy as np
from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.images.intensity import InputRange
from depth_anything_ros.images.pixel_layout import as_rgb, stored
from depth_anything_ros.postprocessing.depth_products import DepthBuffers, DepthSettings, FramePipeline
from depth_anything_ros.postprocessing.flying_pixels import reach_of
from depth_anything_ros.postprocessing.scale import Scale, focal_gain
from depth_anything_ros.ros.depth_node.frame_scheduler import FrameScheduler
from depth_anything_ros.ros.depth_node.frame_statistics import FrameStatistics
from depth_anything_ros.ros.depth_node.message_size import large_cloud_advice
from depth_anything_ros.ros.depth_node.outputs import DepthOutputs
from depth_anything_ros.ros.depth_node.parameters import StreamParameters
from depth_anything_ros.ros.depth_node.persistent_warning import PersistentWarning
from depth_anything_ros.ros.depth_node.rectified_choice import RectifiedChoice
from depth_anything_ros.ros.depth_node.scale_choice import ScaleChoice, choose_scale
from depth_anything_ros.ros.io import camera_info_buffer
from depth_anything_ros.ros.io.camera_info import CameraInfoError, GeometryCache, OutputGeometry
from depth_anything_ros.ros.io.camera_info_buffer import Stamp
from depth_anything_ros.ros.io.frame_ids import frame_id_fault
from depth_anything_ros.ros.io.image_decoding import BadImageError, ImageDecoder
from depth_anything_ros.ros.io.image_input import CameraFrame, ImageInput
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.ros.io.messages import OutputMessages
from depth_anything_ros.ros.process.middleware import shared_memory_of
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.array_pool import ArrayPool
from depth_anything_ros.system.malloc import give_back_freed_memory

MAX_NAMED = 100
"""Different troubles that are named in the log; what messages say may be anything."""

_RANGE = "if that is wrong, set input_range to LOW,HIGH"
BUSY = (
    "the model is still at work on an earlier image: it may be building an engine for the first one; else take a "
    "smaller input, a faster backend or precision"
)
UNCORRECTED = (
    "depth is UNCORRECTED for the lens: without a camera_info that fits it is right only for a focal length like that "
    "of the model's training"
)


@dataclass(frozen=True)
class FrameSettings:
    """All that a frame is subject to, chosen at one moment: the parameters and what they and the model come to."""

    parameters: StreamParameters
    scale: ScaleChoice
    depth: DepthSettings


@dataclass(frozen=True)
class Task:
    """A frame that is ready for the model: its pixels, where the map goes, and what is to be made of it."""

    frame: CameraFrame
    rgb: np.ndarray
    size: tuple[int, int]
    values: np.ndarray
    camera: Camera | None
    valid: np.ndarray | None
    info: CameraInfo | None
    messages: OutputMessages
    outputs: DepthBuffers
    settings: FrameSettings


class CameraStream:
    """Receives, prepares and publishes one camera's frames.

    The executor's thread receives; one worker calls `prepare`, `finish` and `lose`. `set_parameters`, `set_active` and
    `refresh` may be called from any thread at any time, `set_model` and `release` while the worker is at rest.

    Args:
        node: whose topics they are.
        name: the camera's name, "" for a single one; prefix of its topics.
        parameters: what its frames are subject to.
        transport: "raw" or "compressed".
        scheduler: where frames wait for the worker.
        local: the camera node of this process that images come from, if any.

    Attributes:
        statistics: counts and times of the frames so far.
        parameters: what frames are subject to from the next one on.
        trouble: why there is no cloud and no camera_info, None where there is.
        focal_gain: what the last frame's meters were multiplied by for its lens; None where there was no camera_info to
            tell, or nothing is to be corrected.
        log: the node's.
        doubts: what is probably wrong with the latest frame's geometry or frame id.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        parameters: StreamParameters,
        transport: str,
        scheduler: FrameScheduler[CameraFrame],
        local: LocalImages | None = None,
    ) -> None:
        self.name = name
        self.statistics = FrameStatistics()
        self.trouble: str | None = None
        self.focal_gain: float | None = None
        self.doubts: tuple[str, ...] = ()
        self._node, self._scheduler = node, scheduler
        self.log = node.get_logger()
        prefix = f"{name}/" if name else ""
        self._outputs = DepthOutputs(node, prefix, self.refresh)
        self.input = ImageInput(
            node, prefix, transport, self.statistics, self._enqueue, self._release_frame, self._warn_once, local
        )
        self._estimator: Estimator | None = None
        self._settings: FrameSettings | None = None  # replaced whole: the worker may be about to begin a frame
        self._is_active = False
        self._choosing, self._refreshing = threading.Lock(), threading.Lock()
        self._named: set[str] = set()
        self._lasting = PersistentWarning()
        self._awaited: Stamp | None = None
        self._lacks_info, self._why_no_info = False, ""
        self._decoder, self._pipeline = ImageDecoder(), FramePipeline()
        self._geometries = GeometryCache(None if local else self.input.image_topic.removesuffix("/compressed"))
        self._messages: OutputMessages | None = None
        self._shared_memory = shared_memory_of(get_rmw_implementation_identifier(), os.environ)
        self._scratch = ArrayPool()
        self.set_parameters(parameters)

    @property
    def scale(self) -> ScaleChoice | None:
        """Where meters come from; None before a model is there."""
        settings = self._settings
        return None if settings is None else settings.scale

    @property
    def rectified_choice(self) -> RectifiedChoice | None:
        """Whether its images are taken for rectified; None before the first camera_info."""
        return self._geometries.choice

    def named(self, text: str) -> str:
        """A line for the log, with the camera's name before it where there are several."""
        return f"{self.name}: {text}" if self.name else text

    # What the node does with it

    def set_parameters(self, parameters: StreamParameters) -> None:
        """Has parameters act from the next frame on; the log says where meters come from, anew when that changes."""
        with self._choosing:
            self.parameters = parameters
            self._choose_settings()
        self.input.max_rate, self.input.max_age = parameters.max_rate, parameters.max_age
        self._scheduler.prioritize(self.name, parameters.priority)
        self.refresh()  # a scale may make wanted what could not be had

    def set_model(self, estimator: Estimator) -> None:
        """Announces what this model gives."""
        with self._choosing:
            self._estimator = estimator
            self._choose_settings()
        self._outputs.create(estimator.record.predicts_depth, estimator.gives_confidence)

    def release(self) -> None:
        """Takes every topic back and forgets the model."""
        self.set_active(False)
        self._outputs.destroy()
        with self._choosing:
            self._estimator, self._settings, self.trouble, self.focal_gain = None, None, None, None
        self.doubts = ()
        self._messages, self._pipeline, self._decoder = None, FramePipeline(), ImageDecoder()
        self._scratch.clear()

    def set_active(self, is_active: bool) -> None:
        """Lets images in while somebody listens, or keeps them out."""
        self._is_active = is_active
        self.refresh()

    def refresh(self) -> None:
        """Subscribes upstream while active and listened to, and not otherwise."""
        with self._refreshing:  # executor and transitions may both be at it, and what was seen last must win
            scale = self.scale
            is_requested = self._is_active and scale is not None and bool(self._outputs.requested(scale.gives_depth))
            self.input.set_open(is_requested)

    def look_around(self) -> None:
        """Follows what the cameras offer, and looks for what lacks; in the executor's thread, every so often."""
        self.input.adapt()
        if self._lacks_info:
            self._why_no_info = self.input.why_no_info

    def read_overrides(self) -> None:
        """Reads the ``qos_overrides`` of all its topics. Raises `ValueError` for what is not understood."""
        self.input.read_overrides()
        self._outputs.read_overrides()

    @property
    def lacks_scale(self) -> bool:
        """Whether somebody listens to nothing but what needs meters, and there are none."""
        scale = self.scale
        if scale is None or scale.gives_depth:
            return False
        return bool(self._outputs.requested(gives_depth=True)) and not self._outputs.requested(gives_depth=False)

    def _choose_settings(self) -> None:
        if self._estimator is None:
            return
        parameters, record = self.parameters, self._estimator.record
        scale = choose_scale(parameters, record)
        if self.scale is None or scale.text != self.scale.text:
            # A line each: rclpy lets no line of code change its severity.
            if scale.is_warning:
                self.log.warning(self.named(scale.text))
            else:
                self.log.info(self.named(scale.text))
        depth = DepthSettings(
            scale_model=record.scale_model,
            minimum=parameters.min_depth,
            maximum=parameters.max_depth,
            scale=scale.scale,
            stride=parameters.points_stride,
            colored=parameters.points_color,
            nearest=parameters.points_min_depth,
            farthest=parameters.points_max_depth or math.inf,
            flying_threshold=parameters.flying_pixels_threshold,
            flying_in_depth=parameters.flying_pixels_in_depth,
        )
        self._settings = FrameSettings(parameters, scale, depth)

    # The executor's thread

    def _enqueue(self, frame: CameraFrame) -> None:
        waits = frame.info is None and self.input.infos.awaits(frame.stamp)
        self._awaited = frame.stamp if waits else None
        lost = self._scheduler.put(self.name, frame, camera_info_buffer.PATIENCE if waits else 0.0)
        if lost is frame:  # came while the node was being deactivated
            self.statistics.ignore()
        elif lost is not None:
            self.statistics.drop("newer came", BUSY)

    def _release_frame(self, stamp: Stamp) -> None:
        """A camera_info has come: perhaps the one that the latest frame waits for."""
        if stamp == self._awaited:
            self._scheduler.release(self.name)

    # The worker's thread

    def prepare(self, frame: CameraFrame) -> Task | None:
        """Makes a frame ready for the model; None where it needs none, or is lost. Counted and said in the log."""
        settings = self._settings
        assert settings is not None  # the worker rests while there is no model
        requested = self._outputs.requested(settings.scale.gives_depth)
        if not requested:
            self.statistics.ignore()
            return None
        try:
            rgb = self._pixels_of(frame, settings.parameters)
        except BadImageError as error:
            self.statistics.drop(error.cause, str(error))
            self._warn_once(error.fault, f"frame dropped: {error}")
            return None
        size = settings.parameters.output_size_for(*rgb.shape[:2])
        geometry = self._geometry_of(frame, rgb.shape[:2], size, settings)
        info = geometry.info if geometry is not None and "info" in requested else None
        messages = self._messages_of(*size, settings.depth.stride, settings.depth.colored)
        outputs = self._outputs.arrays(requested, messages, geometry is not None)
        if outputs.points is not None:
            point_step = messages.points.message.point_step
            large = large_cloud_advice(size, settings.depth.stride, point_step, self._shared_memory)
            if large:
                self._warn_once("large cloud", large)
        if not outputs:
            self._outputs.publish(frame.header, messages, outputs, info)
            if geometry is None:
                self.statistics.drop("no camera_info", self.trouble or "")
            else:
                self.statistics.ignore()
            return None
        rectifier = None if geometry is None else geometry.rectifier
        if rectifier is not None:
            raw, order = stored(rgb)  # remapped in the camera's own order, which is the cheapest
            rectified = self._scratch.get("rectified", raw.shape)
            rectifier.remap(raw, rectified)
            rgb = as_rgb(rectified, order)
        return Task(
            frame=frame,
            rgb=rgb,
            size=size,
            values=self._pipeline.output_buffer(outputs, size, settings.depth.scale_model != "inverse_affine"),
            camera=None if geometry is None else geometry.camera,
            valid=None if geometry is None else geometry.valid,
            info=info,
            messages=messages,
            outputs=outputs,
            settings=settings,
        )

    def finish(self, task: Task, network_size: tuple[int, int], model_seconds: float) -> None:
        """Derives and publishes what is wanted, from the map that the model has written."""
        reach = reach_of(task.size, network_size)
        settings = self._corrected(task, network_size)
        self._pipeline.derive(task.values, task.rgb, task.camera, task.valid, reach, settings, task.outputs)
        self._outputs.publish(task.frame.header, task.messages, task.outputs, task.info)
        seconds, nanoseconds = task.frame.stamp
        age = 1e-9 * (self._node.get_clock().now().nanoseconds - nanoseconds) - seconds
        has_stamp = (seconds, nanoseconds) != (0, 0)
        self.statistics.publish(model_seconds, time.perf_counter() - task.frame.received, age if has_stamp else None)

    def _corrected(self, task: Task, network_size: tuple[int, int]) -> DepthSettings:
        """The frame's settings, whose scale corrects meters for the lens that its camera_info tells of."""
        reference = task.settings.scale.reference_focal
        if reference is None or task.camera is None:
            self.focal_gain = None
            return task.settings.depth
        self.focal_gain = focal_gain(task.camera, network_size, reference)
        return replace(task.settings.depth, scale=Scale(self.focal_gain, 0.0))

    def lose(self, error: Exception, cause: str) -> None:
        """Counts a frame whose processing failed, and logs each different failure once."""
        self.statistics.drop(cause, " ".join(str(error).split()))
        text = str(error) if cause == "model failed" else f"{error}\n{traceback.format_exc()}"
        if self._should_report(text):
            self.log.error(self.named(f"frame lost: {text}"))

    def _pixels_of(self, frame: CameraFrame, parameters: StreamParameters) -> np.ndarray:
        """The image as RGB, uint8 (H, W, 3) of any strides. Raises `BadImageError`."""
        if isinstance(frame.source, np.ndarray):
            return frame.source
        self._decoder.set_range(InputRange.of(parameters.input_range))
        rgb, note = self._decoder.decode(frame.source), self._decoder.note
        if note is not None:
            self._warn_once(note.partition(":")[0], f"{self.input.image_topic}: {note}; {_RANGE}")
        return rgb

    def _geometry_of(
        self, frame: CameraFrame, image_size: tuple[int, int], size: tuple[int, int], settings: FrameSettings
    ) -> OutputGeometry | None:
        """The outputs' geometry, None while there is no camera_info that fits the image; says why once."""
        parameters = settings.parameters
        geometry, trouble = None, None
        info = frame.info if frame.info is not None else self.input.infos.match(frame.stamp)
        if info is None:
            trouble = f"nothing has come on {self.input.info_topic}"
        else:
            try:
                geometry = self._geometries.geometry(info, image_size, size, parameters.rectified, parameters.rectify)
            except CameraInfoError as error:
                trouble = str(error)
        should_report = self._lasting.should_report(trouble)
        self._lacks_info = info is None
        if self._lacks_info:
            if should_report:
                self._why_no_info = self.input.why_no_info
            trouble = f"{trouble}: {self._why_no_info}" if self._why_no_info else trouble
        self.trouble = trouble
        self._tell_doubts(frame, geometry)
        if should_report:
            uncorrected = "" if settings.scale.reference_focal is None else f"; {UNCORRECTED}"
            self.log.warning(self.named(f"no cloud and no depth/camera_info: {trouble}{uncorrected}"))
        return geometry

    def _tell_doubts(self, frame: CameraFrame, geometry: OutputGeometry | None) -> None:
        """Says once each what images are taken for, and what is probably wrong with them."""
        choice = self.rectified_choice
        doubts = {
            "frame_id": frame_id_fault(frame.header.frame_id),
            "rectified": choice.text if choice is not None and choice.is_warning else None,
            "camera_info": None if geometry is None else geometry.doubt,
        }
        if choice is not None and not choice.is_warning and self._should_report(choice.text):
            self.log.info(self.named(choice.text))
        self.doubts = tuple(filter(None, doubts.values()))
        for about, doubt in doubts.items():
            if doubt is not None:
                self._warn_once(f"{about} in doubt", doubt)

    def _messages_of(self, height: int, width: int, stride: int, colored: bool) -> OutputMessages:
        """The reusable messages of this height and width, whose cloud has this stride and is colored or not."""
        if self._messages is None:
            self._messages = OutputMessages(height, width, stride, colored)
        elif not self._messages.fit(height, width, stride, colored):
            self._messages, self._pipeline = OutputMessages(height, width, stride, colored), FramePipeline()
            self._scratch.clear()
            give_back_freed_memory()
        return self._messages

    def _warn_once(self, fault: str, text: str) -> None:
        if self._should_report(fault):
            self.log.warning(self.named(text))

    def _should_report(self, trouble: str) -> bool:
        """Whether something is to be named in the log: once, and no more than `MAX_NAMED` such things in all."""
        if trouble in self._named or len(self._named) >= MAX_NAMED:
            return False
        self._named.add(trouble)
        return True
