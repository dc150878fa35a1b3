"""`depth_anything_ros demo`: camera and depth nodes over ROS 2 on sample images, with pictures of the result."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.data.overwriting import refuse_overwriting
from depth_anything_ros.export.prepare import prepare_model
from depth_anything_ros.geometry.calibration import read_calibration
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.progress import progress_bar
from depth_anything_ros.zoo.record import ModelRecord

if TYPE_CHECKING:
    from depth_anything_ros.demo.client import Arrivals, Client, ReceivedFrame
    from depth_anything_ros.demo.processes import NodeProcesses
    from depth_anything_ros.demo.sample import DemoSource
    from depth_anything_ros.runtime.estimator import Estimator

SECONDS_TO_START = 40.0
"""Maximum seconds until the first depth: two interpreters start, a model is loaded, DDS discovers the nodes."""
SECONDS_TO_MEASURE = 15.0
"""Maximum seconds of the measurement; a slow machine measures fewer frames than requested."""
CAMERA_RATE = 30.0
"""Hz at which still images are published, as by a webcam."""


RESULTS = ("side_by_side.png", "cloud.png", "cloud.ply", "rates.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--output", type=parse.output_folder, default=Path("demo"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--frames", type=int, default=60, help="number of depth images (default: %(default)s)")
    parser.add_argument(
        "--source", type=parse.source, help="video, image, folder, camera or URL (default: sample photographs)"
    )
    parser.add_argument("--calibration", type=parse.source, metavar="FILE", help="camera_info YAML of the source")
    parser.add_argument(
        "--model", type=parse.model, default="tiny", help="name of a known model, or .onnx file (default: %(default)s)"
    )
    parser.add_argument(
        "--record",
        type=parse.existing_file,
        metavar="FILE",
        help="JSON record, for an .onnx without metadata",
    )
    parser.add_argument(
        "--backend", type=parse.backend, default="auto", help="inference backend (default: %(default)s)"
    )
    parser.add_argument("--json", type=parse.output_file, metavar="FILE", help="a copy of the measurements")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo. Raises `CommandError` with the reason if it cannot run."""
    if arguments.frames < 2:
        raise CommandError(f"--frames is {arguments.frames}, must be at least 2 to measure a rate")
    require("rclpy", "sensor_msgs", *([] if arguments.source else ["skimage"]))
    if arguments.calibration:
        read_calibration(arguments.calibration)  # before anything is loaded
    refuse_overwriting("--output", arguments.output, RESULTS, [arguments.source, arguments.calibration])
    arguments.output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    prepare_model(arguments.model, arguments.backend, arguments.record)
    estimator = _load(arguments)
    meaning = scale_meaning(estimator.record)
    print(f"model: {estimator.provenance}\nscale: {meaning}", flush=True)
    with tempfile.TemporaryDirectory(prefix="depth_anything_ros_demo_") as temporary:
        sample = _sample(arguments, Path(temporary))
        print(f"input: {sample.description}", flush=True)
        frame, arrivals = _receive(arguments, sample, Path(temporary))
    measurements = {
        "model": estimator.record.name,
        "provenance": estimator.provenance,
        "scale": meaning,
        "input": sample.description,
        "image_size": [frame.image.shape[1], frame.image.shape[0]],
        "rates_hz": arrivals.rates,
        "stamp_to_arrival_seconds_p50_p95": arrivals.latencies,
    }
    print(f"{rates_line(arrivals)}\ndrawing the pictures", flush=True)
    _write_results(arguments.output, frame, estimator.record, measurements)
    if arguments.json:
        atomic_write(arguments.json, json.dumps(measurements, indent=2).encode())
    print(f"results: {arguments.output}/side_by_side.png, cloud.png, cloud.ply, rates.json")
    print(next_steps(sys.argv[0]))
    return 0


def next_steps(program: str) -> str:
    """Return the next command, with ``program`` as it was typed."""
    command = program if Path(program).name == "depth_anything_ros" else "depth_anything_ros"
    return (
        f"next, your webcam as a live cloud in a browser:\n  {command} camera --view\n"
        f"and depth and a cloud of a photograph or a video of yours:\n  {command} predict FILE --save png ply --fov 60"
    )


def scale_meaning(record: ModelRecord) -> str:
    """Return how reliable the meters of a model are. Raises `CommandError` if it gives none."""
    if record.is_metric and record.reference_focal is not None:
        return f"meters, as the model predicts them for a focal length of {record.reference_focal:.1f} px, corrected"
    if record.is_metric:
        return "meters, as the model predicts them"
    if record.nominal_scale is None:
        raise CommandError(
            f"model {record.name} predicts relative depth and its record has no nominal scale, so there is no cloud to "
            "draw; choose another model"
        )
    a, b = record.nominal_scale
    formula = f"{a:g} * output + {b:g}" if record.predicts_depth else f"1 / ({a:g} * inverse depth + {b:g})"
    return f"NOMINAL meters, plausible and not measured: depth = {formula}"


def rates_line(arrivals: Arrivals) -> str:
    """Return the measurements in one line."""
    rates = ", ".join(f"{name} {arrivals.rates[name]:.1f} Hz" for name in ("image", "depth", "cloud"))
    delays = ", ".join(
        f"{name} {1e3 * arrivals.latencies[name][0]:.0f} / {1e3 * arrivals.latencies[name][1]:.0f} ms"
        for name in ("image", "depth", "cloud")
    )
    return f"rates: {rates}; from stamp to arrival (p50 / p95): {delays}"


def _load(arguments: argparse.Namespace) -> Estimator:
    """Load the model in this process too, so that one that cannot run is reported at once."""
    from depth_anything_ros.runtime.errors import ModelError
    from depth_anything_ros.runtime.estimator import Estimator

    try:
        return Estimator(arguments.model, arguments.backend, arguments.record)
    except ModelError as error:
        raise CommandError(str(error)) from error


def _sample(arguments: argparse.Namespace, folder: Path) -> DemoSource:
    from depth_anything_ros.demo.sample import DemoSource, write_motorcycle

    if arguments.source is None:
        return write_motorcycle(folder)
    return DemoSource(arguments.source, arguments.calibration, arguments.source)


def _receive(arguments: argparse.Namespace, sample: DemoSource, folder: Path) -> tuple[ReceivedFrame, Arrivals]:
    """Start the nodes, become their client, and wait for the frames."""
    from depth_anything_ros.demo.processes import NodeProcesses, private_graph

    private_graph(folder)
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from depth_anything_ros.demo.client import Client

    namespace = f"/demo_{os.getpid()}"
    camera = _parameters(source=sample.source, calibration=sample.calibration, loop=True)
    if Path(sample.source).is_dir():
        camera += _parameters(frame_rate=CAMERA_RATE)
    record = arguments.record and str(arguments.record)
    depth = _parameters(model=arguments.model, record=record, backend=arguments.backend, rectified=False)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        with NodeProcesses(folder) as processes:
            nominal = ["-p", "scale.nominal:=true"]
            processes.start("depth_node", ["-r", f"__ns:={namespace}", "-r", "image:=image_raw", *nominal, *depth])
            processes.start("camera_node", ["-r", f"__ns:={namespace}", *camera])
            client = Client(namespace)
            print("starting a camera node and a depth node", flush=True)
            _wait(client, processes, arguments.frames)
            return client.frame, client.arrivals()
    finally:
        rclpy.try_shutdown()


def _parameters(**values: Any) -> list[str]:
    """Return ROS arguments for the parameters that are not None, as JSON, which is valid YAML."""
    settings = [f"{name}:={json.dumps(value)}" for name, value in values.items() if value is not None]
    return [word for setting in settings for word in ("-p", setting)]


def _wait(client: Client, processes: NodeProcesses, frames: int) -> None:
    """Spin the client until the frames arrive, or the time is over. Raises `CommandError` for too few frames."""
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(client)
    is_starting, end = True, time.monotonic() + SECONDS_TO_START
    with progress_bar("measuring", "depth images", frames, leave=False) as bar:
        counted = 0
        while client.measured < frames:
            executor.spin_once(timeout_sec=0.1)
            failure = processes.ended()
            if failure is not None:
                raise CommandError(failure)
            bar.update(client.measured - counted)
            counted = client.measured
            if is_starting and client.measured:
                is_starting, end = False, time.monotonic() + SECONDS_TO_MEASURE
            if time.monotonic() > end:
                break
    if client.measured < 2:
        raise CommandError(
            f"only {client.complete} complete frames arrived within {SECONDS_TO_START:g} s; missing: "
            f"{client.missing()}. The depth node's last output: {processes.last_output('depth_node')}"
        )


def _write_results(folder: Path, frame: ReceivedFrame, record: ModelRecord, measurements: dict[str, Any]) -> None:
    from depth_anything_ros.postprocessing.ply import write_ply
    from depth_anything_ros.postprocessing.point_cloud import finite_points
    from depth_anything_ros.visualization.depth_panels import draw_side_by_side
    from depth_anything_ros.visualization.splatting import draw_cloud

    worth = "meters as the model predicts them" if record.is_metric else "NOMINAL meters: plausible, not measured"
    side_by_side = draw_side_by_side(frame.image, frame.depth, f"{record.name}: depth in {worth}")
    colors = cv2.resize(frame.image, frame.depth.shape[::-1], interpolation=cv2.INTER_AREA)
    atomic_write(folder / "side_by_side.png", _png(side_by_side))
    atomic_write(folder / "cloud.png", _png(draw_cloud(frame.depth, colors, frame.camera)))
    write_ply(folder / "cloud.ply", *finite_points(frame.cloud))
    atomic_write(folder / "rates.json", json.dumps(measurements, indent=2).encode())


def _png(picture: Any) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()
