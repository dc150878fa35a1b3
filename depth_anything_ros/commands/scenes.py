"""`depth_anything_ros scenes`: a contact sheet of what the tiny model is trained on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.commands import CommandError
from depth_anything_ros.data.check import in_rows
from depth_anything_ros.training.rendering.render import KINDS, RenderedScene, render
from depth_anything_ros.whole_file import write_whole

COLUMNS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's options."""
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for scenes.png (made if need be)"
    )
    parser.add_argument("--count", type=int, default=16, help="number of scenes (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first scene; the next have the next (default: 0)"
    )
    parser.add_argument("--kind", choices=KINDS, help="only scenes of one kind (default: all, as in training)")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(320, 240), metavar=("WIDTH", "HEIGHT"), help="of each picture"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write kind, seed and range of depths of each scene"
    )


def run(arguments: argparse.Namespace) -> int:
    """Renders the scenes and writes the sheet; returns 0."""
    if arguments.count < 1:
        raise CommandError(f"--count is {arguments.count}; at least one scene is needed")
    width, height = arguments.size
    if width < 1 or height < 1:
        raise CommandError(f"--size is {width} {height}; both must be at least 1")
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    scenes = [render(seed, width, height, arguments.kind) for seed in seeds]
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "scenes.png"
    write_whole(path, cv2.imencode(".png", contact_sheet(scenes)[:, :, ::-1])[1].tobytes())
    print(f"{len(scenes)} scenes: {path}")
    if arguments.json:
        rows = [describe(seed, scene) for seed, scene in zip(seeds, scenes, strict=True)]
        write_whole(arguments.json, (json.dumps({"scenes": rows}, indent=2) + "\n").encode())
    return 0


def contact_sheet(scenes: list[RenderedScene]) -> np.ndarray:
    """RGB uint8: each picture beside its inverse depth, bright where near, COLUMNS such pairs to a row."""
    pairs = [np.hstack([scene.image, colour_inverse_depth(scene.depth)]) for scene in scenes]
    return in_rows(pairs, COLUMNS)


def colour_inverse_depth(depth: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a depth image (H, W) in metres; the furthest is black, the nearest 1 % bright."""
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
