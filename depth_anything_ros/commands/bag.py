"""`depth_anything_ros bag`: the outputs of the depth node for a recording, computed offline at full speed."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.bag_outcome import Outcome
from depth_anything_ros.commands.bag_parameters import parameter_values, parse_parameter
from depth_anything_ros.commands.bag_run import BagRun
from depth_anything_ros.commands.bag_topics import SOURCE_OPTIONS, choose_bag_topics
from depth_anything_ros.commands.sensor_arguments import add_sensor_arguments, check_imu
from depth_anything_ros.data.bag_output import BagOutput, check_output
from depth_anything_ros.data.bags import bag_reader
from depth_anything_ros.processing.frame_settings import FrameSettings, choose_settings
from depth_anything_ros.processing.outputs import SCALE, TOPICS
from depth_anything_ros.processing.parameters import ModelParameters, StreamParameters
from depth_anything_ros.processing.recorded_camera import RecordedCamera
from depth_anything_ros.processing.scale_parameters import ScaleMeasuring
from depth_anything_ros.runtime.shared_cores import load_halves
from depth_anything_ros.system.malloc import keep_freed_memory
from depth_anything_ros.system.signals import signal_handlers

NAMES = (*TOPICS, SCALE)
MANY_IMAGES = 100
"""Number of images from which loading the model a second time saves time."""
_DEFAULT = ("info", "depth", "points", "inverse_depth", "sigma", SCALE)
_EPILOG = """\
OUT gets the messages of IN (--no-copy omits them) and, for each image, the outputs of the depth node:
  info          depth/camera_info        depth        depth/image_rect, 32FC1 in meters
  points        points                   millimeters  depth/image_raw, 16UC1
  scale         scale, with a source     sigma        depth/sigma, 32FC1 in meters, with a source
  color         depth/image_color        confidence   confidence/image
  inverse_depth inverse_depth/image, of a relative model
Outputs have the stamp, the frame_id and the time of receipt of their image.

Parameters are the node's: --params takes its YAML file, --param sets one. TF is read from the bag. A relative model
needs a scale for meters: a sensor (--points, --depth, --scan, --range, --camera-height), or scale.a and scale.b. A
measurement of up to 0.1 s after an image counts too.

Messages that cannot be read are skipped, named and counted; the exit status is then 1. Ctrl-C leaves OUT_partial, a
valid bag of the finished part. ROS 1 bags are converted to ROS 2.

examples: depth_anything_ros bag drive.mcap drive_depth
          depth_anything_ros bag drive.mcap depth.mcap --points /lidar/points --save depth points --no-copy
          depth_anything_ros bag run.bag out --params depth_node.yaml --param max_depth:=20.0
"""


_SCALE_ADVICE = (
    "for depth give a source of the scale: --depth, --points, --scan, --range or --camera-height; or a fixed scale: "
    "-p scale.a:=A -p scale.b:=B"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("bag", type=parse.path, metavar="IN", help="ROS 2 or ROS 1 bag")
    parser.add_argument("output", type=parse.output_bag, metavar="OUT", help="bag to write: a folder, or NAME.mcap")
    parser.add_argument("--model", type=parse.model, metavar="M", help="name, .onnx file or folder (default: tiny)")
    add_backend_arguments(parser)
    parser.set_defaults(backend=None, precision=None)
    parser.add_argument("--image", metavar="TOPIC", help="images of the camera (default: the only topic with pictures)")
    parser.add_argument("--camera-info", metavar="TOPIC", help="its camera_info (default: next to the images)")
    parser.add_argument("--save", "--topics", nargs="+", choices=NAMES, metavar="NAME", help="outputs, see below")
    parser.add_argument(
        "--namespace", default="", metavar="NS", help="namespace of the output's topics (default: none)"
    )
    parser.add_argument(
        "--copy", action=argparse.BooleanOptionalAction, default=True, help="copy the messages of IN (default)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a bag")
    parser.add_argument("--params", type=parse.existing_file, metavar="FILE", help="the node's parameter file")
    parser.add_argument(
        "-p",
        "--param",
        type=parse_parameter,
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="one of the node's parameters (docs/parameters.md); may be repeated",
    )
    parser.add_argument(
        "--rectified", choices=("auto", "true", "false"), help="whether the images are rectified (default: auto)"
    )
    parser.add_argument(
        "--odometry",
        metavar="TOPIC",
        help="nav_msgs/Odometry that carries the scale between measurements; from TF instead, by its fixed frame: "
        "-p scale.odometry:=tf -p scale.odom_frame:=odom",
    )
    add_sensor_arguments(parser, "scale from")


@dataclass(frozen=True)
class _Setup:
    """The checked options, before the model is loaded."""

    model: ModelParameters
    stream: StreamParameters
    measuring: ScaleMeasuring


def run(args: argparse.Namespace) -> int:
    """Write the bag. Return 1 if a message could not be used, 130 if it was interrupted, else 0."""
    check_output(args.output, args.overwrite)
    keep_freed_memory()
    setup = _setup(args)
    with bag_reader(args.bag) as reader:
        topics = choose_bag_topics(str(args.bag), reader, args, setup.measuring)
        for note in topics.notes:
            print(note, file=sys.stderr)
        estimator = _load(setup.model)
        print(estimator.provenance, file=sys.stderr)
        settings = choose_settings(setup.stream, estimator.record, setup.measuring.sources)
        print(settings.scale.text, file=sys.stderr)
        if not settings.scale.gives_depth:
            print(_SCALE_ADVICE, file=sys.stderr)
        saved = _saved(args.save, estimator, settings)
        halves = _halves(setup.model, estimator, topics.images)
        work = BagRun(reader, estimator, halves, settings, setup.measuring, topics, saved, args.namespace)
        outcome = _write(work, args)
    return _report(outcome, args)


def _setup(args: argparse.Namespace) -> _Setup:
    given = _given(args)
    values = parameter_values(args.params, given)
    try:
        return _Setup(ModelParameters.of(values), StreamParameters.of(values), ScaleMeasuring.of(values))
    except ValueError as error:
        raise CommandError(str(error)) from error


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters that options set."""
    check_imu(args)
    if args.camera_pitch is not None and args.camera_height is None:
        raise CommandError("--camera-pitch is for the ground: give --camera-height too")
    given: dict[str, Any] = dict(args.param)
    options: Mapping[str, Any] = {
        "model": args.model,
        "backend": args.backend,
        "precision": args.precision,
        "threads": args.threads,
        "record": None if args.record is None else str(args.record),
        "rectified": None if args.rectified is None else {"true": True, "false": False}.get(args.rectified, "auto"),
        "scale.camera_height": args.camera_height,
        "scale.camera_pitch": args.camera_pitch,
        "scale.extrinsics": args.extrinsics,
        "scale.odometry": None if args.odometry is None else "topic",
    }
    given |= {name: value for name, value in options.items() if value is not None}
    sources = [name for name, option in SOURCE_OPTIONS.items() if getattr(args, option) is not None]
    if sources:
        given["scale.source"] = sources
    return given


def _load(model: ModelParameters) -> Estimator:
    return Estimator(
        model.model,
        model.backend,
        precision=model.precision,
        record=model.record,
        input_size=model.input_size,
        threads=model.threads,
    )


def _halves(model: ModelParameters, estimator: Estimator, images: int) -> list[Estimator]:
    """Return the model for each of two images at once; none for few images or a given number of threads."""
    if images < MANY_IMAGES or model.threads is not None:
        return []
    return load_halves(
        estimator,
        lambda choice, threads: _load(
            replace(model, backend=choice.backend, precision=choice.precision, threads=threads)
        ),
    )


def _saved(requested: list[str] | None, estimator: Estimator, settings: FrameSettings) -> list[str]:
    """Return the outputs to write. Raises `CommandError` if the model gives none of the requested ones."""
    absent = RecordedCamera.absent(estimator, settings)
    if requested is None:
        names = [name for name in _DEFAULT if name not in absent]
        return [name for name in names if name != "inverse_depth" or not settings.scale.gives_depth]
    missing = [name for name in requested if name in absent]
    saved = [name for name in requested if name not in absent]
    if missing:
        reason = f"{estimator.record.name} with this scale does not give {', '.join(missing)}"
        if not saved:
            raise CommandError(f"--save: {reason}; {_SCALE_ADVICE}")
        print(reason, file=sys.stderr)
    return saved


def _write(work: BagRun, args: argparse.Namespace) -> Outcome:
    """Run, and give the bag its name: with "partial" in it if it was interrupted."""
    output = BagOutput(args.output)
    try:
        with signal_handlers({number: lambda *_: work.stop() for number in (signal.SIGINT, signal.SIGTERM)}):
            outcome = work.run(output, args.copy)
            outcome.path = output.finish(not outcome.is_interrupted)
            return outcome
    except BaseException:
        output.discard()
        raise


def _report(outcome: Outcome, args: argparse.Namespace) -> int:
    for line in outcome.problems():
        print(line, file=sys.stderr)
    if outcome.is_interrupted:
        print(f"interrupted: {outcome.done} of {outcome.images} images are in {outcome.path}", file=sys.stderr)
        return 130
    print(f"{outcome.done} done, {outcome.failed} failed; {outcome.path}")
    return 1 if outcome.has_failed else 0
