"""`depth_anything_ros evaluate`: scores of models on RGB-D sets, beside baselines that never look at the image."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import cv2

from depth_anything_ros.api.evaluate import open_models
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.progress import shown
from depth_anything_ros.commands.rgbd_arguments import add_rgbd_arguments, declaration_of
from depth_anything_ros.data.overwriting import refuse_files_of
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import FILE, Declaration
from depth_anything_ros.evaluation.run import PROTOCOLS, EvaluationOptions, evaluate_models
from depth_anything_ros.evaluation.scored_sets import RGBD, SCORED_SETS, find_sets
from depth_anything_ros.system.atomic_file import atomic_write

_EPILOG = f"""\
Networks compute in fp32 unless --precision says otherwise, so that scores are the same on every machine.

Sets, each in a folder of its name under --data: {", ".join(SCORED_SETS)} (which comes with scikit-image).
Images with depth of your own need no Python: --sets rgbd for the folder --data, or the names of folders in it; which
files are taken for what is said, and settled by the options below or by {FILE} in the folder (docs/data.md).

Every prediction, meters too, is aligned to each image's truth by least squares in inverse depth. Metric models are
scored a second time as they are, multiplied for each image's focal length where the model's record names the one that
it was trained with. Means are over images, then over sets.

--protocol full scores every pixel of known depth. --protocol published restricts KITTI to the Garg crop and 80 m and
NYUv2 to the Eigen crop and 10 m, as the tables of papers do; other sets are the same in both.

A frame without depth, or a damaged one, is left out and named; the status is 1 then.

examples:
  depth_anything_ros evaluate --data sets --model tiny --model fastdepth.onnx:fastdepth.json --json scores.json
  depth_anything_ros evaluate --data my_camera --sets rgbd --depth-scale 0.001 --camera 615,615,320,240
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the sub-command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("--data", type=parse.path, required=True, metavar="DIR", help="folder that holds the sets")
    parser.add_argument(
        "--model",
        action="append",
        type=parse.model,
        metavar="M",
        help="a model's name or file; FILE.onnx:RECORD.json for a network that carries no record; may be repeated "
        "(default: tiny)",
    )
    parser.add_argument(
        "--baselines",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="score a constant and a vertical gradient too (default: yes)",
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        metavar="SET",
        help=f"the sets to use, folders of your own under --data, or {RGBD} for that folder itself (default: all known "
        f"ones that are there, and folders that hold {FILE})",
    )
    parser.add_argument(
        "--limit", type=int, default=10, metavar="N", help="frames of each set, evenly spaced; 0: all (default: 10)"
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, default="full", help="see below (default: full)")
    add_backend_arguments(parser, record=False)
    add_rgbd_arguments(parser)
    parser.set_defaults(precision="fp32")  # scores must not depend on the processor
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write every score, image by image")
    parser.add_argument("--markdown", type=parse.output_file, metavar="FILE", help="write a table of AbsRel and δ1")
    parser.add_argument(
        "--pictures", type=parse.output_folder, metavar="DIR", help="write SET.png: image, truth, prediction, error"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluates, prints tables and writes what was asked for."""
    if args.limit < 0:
        raise CommandError(f"--limit is {args.limit}, must be 0 or more")
    said = declaration_of(args)
    sets = find_sets(args.data, args.sets, said)
    for declared in sets:
        refuse_files_of(declared.source, declared.folder(args.data), [args.json, args.markdown])
    if said != Declaration() and not any(isinstance(declared.source, RgbdSet) for declared in sets):
        raise CommandError(f"options such as --depth-scale are for images of your own: give --sets {RGBD} too")
    absent = set(SCORED_SETS) - {declared.name for declared in sets}
    if absent and args.sets is None:
        print(f"not there, so left out: {', '.join(sorted(absent))}", file=sys.stderr)
    if args.threads:
        cv2.setNumThreads(args.threads)
    models = open_models(args.model or ["tiny"], backend=args.backend, precision=args.precision, threads=args.threads)
    # Now, so that a folder that cannot be made is said before the work and not after it.
    for folder in (args.pictures, *(file.parent for file in (args.json, args.markdown) if file)):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
    options = EvaluationOptions(args.limit, args.protocol, args.baselines, args.pictures, _shown, _say)
    evaluation = evaluate_models(models, args.data, sets, options)
    print(evaluation)
    if args.markdown:
        atomic_write(args.markdown, evaluation.to_markdown().encode())
    if args.json:
        atomic_write(args.json, evaluation.to_json().encode())
    return int(bool(evaluation.left_out))


def _shown(names: Sequence[str], title: str) -> Iterable[str]:
    return shown(names, title, "frames", len(names), quiet=not sys.stderr.isatty(), leave=False)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
