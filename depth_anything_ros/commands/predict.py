"""`depth_anything_ros predict`: depth of images, folders and videos, as arrays, pictures and point clouds."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from depth_anything_ros import __version__
from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.api.scales import UNITS
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.depth_video import DepthVideos
from depth_anything_ros.commands.image_inputs import add_input_range
from depth_anything_ros.commands.metric_output import (
    CloudScale,
    Lens,
    camera_of,
    cloud_scale_of,
    lens_of,
    parse_scale,
)
from depth_anything_ros.commands.prediction_folder import MADE, check_output
from depth_anything_ros.commands.prediction_writer import PRODUCTS, PredictionWriter
from depth_anything_ros.commands.remote_inputs import local_inputs
from depth_anything_ros.images.file_kinds import FileKind, kind_of_named_file
from depth_anything_ros.images.folders import RESULTS
from depth_anything_ros.images.frame_reader import FileImage, count_frames, list_sources, read_frames
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.output_folder import claimed
from depth_anything_ros.system.progress import track

MAX_NAMES = 5
"""Maximum number of file names in one line; predict.json has all."""

_EPILOG = """\
For each image STEM (for each frame STEM_000000 of a video) the folder gets
  STEM.npy  float32 (height, width) of the image: inverse depth, larger is nearer, of unknown scale and shift;
            or, from a metric model, meters, NaN where unknown
  STEM.png  the same in colors: warm is near, cold is far, black is unknown
  STEM.jpg  the image and its depth in colors, side by side
  STEM.ply  the colored point cloud in meters; needs a camera (--fov or --camera) and, unless the model is metric,
            a scale (--scale; the default is the model's nominal scale, which is plausible, not measured)
  STEM.mp4  of each video: the image and its depth side by side, in steady colors
and predict.json: the model's record, the results of each file, and the times.

Folders are searched recursively. Hidden files and folders of earlier results are skipped, with a message. Files and
frames that cannot be read are reported and counted, and the rest is processed; the exit status is then 1.

A metric model's meters are for the focal length that its record names. With --fov or --camera they are corrected for
your lens, also in .npy. Without these, predict.json says "uncorrected".

examples: depth_anything_ros predict photo.jpg
          depth_anything_ros predict drive.mp4 --output drive_depth --save mp4 ply --fov 70
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "inputs",
        nargs="+",
        type=parse.source,
        metavar="INPUT",
        help="images, videos or folders; a URL; a webcam (number or device) gives one frame",
    )
    parser.add_argument(
        "--model", type=parse.model, default="tiny", metavar="M", help="name, .onnx file or folder (default: tiny)"
    )
    add_backend_arguments(parser)
    parser.add_argument(
        "--output",
        type=parse.output_folder,
        default="depth",
        metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument(
        "--save", nargs="+", choices=PRODUCTS, default=["npy", "png"], help="files to write (default: npy png)"
    )
    parser.add_argument("--show", action="store_true", help="show each image and its depth in the terminal")
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
        type=parse_scale,
        metavar="A,B",
        help="for ply of a relative model: depth = 1 / (A * inverse depth + B); if the model's record says "
        "depth_affine, depth = A * output + B; if depth_scale, give A alone",
    )
    parser.add_argument(
        "--max-range",
        type=parse.positive,
        default=100.0,
        metavar="METERS",
        help="maximum depth of points in ply (default: 100)",
    )
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="a copy of predict.json")


def run(args: argparse.Namespace) -> int:
    """Predict every readable input. Return 1 if an input failed, else 0."""
    with local_inputs(args.inputs) as (inputs, addresses):
        return _run(args, inputs, addresses)


def _run(args: argparse.Namespace, inputs: Sequence[str], addresses: Mapping[Path, str]) -> int:
    """Predict files; ``addresses`` has those of downloaded ones."""
    sources = list_sources(inputs, args.output)
    check_output(args.output, inputs, sources, args.save)
    _check_videos(sources, args.save)
    camera = camera_of(args)  # before the model is loaded
    estimator = Estimator(args.model, args.backend, precision=args.precision, record=args.record, threads=args.threads)
    print(estimator.provenance, file=sys.stderr)
    lens = lens_of(camera, estimator.record)
    cloud = cloud_scale_of(args, estimator.record) if "ply" in args.save else None
    results, failures = [], []
    with claimed(args.output, MADE) as folder:
        frames = read_frames(sources, args.every, args.input_range)
        videos = DepthVideos(args.output, args.every) if "mp4" in args.save else None
        writer = PredictionWriter(args.output, args.save, cloud, videos, args.show)
        try:
            total = count_frames(sources, args.every)
            for frame in track(frames, "predicting", "images", total, quiet=args.show):
                try:
                    results.append({"source": _name_of(frame, addresses), **_predict(frame, estimator, lens, writer)})
                except _FrameError as error:
                    name = _name_of(frame, addresses)
                    failures.append({"source": name, "error": str(error), "images": max(1, frame.dropped)})
                    print(f"{name}: {error}", file=sys.stderr)
            if videos is not None:
                videos.close()
        finally:
            if videos is not None:
                videos.discard()
        report = _report(estimator, lens, cloud, results, failures)
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        for path in filter(None, (args.output / RESULTS, args.json)):
            atomic_write(path, text.encode(errors="backslashreplace"))  # names that are not UTF-8, in JSON's escapes
        folder.note({}, [RESULTS])
    _report_pages(results)
    failed = sum(failure["images"] for failure in failures)
    print(f"{len(results)} done, {failed} failed; in {args.output}: {_written(results)}")
    return 1 if failures else 0


def _check_videos(sources: Iterable[Path], products: Sequence[str]) -> None:
    """Check that there is a video if mp4 is requested. Raises `CommandError` if nothing would be written without."""
    if "mp4" not in products or any(kind_of_named_file(source) is FileKind.VIDEO for source in sources):
        return
    problem = "no input is a video, so there is no mp4"
    if set(products) == {"mp4"}:
        raise CommandError(f"--save mp4: {problem}; --save jpg puts an image and its depth side by side")
    print(f"--save mp4: {problem}", file=sys.stderr)


def _written(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the names of the files, or how many there are of each kind if they are many."""
    names = {product: sorted({entry[product] for entry in results if product in entry}) for product in PRODUCTS}
    if sum(map(len, names.values())) <= MAX_NAMES:
        return ", ".join([*(name for product in names.values() for name in product), RESULTS])
    return ", ".join([*(f"{len(names[product])} {product}" for product in PRODUCTS if names[product]), RESULTS])


def _name_of(frame: FileImage, addresses: Mapping[Path, str]) -> str:
    return addresses.get(frame.source, str(frame.source))


def _report_pages(results: Iterable[Mapping[str, Any]]) -> None:
    """Print the files of which only the first image was used."""
    several = [f"{result['source']} ({result['pages']})" for result in results if "pages" in result]
    if several:
        more = f", … ({len(several)} files)" if len(several) > MAX_NAMES else ""
        names = ", ".join(several[:MAX_NAMES])
        print(f"only the first of several images is used: {names}{more}", file=sys.stderr)


class _FrameError(RuntimeError):
    """One frame cannot be predicted, or its results cannot be made. Other frames can."""


def _predict(frame: FileImage, estimator: Estimator, lens: Lens, writer: PredictionWriter) -> dict[str, Any]:
    """Predict one frame, write its products and return its entry in the report."""
    if frame.image is None:
        raise _FrameError(frame.error)
    start = time.perf_counter()
    try:
        prediction = estimator(frame.image, camera=lens.camera if lens.corrects or writer.cloud is not None else None)
    except (ModelError, ValueError) as error:
        raise _FrameError(str(error)) from error
    except (MemoryError, cv2.error) as error:
        size = "x".join(map(str, frame.image.shape[1::-1]))
        reason = " ".join(str(error).split()) or "out of memory"
        raise _FrameError(f"the image of {size} pixels cannot be predicted: {reason}") from error
    seconds = time.perf_counter() - start
    height, width = prediction.shape
    entry: dict[str, Any] = {
        "height": height,
        "width": width,
        "network_size": prediction.input_size,
        "seconds": round(seconds, 6),
    }
    if frame.pages > 1:
        entry["pages"] = frame.pages
    if lens.corrects:
        entry["multiplied_for_the_lens_by"] = round(prediction.focal_gain, 6)
    return entry | writer.write(frame, prediction)


def _report(
    estimator: Estimator, lens: Lens, cloud: CloudScale | None, results: list[dict], failures: list[dict]
) -> dict[str, Any]:
    """Return the content of predict.json."""
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
        report["cloud_scale"] = {"source": cloud.source, "scale": scale}
    if results:
        seconds = [result["seconds"] for result in results]
        report["seconds_per_image"] = {"median": statistics.median(seconds), "longest": max(seconds)}
    return {**report, "files": results, "failed": failures}
