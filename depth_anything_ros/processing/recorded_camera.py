"""One camera of a recording: its messages in, the outputs of the depth node for each image out. Needs no ROS."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from depth_anything_ros.geometry.frame_ids import frame_id_problem
from depth_anything_ros.geometry.output_geometry import CameraInfoError, GeometryCache, OutputGeometry
from depth_anything_ros.images.pixel_layout import as_rgb, stored
from depth_anything_ros.postprocessing.depth_products import DepthBuffers
from depth_anything_ros.postprocessing.point_cloud import POINT_STEP, POSITION_STEP, organized_size
from depth_anything_ros.processing.camera_info_buffer import CameraInfoBuffer
from depth_anything_ros.processing.frame_settings import FrameSettings
from depth_anything_ros.processing.frame_steps import FrameSteps, PreparedFrame
from depth_anything_ros.processing.measured_scale import MeasuredScale, ScaleReport
from depth_anything_ros.processing.outputs import ENCODINGS, NEEDS_DEPTH, PIXELS, SCALE, absent_outputs
from depth_anything_ros.processing.scale_measurements import ScaleMeasurements
from depth_anything_ros.processing.stamp_order import StampOrder
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.shared_cores import SharedCores

Size = tuple[int, int]


class SkippedImageError(ValueError):
    """An image that the depth node drops too; the message says why."""


@dataclass(frozen=True)
class FrameOutputs:
    """What was computed of one image.

    Attributes:
        header: of the image.
        size: (H, W) of the outputs.
        info: camera_info of the outputs, whose header is to be replaced; None if it is not requested or unknown.
        filled: the outputs; they are valid until they are given to `RecordedCamera.release`.
        scale: the report of the scale; None if it is not requested.
        problem: why an output is missing; "" if none is.
    """

    header: Any
    size: Size
    info: Any
    filled: DepthBuffers
    scale: ScaleReport | None
    problem: str


@dataclass(frozen=True)
class StartedFrame:
    """A frame before and during the model's work.

    Attributes:
        header: of the image.
        size: (H, W) of the outputs.
        info: camera_info of the outputs; None if it is not requested or unknown.
        frame: for the model; None if no output needs it.
        problem: why an output is missing; "" if none is.
        key: what the buffers' sizes depend on.
    """

    header: Any
    size: Size
    info: Any
    frame: PreparedFrame | None
    problem: str
    key: tuple[Size, bool]


class RecordedCamera:
    """Runs the depth node's steps on one camera's recorded messages.

    Args:
        estimator: the model.
        halves: the same model for each of several images at once, from `load_halves`.
        settings: parameters, scale and depth settings.
        topic: of the images, without the suffix of its transport.
        requested: names of the outputs, of `outputs.TOPICS` and `SCALE`.
        measurements: Measurements of the sensors for the scale; None without any.
        uses_images: whether features of the images carry the scale along between measurements.

    Attributes:
        notes: what is probably wrong with the recording, one line each.
        at_once: the most images that `estimate` takes at once, each in a thread of its own.
    """

    def __init__(
        self,
        estimator: Estimator,
        halves: list[Estimator],
        settings: FrameSettings,
        topic: str,
        requested: Collection[str],
        measurements: ScaleMeasurements | None,
        uses_images: bool,
    ) -> None:
        self.notes: list[str] = []
        self.infos = CameraInfoBuffer()
        self.settings = settings
        self._estimator, self._topic = estimator, topic
        self._cores = SharedCores(estimator, halves)
        self.at_once = self._cores.count
        self._geometry = GeometryCache(topic)
        self._stamps = StampOrder()
        self._steps = FrameSteps()
        if measurements is not None:
            self._steps.measured = MeasuredScale(measurements, estimator.record, uses_images)
        self._requested = set(requested) - self.absent(estimator, settings)
        self._free: defaultdict[tuple[Size, bool], deque[DepthBuffers]] = defaultdict(deque)

    @staticmethod
    def absent(estimator: Estimator, settings: FrameSettings) -> set[str]:
        """Return the outputs that the model and its scale cannot give.

        Args:
            estimator: the model.
            settings: with the chosen scale.
        """
        is_measured = settings.scale.state == "measured"
        absent = absent_outputs(estimator.record.predicts_depth, estimator.gives_confidence, is_measured)
        absent |= set() if is_measured else {SCALE}
        return absent | (set() if settings.scale.gives_depth else set(NEEDS_DEPTH))

    def prepare(self, message: Any) -> StartedFrame:
        """Decode and rectify an image, and choose its buffers. The frame before may still be with the model.

        Args:
            message: a sensor_msgs Image or CompressedImage; its camera_info is in `infos`.

        Raises:
            SkippedImageError: its stamp repeats, or is out of order.
            BadImageError: it cannot be decoded.
        """
        header, parameters = message.header, self.settings.parameters
        fault = self._stamps.fault(header.stamp.sec * 10**9 + header.stamp.nanosec)
        if fault is not None:
            raise SkippedImageError(f"it has a {fault}" if fault == "duplicate stamp" else f"its stamp is {fault}")
        rgb = self._steps.decode(message, parameters.input_range)
        self._note(self._steps.note)
        size = parameters.output_size_for(*rgb.shape[:2])
        geometry, problem = self._find_geometry(header, rgb.shape[:2], size)
        info = geometry.info if geometry is not None and "info" in self._requested else None
        key = size, geometry is not None
        outputs = self._buffers_for(*key)
        if not outputs and SCALE not in self._requested:
            return StartedFrame(header, size, info, None, problem, key)
        frame = self._steps.prepare(header, rgb, size, geometry, outputs, self.settings)
        return StartedFrame(header, size, info, _kept(frame, message), problem, key)

    def estimate(self, started: StartedFrame) -> None:
        """Run the model on a frame. It may run in another thread than the rest.

        Args:
            started: from `prepare`.

        Raises:
            ModelError: the model fails.
        """
        frame = started.frame
        if frame is not None:
            self._cores.estimate(frame.rgb, frame.size, frame.values, frame.outputs.confidence)

    def finish(self, started: StartedFrame) -> FrameOutputs:
        """Return the outputs of a frame.

        Args:
            started: from `prepare`; `estimate` has run. Frames are finished in their order.
        """
        frame, problem = started.frame, started.problem
        if frame is None:
            return FrameOutputs(started.header, started.size, started.info, DepthBuffers(), None, problem)
        network_size = self._estimator.input_size_for(*frame.rgb.shape[:2])
        settings, filled = self._steps.scale(frame, network_size)
        report, measured = None, self._steps.measured
        if measured is not None and SCALE in self._requested:
            report = measured.report(self.settings.parameters.scale_hold)
        if filled or not frame.outputs:
            self._steps.derive(frame, network_size, settings, filled)
        elif not problem:
            problem = f"no scale: {self._steps.scale_problem}"
        return FrameOutputs(started.header, started.size, started.info, filled, report, problem)

    def release(self, started: StartedFrame) -> None:
        """Let a later frame use the buffers of this one. Any thread may call it.

        Args:
            started: from `prepare`; its outputs are written.
        """
        if started.frame is not None:
            self._free[started.key].append(started.frame.outputs)

    def _find_geometry(self, header: Any, image_size: Size, size: Size) -> tuple[OutputGeometry | None, str]:
        """Return the geometry of the outputs, or None and the reason."""
        parameters = self.settings.parameters
        info = self.infos.match((header.stamp.sec, header.stamp.nanosec))
        if info is None:
            return None, "there is no camera_info"
        try:
            found = self._geometry.geometry(info, image_size, size, parameters.rectified, parameters.rectify)
        except CameraInfoError as error:
            return None, str(error)
        choice = self._geometry.choice
        self._note(None if choice is None else choice.text)
        self._note(found.doubt)
        self._note(frame_id_problem(header.frame_id))
        return found, ""

    def _note(self, text: str | None) -> None:
        if text is not None and text not in self.notes:
            self.notes.append(text)

    def _buffers_for(self, size: Size, has_camera: bool) -> DepthBuffers:
        """Return buffers to fill: released ones, or new ones."""
        depth = self.settings.depth
        if free := self._free[size, has_camera]:
            return free.popleft()
        arrays: dict[str, np.ndarray] = {}
        for name, encoding in ENCODINGS.items():
            if name in self._requested:
                dtype, channels = PIXELS[encoding]
                arrays[name] = np.empty(size if channels == 1 else (*size, channels), dtype)
        if has_camera and "points" in self._requested:
            rows, columns = organized_size(*size, depth.stride)
            arrays["points"] = np.empty(rows * columns * (POINT_STEP if depth.colored else POSITION_STEP), np.uint8)
        return DepthBuffers(**arrays)


def _kept(frame: PreparedFrame, message: Any) -> PreparedFrame:
    """Return a frame whose arrays the preparation of the next one does not overwrite."""
    rgb, values = frame.rgb, frame.values
    if not np.may_share_memory(rgb, np.asarray(message.data)):
        raw, order = stored(rgb)  # a copy in another order takes ten times as long
        rgb = as_rgb(raw.copy(), order)
    if values is not frame.outputs.depth and values is not frame.outputs.inverse_depth:
        values = np.empty_like(values)
    return replace(frame, rgb=rgb, values=values)
