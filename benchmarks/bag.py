"""Compares `depth_anything_ros bag` with the bare network on the same images, in turns.

    python benchmarks/bag.py BAG [--model M | --encoder vits --size 308x406] [--rounds 5] [--output DIR] [bag's options]

The bare network is an `Estimator` that gets the decoded images and writes its map at the image's size. The command runs
in this process, from the first message to the last one written. Loading the model is counted in neither. Ratios of the
two are of one round each, so that they survive a change of the clock rate. The processor time does not depend on other
load of the machine. Further options are passed to `bag`, such as ``--save depth info`` or ``--points TOPIC``.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands import bag as command
from depth_anything_ros.commands.bag_outcome import Outcome
from depth_anything_ros.commands.bag_run import BagRun
from depth_anything_ros.commands.parser import Parser
from depth_anything_ros.data.bag_output import BagOutput
from depth_anything_ros.data.bags import open_bag
from depth_anything_ros.images.image_messages import ImageDecoder

MAX_IMAGES = 200
"""Images in memory for the bare network."""


@dataclass(frozen=True)
class Cost:
    """Images per second, and milliseconds of processor time per image, in all threads."""

    rate: float
    processor: float

    def __str__(self) -> str:
        return f"{self.rate:.1f}/s {self.processor:.0f} ms"


def decoded_images(bag: Path, topic: str) -> list[np.ndarray]:
    """Return the first images of a topic, RGB."""
    images: list[np.ndarray] = []
    with open_bag(bag) as reader:
        connections = [one for one in reader.connections if one.topic == topic]
        for connection, _, content in reader.messages(connections):
            if len(images) == MAX_IMAGES:
                break
            images.append(np.array(ImageDecoder().decode(reader.deserialize(content, connection.msgtype))))
    return images


def measure(work: Callable[[], object], images: int) -> Cost:
    """Return the cost of some work on a number of images."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return Cost(images / (time.perf_counter() - started), 1e3 * (time.process_time() - used) / images)


def run_bare(estimator: Estimator, images: list[np.ndarray]) -> None:
    """Run the network alone."""
    out = np.empty(images[0].shape[:2], np.float32)
    for image in images:
        estimator.estimate(image, out=out)


class TimedRun(BagRun):
    """Notes its cost."""

    cost = Cost(0.0, 0.0)
    topic = ""

    def run(self, output: BagOutput, copies: bool) -> Outcome:
        """Run, and note the cost; see `BagRun`."""
        TimedRun.topic, outcomes = self._topics.image, []
        run = super().run
        TimedRun.cost = measure(lambda: outcomes.append(run(output, copies)), self._topics.images)
        return outcomes[0]


def main() -> int:
    """Print the rates of each round, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--encoder", help="a network with random weights, instead of --model")
    parser.add_argument("--size", type=parse.size, default=(308, 406), help="of its input (default: 308x406)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="folder for the written bag (default: a temporary one)")
    args, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model
        if args.encoder:
            from depth_anything_ros.bench.random_model import write_random_model

            model = folder
            write_random_model(args.encoder, args.size, Path(folder))
        output = Path(args.output or folder) / "written"
        bag_parser = Parser()
        command.add_arguments(bag_parser)
        given = bag_parser.parse_args([str(args.bag), str(output), "--model", model, "--overwrite", *options])
        loaded = Estimator(model, given.backend or "auto", precision=given.precision or "auto", threads=given.threads)
        load_again = functools.cache(command._load)  # for half of the cores
        command._load = lambda model: loaded if model.threads == given.threads else load_again(model)
        command.BagRun = TimedRun
        ratios, images = [], []
        for number in range(args.rounds + 1):
            command.run(given)
            images = images or decoded_images(args.bag, TimedRun.topic)
            bare = measure(functools.partial(run_bare, loaded, images), len(images))
            ratio = TimedRun.cost.rate / bare.rate
            if number:  # the first round warms up
                ratios.append(ratio)
                print(f"round {number}: bare {bare}, bag {TimedRun.cost}, ratio {ratio:.2f}", file=sys.stderr)
        print(f"{loaded.provenance}\nratio: median {statistics.median(ratios):.2f} of {len(ratios)} rounds")
        shutil.rmtree(output, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
