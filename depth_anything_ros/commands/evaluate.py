"""`depth_anything_ros evaluate`: scores of models on RGB-D sets, next to baselines that ignore the image."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.api.evaluate import open_models
from depth_anything_ros.api.segmentation_model import open_segmentation
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.bag_truth_arguments import add_bag_arguments, check_no_bag_options, truth_of
from depth_anything_ros.commands.rgbd_arguments import add_rgbd_arguments, declaration_of
from depth_anything_ros.data.bag_paths import bag_problem
from depth_anything_ros.data.overwriting import refuse_files_of
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import FILE, Declaration
from depth_anything_ros.evaluation.obstacles import HeightBand, ObstacleOptions
from depth_anything_ros.evaluation.options import PROTOCOLS, EvaluationOptions
from depth_anything_ros.evaluation.protocol import Protocol
from depth_anything_ros.evaluation.protocol_files import check_options, find_protocol
from depth_anything_ros.evaluation.run import evaluate_models
from depth_anything_ros.evaluation.scored_sets import RGBD, SCORED_SETS, EvaluationSet, bag_sets, find_sets
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.output_folder import absent_after_failure
from depth_anything_ros.system.progress import track

_EPILOG = f"""\
Networks run in fp32 by default, so that scores are the same on every machine. --precision changes that.

Sets, each in a folder of its name under --data: {", ".join(SCORED_SETS)} (part of scikit-image).
Your own images with depth need no Python. Give --sets rgbd if --data is their folder, or the names of folders in
--data. A line reports how the files are interpreted. The options below or {FILE} in the folder correct it
(docs/data.md).

Every prediction, also in meters, is aligned to the truth of each image by least squares in inverse depth. Metric models
are scored a second time without alignment. Their meters are corrected for the focal length of each image if the record
of the model contains the focal length of its training. Means are over images, then over sets.

--protocol full scores every pixel with known depth. --protocol published limits KITTI to the Garg crop and 80 m, and
NYUv2 to the Eigen crop and 10 m, as papers do. For other sets both are the same. The other protocols come from papers,
with their sets, frames, alignment and published numbers: {", ".join(PROTOCOLS[2:])}. Options cannot change
them (docs/evaluation.md).

A bag is scored against a depth camera or a lidar in it, image by image: `evaluate BAG`. Topics are found by type; if
several fit, the error lists them (--image, --truth). camera_info and TF come from the bag (docs/bags.md).

A frame without depth and a damaged frame are skipped and reported. The exit status is then 1.

examples:
  depth_anything_ros evaluate --data sets --model tiny --model fastdepth.onnx:fastdepth.json --json scores.json
  depth_anything_ros evaluate drive.mcap --truth /lidar/points --model tiny --html drive.html
  depth_anything_ros evaluate --data my_camera --sets rgbd --depth-scale 0.001 --camera 615,615,320,240
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("bags", nargs="*", type=parse.path, metavar="BAG", help="ROS 2 or ROS 1 bags, see below")
    parser.add_argument("--data", type=parse.path, metavar="DIR", help="folder that contains the sets")
    parser.add_argument(
        "--model",
        action="append",
        type=parse.model,
        metavar="M",
        help="name or file of a model; FILE.onnx:RECORD.json for an ONNX file without a record; may be repeated "
        "(default: tiny)",
    )
    parser.add_argument(
        "--baselines",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also score a constant and a vertical gradient (default: yes)",
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        metavar="SET",
        help=f"names of sets, your own folders under --data, or {RGBD} for --data itself (default: all known sets that "
        f"are present, and folders with {FILE})",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="frames per set, evenly spaced; 0 for all (default: 10, or all frames that the protocol fixes)",
    )
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="full", help="rules of the scoring, see below (default: full)"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="threads that score; scores are the same (default: 1)"
    )
    parser.add_argument(
        "--resume",
        type=parse.output_folder,
        metavar="DIR",
        help="store the scores of each frame in this folder, and reuse stored ones",
    )
    parser.add_argument(
        "--robot",
        action="store_true",
        help="also report missed and false obstacles, error by range and region, drift, flicker and latency",
    )
    parser.add_argument(
        "--voxel",
        type=float,
        default=0.05,
        metavar="METERS",
        help="with --robot: side of an obstacle voxel (default: 0.05)",
    )
    parser.add_argument(
        "--camera-height",
        type=float,
        metavar="METERS",
        help="with --robot: height of a level camera; then only obstacles from 0.1 to 2 m above the ground count",
    )
    add_backend_arguments(parser, record=False)
    add_rgbd_arguments(parser)
    parser.set_defaults(precision="fp32")  # scores must not depend on the processor
    add_bag_arguments(parser)
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write all scores, image by image")
    parser.add_argument(
        "--markdown",
        type=parse.output_file,
        metavar="FILE",
        help="write a table of AbsRel and δ1, next to published numbers",
    )
    parser.add_argument(
        "--html",
        type=parse.output_file,
        metavar="FILE",
        help="write one page with tables, plots, and the worst and best images; it works offline",
    )
    parser.add_argument(
        "--pictures", type=parse.output_folder, metavar="DIR", help="write SET.png: image, truth, prediction, error"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, print tables and write the requested files."""
    if args.limit is not None and args.limit < 0:
        raise CommandError(f"--limit is {args.limit}, must be 0 or more")
    if args.workers < 1:
        raise CommandError(f"--workers is {args.workers}, must be 1 or more")
    declaration, protocol = declaration_of(args), find_protocol(args.protocol)
    own = None if declaration == Declaration() else declaration
    check_options(protocol, {"--limit": args.limit or None, "options such as --depth-scale": own})
    sets, args.data = _sets(args, declaration, protocol)
    for declared in sets:
        refuse_files_of(declared.source, declared.folder(args.data), [args.json, args.markdown, args.html])
    if declaration != Declaration() and not any(isinstance(declared.source, RgbdSet) for declared in sets):
        raise CommandError(f"options such as --depth-scale are for your own images: also give --sets {RGBD}")
    absent = set(SCORED_SETS) - {declared.name for declared in sets}
    if absent and args.sets is None and not args.bags and protocol.is_open:
        print(f"not found, so skipped: {', '.join(sorted(absent))}", file=sys.stderr)
    if args.threads:
        cv2.setNumThreads(args.threads)
    models = _models(args, protocol)
    # Before the work, so that a folder that cannot be created is reported at once.
    parents = [file.parent for file in (args.json, args.markdown, args.html) if file]
    folders = [*parents, *([args.pictures] if args.pictures else [])]
    options = EvaluationOptions(
        args.limit,
        args.protocol,
        args.baselines,
        args.pictures,
        bool(args.html),
        _shown,
        _log,
        args.workers,
        _obstacles(args),
        args.resume,
    )
    with absent_after_failure(*folders):
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        evaluation = evaluate_models(models, args.data, sets, options)
    print(evaluation)
    if args.markdown:
        atomic_write(args.markdown, evaluation.to_markdown().encode())
    if args.html:
        atomic_write(args.html, evaluation.to_html().encode())
    if args.json:
        atomic_write(args.json, evaluation.to_json().encode())
    written = [str(path) for path in (args.markdown, args.html, args.json, args.pictures) if path]
    if written:
        print(f"written: {', '.join(written)}", file=sys.stderr)
    return int(bool(evaluation.left_out))


def _models(args: argparse.Namespace, protocol: Protocol) -> dict[str, Estimator]:
    if protocol.task != "segmentation":
        options = {"backend": args.backend, "precision": args.precision, "threads": args.threads}
        return open_models(args.model or ["tiny"], **options)
    if not args.model:
        raise CommandError(
            f"protocol {protocol.name} scores networks of stage segment of `train`: give --model FILE.safetensors"
        )
    return open_segmentation(args.model)


def _sets(args: argparse.Namespace, declaration: Declaration, protocol: Protocol) -> tuple[list[EvaluationSet], Path]:
    """Return the sets, and the folder that contains them."""
    if not args.bags:
        if args.data is None:
            raise CommandError("give bags, or --data DIR for sets", 2)
        check_no_bag_options(args)
        return find_sets(args.data, args.sets, declaration, protocol), args.data
    if args.data is not None or args.sets is not None:
        raise CommandError("bags and --data cannot be scored in one run: leave one out", 2)
    if not protocol.is_open:
        raise CommandError(f"--protocol {protocol.name} fixes its sets: leave the bags out", 2)
    if all(bag.is_dir() and bag_problem(bag) for bag in args.bags):
        first = args.bags[0]
        raise CommandError(
            f"{first}: {bag_problem(first)}; for a folder with images and depth give --data {first} --sets {RGBD}", 2
        )
    return bag_sets(args.bags, truth_of(args)), Path()


def _obstacles(args: argparse.Namespace) -> ObstacleOptions | None:
    """Return the definition of an obstacle, None without --robot."""
    if not args.robot:
        if args.camera_height is not None:
            raise CommandError("--camera-height limits obstacles: also give --robot")
        return None
    band = None if args.camera_height is None else HeightBand(args.camera_height)
    return ObstacleOptions(args.voxel, band=band)


def _shown(names: Sequence[str], title: str) -> Iterable[str]:
    if not sys.stderr.isatty():  # where a set's bar would appear
        print(f"scoring {title}: {len(names)} frames", file=sys.stderr, flush=True)
    return track(names, title, "frames", len(names), leave=False)


def _log(text: str) -> None:
    print(text, file=sys.stderr)
