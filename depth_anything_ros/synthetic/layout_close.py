"""Layouts at close range: table tops and shelves full of things, walls seen obliquely, meaningless shapes.

The layouts fill ``scene`` with materials from ``palette`` and shapes from ``rng``, and return possible views.
"""

from __future__ import annotations

import math
import random

from depth_anything_ros.synthetic import furniture
from depth_anything_ros.synthetic.layout_rooms import daylight, field_of_view, looking, shell
from depth_anything_ros.synthetic.objects import scatter
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.room_walls import wall
from depth_anything_ros.synthetic.scene import Scene, View


def key_lights(scene: Scene, rng: random.Random, reach: float) -> None:
    """Add one to three lamps above and around the origin.

    Args:
        scene: the scene.
        rng: random numbers.
        reach: approximate distance from the origin, meters.
    """
    for _ in range(rng.randint(1, 3)):
        angle, away, height = rng.uniform(0, 6.3), rng.uniform(0.3, 1.0) * reach, rng.uniform(0.5, 1.2) * reach
        power, warm = rng.uniform(0.3, 2.0) * reach * reach, rng.random()
        color = (power, power * (1.0 - 0.25 * warm), power * (1.0 - 0.5 * warm))
        scene.lamp((away * math.cos(angle), away * math.sin(angle), height), rng.uniform(0.02, 0.25) * reach, color)


def around(rng: random.Random, center: tuple, low: float, high: float, pitch: float, spread: float) -> View:
    """Return a camera near a point, looking at it or past it.

    Args:
        rng: random numbers.
        center: the point, meters.
        low: smallest distance, meters.
        high: largest distance, meters.
        pitch: mean angle above the point, radians.
        spread: standard deviation of that angle, radians.
    """
    away, angle = rng.uniform(low, high), rng.uniform(0.0, 2.0 * math.pi)
    tilt = max(-0.2, min(1.5, rng.gauss(pitch, spread)))
    offset = (away * math.cos(tilt) * math.cos(angle), away * math.cos(tilt) * math.sin(angle), away * math.sin(tilt))
    position = tuple(c + o for c, o in zip(center, offset, strict=True))
    aside = 0.25 * away
    target = (center[0] + rng.gauss(0, aside), center[1] + rng.gauss(0, aside), center[2] + rng.gauss(0, 0.5 * aside))
    roll = rng.gauss(0, 0.06) if rng.random() < 0.8 else rng.gauss(0, 0.7)
    return View(position, target, roll, field_of_view(rng))


def tabletop(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Fill a table in a room; the camera looks down at it or along it."""
    width, depth, height = rng.uniform(3, 6), rng.uniform(3, 6), rng.uniform(2.3, 3.0)
    daylight(scene, rng)
    shell(scene, palette, rng, width, depth, height)
    top = rng.choice((palette.wood, palette.wood, palette.plain, palette.stone, palette.fabric))()
    size = (rng.uniform(0.6, 1.8), rng.uniform(0.5, 1.1))
    level = rng.uniform(0.4, 0.95)
    with scene.place((rng.uniform(-0.3, 0.3) * width, rng.uniform(-0.3, 0.3) * depth, level), yaw=rng.uniform(0, 6.3)):
        scene.box((0, 0, -0.02), (*size, 0.04), top)
        with scene.place((0, 0, -level)):
            furniture.legs(scene, *size, level - 0.04, 0.05, palette.wood(), False)
        scatter(scene, palette, rng, size[0], size[1], rng.randint(5, 34), rng.uniform(0.12, 0.32))
        key_lights(scene, rng, 1.5)
        center = tuple(scene.world((rng.uniform(-0.25, 0.25) * size[0], rng.uniform(-0.25, 0.25) * size[1], 0.08)))
    for _ in range(rng.randint(0, 5)):
        with scene.place(
            (rng.uniform(-0.45, 0.45) * width, rng.uniform(-0.45, 0.45) * depth, 0), yaw=rng.uniform(0, 6.3)
        ):
            furniture.piece(scene, palette, rng, furniture.ANYWHERE + furniture.AGAINST_WALL)
    pitch, spread = rng.choice(((0.25, 0.2), (0.6, 0.25), (1.2, 0.3)))
    return [around(rng, center, 0.25, 1.2, pitch, spread) for _ in range(8)]


def shelves(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Fill shelves, seen from near: depth that does not grow towards the top of the image."""
    daylight(scene, rng)
    shell(scene, palette, rng, 4.5, 4.5, 2.6)
    x = -1.6
    while x < 1.8:
        with scene.place((x, 1.95 - rng.uniform(0, 0.15), 0), yaw=rng.gauss(0, 0.06)):
            rng.choice((furniture.shelf, furniture.shelf, furniture.shelf, furniture.cupboard, furniture.kitchen))(
                scene, palette, rng
            )
        x += rng.uniform(0.7, 1.5)
    for _ in range(rng.randint(0, 3)):
        with scene.place((rng.uniform(-1.8, 1.8), rng.uniform(-1.5, 1.2), 0), yaw=rng.uniform(0, 6.3)):
            furniture.anywhere(scene, palette, rng)
    key_lights(scene, rng, 2.2)
    views = []
    for _ in range(8):
        position = (rng.uniform(-1.5, 1.5), rng.uniform(0.4, 1.4), rng.uniform(0.3, 2.1))
        views.append(looking(position, math.pi / 2 + rng.gauss(0, 0.5), rng.gauss(-0.1, 0.4), rng))
    return views


def surface(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Build a wall, facade or floor that fills the image, seen obliquely, with a few objects in front."""
    daylight(scene, rng)
    length = rng.uniform(3, 12)
    with scene.place((0, 2.0, 0)):
        wall(scene, palette, rng, length, 3.0, palette.wall(), plain=rng.random() < 0.5)
        for _ in range(rng.randint(0, 5)):
            with scene.place((rng.uniform(-2, 2), -rng.uniform(0.3, 0.9), 0), yaw=rng.gauss(0, 0.3)):
                furniture.piece(scene, palette, rng, furniture.AGAINST_WALL + furniture.ANYWHERE)
    scene.box((0, 0, -0.1), (40, 40, 0.2), rng.choice((palette.floor, palette.ground, palette.asphalt))())
    key_lights(scene, rng, 3.0)
    views = []
    for _ in range(8):
        position = (rng.uniform(-1.5, 1.5), 2.0 - rng.uniform(0.3, 2.5), rng.uniform(0.3, 2.4))
        views.append(looking(position, math.pi / 2 + rng.gauss(0, 0.8), rng.gauss(-0.1, 0.5), rng))
    return views


def clutter(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Scatter shapes of all sizes, positions and angles, to teach only occlusion, shading and texture."""
    daylight(scene, rng)
    extent = 10.0 ** rng.uniform(-0.2, 0.9)
    if rng.random() < 0.8:
        tilt = {"pitch": rng.gauss(0, 0.5), "roll": rng.gauss(0, 0.5)}
        scene.box(
            (0, 0, -extent),
            (30 * extent, 30 * extent, 0.1),
            rng.choice((palette.floor, palette.ground, palette.wall))(),
            **tilt,
        )
    if rng.random() < 0.7:
        material = rng.choice((palette.wall, palette.masonry, palette.facade, palette.fabric))()
        scene.box(
            (0, 2.5 * extent, 0),
            (30 * extent, 0.1, 30 * extent),
            material,
            yaw=rng.gauss(0, 0.5),
            roll=rng.gauss(0, 0.4),
        )
    materials = [palette.object() for _ in range(14)]
    for _ in range(rng.randint(12, 70)):
        size = extent * 0.5 * rng.random() ** 2 + 0.03 * extent
        place = (rng.gauss(0, 0.8) * extent, rng.gauss(0.4, 0.8) * extent, rng.gauss(0, 0.7) * extent)
        with scene.place(place, yaw=rng.uniform(0, 6.3), pitch=rng.gauss(0, 0.8), roll=rng.gauss(0, 0.8)):
            material, kind = rng.choice(materials), rng.random()
            if kind < 0.5:
                scene.box((0, 0, 0), tuple(size * rng.uniform(0.1, 2.0) for _ in range(3)), material)
            elif kind < 0.75:
                scene.cylinder(
                    (0, 0, 0),
                    size * rng.uniform(0.05, 0.7),
                    size * rng.uniform(0.3, 3.0),
                    material,
                    taper=rng.choice((1.0, 1.0, 0.6, 0.0)),
                )
            else:
                scene.ellipsoid((0, 0, 0), tuple(size * rng.uniform(0.3, 1.0) for _ in range(3)), material)
    key_lights(scene, rng, 2.0 * extent)
    views = []
    for _ in range(8):
        position = (rng.gauss(0, 0.5) * extent, -rng.uniform(0.8, 2.5) * extent, rng.gauss(0.2, 0.5) * extent)
        target = (rng.gauss(0, 0.4) * extent, rng.uniform(0, 1) * extent, rng.gauss(0, 0.4) * extent)
        views.append(View(position, target, rng.gauss(0, 0.4), field_of_view(rng)))
    return views
