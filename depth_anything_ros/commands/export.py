"""`depth_anything_ros export`: exports a network to ONNX."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.data.overwriting import refuse_overwriting
from depth_anything_ros.export.prepare import load_network
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.output_folder import MODEL, Made, claimed
from depth_anything_ros.zoo.record import ModelRecord, name_from
from depth_anything_ros.zoo.resolve import resolve

_EPILOG = """\
The graph's input is the camera's bytes, uint8 [N, H, W, 3] RGB, at the exported size and for any batch size N. The
graph contains the model's record. Before the file is moved into place, its output is compared with the network's, for
one image and for two.

examples: depth_anything_ros export depth_anything_v2_vits --size 392x518 --output vits.onnx
          depth_anything_ros export runs/tiny/depth/tiny.safetensors --size 252x336 196x350 --bundle tiny
"""

RECORD = "record.json"
PATCH = 14
"""Side of the encoders' patches in pixels."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "model", type=parse.model, metavar="MODEL", help="name from `models list`, checkpoint, or its folder"
    )
    parser.add_argument(
        "--size",
        nargs="+",
        type=parse.size,
        metavar="HxW",
        help="input size in multiples of 14 (default: the model's usual size); several with --bundle",
    )
    parser.add_argument("--version", choices=("v1", "v2"), help="Depth Anything version, for a checkpoint without it")
    meaning = parser.add_mutually_exclusive_group()
    meaning.add_argument(
        "--max-depth", type=parse.positive, metavar="METERS", help="20 or 80, for a metric checkpoint without it"
    )
    meaning.add_argument(
        "--relative", action="store_true", help="treat the checkpoint as relative, although its name says metric"
    )
    parser.add_argument(
        "--training-focal",
        type=parse.positive,
        metavar="PIXELS",
        help="training focal length, for a metric checkpoint without it, in pixels of the network's input (598.1 on "
        "Hypersim, 1001.5 on Virtual KITTI 2); it corrects depth for other lenses",
    )
    parser.add_argument(
        "--record", type=parse.existing_file, metavar="FILE", help="JSON record, for a checkpoint without one"
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", type=parse.output_file, metavar="FILE", help="the .onnx file to write")
    target.add_argument(
        "--bundle",
        type=parse.output_folder,
        metavar="DIR",
        help="write a bundle: half-precision weights once, and a small graph for each size",
    )
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write the result here as JSON too")


def run(args: argparse.Namespace) -> int:
    """Export the model, and print the written files."""
    if args.output and args.size and len(args.size) > 1:
        raise CommandError("--output takes one --size; use --bundle DIR for several")
    for height, width in args.size or ():
        if height % PATCH or width % PATCH:
            near = "x".join(str(max(1, round(side / PATCH)) * PATCH) for side in (height, width))
            raise CommandError(f"--size {height}x{width}: both sides must be multiples of {PATCH}, such as {near}")
    require("torch", "onnx", "safetensors")
    # Imported late: `--help` must not need PyTorch.
    from depth_anything_ros.export.bundle import export_bundle
    from depth_anything_ros.export.onnx import export_onnx
    from depth_anything_ros.export.tracing import ExportError

    resolved = resolve(args.model, described=args.record is not None)
    given = ModelRecord.read(args.record) if args.record else resolved.record
    if resolved.weights is None:
        raise CommandError(resolved.fault or f"{resolved.path}: must hold exactly one weights file")
    for option, path in (("--output", args.output), ("--json", args.json)):  # also for a model given by name
        if path:
            refuse_overwriting(option, path.parent, [path.name], [resolved.weights])
    if args.bundle:
        name = given.name if given else name_from(resolved.weights.stem)
        _check_bundle(args.bundle, name, args.size or [], [resolved.weights, args.record])
    network, record = _load(args, resolved.weights, given)
    sizes = args.size or [record.input_size]
    result: dict[str, Any]
    try:
        if args.bundle:
            with claimed(args.bundle, Made(MODEL, f"the model {record.name}", "export")) as folder:
                written = export_bundle(network, record, sizes, args.bundle)
                folder.note({"": str(resolved.weights)}, [RECORD, *(file.name for file in written.files)])
            result = {"folder": str(args.bundle), "record": json.loads(written.to_json())}
            print(f"{args.bundle}: {', '.join(file.name for file in written.files)}")
        else:
            difference = export_onnx(network, record, sizes[0], args.output)
            result = {"file": str(args.output), "size": sizes[0], "difference": difference}
            print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of the network")
    except ExportError as error:
        raise CommandError(str(error)) from error
    if args.json:
        atomic_write(args.json, json.dumps(result, indent=2).encode())
    return 0


def _check_bundle(folder: Path, name: str, sizes: Sequence[tuple[int, int]], inputs: Sequence[Path | None]) -> None:
    """Check that no file of the bundle would replace an input or another model's file. Raises `CommandError`."""
    graphs = [f"{name}_{height}x{width}.onnx" for height, width in sizes]
    refuse_overwriting("--bundle", folder, [f"{name}.safetensors", *graphs, RECORD], inputs)
    if (folder / RECORD).is_file() and (other := ModelRecord.read(folder / RECORD).name) != name:
        raise CommandError(f"--bundle {folder} holds the model {other}: give {name} its own folder")


def _load(args: argparse.Namespace, weights: Path, record: ModelRecord | None) -> tuple[Any, ModelRecord]:
    """Return the network, and its record."""
    if args.relative and record is not None and record.is_metric:
        raise CommandError(
            f"--relative: the record of {weights} says that it predicts meters, up to {record.max_depth:g}; if that "
            "is wrong, give another with --record"
        )
    network, record = load_network(weights, record, args.version, args.max_depth, args.relative)
    if args.training_focal is None:
        return network, record
    if not record.is_metric:
        raise CommandError(f"--training-focal needs a metric model, {record.name} is relative (see --max-depth)")
    return network, replace(record, training_focal=args.training_focal, canonical_focal=None)
