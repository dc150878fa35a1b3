"""The model for Python programs: images in, predictions out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast, overload

import numpy as np

from depth_anything_ros.api.cameras import CameraLike, camera_for
from depth_anything_ros.api.images import ImageLike, Picture, open_image
from depth_anything_ros.api.prediction import Prediction
from depth_anything_ros.export.prepare import prepare_model
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.images.frame_reader import list_sources, read_frames
from depth_anything_ros.images.resizing import resized_image
from depth_anything_ros.postprocessing.meters import Scale, focal_gain, output_to_depth
from depth_anything_ros.runtime import estimator as runtime
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.atomic_file import describe_error
from depth_anything_ros.zoo.hub_names import find_by_hub_name
from depth_anything_ros.zoo.record import ModelRecord

log = logging.getLogger(__name__)


class Estimator(runtime.Estimator):
    """A depth model, ready to run: call it with an image to get a `Prediction`.

    It extends `runtime.Estimator`, which the ROS node runs, by results with metadata, and by models that are named by
    their weights. Such weights are downloaded and exported once, into the cache. The node does neither, so that a
    robot never waits for it. Not thread-safe.

    Args:
        model: a name of `depth_anything_ros models list`, or the same model's name on the Hugging Face hub; an .onnx
            file; a checkpoint (.safetensors, .pth); a folder of `export --bundle`, or one that `save_pretrained` of
            transformers or the hub's client wrote, whose `config.json` describes the weights.
        backend: "auto" for the fastest installed one that gives correct depth, or a name such as "onnxruntime",
            "openvino", "tensorrt" or "torch" (docs/backends.md).
        precision: "auto", or one of the backend's, such as "fp32" or "fp16".
        record: describes an .onnx without metadata: a record, or its JSON file.
        input_size: (height, width) of the network's input; default: the best size for the image.
        threads: of a CPU backend; default: the backend's choice.
        measured: False takes the first backend that works instead of the fastest, so that the choice is always the
            same.

    Raises:
        ModelError: the model is unknown, missing, damaged or undescribed, or no backend gives correct depth with it.
        ImportError: the weights must be downloaded or exported first, and a package for that is missing. The message
            names the extra that installs it.
        ValueError: ``backend`` or ``precision`` is unknown, or they do not go together.

    >>> from depth_anything_ros import Estimator
    >>> Estimator("tiny", backend="onnxruntime")
    Estimator(tiny, relative inverse depth, on onnxruntime fp32, input 140x182, ... or 182x140)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "tiny",
        backend: str = "auto",
        *,
        precision: str = "auto",
        record: ModelRecord | str | os.PathLike[str] | None = None,
        input_size: tuple[int, int] | None = None,
        threads: int | None = None,
        measured: bool = True,
    ) -> None:
        model, record = _model(model), Path(record) if isinstance(record, (str, os.PathLike)) else record
        try:
            prepare_model(model, backend, record)
        except OSError as error:
            raise ModelError(describe_error(error)) from error
        except ValueError as error:
            raise ModelError(str(error)) from error
        super().__init__(model, backend, record, input_size, threads, precision, measured=measured)

    @classmethod
    def from_pretrained(cls, model: str | os.PathLike[str], *arguments: Any, **options: Any) -> Estimator:
        """Return ``Estimator(model, ...)``; the name is that of transformers.

        Args:
            model: as in `Estimator`.
            arguments: of `Estimator`.
            options: of `Estimator`.
        """
        return cls(model, *arguments, **options)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str
        self, image: ImageLike, *, camera: CameraLike | None = None, size: tuple[int, int] | None = None
    ) -> Prediction: ...

    @overload
    def __call__(
        self,
        image: Sequence[ImageLike],
        *,
        camera: CameraLike | None = None,
        size: tuple[int, int] | None = None,
    ) -> list[Prediction]: ...

    def __call__(
        self,
        image: ImageLike | Sequence[ImageLike],
        *,
        camera: CameraLike | None = None,
        size: tuple[int, int] | None = None,
    ) -> Prediction | list[Prediction]:
        """Return the model's output for an image, or for each of a list of images.

        Args:
            image: RGB uint8 (H, W, 3), a path, or a Pillow image; or a list of them, which runs as one batch if the
                backend supports it.
            camera: a `Camera`, a camera_info file, or the horizontal field of view in degrees. It corrects a metric
                model's meters; point clouds need it.
            size: (height, width) of the result; default: the image's.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: an image is damaged or invalid, or the camera does not fit it. Then no image of a list runs.
            ModelError: the model failed.
        """
        if isinstance(image, (list, tuple)):
            return self._predict_all([open_image(one) for one in image], camera, size)
        return self._predict_all([open_image(cast(ImageLike, image))], camera, size)[0]

    def stream(
        self,
        source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        camera: CameraLike | None = None,
        every: int = 1,
    ) -> Iterator[Prediction]:
        """Yield the predictions for a video, for a folder of images and videos, or for several of them.

        Unreadable files and frames are skipped with a warning in the log.

        Args:
            source: a path, or several.
            camera: as for one image; it applies to all.
            every: 1 for every frame of a video, 2 for every second one, ….

        Raises:
            FileNotFoundError: nothing of ``source`` exists.
            ValueError: the camera does not fit an image, or ``every`` is below 1.
            ModelError: the model failed.
        """
        if every < 1:
            raise ValueError(f"every is {every}, must be at least 1")
        sources = [source] if isinstance(source, (str, os.PathLike)) else source
        for frame in read_frames(list_sources(sources), every):
            if frame.image is None:
                log.warning("%s: %s", frame.source, frame.error)
                continue
            picture = Picture(np.ascontiguousarray(frame.image), frame.source, frame.stem)
            yield self._predict_all([picture], camera, None)[0]

    def __repr__(self) -> str:
        record = self.record
        kind = "meters" if record.is_metric else f"relative {record.output.replace('_', ' ')}"
        return f"Estimator({record.name}, {kind}, on {self._runs_on}, input {self._input_sizes})"

    @property
    def _runs_on(self) -> str:
        return f"{self.backend_name} {self.precision}"

    @property
    def _input_sizes(self) -> str:
        sizes = [f"{height}x{width}" for height, width in filter(None, self._graphs)]
        if not sizes:
            return "of any size"
        return " or ".join(filter(None, (", ".join(sizes[:-1]), sizes[-1])))

    def _predict_all(
        self, pictures: Sequence[Picture], camera: CameraLike | None, size: tuple[int, int] | None
    ) -> list[Prediction]:
        """Predict images, as one batch if possible. All checks come first."""
        pixels = [picture.pixels for picture in pictures]
        sizes = [image.shape[:2] if size is None else size for image in pixels]
        cameras = [None if camera is None else camera_for(camera, *image.shape[1::-1]) for image in pixels]
        gives_confidence = self.gives_confidence
        confidences = [np.empty(shape, np.float32) if gives_confidence else None for shape in sizes]
        if gives_confidence or len(pictures) == 1:
            maps = list(map(self.estimate, pixels, sizes, [None] * len(pixels), confidences))
        else:
            maps = self.estimate_batch(pixels, sizes)
        return [self._prediction(*given) for given in zip(pictures, maps, confidences, cameras, strict=True)]

    def _prediction(
        self, picture: Picture, values: np.ndarray, confidence: np.ndarray | None, camera: Camera | None
    ) -> Prediction:
        """Return the result for an image; meters are corrected for its camera."""
        record, image, size = self.record, picture.pixels, values.shape
        input_size = self.input_size_for(*image.shape[:2])
        if record.is_metric:
            gain = 1.0
            if camera is not None and record.reference_focal is not None:
                gain = focal_gain(camera, input_size, record.reference_focal)
            output_to_depth(values, record.scale_model, Scale(gain, 0.0), out=values)
        if image.shape[:2] != size:
            image = resized_image(image, size)
            camera = None if camera is None else camera.resized(*size[::-1])
        return Prediction(
            values,
            image,
            record,
            self._runs_on,
            input_size,
            confidence=confidence,
            camera=camera,
            source=picture.source,
            name=picture.name,
        )


def _model(model: str | os.PathLike[str]) -> str | Path:
    """Return the model, by this package's name if the hub's name is given."""
    if not isinstance(model, str):
        return Path(model)
    record = None if Path(model).exists() else find_by_hub_name(model)
    return model if record is None else record.name
