"""`depth_anything_ros predict`: depth of images, folders and videos, as arrays, pictures and point clouds."""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_anything_ros import __version__
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.ply import write_ply
from depth_anything_ros.geometry.point_cloud import POINT_STEP, finite_points, write_point_cloud
from depth_anything_ros.geometry.scale import Scale, inverse_depth_to_depth, limit_depth
from depth_anything_ros.nodes.calibration import Calibration, read_calibration
from depth_anything_ros.runtime.colour import colourise
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.runtime.frame_reader import Frame, list_sources, read_frames
from depth_anything_ros.whole_file import write_whole
from depth_anything_ros.zoo.record import ModelRecord

PRODUCTS = ("npy", "png", "ply")

_EPILOG = """\
For each image STEM (for each frame STEM_000000 of a video) the folder gets
  STEM.npy  float32 (height, width) of the image: inverse depth, larger is nearer, of unknown scale and shift;
            or, from a metric model, metres
  STEM.png  the same, coloured: warm is near, cold is far, black is nothing
  STEM.ply  the coloured point cloud in metres; needs a camera (--fov or --camera) and, unless the model is metric,
            a scale (--scale; else the model's nominal one, which is plausible, not measured)
and predict.json: the model's record, what every file became, and the time it took.

examples: depth_anything_ros predict photo.jpg --output depth
          depth_anything_ros predict drive.mp4 --output depth --save png ply --fov 70
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the sub-command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image, video, or folder of them")
    parser.add_argument("--model", default="tiny", metavar="M", help="name, .onnx file or folder (default: tiny)")
    add_backend_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--save", nargs="+", choices=PRODUCTS, default=["npy", "png"], help="what to write (default: npy png)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use every Nth frame of a video (default: 1)")
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--fov", type=float, metavar="DEGREES", help="horizontal field of view, for ply")
    camera.add_argument("--camera", metavar="FILE", help="camera_info YAML, for ply; images must be rectified")
    parser.add_argument(
        "--scale", type=_scale, metavar="A,B", help="depth = 1 / (A * inverse depth + B), for ply of a relative model"
    )
    parser.add_argument(
        "--max-range", type=float, default=100.0, metavar="METRES", help="ply leaves farther points out (default: 100)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what is in predict.json here too")


def run(args: argparse.Namespace) -> int:
    """Predicts everything that can be read; the status is 1 if anything could not."""
    if args.every < 1:
        raise CommandError(f"--every is {args.every}, must be at least 1")
    sources = list_sources(args.inputs)
    try:
        estimator = Estimator(args.model, args.backend, args.record, threads=args.threads, precision=args.precision)
    except ModelError as error:
        raise CommandError(str(error)) from error
    print(estimator.provenance, file=sys.stderr)
    cloud = _cloud_settings(args, estimator.record) if "ply" in args.save else None
    args.output.mkdir(parents=True, exist_ok=True)

    results, failures = [], []
    for frame in _with_progress(read_frames(sources, args.every), len(sources)):
        try:
            results.append(_predict(frame, estimator, args.output, args.save, cloud))
        except _FrameError as error:
            failures.append({"source": str(frame.source), "error": str(error)})
            print(f"{frame.source}: {error}", file=sys.stderr)
    report = _report(estimator, cloud, results, failures)
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    for path in filter(None, (args.output / "predict.json", args.json)):
        write_whole(path, text.encode())
    print(f"{len(results)} done, {len(failures)} failed; {args.output / 'predict.json'}")
    return 1 if failures else 0


class _FrameError(RuntimeError):
    """One frame cannot be predicted or its results not be made; the others can."""


@dataclass(frozen=True)
class _CloudSettings:
    """What turns a model's output into points. ``scale`` is None for a metric model."""

    field_of_view: float | None
    calibration: Calibration | None
    scale: Scale | None
    scale_source: str
    max_range: float

    def camera(self, width: int, height: int) -> Camera:
        """The camera of an image of this size."""
        if self.calibration is None:
            return Camera.from_field_of_view(width, height, self.field_of_view)
        if not self.calibration.fits(width, height):
            raise _FrameError(
                f"the image is {width}x{height}, the calibration is for "
                f"{self.calibration.width}x{self.calibration.height}: another shape"
            )
        matrix = self.calibration.resized(width, height).projection  # P: the geometry of rectified images
        return Camera(width, height, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])


def _cloud_settings(args: argparse.Namespace, record: ModelRecord) -> _CloudSettings:
    """Settles camera and scale before any work is done, and says what the scale is worth."""
    if args.fov is None and args.camera is None:
        raise CommandError("--save ply needs a camera: give --fov DEGREES or --camera FILE")
    calibration = read_calibration(args.camera) if args.camera else None
    if calibration is not None and any(calibration.distortion):
        print(f"{args.camera} has distortion; clouds are right for rectified images only", file=sys.stderr)
    if args.fov is not None:
        Camera.from_field_of_view(1, 1, args.fov)  # refuses impossible angles now, not at the first image
    scale, source = None, "metric model"
    if not record.is_metric and args.scale is not None:
        scale, source = args.scale, "given"
    elif not record.is_metric:
        if record.nominal_scale is None:
            raise CommandError(f"{record.name} is relative and has no nominal scale: --save ply needs --scale A,B")
        scale, source = Scale(*record.nominal_scale), "nominal: plausible, not measured"
    print(f"scale of the clouds: {source}", file=sys.stderr)
    return _CloudSettings(args.fov, calibration, scale, source, args.max_range)


def _predict(
    frame: Frame, estimator: Estimator, folder: Path, products: Iterable[str], cloud: _CloudSettings | None
) -> dict[str, Any]:
    """Predicts one frame, writes its products and returns its entry in the report."""
    if frame.image is None:
        raise _FrameError(frame.error)
    start = time.perf_counter()
    try:
        values = estimator.estimate(frame.image)
    except ModelError as error:
        raise _FrameError(str(error)) from error
    seconds = time.perf_counter() - start
    entry: dict[str, Any] = {
        "source": str(frame.source),
        "height": values.shape[0],
        "width": values.shape[1],
        "network_size": estimator.input_size_for(*values.shape),
        "seconds": round(seconds, 6),
    }
    for product in PRODUCTS:
        if product not in products:
            continue
        path = folder / f"{frame.stem}.{product}"
        if product == "npy":
            _write_array(path, values)
        elif product == "png":
            _write_picture(path, values, estimator.record)
        else:
            entry["points"] = _write_cloud(path, values, frame.image, cloud)
        entry[product] = path.name
    return entry


def _write_array(path: Path, values: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, values)
    write_whole(path, stream.getvalue())


def _write_picture(path: Path, values: np.ndarray, record: ModelRecord) -> None:
    if record.is_metric:
        values = np.divide(1, values, out=np.full_like(values, np.nan), where=values > 0)
    _, encoded = cv2.imencode(".png", colourise(values)[..., ::-1])
    write_whole(path, encoded.tobytes())


def _write_cloud(path: Path, values: np.ndarray, image: np.ndarray, cloud: _CloudSettings) -> int:
    """Writes the point cloud and returns how many points it has."""
    height, width = values.shape
    if cloud.scale is None:
        depth = limit_depth(values, 0, cloud.max_range)
    else:
        depth = inverse_depth_to_depth(values, cloud.scale, 0, cloud.max_range)
    points = np.empty(height * width * POINT_STEP, np.uint8)
    write_point_cloud(depth, *cloud.camera(width, height).rays(), image, points)
    return write_ply(path, *finite_points(points))


def _report(
    estimator: Estimator, cloud: _CloudSettings | None, results: list[dict], failures: list[dict]
) -> dict[str, Any]:
    """The content of predict.json."""
    report: dict[str, Any] = {
        "version": __version__,
        "model": json.loads(estimator.record.to_json()),
        "provenance": estimator.provenance,
        "backend": estimator.backend_name,
        "precision": estimator.precision,
        "unit": "metres" if estimator.record.is_metric else "inverse depth of unknown scale and shift",
    }
    if cloud is not None:
        scale = None if cloud.scale is None else {"a": cloud.scale.a, "b": cloud.scale.b}
        report["cloud_scale"] = {"source": cloud.scale_source, "scale": scale}
    if results:
        seconds = [result["seconds"] for result in results]
        report["seconds_per_image"] = {"median": statistics.median(seconds), "longest": max(seconds)}
    return {**report, "files": results, "failed": failures}


def _scale(text: str) -> Scale:
    """Parses "A,B" of the command line."""
    try:
        a, b = (float(number) for number in text.split(","))
        return Scale(a, b)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not two finite numbers A,B") from error


def _with_progress(frames: Iterator[Frame], sources: int) -> Iterator[Frame]:
    """Shows how far reading has come: a bar where tqdm is installed, else a line every few seconds."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield from _with_progress_lines(frames, sources)
    else:
        yield from tqdm(frames, unit=" frames", disable=None)


def _with_progress_lines(frames: Iterator[Frame], sources: int, interval: float = 5.0) -> Iterator[Frame]:
    said = time.monotonic()
    for number, frame in enumerate(frames, start=1):
        yield frame
        if time.monotonic() - said > interval:
            said = time.monotonic()
            print(f"{number} frames of {sources} files", file=sys.stderr)
