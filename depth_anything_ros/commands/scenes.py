"""`depth_anything_ros scenes`: a contact sheet of rendered scenes, or shards of scenes to train on."""

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
from depth_anything_ros.synthetic.kinds import CAMERAS, KINDS
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
"""The colors of `color_inverse_depth` from the farthest to the nearest depth, RGB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--output", type=parse.output_folder, metavar="DIR", help="folder for scenes.png (created if missing)"
    )
    target.add_argument(
        "--pack",
        type=parse.output_folder,
        metavar="DIR",
        help="folder for WebDataset shards with depth; the same command continues an interrupted run",
    )
    parser.add_argument("--count", type=int, default=16, help="number of scenes (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first scene; the others count up from it (default: 0)"
    )
    parser.add_argument("--kind", choices=KINDS, help="only scenes of one kind (default: all, as in training)")
    parser.add_argument(
        "--cameras",
        choices=CAMERAS,
        default=CAMERAS[0],
        help="views: most level, at the height of a robot, or from anywhere (default: %(default)s)",
    )
    parser.add_argument(
        "--meshes",
        type=Path,
        metavar="PACK",
        help="a pack made by 'depth_anything_ros meshes': half of the furniture and objects come from it",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(320, 240),
        metavar=("WIDTH", "HEIGHT"),
        help="size of each picture (default: 320 240)",
    )
    parser.add_argument(
        "--json",
        type=parse.output_file,
        metavar="FILE",
        help="also write kind, seed and depth range of each scene to FILE; with --pack the manifest",
    )
    parser.add_argument("--shard", type=int, default=200, help="with --pack: scenes in a shard (default: %(default)s)")
    parser.add_argument(
        "--processes", type=int, default=usable_cores(), help="with --pack (default: one for each core)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Render the scenes and write the sheet or the shards; return 0."""
    if arguments.count < 1:
        raise CommandError(f"--count is {arguments.count}, but must be at least 1")
    width, height = arguments.size
    if width < 1 or height < 1:
        raise CommandError(f"--size is {width} {height}, but both must be at least 1")
    require("numba")
    print(
        "the first run on a machine compiles the renderer, which takes a minute or two; later runs start at once",
        file=sys.stderr,
        flush=True,
    )
    result = pack(arguments) if arguments.pack else draw_sheet(arguments)
    if arguments.json:
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())
    return 0


def pack(arguments: argparse.Namespace) -> dict[str, Any]:
    """Pack the scenes into shards; return their manifest."""
    from depth_anything_ros.synthetic.scene_images import RenderedScenes

    width, height = arguments.size
    scenes = RenderedScenes(
        count=arguments.count,
        size=(height, width),
        first_seed=arguments.seed,
        kind=arguments.kind,
        cameras=arguments.cameras,
        meshes=arguments.meshes,
    )
    return pack_set(scenes, [Path()], arguments.pack, arguments.shard, arguments.processes, arguments.count)


def draw_sheet(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the contact sheet; return a description of each scene."""
    from depth_anything_ros.synthetic.mesh_pack import open_pack
    from depth_anything_ros.synthetic.render import render

    width, height = arguments.size
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    meshes = open_pack(arguments.meshes) if arguments.meshes else None
    rendered = (render(seed, width, height, arguments.kind, cameras=arguments.cameras, meshes=meshes) for seed in seeds)
    scenes = list(track(rendered, "rendering", "scenes", len(seeds)))
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "scenes.png"
    described = [describe(seed, scene) for seed, scene in zip(seeds, scenes, strict=True)]
    atomic_write(path, cv2.imencode(".png", contact_sheet(scenes, described)[:, :, ::-1])[1].tobytes())
    print(f"{len(scenes)} scenes: {path}")
    return {"scenes": described}


def contact_sheet(scenes: list[RenderedScene], described: list[dict]) -> np.ndarray:
    """Draw each picture with its inverse depth, bright where near, in rows of `COLUMNS` pairs, with captions.

    Args:
        scenes: the scenes.
        described: from `describe`, for each scene.

    Returns:
        RGB uint8 (H, W, 3).
    """
    pairs = []
    for scene, description in zip(scenes, described, strict=True):
        pair = np.hstack([scene.image, color_inverse_depth(scene.depth)])
        lens = f"{description['horizontal_field_of_view_degrees']:.0f} degrees wide"
        nearest, median, furthest = (description[f"{name}_m"] for name in ("nearest", "median", "furthest"))
        meters = f"{nearest:.2f} to {furthest:.1f} m, half nearer than {median:.1f} m"
        pairs.append(captioned(pair, f"seed {description['seed']}: {description['kind']}, {lens}\n{meters}"))
    text = "Rendered scenes, each with its inverse depth, drawn over the scene's own range"
    return footed(grid(pairs, COLUMNS), text, [legend(INFERNO, "far, sky", "near")])


def color_inverse_depth(depth: np.ndarray) -> np.ndarray:
    """Color a depth image (H, W), meters; the farthest depth is black, the nearest 1 % bright. RGB uint8 (H, W, 3)."""
    inverse = 1.0 / depth
    low, high = inverse.min(), np.percentile(inverse, 99.0)
    level = np.clip((inverse - low) / max(high - low, 1e-9), 0.0, 1.0)
    return np.ascontiguousarray(cv2.applyColorMap((255.0 * level).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1])


def describe(seed: int, scene: RenderedScene) -> dict:
    """Return the description of a scene for the JSON file.

    Args:
        seed: Seed of the scene.
        scene: the scene.
    """
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
