"""Layouts of warehouses and staircases, and of people in front of the camera: views of robots and webcams.

The layouts fill ``scene`` with materials from ``palette`` and shapes from ``rng``, and return possible views.
"""

from __future__ import annotations

import math
import random

from depth_anything_ros.synthetic import furniture, people
from depth_anything_ros.synthetic.layout_rooms import (
    ceiling_lights,
    daylight,
    field_of_view,
    furnished_room,
    looking,
    shell,
)
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.scene import Scene, View


def warehouse(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Build aisles between racks of cartons, pallets and pillars on a bare floor."""
    width, depth, height = rng.uniform(8, 20), rng.uniform(10, 30), rng.uniform(3.5, 8.0)
    daylight(scene, rng)
    shell(scene, palette, rng, width, depth, height)
    steel, cartons = palette.plain(0.9, 0.2, 0.7), [palette.plain(0.5, 0.3, 0.8) for _ in range(4)]
    cartons += [palette.picture(), palette.wood()]
    aisle = rng.uniform(1.6, 3.0)
    x = -width / 2 + 0.6
    while x < width / 2 - 0.5:
        y = -depth / 2 + rng.uniform(1.0, 3.0)
        while y < depth / 2 - 3.0:
            if rng.random() < 0.8:
                with scene.place((x, y + 1.3, 0)):
                    rack(scene, rng, steel, cartons, height)
            y += 2.7
        x += aisle + 1.1
    for _ in range(rng.randint(0, 10)):
        place = (rng.uniform(-0.45, 0.45) * width, rng.uniform(-0.45, 0.45) * depth, 0)
        with scene.place(place, yaw=rng.choice((0, 1.571, rng.uniform(0, 6.3)))):
            rng.choice((pallet, pallet, pillar, person_at_work))(scene, palette, rng, cartons, height)
    for _ in range(3):
        ceiling_lights(scene, palette, rng, width, depth, height)
    views = []
    for _ in range(10):
        position = (
            rng.uniform(-0.45, 0.45) * width,
            rng.uniform(-0.45, 0.45) * depth,
            rng.choice((0.25, 0.6, 1.5, 2.2)),
        )
        bearing = rng.choice((-1, 1)) * math.pi / 2 + rng.gauss(0, 0.6)
        views.append(looking(position, bearing, rng.gauss(0.0, 0.2), rng))
    return views


def rack(scene: Scene, rng: random.Random, steel: int, cartons: list[int], height: float) -> None:
    """Add one bay of shelving along y, 2.6 m long and 0.9 m deep.

    Args:
        scene: the scene.
        rng: random numbers.
        steel: index of the frame's material.
        cartons: indices of the cartons' materials.
        height: Height of the bay, meters.
    """
    levels, spacing = rng.randint(2, 4), rng.uniform(0.7, 1.3)
    top = min(height - 0.3, levels * spacing + 0.4)
    for x in (-0.45, 0.45):
        for y in (-1.3, 1.3):
            scene.box((x, y, top / 2), (0.08, 0.08, top), steel)
    for level in range(levels):
        z = 0.1 + level * spacing
        if z > top:
            break
        scene.box((0, 0, z), (0.95, 2.6, 0.08), steel)
        y = -1.2
        while y < 1.0:
            long, tall = rng.uniform(0.25, 0.9), rng.uniform(0.2, 0.9) * spacing * 0.9
            if rng.random() < 0.8:
                place = (rng.gauss(0, 0.06), y + long / 2, z + 0.04 + tall / 2)
                scene.box(
                    place, (rng.uniform(0.4, 0.85), long * 0.95, tall), rng.choice(cartons), yaw=rng.gauss(0, 0.05)
                )
            y += long


def pallet(scene: Scene, palette: Palette, rng: random.Random, cartons: list[int], height: float) -> None:
    """Add a pallet with a stack of cartons.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        cartons: indices of the cartons' materials.
        height: Height of the hall, meters; unused.
    """
    wood, carton = palette.wood(), rng.choice(cartons)
    for k in range(5):
        scene.box((0, -0.5 + 0.25 * k, 0.12), (1.2, 0.12, 0.025), wood)
    for x in (-0.5, 0, 0.5):
        scene.box((x, 0, 0.05), (0.1, 1.0, 0.1), wood)
    size = rng.uniform(0.25, 0.5)
    for layer in range(rng.randint(0, 4)):
        for x in (-0.28, 0.28):
            for y in (-0.25, 0.25):
                if rng.random() < 0.9:
                    scene.box(
                        (x, y, 0.14 + (layer + 0.5) * size), (0.54, 0.48, size * 0.98), carton, yaw=rng.gauss(0, 0.04)
                    )


def pillar(scene: Scene, palette: Palette, rng: random.Random, cartons: list[int], height: float) -> None:
    """Add a pillar up to the roof.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        cartons: unused.
        height: Height of the hall, meters.
    """
    radius = rng.uniform(0.1, 0.35)
    if rng.random() < 0.5:
        scene.cylinder((0, 0, 0), radius, height, palette.stone())
    else:
        scene.box((0, 0, height / 2), (2 * radius, 2 * radius, height), palette.stone())


def person_at_work(scene: Scene, palette: Palette, rng: random.Random, cartons: list[int], height: float) -> None:
    """Add a person in an aisle; ``cartons`` and ``height`` are unused."""
    people.person(scene, palette, rng)


def stairs(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Build a flight of stairs with a handrail in a hall, seen from below, above or the side."""
    width, depth, height = rng.uniform(3.5, 7), rng.uniform(6, 9), rng.uniform(3.6, 5.5)
    daylight(scene, rng)
    shell(scene, palette, rng, width, depth, height)
    ceiling_lights(scene, palette, rng, width, depth, height)
    steps, rise, tread, broad = (
        rng.randint(6, 14),
        rng.uniform(0.15, 0.2),
        rng.uniform(0.24, 0.32),
        rng.uniform(0.9, 2.2),
    )
    material, riser, rail = (
        rng.choice((palette.wood, palette.stone, palette.tiles))(),
        palette.plain(0.2),
        palette.metal(),
    )
    open_ones, x = rng.random() < 0.4, rng.uniform(-0.3, 0.3) * (width - broad)
    for k in range(steps):
        y, z = k * tread, (k + 1) * rise
        scene.box((x, y, z - 0.025), (broad, tread + 0.02, 0.05), material)
        if not open_ones:
            scene.box((x, y + 0.02, z / 2 - 0.03), (broad, tread - 0.02, z - 0.06), riser)
    climb = math.atan2(rise, tread)
    length = steps * math.hypot(rise, tread)
    for side in (-0.5, 0.5):
        with scene.place((x + side * broad, 0, rise + 0.9), roll=climb):
            scene.box((0, length / 2, 0), (0.05, length, 0.05), rail)
        for k in range(steps):
            scene.cylinder((x + side * broad, k * tread, (k + 1) * rise), 0.012, 0.9, rail)
    scene.box((x, steps * tread + 1.0, steps * rise - 0.1), (width, 2.0, 0.2), material)
    for _ in range(rng.randint(0, 3)):
        with scene.place((rng.uniform(-0.4, 0.4) * width, -rng.uniform(0.5, 2.5), 0), yaw=rng.uniform(0, 6.3)):
            furniture.anywhere(scene, palette, rng)
    views = []
    for _ in range(8):
        down = rng.random() < 0.35
        if down:
            position = (
                x + rng.gauss(0, 0.4),
                steps * tread + rng.uniform(0.1, 1.0),
                min(height - 0.2, steps * rise + 1.5),
            )
            views.append(looking(position, -math.pi / 2 + rng.gauss(0, 0.3), rng.gauss(-0.6, 0.2), rng))
        else:
            position = (x + rng.gauss(0, 0.9), -rng.uniform(0.4, 2.6), max(0.2, rng.gauss(1.3, 0.4)))
            views.append(looking(position, math.pi / 2 + rng.gauss(0, 0.4), rng.gauss(0.0, 0.25), rng))
    return views


def company(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Place one to five people in a room, sitting at a webcam or standing."""
    width, depth, height = rng.uniform(3.0, 6.5), rng.uniform(3.5, 6.5), rng.uniform(2.3, 3.0)
    furnished_room(scene, palette, rng, width, depth, height)
    place = (rng.uniform(-0.2, 0.2) * width, -0.5 * depth + rng.uniform(0.3, 0.8), rng.gauss(1.2, 0.2))
    nearest = rng.uniform(0.45, 1.6)
    for k in range(rng.choice((1, 1, 1, 2, 3, 5))):
        away = nearest if k == 0 else rng.uniform(nearest, depth - 1.0)
        aside = rng.gauss(0, 0.15 + 0.5 * (k > 0)) * away
        sitting = rng.random() < 0.6
        where = (place[0] + aside, place[1] + away, 0.0)
        with scene.place(where, yaw=rng.gauss(0, 0.5) if rng.random() < 0.8 else rng.uniform(0, 6.3)):
            (seated if sitting else people.person)(scene, palette, rng)
    scene.lamp((place[0] + rng.gauss(0, 0.8), place[1], rng.uniform(1.2, 2.1)), 0.2, (rng.uniform(0.2, 1.5),) * 3)
    views = []
    for _ in range(8):
        position = (place[0] + rng.gauss(0, 0.1), place[1], place[2] + rng.gauss(0, 0.1))
        view = looking(position, math.pi / 2 + rng.gauss(0, 0.15), rng.gauss(-0.05, 0.15), rng)
        views.append(View(view.position, view.target, rng.gauss(0, 0.04), field_of_view(rng)))
    return views


def seated(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a person on a chair."""
    furniture.chair(scene, palette, rng)
    with scene.place((0, 0, 0.5)):
        people.bust(scene, palette, rng)
