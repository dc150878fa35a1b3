"""Walls of rooms with windows, doors and pictures.

All functions add to ``scene``, take materials from ``palette`` and draw shapes from ``rng``. Lengths are in meters.
"""

from __future__ import annotations

import math
import random

from depth_anything_ros.synthetic.mesh_placement import stand_mesh
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.scene import Scene

WALL_THICKNESS = 0.12


def wall(
    scene: Scene, palette: Palette, rng: random.Random, length: float, height: float, material: int, plain: bool
) -> None:
    """Add a wall along x at y >= 0 of the innermost frame, with its middle at the origin and its room at y < 0.

    It may have a window or a door. A wall without them has pictures.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        length: along x, meters.
        height: meters.
        material: index of its material.
        plain: whether to leave out window and door.
    """
    opening = rng.random()
    skirting = palette.plain(0.1, 0.5, 0.95)
    if plain or length < 1.6 or opening < 0.35:
        scene.box((0, WALL_THICKNESS / 2, height / 2), (length, WALL_THICKNESS, height), material)
        for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
            hang(scene, palette, rng, rng.uniform(-0.4, 0.4) * length, rng.uniform(1.0, height - 0.6))
    else:
        door = opening > 0.75
        width = rng.uniform(0.8, 1.0) if door else rng.uniform(0.7, max(0.8, min(2.4, length - 0.6)))
        foot = 0.0 if door else rng.uniform(0.3, 1.0)
        top = min(height - 0.1, 2.05 if door else foot + rng.uniform(0.8, 1.6))
        middle = rng.uniform(-0.5, 0.5) * (length - width - 0.2)
        pierced(scene, length, height, material, middle, width, foot, top)
        with scene.place((middle, 0, 0)):
            if door:
                door_leaf(scene, palette, rng, width, top)
            else:
                window(scene, palette, rng, width, foot, top)
    scene.box((0, -0.006, 0.05), (length, 0.012, rng.uniform(0.06, 0.14)), skirting)


def pierced(scene, length, height, material, middle, width, foot, top) -> None:
    """Add the four pieces of wall around an opening.

    Args:
        scene: the scene.
        length: Length of the wall along x, meters.
        height: Height of the wall, meters.
        material: index of its material.
        middle: Middle of the opening along x, meters.
        width: Width of the opening, meters.
        foot: lower edge of the opening, meters.
        top: upper edge of the opening, meters.
    """
    left, right = middle - width / 2, middle + width / 2
    y, thick = WALL_THICKNESS / 2, WALL_THICKNESS
    scene.box(((left - length / 2) / 2, y, height / 2), (left + length / 2, thick, height), material)
    scene.box(((right + length / 2) / 2, y, height / 2), (length / 2 - right, thick, height), material)
    scene.box((middle, y, (top + height) / 2), (width, thick, height - top), material)
    if foot > 0.0:
        scene.box((middle, y, foot / 2), (width, thick, foot), material)


def hang(scene: Scene, palette: Palette, rng: random.Random, x: float, z: float) -> None:
    """Add a picture, poster, mirror-like board, clock or switch on a wall, at (x, z), meters."""
    with scene.place((x, 0, 0)):
        if stand_mesh(scene, palette, rng, "hung", largest=1.2) is not None:
            return
    width, height = rng.uniform(0.2, 1.2), rng.uniform(0.2, 0.9)
    frame, kind = palette.plain(0.3, 0.05, 0.95), rng.random()
    if kind < 0.75:
        depth = rng.choice((0.004, 0.02, 0.04))
        scene.box((x, -depth / 2, z), (width + 0.06, depth, height + 0.06), frame)
        shown = palette.picture(whole=True)
        scene.box((x, -depth, z), (width, 0.006, height), (frame, frame, shown, frame, frame, frame))
    elif kind < 0.85:
        with scene.place((x, 0, z), roll=math.pi / 2):
            scene.cylinder((0, 0, 0), width * 0.25, 0.03, palette.plain())
    else:
        scene.box((x, -0.005, rng.uniform(0.3, 1.3)), (0.08, 0.012, 0.08), frame)


def window(scene: Scene, palette: Palette, rng: random.Random, width: float, foot: float, top: float) -> None:
    """Add a window's frame, bars, sill, and perhaps curtains or a blind.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        width: Width of the opening, meters.
        foot: lower edge, meters.
        top: upper edge, meters.
    """
    frame, height, middle = palette.plain(0.1, 0.5, 0.98), top - foot, (foot + top) / 2
    for x in (-width / 2, width / 2, *([0.0] if rng.random() < 0.7 else [])):
        scene.box((x, 0.05, middle), (0.05, 0.05, height), frame)
    for z in (foot, top, *([foot + height * 0.6] if rng.random() < 0.4 else [])):
        scene.box((0, 0.05, z), (width, 0.05, 0.05), frame)
    scene.box((0, -0.05, foot), (width + 0.1, 0.25, 0.03), frame)
    if rng.random() < 0.5:
        cloth = palette.fabric()
        drawn = rng.uniform(0.1, 0.45) * width
        low = rng.choice((0.05, foot - 0.1))
        for side in (-1, 1):
            folds = max(2, round(drawn / 0.1))
            for k in range(folds):
                x = side * (width / 2 + 0.1 - (k + 0.5) * drawn / folds)
                scene.ellipsoid(
                    (x, -0.1, (low + top + 0.1) / 2), (0.6 * drawn / folds, 0.05, (top + 0.1 - low) * 0.56), cloth
                )
    elif rng.random() < 0.3:
        slat = palette.plain(0.2, 0.5, 0.98)
        for k in range(int(height * rng.uniform(0.3, 1.0) / 0.07)):
            scene.box((0, 0.0, top - 0.07 * k), (width, 0.05, 0.003), slat, roll=0.7)


def door_leaf(scene: Scene, palette: Palette, rng: random.Random, width: float, top: float) -> None:
    """Add a door frame and a door, shut or ajar; ``width`` and ``top`` of the opening, meters."""
    frame, leaf = palette.plain(0.2), rng.choice((palette.wood, palette.plain))()
    for x in (-width / 2, width / 2):
        scene.box((x, 0.0, top / 2), (0.08, 0.16, top), frame)
    scene.box((0, 0.0, top), (width + 0.08, 0.16, 0.08), frame)
    with scene.place((-width / 2, 0.03, 0), yaw=rng.choice((0.0, 0.0, -rng.uniform(0.2, 1.7), rng.uniform(0.2, 1.5)))):
        scene.box((width / 2, 0, top / 2), (width, 0.04, top), leaf)
        scene.cylinder((width * 0.9, -0.07, 1.0), 0.02, 0.03, palette.metal())
        for z in (top * 0.28, top * 0.72):
            scene.box((width / 2, -0.02, z), (width * 0.6, 0.02, top * 0.3), leaf)
