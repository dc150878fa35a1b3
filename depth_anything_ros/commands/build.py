"""`depth_anything_ros build`: builds, checks and stores engines before a robot needs them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.image_inputs import ReadableFrames
from depth_anything_ros.export.prepare import prepare_model
from depth_anything_ros.runtime.backends.interface import BuildOptions
from depth_anything_ros.runtime.engines.cache import Engine, EngineCache
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.system.atomic_file import atomic_write

_EPILOG = """\
A node, `predict` and every other command build missing engines when they start. On a Jetson that takes minutes; this
command does it beforehand. Each engine must pass the gate. The next safer precision replaces an engine that fails; the
exit status is then 1 if you requested a precision. ONNX, OpenVINO's fp32 and bf16, and PyTorch need no engine.

An engine is for one input size. Give --image if you know your camera's size. Otherwise, for a model that takes any
size, the engine is for the size that its record prefers.

INT8 ranges are measured on --images; give a few dozen from your own camera. --images and --workspace imply --rebuild.

examples: depth_anything_ros build vits.onnx --backend tensorrt
          depth_anything_ros build tiny --backend openvino --precision int8 --images recorded/
          depth_anything_ros build --list
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
        "--images",
        nargs="+",
        type=parse.source,
        metavar="INPUT",
        help="images, folders or videos to calibrate INT8 with",
    )
    parser.add_argument(
        "--image",
        type=parse.size,
        metavar="HxW",
        help="build only for this size of your camera's images (default: all sizes of the model)",
    )
    parser.add_argument("--rebuild", action="store_true", help="build stored engines again, also rejected ones")
    parser.add_argument(
        "--workspace",
        type=parse.at_least(1),
        metavar="MIB",
        help="maximum device memory for TensorRT's build (default: all of it)",
    )
    parser.add_argument("--list", action="store_true", help="list the stored engines, and build none")
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write the engines' sidecars here")


def run(args: argparse.Namespace) -> int:
    """Build, and print the engines in use. Return 1 if another precision is in use, or an image was left out."""
    if args.list:
        engines = EngineCache().engines()
        _print(engines)
        if not engines:
            print(f"no engines in {EngineCache().folder}")
        _write_json(args.json, {"engines": [_entry(engine) for engine in engines]})
        return 0
    frames = None if args.images is None else ReadableFrames(args.images)
    building = BuildOptions(
        images=None if frames is None else [frame.image for frame in frames],
        report=_show_progress if sys.stderr.isatty() else None,
        rebuild=args.rebuild or args.images is not None or args.workspace is not None,
        workspace=None if args.workspace is None else args.workspace << 20,
    )
    prepare_model(args.model, args.backend, args.record)
    try:
        estimator = Estimator(
            args.model, args.backend, args.record, threads=args.threads, precision=args.precision, building=building
        )
        if args.image is None:
            estimator.load_all_sizes()
        else:
            estimator.load_for(*args.image)
    except ModelError as error:
        raise CommandError(str(error)) from error
    print(estimator.provenance)
    _print(estimator.engines())
    if not estimator.engines():
        print(f"{estimator.backend_name} {estimator.precision} runs the model's own files: there is nothing to build")
    _write_json(
        args.json,
        {
            "backend": estimator.backend_name,
            "precision": estimator.precision,
            "provenance": estimator.provenance,
            "engines": [_entry(engine) for engine in estimator.engines()],
        },
    )
    left_out = 0 if frames is None else frames.failed
    if left_out:
        print(f"images left out of --images, see above: {left_out}", file=sys.stderr)
    return 0 if args.precision in ("auto", estimator.precision) and not left_out else 1


def _print(engines: list[Engine]) -> None:
    for engine in engines:
        sidecar = engine.sidecar
        size = sum(path.stat().st_size for path in engine.folder.iterdir()) / 1e6
        rejected, gate = sidecar.get("rejected"), f"gate: {sidecar.get('gate', 'not yet')}"
        if rejected is not None:
            gate = f"rejected: {rejected}"
        print(f"{engine.folder.name}: {size:.1f} MB, built in {sidecar['build_seconds']:.1f} s, {gate}")


def _entry(engine: Engine) -> dict[str, Any]:
    return {"folder": str(engine.folder), **engine.sidecar}


def _write_json(path: Path | None, result: dict[str, Any]) -> None:
    if path:
        atomic_write(path, json.dumps(result, indent=2).encode())


def _show_progress(phase: str, fraction: float) -> None:
    """Redraw one line of the terminal."""
    print(f"\r{phase[:50]:<50} {fraction:4.0%}", end="" if fraction < 1 else "\n", file=sys.stderr, flush=True)
