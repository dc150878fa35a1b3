"""`depth_anything_ros predict`: depth of images, folders and videos, as arrays, pictures and point clouds."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from depth_anything_ros import __version__
from depth_anything_ros.api.cameras import read_camera
from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.api.scales import UNITS
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.image_inputs import add_input_range
from depth_anything_ros.commands.prediction_folder import MADE, check_output
from depth_anything_ros.commands.progress import shown
from depth_anything_ros.geometry.calibration import Calibration
from depth_anything_ros.images.folders import RESULTS
from depth_anything_ros.images.frame_reader import FileImage, list_sources, read_frames
from depth_anything_ros.postprocessing.scale import Scale
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.output_folder import claimed
from depth_anything_ros.zoo.record import ModelRecord

PRODUCTS = ("npy", "png", "ply")
NAMED = 5
"""So many files are named where more is said of all of them in predict.json."""

_EPILOG = """\
For each image STEM (for each frame STEM_000000 of a video) the folder gets
  STEM.npy  float32 (height, width) of the image: inverse depth, larger is nearer, of unknown scale and shift;
            or, from a metric model, meters, NaN where they are not known
  STEM.png  the same, colored: warm is near, cold is far, black is nothing
  STEM.ply  the colored point cloud in meters; needs a camera (--fov or --camera) and, unless the model is metric,
            a scale (--scale; else the model's nominal one, which is plausible, not measured)
and predict.json: the model's record, what every file became, and the time it took.

Folders are searched with those below; what is hidden and folders of earlier results are passed over, with a word. What
cannot be read, whole files or frames of a video, is named and counted, the rest is done; the exit status is then 1.

A metric model's meters hold for the focal length that its record names. Give --fov or --camera, and they are corrected
for yours, in .npy too; without, predict.json says "uncorrected".

examples: depth_anything_ros predict photo.jpg --output depth
          depth_anything_ros predict drive.mp4 --output depth --save png ply --fov 70
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the sub-command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("inputs", nargs="+", type=parse.source, metavar="INPUT", help="image, video, or folder of them")
    parser.add_argument(
        "--model", type=parse.model, default="tiny", metavar="M", help="name, .onnx file or folder (default: tiny)"
    )
    add_backend_arguments(parser)
    parser.add_argument(
        "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--save", nargs="+", choices=PRODUCTS, default=["npy", "png"], help="what to write (default: npy png)"
    )
    parser.add_argument(
        "--every", type=parse.at_least(1), default=1, metavar="N", help="use every Nth frame of a video (default: 1)"
    )
    add_input_range(parser)
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        "--fov", type=parse.field_of_view, metavar="DEGREES", help="horizontal field of view, for ply and meters"
    )
    camera.add_argument(
        "--camera",
        type=parse.source,
        metavar="FILE",
        help="camera_info YAML, for ply and meters; images must be rectified",
    )
    parser.add_argument(
        "--scale",
        type=_scale,
        metavar="A,B",
        help="depth = 1 / (A * inverse depth + B), for ply of a relative model; where its record says depth_affine "
        "A * output + B, where it says depth_scale A alone",
    )
    parser.add_argument(
        "--max-range",
        type=parse.positive,
        default=100.0,
        metavar="METERS",
        help="ply leaves farther points out (default: 100)",
    )
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write what is in predict.json here too")


def run(args: argparse.Namespace) -> int:
    """Predicts everything that can be read; the status is 1 if anything could not."""
    sources = list_sources(args.inputs, args.output)
    check_output(args.output, args.inputs, sources, args.save)
    camera = _camera(args)
    estimator = Estimator(args.model, args.backend, precision=args.precision, record=args.record, threads=args.threads)
    print(estimator.provenance, file=sys.stderr)
    lens = _lens(camera, estimator.record)
    cloud = _cloud_settings(args, estimator.record) if "ply" in args.save else None
    results, failures = [], []
    with claimed(args.output, MADE) as folder:
        seen = read_frames(sources, args.every, args.input_range)
        for frame in shown(seen, "predicting", "frames", quiet=not sys.stderr.isatty()):
            try:
                results.append(_predict(frame, estimator, args.output, args.save, lens, cloud))
            except _FrameError as error:
                failures.append({"source": str(frame.source), "error": str(error), "images": max(1, frame.dropped)})
                print(f"{frame.source}: {error}", file=sys.stderr)
        report = _report(estimator, lens, cloud, results, failures)
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        for path in filter(None, (args.output / RESULTS, args.json)):
            atomic_write(path, text.encode(errors="backslashreplace"))  # of names that are not UTF-8: as JSON has them
        folder.note({}, [RESULTS])
    _say_of_pages(results)
    failed = sum(failure["images"] for failure in failures)
    print(f"{len(results)} done, {failed} failed; {args.output / RESULTS}")
    return 1 if failures else 0


def _say_of_pages(results: Iterable[Mapping[str, Any]]) -> None:
    """Says of which files the first image alone was used."""
    several = [f"{result['source']} ({result['pages']})" for result in results if "pages" in result]
    if several:
        more = ", …" if len(several) > NAMED else ""
        named = ", ".join(several[:NAMED])
        print(
            f"{len(several)} files hold several images, of which the first alone is used: {named}{more}",
            file=sys.stderr,
        )


class _FrameError(RuntimeError):
    """One frame cannot be predicted or its results not be made; the others can."""


@dataclass(frozen=True)
class _Lens:
    """The camera, if it is known, and the focal length that a metric model is to be corrected for, if any."""

    camera: Calibration | float | None
    reference_focal: float | None

    @property
    def corrects(self) -> bool:
        """Whether meters are corrected for the lens."""
        return self.camera is not None and self.reference_focal is not None

    @property
    def state(self) -> str:
        """Whether meters are corrected for the lens, in a line."""
        if self.reference_focal is None:
            return "the record names no focal length to correct for"
        made_for = f"made for a focal length of {self.reference_focal:.1f} px at the network's input"
        if self.corrects:
            return f"corrected: {made_for}"
        return f"uncorrected: {made_for}; give --fov or --camera to have them corrected for your lens"


def _camera(args: argparse.Namespace) -> Calibration | float | None:
    """The calibration of --camera, or the degrees of --fov, if any; read before a model is loaded."""
    if "ply" in args.save and args.fov is None and args.camera is None:
        raise CommandError("--save ply needs a camera: give --fov DEGREES or --camera FILE")
    return read_camera(args.camera) if args.camera else args.fov


def _lens(camera: Calibration | float | None, record: ModelRecord) -> _Lens:
    """Settles the camera before any work is done, and says what a metric model's meters are worth."""
    lens = _Lens(camera, record.reference_focal)
    if record.is_metric:
        print(f"meters: {lens.state}", file=sys.stderr)
    return lens


@dataclass(frozen=True)
class _CloudSettings:
    """What turns a relative model's output into points, and how far they may be. Of a metric one the scale is 1, 0."""

    scale: Scale
    scale_source: str
    max_range: float


def _cloud_settings(args: argparse.Namespace, record: ModelRecord) -> _CloudSettings:
    """Settles the scale before any work is done, and says what it is worth."""
    scale, source = Scale(1.0, 0.0), "metric model"
    if not record.is_metric and args.scale is not None:
        scale, source = _given_scale(*args.scale, record), "given"
    elif not record.is_metric:
        if record.nominal_scale is None:
            raise CommandError(f"{record.name} is relative and has no nominal scale: --save ply needs --scale A,B")
        scale, source = Scale(*record.nominal_scale), "nominal: plausible, not measured"
    print(f"scale of the clouds: {source}", file=sys.stderr)
    return _CloudSettings(scale, source, args.max_range)


def _given_scale(a: float, b: float | None, record: ModelRecord) -> Scale:
    if record.scale_model == "depth_scale":
        if b:
            raise CommandError(f"{record.name} gives depth of unknown scale alone: give --scale A, without B")
        return Scale(a, 0.0)
    if b is None:
        raise CommandError(f"{record.name} gives output of unknown scale and shift: give both, --scale A,B")
    return Scale(a, b)


def _predict(
    frame: FileImage,
    estimator: Estimator,
    folder: Path,
    products: Iterable[str],
    lens: _Lens,
    cloud: _CloudSettings | None,
) -> dict[str, Any]:
    """Predicts one frame, writes its products and returns its entry in the report."""
    if frame.image is None:
        raise _FrameError(frame.error)
    start = time.perf_counter()
    try:
        prediction = estimator(frame.image, camera=lens.camera if lens.corrects or cloud is not None else None)
    except (ModelError, ValueError) as error:
        raise _FrameError(str(error)) from error
    except (MemoryError, cv2.error) as error:
        size = "x".join(map(str, frame.image.shape[1::-1]))
        why = " ".join(str(error).split()) or "memory does not suffice"
        raise _FrameError(f"the image of {size} pixels cannot be predicted: {why}") from error
    seconds = time.perf_counter() - start
    height, width = prediction.shape
    entry: dict[str, Any] = {
        "source": str(frame.source),
        "height": height,
        "width": width,
        "network_size": prediction.input_size,
        "seconds": round(seconds, 6),
    }
    if frame.pages > 1:
        entry["pages"] = frame.pages
    if lens.corrects:
        entry["multiplied_for_the_lens_by"] = round(prediction.focal_gain, 6)
    for product in PRODUCTS:
        if product not in products:
            continue
        path = folder / f"{frame.stem}.{product}"
        if product == "ply":
            points = prediction.point_cloud(scale=cloud.scale, max_range=cloud.max_range)
            points.save(path)
            entry["points"] = len(points.positions)
        else:
            prediction.save(path)
        entry[product] = path.name
    return entry


def _report(
    estimator: Estimator, lens: _Lens, cloud: _CloudSettings | None, results: list[dict], failures: list[dict]
) -> dict[str, Any]:
    """The content of predict.json."""
    report: dict[str, Any] = {
        "version": __version__,
        "model": json.loads(estimator.record.to_json()),
        "provenance": estimator.provenance,
        "backend": estimator.backend_name,
        "precision": estimator.precision,
        "unit": UNITS[estimator.record.scale_model],
    }
    if estimator.record.is_metric:
        report["focal_length"] = lens.state
    if cloud is not None:
        scale = None if estimator.record.is_metric else {"a": cloud.scale.a, "b": cloud.scale.b}
        report["cloud_scale"] = {"source": cloud.scale_source, "scale": scale}
    if results:
        seconds = [result["seconds"] for result in results]
        report["seconds_per_image"] = {"median": statistics.median(seconds), "longest": max(seconds)}
    return {**report, "files": results, "failed": failures}


def _scale(text: str) -> tuple[float, float | None]:
    """Parses "A,B" of the command line, or "A"; B is None where it is not given."""
    try:
        numbers = [float(number) for number in text.split(",")]
        if len(numbers) > 2 or not all(map(math.isfinite, numbers)):
            raise ValueError("not one or two finite numbers")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not two finite numbers A,B") from error
    if numbers[0] <= 0:
        raise CommandError(f"is {text}, A must be positive")
    return numbers[0], numbers[1] if len(numbers) == 2 else None
