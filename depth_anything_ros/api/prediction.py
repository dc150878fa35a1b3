"""The output of a model for one image, and its conversions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from depth_anything_ros.api.cameras import CameraLike, camera_for
from depth_anything_ros.api.point_cloud import PointCloud, point_cloud_of
from depth_anything_ros.api.scales import UNITS, KnownDepth, ScaleLike, known_depth, scale_for
from depth_anything_ros.evaluation.alignment import align_to
from depth_anything_ros.evaluation.metrics import Scores, score_depth
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.flying_pixels import FlyingPixelFilter, reach_of
from depth_anything_ros.postprocessing.meters import Scale, fit_scale, focal_gain, output_to_depth
from depth_anything_ros.system.extras import require
from depth_anything_ros.visualization.colormap import colorize, depth_to_nearness
from depth_anything_ros.zoo.record import ModelRecord

if TYPE_CHECKING:
    from PIL.Image import Image

FLYING_THRESHOLD = 0.05
"""For `FlyingPixelFilter`; also the node's default."""
MAX_RANGE = 100.0
"""Meters beyond which points are left out, such as the sky."""


@dataclass(frozen=True, repr=False, eq=False)
class Prediction:
    """The output of a model for one image.

    Attributes:
        values: float32 (H, W), the model's output, in ``unit``. Meters are corrected for the camera, if one was given,
            and NaN where unknown.
        image: RGB uint8 (H, W, 3), the input image.
        record: describes the model.
        runs_on: the backend and its precision, such as "onnxruntime fp32".
        input_size: (height, width) of the network's input, to which the image was resized.
        confidence: float32 (H, W), larger is more certain, in the model's units; None if the model has none.
        camera: the camera of the image; None if not given.
        source: the image's file; None for an array.
        name: base name for output files: that of the image's file without extension, STEM_000000 for a frame.

    >>> import numpy as np
    >>> from depth_anything_ros import Estimator
    >>> estimator = Estimator("tiny", backend="onnxruntime")
    >>> prediction = estimator(np.full((480, 640, 3), 128, np.uint8), camera=60)
    >>> prediction.unit
    'inverse depth of unknown scale and shift'
    >>> prediction.depth(scale=(1.0, 0.1)).shape
    (480, 640)
    """

    values: np.ndarray
    image: np.ndarray
    record: ModelRecord
    runs_on: str
    input_size: tuple[int, int]
    confidence: np.ndarray | None = None
    camera: Camera | None = None
    source: Path | None = None
    name: str = "prediction"

    @property
    def unit(self) -> str:
        """The unit of ``values``: "meters", "inverse depth of unknown scale and shift" or another of `UNITS`."""
        return UNITS[self.record.scale_model]

    @property
    def is_metric(self) -> bool:
        """Whether ``values`` are meters."""
        return self.record.is_metric

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of ``values``."""
        return self.values.shape

    @property
    def focal_gain(self) -> float:
        """The factor by which a metric model's meters were corrected for the camera; 1 without a correction."""
        return self._gain(self.camera)

    def depth(self, scale: ScaleLike = None, camera: CameraLike | None = None) -> np.ndarray:
        """Return depth along the optical axis in meters, a new float32 array (H, W).

        It is NaN where unknown, and +Inf where the model predicts infinite distance.

        Args:
            scale: makes relative output metric: depth = 1 / (a * inverse depth + b). Default: the model's nominal
                scale, with a `NominalScaleWarning`; "nominal" suppresses the warning. A metric model needs none.
            camera: corrects a metric model's meters for another lens than that of ``self.camera``.

        Raises:
            ValueError: there is no scale, or the camera does not fit the image.
        """
        return output_to_depth(self.values, self.record.scale_model, self._scale(scale, camera))

    def point_cloud(
        self,
        camera: CameraLike | None = None,
        scale: ScaleLike = None,
        *,
        max_range: float = MAX_RANGE,
        remove_flying_pixels: bool = False,
    ) -> PointCloud:
        """Return the colored points of the image.

        Args:
            camera: a `Camera`, a camera_info file, or the horizontal field of view in degrees; default:
                ``self.camera``.
            scale: as `depth` takes it.
            max_range: meters beyond which points are left out.
            remove_flying_pixels: leaves out points in the air between a near and a far surface.

        Raises:
            ValueError: there is no camera, it does not fit the image, or there is no scale.
        """
        lens = self._camera(camera)
        depth = self.depth(scale, camera)
        flying = None
        if remove_flying_pixels:
            flying = FlyingPixelFilter()(depth, FLYING_THRESHOLD, reach_of(self.shape, self.input_size))
        return point_cloud_of(depth, self.image, lens, max_range, flying)

    def fit_scale(self, known: KnownDepth) -> Scale:
        """Fit the scale that aligns this prediction with known depth, by least squares in inverse depth.

        Args:
            known: meters, as an array (H, W) that is 0 or not finite where depth is unknown; or by pixel, at least two,
                one near and one far: ``{(column, row): meters}``.

        Raises:
            ValueError: the model does not predict inverse depth, a pixel is outside the image, too few pixels are
                known, or known depth decreases where predicted depth increases.
        """
        if self.record.scale_model != "inverse_affine":
            raise ValueError(f"{self.record.name} predicts {self.unit}: scales are fitted to inverse depth only")
        scale = fit_scale(self.values, known_depth(known, self.shape))
        if scale.a <= 0:
            raise ValueError(
                "known depth decreases where predicted depth increases: check that it is in meters, at (column, row)"
            )
        return scale

    def score(self, truth: KnownDepth, scale: ScaleLike | Literal["fit"] = "fit") -> Scores:
        """Return the errors against known depth, over the pixels where it is known.

        Args:
            truth: as in `fit_scale`, and of another source than the scale.
            scale: "fit" aligns this prediction to the truth, as `evaluate` does with the protocol "full". Anything else
                scores ``depth(scale)``: the meters of a metric model with None, a relative one with its scale.

        Raises:
            ValueError: no depth is known, the prediction cannot be aligned, or its depth is not finite everywhere.
        """
        known = known_depth(truth, self.shape).astype(np.float32)
        mask = np.isfinite(known) & (known > 0)
        if not mask.any():
            raise ValueError("the truth has no pixel with known depth: meters, 0 or NaN where unknown")
        if scale == "fit" and self.record.scale_model == "depth_affine":
            raise ValueError(f"{self.record.name} predicts {self.unit}, which is not aligned in inverse depth")
        if scale == "fit":
            depth = align_to(self.values, self.record.output, known, mask, SetRules())
        else:
            depth = self.depth(scale)
        return score_depth(depth[mask], known[mask])

    def nearness(self) -> np.ndarray:
        """Return ``values`` with nearer pixels larger, float32 (H, W): inverse depth for most models."""
        return depth_to_nearness(self.values, self.record.scale_model) if self.record.predicts_depth else self.values

    def colored(self) -> np.ndarray:
        """Return the prediction in colors, RGB uint8 (H, W, 3): near is warm, far is cold, black is unknown."""
        return colorize(self.nearness())

    def to_image(self) -> Image:
        """Return `colored` as a Pillow image. Raises `ImportError` if Pillow is not installed."""
        require("PIL")
        from PIL import Image

        return Image.fromarray(self.colored())

    def show(self) -> None:
        """Open `colored` in the system's image viewer; needs Pillow. Notebooks display a prediction by themselves."""
        self.to_image().show(self.name)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        scale: ScaleLike = None,
        camera: CameraLike | None = None,
        millimeters: bool = False,
    ) -> Path:
        """Write a file atomically, in the format of its extension, and return its path.

        .png and .jpg: the picture in colors; with ``millimeters`` a 16-bit .png of depth, 0 where unknown, as in ROS
        (REP 118) and most RGB-D data sets. .npy, .tif and .exr: ``values``, or meters if a ``scale`` is given. .npz:
        these with the confidence, the camera's matrix and the model's record. .ply: the point cloud.

        Args:
            path: its folder must exist.
            scale: for meters, as in `depth`.
            camera: as in `point_cloud`.
            millimeters: for .png.

        Raises:
            ValueError: the extension is unknown, or the output needs a camera or a scale.
            OSError: the file cannot be written.
        """
        from depth_anything_ros.api.prediction_files import save

        return save(self, Path(path), scale, camera, millimeters)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype, copy=copy)

    def __repr__(self) -> str:
        height, width = self.shape
        finite = self.values[np.isfinite(self.values)]
        span = f"{finite.min():.3g} … {finite.max():.3g}" if finite.size else "all unknown"
        return f"Prediction({width}x{height}, {self._kind}, {span}, {self.record.name} on {self.runs_on})"

    def _repr_png_(self) -> bytes:
        from depth_anything_ros.api.prediction_files import thumbnail

        return thumbnail(self)

    @property
    def _kind(self) -> str:
        if not self.is_metric:
            return f"relative {self.record.output.replace('_', ' ')}"
        is_uncorrected = self.record.reference_focal is not None and self.camera is None
        return "meters for the training lens" if is_uncorrected else "meters"

    def _camera(self, camera: CameraLike | None) -> Camera:
        if camera is not None:
            return camera_for(camera, *self.shape[::-1])
        if self.camera is None:
            raise ValueError("a point cloud needs a camera: give camera=60 for 60 degrees from side to side, or a file")
        return self.camera

    def _scale(self, scale: ScaleLike, camera: CameraLike | None) -> Scale:
        """Return the scale from ``values`` to meters; a metric model's are those of ``self.camera`` already."""
        own = scale_for(scale, self.record)
        if camera is None:
            return own
        return Scale(own.a * self._gain(self._camera(camera)) / self._gain(self.camera), own.b)

    def _gain(self, camera: Camera | None) -> float:
        reference = self.record.reference_focal
        return 1.0 if camera is None or reference is None else focal_gain(camera, self.input_size, reference)
