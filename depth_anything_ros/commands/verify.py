"""`depth_anything_ros verify`: compares the depth of two backends, on fixed images or the user's."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.image_inputs import ReadableFrames
from depth_anything_ros.export.prepare import prepare_model
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import REFERENCE
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.visualization.captions import captioned, footed, legend
from depth_anything_ros.visualization.colormap import colorize, ramp
from depth_anything_ros.visualization.grid import titled_row

_EPILOG = """\
The exit status is 0 if every image can be read and its difference is within the limits of the backend's precision,
else 1. The picture has one row per image: image, reference, backend, and their difference (black: none; white: the
limit or more).

example: depth_anything_ros verify tiny --backend openvino --images photos/ --picture difference.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "model", nargs="?", type=parse.model, default="tiny", help="name, .onnx file or folder (default: tiny)"
    )
    add_backend_arguments(parser)
    parser.add_argument(
        "--against",
        type=parse.backend,
        default=REFERENCE.backend,
        metavar="B",
        help=f"the reference backend, in fp32 (default: {REFERENCE.backend})",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        type=parse.source,
        metavar="INPUT",
        help="your images, videos or folders (default: the three images of the gate)",
    )
    parser.add_argument("--picture", type=parse.output_picture, metavar="FILE", help="a picture of the differences")
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write the numbers here")


def run(args: argparse.Namespace) -> int:
    """Compare the images. Return 1 if one of them fails or cannot be read, else 0."""
    frames = ReadableFrames(args.images) if args.images else None  # reports missing files before the model is loaded
    prepare_model(args.model, args.backend, args.record)
    checked, reference = (
        Estimator(
            args.model, backend, args.record, threads=args.threads, precision=precision, gated=False, fallback=fallback
        )
        for backend, precision, fallback in (
            (args.backend, args.precision, args.backend == "auto"),
            (args.against, "fp32", False),
        )
    )
    # A requested backend or precision is tested itself, or reported as unusable: no fallback.
    if args.precision not in ("auto", checked.precision):
        print(f"{args.precision} is not available: {checked.provenance}", file=sys.stderr)
        return 1
    print(f"{checked.provenance}\nagainst {args.against} fp32")
    if (checked.backend_name, checked.precision) == (reference.backend_name, reference.precision):
        print("both are the same: install another backend, or choose one with --backend and --precision")
    verdicts, rows = {}, []
    for title, image in _images(frames):
        size = reference.input_size_for(*image.shape[:2])
        expected, given = (estimator.estimate(image, size) for estimator in (reference, checked))
        limits = gate.LIMITS[checked.precision]
        verdicts[title] = gate.compare(expected, given, limits)
        print(f"{title} at {size[0]}x{size[1]}: {verdicts[title]}")
        if args.picture:
            titles = title, f"{args.against} fp32", f"{checked.backend_name} {checked.precision}", "difference"
            row = titled_row(titles, difference_panels(image, expected, given, limits))
            rows.append(captioned(row, str(verdicts[title])))
    passed = all(verdict.passed for verdict in verdicts.values())
    left_out = 0 if frames is None else frames.failed
    print(("passes" if passed else "FAILS") + (f"; images left out: {left_out}" if left_out else ""))
    if args.picture:
        _write_picture(args.picture, rows, limits)
    if args.json:
        images = {title: asdict(verdict) for title, verdict in verdicts.items()}
        result = {
            "backend": checked.backend_name,
            "precision": checked.precision,
            "against": args.against,
            "passed": passed,
            "images": images,
            "left_out": left_out,
        }
        atomic_write(args.json, json.dumps(result, indent=2).encode())
    return 0 if passed and not left_out else 1


def _images(frames: ReadableFrames | None) -> Iterator[tuple[str, np.ndarray]]:
    if frames is None:
        for index, image in enumerate(gate.images()):
            yield f"fixed image {index + 1}", image
        return
    for frame in frames:
        yield frame.stem, frame.image


def difference_panels(
    image: np.ndarray, expected: np.ndarray, given: np.ndarray, limits: gate.Limits, height: int = 240
) -> list[np.ndarray]:
    """Return four panels, RGB (height, W, 3): the image, both maps in the reference's colors, and the difference.

    Args:
        image: RGB uint8 (H, W, 3).
        expected: the reference's map, floats (h, w).
        given: the backend's map, of the same shape.
        limits: the limit of a pixel is white in the difference.
        height: Height of the panels in pixels.
    """
    lower, upper = np.percentile(expected, (2, 98))
    share = np.abs(given - expected) / (limits.worst * max(float(np.ptp(expected)), 1e-12))
    gray = (255 * np.clip(np.nan_to_num(share, nan=1.0, posinf=1.0), 0, 1)).astype(np.uint8)
    panels = [
        image,
        colorize(expected, lower, upper),
        colorize(given, lower, upper),
        np.repeat(gray[..., None], 3, axis=2),
    ]
    width = round(image.shape[1] * height / image.shape[0])
    return [cv2.resize(panel, (width, height), interpolation=cv2.INTER_NEAREST) for panel in panels]


def _write_picture(path: Path, rows: list[np.ndarray], limits: gate.Limits) -> None:
    """Stack the rows, padded to the widest, with an explanation, and write the file."""
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows]
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    legends = [
        legend(ramp(), "far", "near, on the reference's range"),
        legend(grays, "no difference", f"{limits.worst:.1%} of that range or more: the limit of a pixel"),
    ]
    text = "Each image, its reference, the verified backend, and their difference"
    picture = footed(np.vstack(padded), text, legends)
    encoded, content = cv2.imencode(path.suffix or ".png", picture[..., ::-1])
    if not encoded:
        raise CommandError(f"{path}: cannot write a picture of this format")
    atomic_write(path, content.tobytes())
