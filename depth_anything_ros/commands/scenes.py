"""`depth_anything_ros scenes`: a contact sheet of rendered scenes, or shards of them to train on."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.packing import pack_set
from depth_anything_ros.synthetic.kinds import KINDS
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.progress import track
from depth_anything_ros.visualization.captions import captioned, footed, legend
from depth_anything_ros.visualization.grid import grid

if TYPE_CHECKING:
    from depth_anything_ros.synthetic.render import RenderedScene

COLUMNS = 4
INFERNO = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
"""The colors of `color_inverse_depth` from the farthest to the nearest, RGB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's options."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--output", type=parse.output_folder, metavar="DIR", help="folder for scenes.png (made if need be)"
    )
    target.add_argument(
        "--pack",
        type=parse.output_folder,
        metavar="DIR",
        help="folder for WebDataset shards with depth; interrupted, it goes on",
    )
    parser.add_argument("--count", type=int, default=16, help="number of scenes (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first scene; the next have the next (default: 0)"
    )
    parser.add_argument("--kind", choices=KINDS, help="only scenes of one kind (default: all, as in training)")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(320, 240),
        metavar=("WIDTH", "HEIGHT"),
        help="of each picture (default: 320 240)",
    )
    parser.add_argument(
        "--json",
        type=parse.output_file,
        metavar="FILE",
        help="also write kind, seed and range of depths of each scene; the manifest with --pack",
    )
    parser.add_argument("--shard", type=int, default=200, help="with --pack: scenes to a shard (default: %(default)s)")
    parser.add_argument(
        "--processes", type=int, default=usable_cores(), help="with --pack (default: one for each core)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Renders the scenes and writes the sheet or the shards; returns 0."""
    if arguments.count < 1:
        raise CommandError(f"--count is {arguments.count}; at least one scene is needed")
    width, height = arguments.size
    if width < 1 or height < 1:
        raise CommandError(f"--size is {width} {height}; both must be at least 1")
    require("numba")
    print(
        "the first run on a machine compiles the renderer, which takes a minute or two; later ones do not",
        file=sys.stderr,
        flush=True,
    )
    result = pack(arguments) if arguments.pack else draw_sheet(arguments)
    if arguments.json:
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())
    return 0


def pack(arguments: argparse.Namespace) -> dict[str, Any]:
    """Packs the scenes into shards; returns their manifest."""
    from depth_anything_ros.synthetic.scene_images import RenderedScenes

    width, height = arguments.size
    scenes = RenderedScenes(count=arguments.count, size=(height, width), first_seed=arguments.seed, kind=arguments.kind)
    return pack_set(scenes, [Path()], arguments.pack, arguments.shard, arguments.processes, arguments.count)


def draw_sheet(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the contact sheet; returns what there is to say of each scene."""
    from depth_anything_ros.synthetic.render import render

    width, height = arguments.size
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    rendered = (render(seed, width, height, arguments.kind) for seed in seeds)
    scenes = list(track(rendered, "rendering", "scenes", len(seeds)))
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "scenes.png"
    described = [describe(seed, scene) for seed, scene in zip(seeds, scenes, strict=True)]
    atomic_write(path, cv2.imencode(".png", contact_sheet(scenes, described)[:, :, ::-1])[1].tobytes())
    print(f"{len(scenes)} scenes: {path}")
    return {"scenes": described}


def contact_sheet(scenes: list[RenderedScene], described: list[dict]) -> np.ndarray:
    """RGB uint8: each picture beside its inverse depth, bright where near, COLUMNS such pairs to a row, and captions.

    ``described``: what `describe` says of each.
    """
    pairs = []
    for scene, said in zip(scenes, described, strict=True):
        pair = np.hstack([scene.image, color_inverse_depth(scene.depth)])
        lens = f"{said['horizontal_field_of_view_degrees']:.0f} degrees wide"
        meters = f"{said['nearest_m']:.2f} to {said['furthest_m']:.1f} m, half nearer than {said['median_m']:.1f} m"
        pairs.append(captioned(pair, f"seed {said['seed']}: {said['kind']}, {lens}\n{meters}"))
    text = "Rendered scenes, each beside its inverse depth, on a range of its own"
    return footed(grid(pairs, COLUMNS), text, [legend(INFERNO, "far, sky", "near")])


def color_inverse_depth(depth: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a depth image (H, W) in meters; the furthest is black, the nearest 1 % bright."""
    inverse = 1.0 / depth
    low, high = inverse.min(), np.percentile(inverse, 99.0)
    level = np.clip((inverse - low) / max(high - low, 1e-9), 0.0, 1.0)
    return np.ascontiguousarray(cv2.applyColorMap((255.0 * level).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1])


def describe(seed: int, scene: RenderedScene) -> dict:
    """What the JSON file says of a scene."""
    finite = scene.depth[np.isfinite(scene.depth)]
    return {
        "seed": seed,
        "kind": scene.kind,
        "horizontal_field_of_view_degrees": round(scene.camera.horizontal_degrees, 2),
        "nearest_m": round(float(finite.min()), 4),
        "median_m": round(float(np.median(finite)), 4),
        "furthest_m": round(float(finite.max()), 4),
        "sky_share": round(1.0 - finite.size / scene.depth.size, 4),
    }
