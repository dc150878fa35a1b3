"""The geometry of a camera's outputs from its camera_info, with warnings where it is missing or doubtful."""

from __future__ import annotations

from depth_anything_ros.geometry.frame_ids import frame_id_problem
from depth_anything_ros.geometry.output_geometry import CameraInfoError, GeometryCache, OutputGeometry
from depth_anything_ros.geometry.rectified_choice import RectifiedChoice
from depth_anything_ros.ros.depth_node.persistent_warning import PersistentWarning
from depth_anything_ros.ros.depth_node.stream_log import StreamLog
from depth_anything_ros.ros.io.image_input import CameraFrame, ImageInput

UNCORRECTED = (
    "depth is UNCORRECTED for the lens: without a matching camera_info it is correct only for a focal length like that "
    "of the model's training"
)


class StreamGeometry:
    """Finds the camera_info of each frame of one camera and derives the outputs' geometry from it.

    Args:
        images: where frames and camera_infos come from.
        log: the camera's log.
        topic: the name of the image topic; None for images of a camera node in the same process.

    Attributes:
        problem: why the latest frame has no geometry; None if it has one.
        doubts: what is probably wrong with the latest frame's geometry or frame id.
    """

    def __init__(self, images: ImageInput, log: StreamLog, topic: str | None) -> None:
        self.problem: str | None = None
        self.doubts: tuple[str, ...] = ()
        self._images, self._log = images, log
        self._cache = GeometryCache(topic)
        self._missing = PersistentWarning()
        self._has_no_info, self._why_no_info = False, ""

    @property
    def rectified_choice(self) -> RectifiedChoice | None:
        """Whether the images count as rectified; None before the first camera_info."""
        return self._cache.choice

    def reset(self) -> None:
        """Forget the latest frame."""
        self.problem, self.doubts = None, ()

    def refresh(self) -> None:
        """Look again why camera_info is missing. For the executor's thread."""
        if self._has_no_info:
            self._why_no_info = self._images.why_no_info

    def find(
        self,
        frame: CameraFrame,
        image_size: tuple[int, int],
        output_size: tuple[int, int],
        rectified: bool | None,
        rectify: bool,
        consequence: str = "",
    ) -> OutputGeometry | None:
        """Return the geometry of a frame's outputs, or None without a matching camera_info.

        A missing geometry is logged once it persists.

        Args:
            frame: the frame.
            image_size: (height, width) of its image.
            output_size: (height, width) of its outputs.
            rectified: the parameter; None for auto.
            rectify: the parameter.
            consequence: what else a missing geometry means, for the log.
        """
        geometry, problem = None, None
        info = frame.info if frame.info is not None else self._images.infos.match(frame.stamp)
        if info is None:
            problem = f"no message on {self._images.info_topic}"
        else:
            try:
                geometry = self._cache.geometry(info, image_size, output_size, rectified, rectify)
            except CameraInfoError as error:
                problem = str(error)
        should_report = self._missing.should_report(problem)
        self._has_no_info = info is None
        if self._has_no_info:
            if should_report:
                self._why_no_info = self._images.why_no_info
            problem = f"{problem}: {self._why_no_info}" if self._why_no_info else problem
        self.problem = problem
        self._report_doubts(frame, geometry)
        if should_report:
            suffix = f"; {consequence}" if consequence else ""
            self._log.warning(f"no cloud and no depth/camera_info: {problem}{suffix}")
        return geometry

    def _report_doubts(self, frame: CameraFrame, geometry: OutputGeometry | None) -> None:
        choice = self.rectified_choice
        doubts = {
            "frame_id": frame_id_problem(frame.header.frame_id),
            "rectified": choice.text if choice is not None and choice.is_warning else None,
            "camera_info": None if geometry is None else geometry.doubt,
        }
        if choice is not None and not choice.is_warning:
            self._log.info_once(choice.text)
        self.doubts = tuple(filter(None, doubts.values()))
        for subject, doubt in doubts.items():
            if doubt is not None:
                self._log.warn_once(f"{subject} in doubt", doubt)
