"""False and missed obstacles of the cloud in rendered corridors with exact truth, before and after each filter.

A robot's camera, 0.5 m above the floor, looks level along a corridor. The scale comes from a planar laser scanner:
150 points in the middle rows of the image, with 1 % of noise, a tenth of them behind edges. The cloud is the node's
own. Obstacles are voxels of 5 cm, between 0.1 and 2 m above the floor (`depth_anything_ros.evaluation.obstacles`).

The model ``exact`` is the truth at the size of the bundled model's input, enlarged as the node enlarges: its only
errors are flying pixels. ``degraded`` is the truth with errors of the size and kind of Depth Anything V2-S
(`scale_frames.degraded`: AbsRel 0.05 at its affine optimum).

- *false*: share of the cloud's obstacles that the truth sees through.
- *missed*: share of the true obstacles that the cloud sees through.
- *seen*: share of the true obstacles that the cloud has points for, at the right place or not.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scale_frames import Network, bundled, degraded, measure, pattern, scored
from scale_methods import INVERSE

from depth_anything_ros.evaluation.obstacles import HeightBand, ObstacleCounts, ObstacleOptions, count_obstacles
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.depth_products import DepthBuffers, DepthProducts, DepthSettings
from depth_anything_ros.postprocessing.flying_pixels import reach_of
from depth_anything_ros.postprocessing.point_cloud import POSITION_STEP, organized_size
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.metric_scale import FrameScale, MetricScale
from depth_anything_ros.scale.uncertainty import depth_sigma
from depth_anything_ros.synthetic import layout_rooms, tracing
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.photograph import photograph
from depth_anything_ros.synthetic.pictures import atlas
from depth_anything_ros.synthetic.render import best_view
from depth_anything_ros.synthetic.scene import Scene, View

HEIGHT, FIELD_OF_VIEW, CLEARANCE = 0.5, 70.0, 0.6
"""Of the camera: meters above the floor, degrees, and meters to the nearest thing that stands on the floor."""
RANGES = (0.0, 2.0, 4.0, 8.0)
"""Limits of the bins of range in the tables, meters. Nav2's obstacle_max_range is usually below the last one."""
NETWORK_SIZE = (238, 308)
"""Rows and columns of the bundled model's input."""
OFF = DepthSettings("inverse_affine", 0.1, 80.0, colored=False)
FILTERS = {
    "no filter": OFF,
    "flying_pixels.threshold 0.05 (default)": replace(OFF, flying_threshold=0.05),
    "flying_pixels.threshold 0.02": replace(OFF, flying_threshold=0.02),
    "points.max_sigma 0.2": replace(OFF, max_sigma=0.2),
    "points.max_sigma 0.1": replace(OFF, max_sigma=0.1),
    "points.max_depth 4.0": replace(OFF, farthest=4.0),
    "points.stride 2": replace(OFF, stride=2),
    "flying 0.05, max_sigma 0.1": replace(OFF, flying_threshold=0.05, max_sigma=0.1),
    "flying 0.05, max_sigma 0.1, stride 2": replace(OFF, flying_threshold=0.05, max_sigma=0.1, stride=2),
}


@dataclass(frozen=True)
class Frame:
    """A corridor: image uint8 (H, W, 3) RGB, true depth float32 (H, W) in meters, and the camera."""

    image: np.ndarray
    depth: np.ndarray
    camera: Camera


def corridor(seed: int, size: tuple[int, int]) -> Frame:
    """Render the corridor of a seed as the robot sees it; ``size`` is (rows, columns)."""
    rows, columns = size
    rng, pictures = random.Random(seed), atlas(())
    while True:
        scene = Scene()
        drawn = layout_rooms.corridor(scene, Palette(scene, rng, len(pictures)), rng)
        views = [robot_view(view.position[0] / 2, view.position[1]) for view in drawn]
        view, arrays = best_view(scene, views, pictures, columns / rows)
        if view is not None:
            break
    camera = Camera.from_field_of_view(columns, rows, view.field_of_view)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float64)
    position = np.array(view.position, np.float64)
    color, depth = tracing.trace(arrays, lens, view.rotation(), position, columns, rows, rng.randrange(1 << 30))
    return Frame(photograph(color, rng), depth, camera)


def exact(image: np.ndarray, truth: np.ndarray, seed: int) -> np.ndarray:
    """Return the truth as a network without errors would see it: inverse depth, averaged in the pixels of its input."""
    small = cv2.resize(1 / truth, NETWORK_SIZE[::-1], interpolation=cv2.INTER_AREA)
    return cv2.resize(small, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)


def robot_view(x: float, y: float) -> View:
    """Return the robot's camera at a place of the corridor, which runs along y."""
    return View((x, y, HEIGHT), (x, y + 1.0, HEIGHT), 0.0, FIELD_OF_VIEW, CLEARANCE)


def scaled(frame: Frame, output: np.ndarray, references: str, seed: int) -> FrameScale:
    """Return the scale that the references measure."""
    rng = np.random.default_rng(seed)
    known = measure(frame.depth, pattern(references, scored(frame.depth), rng), rng)
    metric = MetricScale(INVERSE, Prior())
    metric.add("points", 0.0, lambda *_: replace(known, time=0.0))
    return metric.update(output, frame.camera, 0.0)


def cloud_depth(frame: Frame, output: np.ndarray, found: FrameScale, settings: DepthSettings) -> np.ndarray:
    """Return Z of the node's cloud at its pixels, float32 (H, W); NaN where the cloud has no point."""
    state = found.state
    assert state is not None

    def write_sigma(depth: np.ndarray, out: np.ndarray) -> None:
        depth_sigma(depth, INVERSE, state, found.residual, out, found.local_error)

    rows, columns = output.shape
    shape = organized_size(rows, columns, settings.stride)
    points = np.empty(shape[0] * shape[1] * POSITION_STEP, np.uint8)
    own = replace(settings, scale=state.scale, local_factor=found.factor, write_sigma=write_sigma)
    reach = reach_of((rows, columns), NETWORK_SIZE)
    DepthProducts().derive(output.copy(), frame.image, frame.camera, None, reach, own, DepthBuffers(points=points))
    depth = np.full((rows, columns), np.nan, np.float32)
    depth[:: settings.stride, :: settings.stride] = points.view(np.float32).reshape(*shape, 3)[..., 2]
    return depth


@dataclass
class Totals:
    """Voxels by bin of range, summed over the corridors, each int64 (bins,)."""

    true: np.ndarray
    known: np.ndarray
    missed: np.ndarray
    predicted: np.ndarray
    false: np.ndarray

    @classmethod
    def zero(cls) -> Totals:
        """Return no voxels."""
        return cls(*(np.zeros(len(RANGES) - 1, np.int64) for _ in range(5)))

    def add(self, counts: ObstacleCounts, all_true: np.ndarray) -> None:
        """Add the voxels of one corridor; ``all_true`` has a point at every pixel."""
        self.true += all_true[: len(self.true)]
        for name, count in (
            ("known", counts.true + counts.unknown_true),
            ("missed", counts.missed),
            ("predicted", counts.predicted),
            ("false", counts.false),
        ):
            setattr(self, name, getattr(self, name) + count[: len(self.true)])

    def row(self) -> str:
        """Return the cells of the table: false, missed and seen, by range."""
        cells = []
        for part, whole in ((self.false, self.predicted), (self.missed, self.true), (self.known, self.true)):
            cells += [f"{100 * a / b:.1f} %" if b else "" for a, b in zip(part, whole, strict=True)]
        return " | ".join(cells)


def run(seeds: Sequence[int], size: tuple[int, int], references: str, network: Network) -> dict[str, Totals]:
    """Return the voxels of each filter, and of all the filters."""
    options = ObstacleOptions(edges=(*RANGES, np.inf), band=HeightBand(HEIGHT))
    totals = {name: Totals.zero() for name in FILTERS}
    for seed in seeds:
        frame = corridor(seed, size)
        output = network(frame.image, frame.depth, seed)
        found = scaled(frame, output, references, seed)
        if found.state is None:
            print(f"corridor {seed} is left out: {found.problem}", flush=True)
            continue
        everything = count_obstacles(frame.depth, frame.depth, frame.camera, options).true
        for name, settings in FILTERS.items():
            depth = cloud_depth(frame, output, found, settings)
            totals[name].add(count_obstacles(depth, frame.depth, frame.camera, options), everything)
    return totals


def network_of(model: str) -> Network:
    """Return one of the networks made from the truth, or that of a model of the zoo."""
    if model == "exact":
        return exact
    return degraded(0.05) if model == "degraded" else bundled(model)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help="model to measure, 'exact' or 'degraded' (default: tiny)")
    parser.add_argument("--references", default="laser", help="pattern of scale_frames.py (default: laser)")
    parser.add_argument("--corridors", type=int, default=12, help="number of corridors (default: 12)")
    parser.add_argument("--first-seed", type=int, default=9_000_000, help="seed of the first one (default: 9000000)")
    parser.add_argument("--size", default="480x640", help="ROWSxCOLUMNS of the images (default: 480x640)")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    rows, columns = (int(side) for side in args.size.split("x"))
    seeds = range(args.first_seed, args.first_seed + args.corridors)
    totals = run(seeds, (rows, columns), args.references, network_of(args.model))
    bins = [f"{low:.0f}-{high:.0f} m" for low, high in itertools.pairwise(RANGES)]
    print(f"| filter | {' | '.join(f'{kind}, {name}' for kind in ('false', 'missed', 'seen') for name in bins)} |")
    print(f"|---|{'---|' * 3 * len(bins)}")
    for name, total in totals.items():
        print(f"| {name} | {total.row()} |")


if __name__ == "__main__":
    main()
