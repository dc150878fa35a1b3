"""`depth_anything_ros evaluate`: scores of models on RGB-D sets, beside baselines that never look at the image."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.overwriting import refuse_files_of
from depth_anything_ros.commands.progress import shown
from depth_anything_ros.commands.rgbd_arguments import add_rgbd_arguments, declaration_of
from depth_anything_ros.data.check import evenly_spaced
from depth_anything_ros.data.frame import DataError, Frame, refusal
from depth_anything_ros.data.image_set import Named
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import FILE, Declaration
from depth_anything_ros.evaluation.baselines import BASELINES
from depth_anything_ros.evaluation.peers import record_of_peer
from depth_anything_ros.evaluation.pictures import FirstFrame
from depth_anything_ros.evaluation.protocol import Contender, Region, evaluate_contenders
from depth_anything_ros.evaluation.report import SetResult, json_report, markdown_report, text_report
from depth_anything_ros.evaluation.sets import RGBD, SETS, EvaluationSet, find_sets
from depth_anything_ros.export.prepare import prepare_model
from depth_anything_ros.geometry.scale import focal_gain
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.whole_file import write_whole
from depth_anything_ros.zoo.record import ModelRecord

_EPILOG = f"""\
Networks compute in fp32 unless --precision says otherwise, so that scores are the same on every machine.

Sets, each in a folder of its name under --data: {", ".join(SETS)} (which comes with scikit-image).
Images with depth of your own need no Python: --sets rgbd for the folder --data, or the names of folders in it; which
files are taken for what is said, and settled by the options below or by {FILE} in the folder (docs/data.md).

Every prediction, metres too, is aligned to each image's truth by least squares in inverse depth. Metric models are
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
    parser.add_argument("--protocol", choices=("full", "published"), default="full", help="see below (default: full)")
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
    absent = set(SETS) - {declared.name for declared in sets}
    if absent and args.sets is None:
        print(f"not there, so left out: {', '.join(sorted(absent))}", file=sys.stderr)
    if args.threads:
        cv2.setNumThreads(args.threads)
    estimators = _open_models(args)
    contenders = [_contender(name, estimator) for name, estimator in estimators.items()]
    if args.baselines:
        contenders += [
            Contender(name, predict, "inverse_depth", is_baseline=True) for name, predict in BASELINES.items()
        ]
    # Now, so that a folder that cannot be made is said before the work and not after it.
    for folder in (args.pictures, *(file.parent for file in (args.json, args.markdown) if file)):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
    results, refusals = [], []
    for declared in sets:
        try:
            results.append(_evaluate_set(declared, contenders, args))
        except (DataError, OSError, ImportError) as error:  # the other sets have scores all the same
            refusals.append(f"{declared.name}: {error}")
    if not results:
        raise CommandError("; ".join(refusals))
    for text in refusals:
        print(f"left out: {text}", file=sys.stderr)
    print(text_report(results))
    if args.markdown:
        write_whole(args.markdown, markdown_report(results).encode())
    if args.json:
        models = {
            name: {"record": json.loads(estimator.record.to_json()), "provenance": estimator.provenance}
            for name, estimator in estimators.items()
        }
        report = json_report(results, args.protocol, models)
        write_whole(args.json, json.dumps(report, indent=2, ensure_ascii=False).encode())
    return int(bool(refusals) or any(result.left_out for result in results))


def _contender(name: str, estimator: Estimator) -> Contender:
    """The model as something that is scored; its metres are corrected for each image's lens."""
    record = estimator.record

    def gain(frame: Frame) -> float | None:
        if frame.camera is None:
            return None
        return focal_gain(frame.camera, estimator.input_size_for(*frame.image.shape[:2]), record.reference_focal)

    corrects = record.reference_focal is not None
    return Contender(
        name, estimator.estimate, record.output, is_metric=record.is_metric, gain=gain if corrects else None
    )


def _open_models(args: argparse.Namespace) -> dict[str, Estimator]:
    """Estimators by the name that reports call them: their record's, or what the user typed if two share that."""
    estimators: dict[str, Estimator] = {}
    for model in dict.fromkeys(args.model or ["tiny"]):
        path, separator, record_file = model.rpartition(":")
        if separator and record_file.endswith(".json"):
            record: ModelRecord | Path | None = Path(record_file)
        else:
            path, record = model, record_of_peer(Path(model))
        prepare_model(path, args.backend, Path(record) if isinstance(record, str) else record)
        try:
            estimator = Estimator(path, args.backend, record, threads=args.threads, precision=args.precision)
        except ModelError as error:
            raise CommandError(str(error)) from error
        estimators[model] = estimator
    names = [estimator.record.name for estimator in estimators.values()]
    return {
        name if names.count(name) == 1 else typed: estimator
        for name, (typed, estimator) in zip(names, estimators.items(), strict=True)
    }


def _evaluate_set(declared: EvaluationSet, contenders: Sequence[Contender], args: argparse.Namespace) -> SetResult:
    """Scores the contenders on one set, with a progress bar, and draws its first frame where asked to.

    Frames that cannot be scored are left out and named. Raises `DataError` where none is left.
    """
    names, unpaired = declared.frame_names(args.data), declared.unpaired(args.data)
    chosen = evenly_spaced(names, args.limit)
    published = args.protocol == "published"
    region = Region(declared.published_crop, declared.published_range) if published else Region()
    first, refused = FirstFrame(), []
    seen = shown(chosen, declared.name, "frames", len(chosen), quiet=not sys.stderr.isatty(), leave=False)
    frames = _frames(declared, args.data, seen, refused)
    try:
        rows = evaluate_contenders(contenders, frames, region, first.add, refused.append)
    except ValueError as error:
        if len(refused) < len(chosen):
            raise
        raise DataError(f"not one of {len(chosen)} frames can be scored, see above") from error
    finally:
        _say_left_out(refused)
    for row in rows:
        if row.uncorrected:
            print(
                f"{row.contender} on {declared.name}: {len(row.uncorrected)} of {len(row.images)} images are of "
                "unknown focal length: their metres are uncorrected",
                file=sys.stderr,
            )
    if args.pictures:
        _, encoded = cv2.imencode(".png", first.picture())
        write_whole(args.pictures / f"{declared.name}.png", encoded.tobytes())
    scored = len(chosen) - len(refused)
    return SetResult(declared.name, declared.terms, scored, len(names), rows, [*unpaired, *refused])


def _frames(declared: EvaluationSet, root: Path, names: Iterable[str], refused: list[str]) -> Iterator[Frame]:
    """The frames that can be read; of the others, why not is appended to ``refused``."""
    for name in names:
        try:
            frame = declared.read(root, name)
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # libraries raise whatever they stumble over, and the next frame may be whole
            refused.append(refusal(f"{declared.name}/{name}", error))
        else:
            yield frame


def _say_left_out(refused: Sequence[str]) -> None:
    for text in refused[: Named.MOST]:
        print(f"left out: {text}", file=sys.stderr)
    if len(refused) > Named.MOST:
        print(f"left out: {len(refused) - Named.MOST} more, which --json names", file=sys.stderr)
