"""Measures how long scoring takes: predictions that are at hand, against true depth of the same size.

    python benchmarks/evaluation.py [--frames 1000] [--size 640x480] [--workers 1 2] [--robot]

Truth and predictions are made up, with a fifth of the depth unknown. Only alignment and scores are timed, no reading of
images and no network. CPU seconds are those of all threads, and show the cost on a machine with other load too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.scoring import score_models
from depth_anything_ros.geometry.camera import Camera

DISTINCT = 8
"""Frames that are made; they take turns."""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of all processors."""

    seconds: float
    cpu: float


def made(width: int, height: int) -> list[tuple[LabeledImage, np.ndarray]]:
    """Return frames and predictions of inverse depth.

    Args:
        width: pixels.
        height: pixels.
    """
    camera, found = Camera.from_field_of_view(width, height, 60), []
    for seed in range(DISTINCT):
        rng = np.random.default_rng(seed)
        slope = np.linspace(1, 8, height)[:, None] + np.sin(np.arange(width) / 40 + seed)[None]
        depth = (slope * np.exp(0.01 * rng.standard_normal(slope.shape))).astype(np.float32)
        prediction = (1 / depth + 0.02 * rng.standard_normal(depth.shape)).astype(np.float32)
        depth[rng.random(depth.shape) < 0.2] = np.nan
        image = np.full((height, width, 3), seed, np.uint8)
        found.append((LabeledImage(str(seed), image, depth, camera), prediction))
    return found


def timed(frames: int, size: tuple[int, int], workers: int, robot: ObstacleOptions | None) -> tuple[Cost, Row]:
    """Return the cost of scoring, and the row.

    Args:
        frames: number of frames.
        size: width and height.
        workers: threads.
        robot: definition of an obstacle; None to leave out the values for robots.
    """
    pairs = made(*size)
    predictions = {int(frame.image[0, 0, 0]): prediction for frame, prediction in pairs}
    model = ScoredModel("made", lambda image: predictions[int(image[0, 0, 0])], "inverse_depth")

    def sequence() -> Iterator[LabeledImage]:
        for number in range(frames):
            frame = pairs[number % DISTINCT][0]
            yield LabeledImage(f"made/{number}", frame.image, frame.depth, frame.camera)

    started, cpu = time.perf_counter(), time.process_time()
    (row,) = score_models([model], sequence(), workers=workers, robot=robot)
    return Cost(time.perf_counter() - started, time.process_time() - cpu), row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=1000, metavar="N", help="default: 1000")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="default: 640x480")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--robot", action="store_true", help="also the values for robots")
    args = parser.parse_args(arguments)
    width, height = map(int, args.size.split("x"))
    print("| workers | frames | seconds | ms per frame | CPU seconds |\n|---|---|---|---|---|")
    rows = []
    for workers in args.workers:
        cost, row = timed(args.frames, (width, height), workers, ObstacleOptions() if args.robot else None)
        rows.append(row)
        milliseconds = 1000 * cost.seconds / args.frames
        print(
            f"| {workers} | {args.frames} of {args.size} | {cost.seconds:.1f} | {milliseconds:.1f} | {cost.cpu:.1f} |"
        )
    same = all(row.images == rows[0].images for row in rows)
    print(f"scores are {'bitwise equal' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
