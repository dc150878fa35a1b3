"""Measures labeling by a teacher: images per second, the time of each part, and the time for 62 million images.

    python benchmarks/train/labeling.py [--teacher tiny] [--size N] [--images 192] [--image 375x500] [--json FILE]

Packs pictures of the requested size and labels them with the command itself: with one process on all cores, with one on
half of the cores, and with two on one half each. The last two show the gain of a second machine: processes share only
the disk. Decoding, network and encoding are also timed alone, in one thread. Other load on the machine reduces the
rates; it hardly affects the core seconds per image, which are printed too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import depth_anything_ros
from depth_anything_ros.commands.arguments import size as parse_size
from depth_anything_ros.commands.label import BATCH
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shards import pack
from depth_anything_ros.pseudo_labels.chunks import decode, encode, predict
from depth_anything_ros.pseudo_labels.folder import Labeling
from depth_anything_ros.pseudo_labels.open_teacher import OpenTeacher, one_thread_each
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.training.settings import TeacherSettings
from depth_anything_ros.training.teachers.identity import find_teacher

PAPER = 62_000_000
"""Number of Depth Anything's unlabeled images."""
PHOTOGRAPHS = Path(depth_anything_ros.__file__).parent / "runtime" / "gate_images"
MACHINES = (1, 8, 64)
SHARDS = 8


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--teacher", default="tiny", metavar="MODEL", help="default: %(default)s")
    parser.add_argument("--size", type=int, metavar="N", help="short side in the network (default: the teacher's)")
    parser.add_argument("--images", type=int, default=192, metavar="N", help="number of images (default: %(default)s)")
    parser.add_argument("--image", type=parse_size, default=(375, 500), metavar="HxW", help="size of the images")
    parser.add_argument(
        "--resolution", choices=("image", "network"), default="image", help="of the labels (default: %(default)s)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the teacher (default: cpu)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the results are medians (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labeling_") as folder:
        shards = write_shards(Path(folder), arguments.images, arguments.image)
        parts = time_parts(arguments, shards, Path(folder))
        rates = time_processes(arguments, shards, Path(folder))
        size = sum(path.stat().st_size for path in Path(folder).glob("every core 0/*.tar")) / arguments.images
    report = summary(arguments, parts, rates, size)
    print(as_tables(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2))
    return 0


def write_shards(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write crops of the package's photographs as JPEG, and pack them.

    Args:
        folder: Folder of the shards.
        count: number of images.
        size: (height, width) of the images.
    """
    photographs = [cv2.imread(str(path)) for path in sorted(PHOTOGRAPHS.glob("*.png"))]
    generator = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        (top, bottom), (left, right) = (piece_of(side, generator) for side in photograph.shape[:2])
        piece = cv2.resize(photograph[top:bottom, left:right], size[::-1])
        cv2.imwrite(str(folder / "pictures" / f"{number:06d}.jpg"), piece)
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set("folder"), folder / "pictures", folder / "shards", -(-count // SHARDS), executor))
    return folder / "shards"


def piece_of(side: int, generator: np.random.Generator) -> tuple[int, int]:
    """Return start and end of a random interval of at least half of a side.

    Args:
        side: its length.
        generator: Generator of random numbers.
    """
    length = round(side * generator.uniform(0.5, 1))
    start = int(generator.integers(0, side - length + 1))
    return start, start + length


def time_parts(arguments: argparse.Namespace, shards: Path, folder: Path, count: int = 3) -> dict[str, float]:
    """Return milliseconds per image of decoding, network and encoding, in one thread, after one warm-up chunk.

    Args:
        arguments: the command line.
        shards: the images.
        folder: for labels.
        count: number of shards to use.
    """
    teacher = find_teacher(TeacherSettings(model=arguments.teacher), arguments.size)
    batch, at_image_size = BATCH[arguments.device], arguments.resolution == "image"
    labeling = Labeling(shards, folder, teacher, arguments.device, batch, 16, at_image_size)
    opened = OpenTeacher(teacher, arguments.device)
    chunks = [chunk for shard in list(labeling.shards)[:count] for chunk in labeling.split(shard)]
    seconds: dict[str, list[float]] = {"decode": [], "network": [], "encode": []}
    with one_thread_each():
        for chunk in chunks:
            decoded, taken = timed(lambda chunk=chunk: decode(chunk, teacher.sizes), arguments.device)
            seconds["decode"].append(taken / len(chunk.keys))
            predicted, taken = timed(lambda decoded=decoded: predict(decoded, opened, batch), arguments.device)
            seconds["network"].append(taken / len(chunk.keys))
            _, taken = timed(lambda predicted=predicted: encode(predicted, at_image_size), arguments.device)
            seconds["encode"].append(taken / len(chunk.keys))
    return {name: 1e3 * float(np.median(values[1:] or values)) for name, values in seconds.items()}


def timed(call: Callable[[], Any], device: str) -> tuple[Any, float]:
    """Return the result of a call, and its seconds: on a CPU those of this thread, unaffected by other processes.

    Args:
        call: without arguments.
        device: "cpu" or "cuda".
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter
    started = clock()
    result = call()
    return result, clock() - started


def time_processes(arguments: argparse.Namespace, shards: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Return images per second, and core seconds per image, of every layout; measured in turns.

    Args:
        arguments: the command line.
        shards: the images.
        folder: for labels.
    """
    cores = sorted(os.sched_getaffinity(0))
    halves = cores[: len(cores) // 2] or cores, cores[len(cores) // 2 :]  # both are the same for a single core
    layouts = {"every core": [cores], "half of the cores": halves[:1], "two processes, a half each": list(halves)}
    rates: dict[str, list[dict[str, float]]] = {name: [] for name in layouts}
    for turn in range(arguments.rounds):
        for name, parts in layouts.items():
            rates[name].append(label(arguments, shards, folder / f"{name} {turn}", parts))
    return {
        name: {key: float(np.median([value[key] for value in values])) for key in values[0]}
        for name, values in rates.items()
    }


def label(arguments: argparse.Namespace, shards: Path, output: Path, cores: list[list[int]]) -> dict[str, float]:
    """Return the throughput of all processes together, from when each has loaded its teacher.

    Args:
        arguments: the command line.
        shards: the images.
        output: folder of the labels.
        cores: Cores of each process.
    """
    command = [sys.executable, "-m", "depth_anything_ros", "label", str(shards), "--teacher", arguments.teacher]
    command += ["--output", str(output), "--resolution", arguments.resolution, "--device", arguments.device]
    command += ["--size", str(arguments.size)] if arguments.size else []
    processes, results = [], [output.with_name(f"{output.name} {rank}.json") for rank in range(len(cores))]
    for rank, own in enumerate(cores):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(len(cores))}
        options = ["--workers", str(len(own)), "--chunk", "8", "--json", str(results[rank])]
        process = subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL)
        os.sched_setaffinity(process.pid, own)
        processes.append(process)
    if any(process.wait() for process in processes):
        raise SystemExit("labeling failed; see above")
    reports = [json.loads(path.read_text()) for path in results]
    return {
        "images_per_second": sum(report["images"] / report["seconds"] for report in reports),
        "core_seconds_per_image": sum(report["core_seconds"] for report in reports) / arguments.images,
    }


def summary(
    arguments: argparse.Namespace, parts: dict[str, float], rates: dict[str, dict[str, float]], size: float
) -> dict[str, Any]:
    """Return all measurements, and the resulting time for the paper's images.

    Args:
        arguments: the command line.
        parts: Parts of `time_parts`.
        rates: Rates of `time_processes`.
        size: bytes per label.
    """
    every, half, both = (rate["images_per_second"] for rate in rates.values())
    efficiency = both / (2 * half)
    hours = {str(count): PAPER / (every * count * (efficiency if count > 1 else 1)) / 3600 for count in MACHINES}
    return {
        "teacher": arguments.teacher,
        "device": arguments.device,
        "load": os.getloadavg()[1],
        "cores": usable_cores(),
        "image": list(arguments.image),
        "images": arguments.images,
        "milliseconds_per_image": parts,
        "processes": rates,
        "efficiency_of_a_second_process": efficiency,
        "bytes_per_label": size,
        "paper": {"images": PAPER, "terabytes": PAPER * size / 1e12, "hours_by_machines": hours},
    }


def as_tables(report: dict[str, Any]) -> str:
    """Return the report as two tables and sentences."""
    lines = ["| part, one thread | ms per image |", "|---|---|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in report["milliseconds_per_image"].items()]
    lines += ["", "| processes | images/s | core-ms per image |", "|---|---|---|"]
    for name, rate in report["processes"].items():
        lines.append(f"| {name} | {rate['images_per_second']:.1f} | {1e3 * rate['core_seconds_per_image']:.1f} |")
    paper = report["paper"]
    hours = ", ".join(f"{value:,.0f} h on {count}" for count, value in paper["hours_by_machines"].items())
    efficiency = report["efficiency_of_a_second_process"]
    if report["device"] == "cpu":
        limit = report["cores"] / report["processes"]["every core"]["core_seconds_per_image"]
        lines += ["", f"without other load these cores would reach at most {limit:.1f} images/s"]
    lines += [
        "",
        f"{report['cores']} cores, average load in the last five minutes: {report['load']:.1f} threads",
        f"a second process adds {100 * (2 * efficiency - 1):.0f} % of the first",
        f"a label takes {report['bytes_per_label'] / 1e3:.0f} kB",
        f"{paper['images'] / 1e6:.0f} million images: {paper['terabytes']:.1f} TB; machines such as this: {hours}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
