"""`depth_anything_ros bench`: the speed of every backend with a model on this machine."""

from __future__ import annotations

import argparse
import json
import sys

from depth_anything_ros.bench.comparison import BenchOptions, Comparison
from depth_anything_ros.bench.report import summarize, tables
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.export.prepare import prepare_model
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.extras import require

_EPILOG = """\
Each candidate runs in its own process. All are measured in turns, so a change of the clock rate affects all of them.
Trust ratios more than times. pre: image to batch; model: the engine alone; post: map to the image's size;
whole: all three. At the fixed rate one frame waits and a newer one replaces it, as in the node; its age counts from
its due time. "of GEMM": speed relative to large float32 matrix products, measured between the turns. Times are
medians, 95th and 99th percentiles over all rounds.

examples: depth_anything_ros bench
          depth_anything_ros bench models/vits --backend openvino --backend onnxruntime --json bench.json
          depth_anything_ros bench --encoder vits --size 308x406 --transformers
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("model", nargs="?", type=parse.model, help="name, .onnx file or folder (default: tiny)")
    parser.add_argument(
        "--encoder",
        choices=("tiny", "hybrid", "vits", "vitb", "vitl"),
        help="measure random weights of this size instead of a model; needs --size, PyTorch and onnx",
    )
    parser.add_argument(
        "--record", type=parse.existing_file, metavar="FILE", help="JSON record, for an .onnx without metadata"
    )
    parser.add_argument("--size", type=parse.size, metavar="HxW", help="network input (default: the model's choice)")
    parser.add_argument(
        "--image", type=parse.size, default=(480, 640), metavar="HxW", help="camera's image size (default: 480x640)"
    )
    parser.add_argument(
        "--backend",
        type=parse.backend,
        action="append",
        default=[],
        metavar="B",
        help="measure only this one; repeatable (default: all)",
    )
    parser.add_argument(
        "--precision",
        type=parse.precision,
        action="append",
        default=[],
        metavar="P",
        help="measure only this one; repeatable (default: all)",
    )
    parser.add_argument(
        "--transformers", action="store_true", help="also measure Hugging Face's transformers with the same weights"
    )
    parser.add_argument(
        "--threads", type=parse.at_least(1), metavar="N", help="threads of CPU backends (default: the backend's choice)"
    )
    parser.add_argument(
        "--rate", type=parse.positive, default=30.0, metavar="HZ", help="of the fixed-rate measurement (default: 30)"
    )
    parser.add_argument(
        "--rounds", type=parse.at_least(1), default=3, metavar="N", help="turns of each candidate (default: 3)"
    )
    parser.add_argument(
        "--seconds", type=parse.positive, default=5.0, metavar="S", help="of each turn in each mode (default: 5)"
    )
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="write all measurements here")
    parser.add_argument("--markdown", type=parse.output_file, metavar="FILE", help="write the tables here")


def run(args: argparse.Namespace) -> int:
    """Run the comparison. Return 0 if anything was measured, 1 if nothing was, 130 after an interruption."""
    settings = _settings(args)
    require(*(["torch", "onnx"] if args.encoder else []), *(["torch", "transformers"] if args.transformers else []))
    if not args.encoder:
        prepare_model(settings.model, record=args.record)
    comparison = Comparison(settings, lambda line: print(line, file=sys.stderr, flush=True))
    status = 0
    try:
        comparison.run()
    except KeyboardInterrupt:
        print("interrupted; these are the results so far", file=sys.stderr)
        status = 130
    summary = summarize(comparison)
    print(tables(summary), end="")
    if args.json:
        atomic_write(args.json, json.dumps(summary, indent=2).encode())
    if args.markdown:
        atomic_write(args.markdown, tables(summary, markdown=True).encode())
    return status or int(not any(row["latency_ms"] for row in summary["contenders"]))


def _settings(args: argparse.Namespace) -> BenchOptions:
    if args.encoder and (args.model or args.record):
        raise CommandError("--encoder replaces the model: give only one of them")
    if args.encoder and args.size is None:
        raise CommandError("--encoder needs --size, such as 308x406")
    return BenchOptions(
        model=args.model or "tiny",
        record=str(args.record) if args.record else None,
        encoder=args.encoder,
        size=args.size,
        image=args.image,
        backends=args.backend,
        precisions=args.precision,
        transformers=args.transformers,
        threads=args.threads,
        rate=args.rate,
        rounds=args.rounds,
        seconds=args.seconds,
    )
