"""`depth_anything_ros calibrate`: measure a model's scale with a robot's sensors, from a bag or live topics."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.commands.bag_topics import choose_odometry
from depth_anything_ros.commands.calibration_camera import CameraModel, camera_model
from depth_anything_ros.commands.calibration_files import parameters_of, record_of
from depth_anything_ros.commands.calibration_frames import Collected, Collector, Ground, choose_frames
from depth_anything_ros.commands.calibration_motion import collect_motion
from depth_anything_ros.commands.calibration_report import Setup, json_of, result_files, spread_text, text_of
from depth_anything_ros.commands.sensor_arguments import add_sensor_arguments, check_imu, extrinsics_of
from depth_anything_ros.data.bag_index import COMPRESSED, IMAGE, KINDS, SOURCES, TopicIndex, read_index
from depth_anything_ros.data.bag_messages import BagRecording, Recording
from depth_anything_ros.data.bag_topics import Requested, choose_topics
from depth_anything_ros.data.frame import as_png
from depth_anything_ros.processing.recorded_sensors import RecordedFrames, RecordedOdometry
from depth_anything_ros.scale.kinds import KINDS as SCALE_KINDS
from depth_anything_ros.scale.metric_scale import MOTION
from depth_anything_ros.scale.source_report import SourceReport, disagreements, examine, most_reliable
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.output_folder import CALIBRATION, Made, absent_after_failure, claimed
from depth_anything_ros.visualization.calibration_picture import SourcePlot, calibration_picture

MADE = Made(CALIBRATION, CALIBRATION, "calibrate")
_EPILOG = """\
The folder gets
  calibration.yaml  parameters for depth_node: the most reliable source, and the fixed pair as a comment
  calibration.json  all results, with the pair of each frame
  calibration.png   residuals by range, ln a over time, and one frame for each source
  record.json       the model's record with scale_rate, the drift of its scale, for depth_node's parameter record

For each source the report has the number of scaled frames, the best scale a, b for all frames with its spread over
time, and the error by distance. It checks the stamps against the images (only while the view changes), and the
extrinsics for a rotation or a sideways shift. Transforms come from /tf and /tf_static, or from --extrinsics.

examples: depth_anything_ros calibrate drive.mcap --output calibration
          depth_anything_ros calibrate drive.mcap --points /lidar/points --scan /scan --output calibration
          depth_anything_ros calibrate drive.mcap --odometry /odom --output calibration
          depth_anything_ros calibrate --live 30 --image /camera/image_rect --scan /scan --output calibration
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("bag", nargs="?", type=parse.path, metavar="BAG", help="ROS 2 or ROS 1 bag")
    parser.add_argument(
        "--live", type=parse.positive, metavar="SECONDS", help="record live topics for this time, instead of a bag"
    )
    parser.add_argument(
        "--model", type=parse.model, default="tiny", metavar="M", help="name, .onnx file or folder (default: tiny)"
    )
    add_backend_arguments(parser)
    parser.add_argument("--image", metavar="TOPIC", help="images of the camera (default: the only topic with pictures)")
    parser.add_argument("--camera-info", metavar="TOPIC", help="its camera_info (default: next to the images)")
    parser.add_argument(
        "--rectified",
        choices=("auto", "true", "false"),
        default="auto",
        help="whether the images are rectified; auto (default): the topic's name decides; raw images are rectified",
    )
    add_sensor_arguments(parser, "reference:")
    parser.add_argument(
        "--odometry", metavar="TOPIC", help="reference: the camera's own motion, by an Odometry; needs a bag"
    )
    parser.add_argument(
        "--frames", type=parse.at_least(1), default=60, metavar="N", help="frames to use, evenly spread (default: 60)"
    )
    parser.add_argument(
        "--fixed", action="store_true", help="set the fixed pair in calibration.yaml, instead of the source"
    )
    parser.add_argument(
        "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for the results"
    )


def run(args: argparse.Namespace) -> int:
    """Compare the sensors with the model. Return 1 if an image or a requested source could not be used, else 0."""
    extrinsics = extrinsics_of(args)
    recording = _recording(args)
    if args.odometry is not None:
        choose_odometry(str(recording), recording.kinds(), args.odometry)
    index, tree = read_index(recording)
    topics = choose_topics(str(recording), index, _requested(args))
    for note in topics.notes:
        print(note, file=sys.stderr)
    _check_extrinsics(args, len(topics.sources) + (topics.imu is not None) + (args.odometry is not None))
    pitch = args.camera_pitch or 0.0
    ground = None if args.camera_height is None else Ground(args.camera_height, pitch)
    rectified = {"auto": None, "true": True, "false": False}[args.rectified]
    camera = camera_model(index, topics, rectified)
    has_frames = bool(topics.sources) or ground is not None
    times = choose_frames(index, topics, args.frames, ground is not None) if has_frames else []
    estimator = Estimator(args.model, args.backend, precision=args.precision, record=args.record, threads=args.threads)
    print(estimator.provenance, file=sys.stderr)
    if args.fixed and estimator.record.is_metric:
        name = estimator.record.name
        raise CommandError(f"--fixed: {name} predicts meters, and takes no fixed scale; leave --fixed out", 2)
    with absent_after_failure(args.output), claimed(args.output, MADE) as folder:
        collected = Collector(index, topics, camera, tree, extrinsics, ground).collect(recording, times, estimator)
        reports = _examine(collected, topics.sources, estimator)
        if args.odometry is not None:
            odometry = RecordedOdometry(args.odometry, RecordedFrames(tree, extrinsics))
            moving = _collect_motion(args, recording, index[topics.image], camera, odometry, estimator)
            reports += _examine(moving, {MOTION: args.odometry}, estimator)
            collected.failed += [reason for reason in moving.failed if reason not in collected.failed]
        setup = Setup(
            str(recording),
            topics.image,
            topics.depth_info,
            topics.imu,
            estimator,
            args.extrinsics,
            args.camera_height,
            pitch,
            args.fixed,
        )
        best = _best(reports, collected)
        print("\n\n".join(text_of(one, setup) for one in reports))
        _write(args.output, reports, best, setup, collected)
        folder.note({}, [path.name for path in result_files(args.output).values() if path.exists()])
    for reason in collected.failed:
        print(reason, file=sys.stderr)
    without = [one.name for one in reports if not one.fits]
    if without:
        print(f"no scale from {', '.join(without)}", file=sys.stderr)
    if args.fixed and not best.allows_fixed_pair:
        print(f"the fixed pair is not adequate: spread over time {spread_text(best)}", file=sys.stderr)
    for sentence in disagreements(SCALE_KINDS[estimator.record.scale_model], reports):
        print(sentence, file=sys.stderr)
    print(f"\nmost reliable: {best.name}; {result_files(args.output)['yaml']}")
    return 1 if collected.failed or without else 0


def _recording(args: argparse.Namespace) -> Recording:
    if args.live is not None and args.odometry is not None:
        raise CommandError("--odometry needs every image: record a bag and give that instead of --live", 2)
    if (args.bag is None) == (args.live is None):
        raise CommandError("give a bag, or --live SECONDS for live topics", 2)
    if args.live is None:
        return BagRecording(args.bag)
    require("rclpy", "sensor_msgs")
    from depth_anything_ros.ros.recorder import record

    requested = _requested(args)
    is_complete = args.image is not None and (requested.sources or requested.has_other)
    chosen = {args.image, *requested.sources.values()} if is_complete else set()
    return record(args.live, KINDS, (IMAGE, COMPRESSED), chosen)


def _requested(args: argparse.Namespace) -> Requested:
    check_imu(args)
    sources = {source: getattr(args, option) for source, (option, _) in SOURCES.items()}
    given = {source: topic for source, topic in sources.items() if topic is not None}
    has_other = args.camera_height is not None or args.odometry is not None
    return Requested(args.image, args.camera_info, given, args.imu, has_other)


def _check_extrinsics(args: argparse.Namespace, sensors: int) -> None:
    if args.extrinsics is not None and sensors != 1:
        raise CommandError(f"--extrinsics is for one sensor, but {sensors} are used: choose one, or record /tf_static")


def _examine(collected: Collected, topics: dict[str, str], estimator: Estimator) -> list[SourceReport]:
    kind = SCALE_KINDS[estimator.record.scale_model]
    return [
        examine(kind, source, topics.get(source, ""), collected.frames, measurements)
        for source, measurements in collected.measurements.items()
    ]


def _collect_motion(
    args: argparse.Namespace,
    recording: Recording,
    images: TopicIndex,
    camera: CameraModel,
    odometry: RecordedOdometry,
    estimator: Estimator,
) -> Collected:
    spacing = (max(images.times) - min(images.times)) / args.frames
    return collect_motion(recording, camera, args.odometry, odometry, estimator, spacing, images.count)


def _best(reports: Sequence[SourceReport], collected: Collected) -> SourceReport:
    best = most_reliable(reports)
    if best is not None:
        return best
    if not any(one.frames for one in reports):
        raise CommandError(f"no image can be used: {collected.failed[0]}")
    reasons = "; ".join(f"{one.name}: {next(iter(one.refusal_counts))}" for one in reports)
    raise CommandError(f"no source gives a scale for any of {max(one.frames for one in reports)} frames: {reasons}")


def _write(
    folder: Path, reports: Sequence[SourceReport], best: SourceReport, setup: Setup, collected: Collected
) -> None:
    files = result_files(folder)
    atomic_write(files["json"], json_of(reports, best, setup, collected.failed))
    atomic_write(files["yaml"], parameters_of(best, setup, files["yaml"]).encode(errors="backslashreplace"))
    record = record_of(best, setup)
    if record is not None:
        atomic_write(files["record"], record)
    else:
        files["record"].unlink(missing_ok=True)  # of an earlier calibration
    atomic_write(files["png"], as_png(calibration_picture([_plot(one) for one in reports if one.fits])))


def _plot(one: SourceReport) -> SourcePlot:
    assert one.pair is not None  # the best source has fits
    shown = one.fits[len(one.fits) // 2]
    return SourcePlot(
        one.name,
        [(part.nearest, part.farthest, part.low, part.median, part.high) for part in one.bins],
        np.array([fit.frame.time for fit in one.fits]),
        np.array([fit.result.log_a for fit in one.fits]),
        one.pair.log_a,
        shown.frame.image,
        shown.known.pixels,
        np.expm1(np.clip(-shown.result.residuals, -5, 5)),
    )
