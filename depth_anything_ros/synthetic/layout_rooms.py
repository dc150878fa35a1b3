"""Layouts of rooms and corridors: walls with doors and windows, furniture, lamps, meaningless pictures.

All functions add to ``scene``, take materials from ``palette`` and draw shapes from ``rng``. Lengths are in meters. The
layouts `room` and `corridor` return possible views.
"""

from __future__ import annotations

import math
import random

from depth_anything_ros.synthetic import furniture
from depth_anything_ros.synthetic.appearance import Sky
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.room_walls import door_leaf, wall
from depth_anything_ros.synthetic.scene import Scene, View


def daylight(scene: Scene, rng: random.Random) -> None:
    """Set a sky for the windows, and dim ambient light inside."""
    angle, height = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.15, 0.8)
    level = rng.uniform(0.03, 0.5)
    flat = math.sqrt(1.0 - height * height)
    sun = rng.uniform(1.0, 8.0) if rng.random() < 0.45 else 0.0
    tint = [rng.gauss(1.0, 0.06) for _ in range(3)]
    scene.sky = Sky(
        zenith=tuple(level * t for t in tint),
        horizon=tuple(level * rng.uniform(0.8, 1.3) * t for t in tint),
        ground=tuple(level * rng.uniform(0.3, 0.8) * t for t in tint),
        cloud_cover=rng.choice((0.0, 0.4, 0.7)),
        backdrop=10.0 ** rng.uniform(-0.5, 1.3),
        sun_direction=(flat * math.cos(angle), flat * math.sin(angle), height),
        sun_color=(sun, sun * 0.93, sun * 0.8),
        reach=rng.uniform(1.0, 4.0),
        bounce=rng.uniform(0.3, 0.9),
        seed=rng.randrange(1 << 20),
    )


def ceiling_lights(
    scene: Scene, palette: Palette, rng: random.Random, width: float, depth: float, height: float
) -> None:
    """Add one to four lamps under the ceiling, panels or globes, some unlit; sizes of the room in meters."""
    warm = rng.random()
    white = (1.0, 1.0 - 0.25 * warm, 1.0 - 0.55 * warm)
    power = rng.uniform(1.0, 5.0) * width * depth / 12.0
    count = rng.randint(1, 4)
    for k in range(count):
        x, y = (0.0, 0.0) if count == 1 else (rng.uniform(-0.4, 0.4) * width, rng.uniform(-0.4, 0.4) * depth)
        lit = k == 0 or rng.random() < 0.7
        glow = palette.glowing((0.9, 0.9 * white[1], 0.9 * white[2]), 8.0 if lit else 0.0)
        if rng.random() < 0.5:
            drop = 0.03
            scene.box((x, y, height - 0.01), (rng.uniform(0.1, 1.2), rng.uniform(0.1, 0.6), 0.03), glow)
        else:
            drop = rng.uniform(0.1, 0.7)
            scene.sphere((x, y, height - drop), rng.uniform(0.07, 0.18), glow)
            scene.cylinder((x, y, height - drop), 0.008, drop, palette.plain())
        if lit:
            scene.lamp((x, y, height - drop - 0.25), 0.12, tuple(power / count * c for c in white))


def shell(scene: Scene, palette: Palette, rng: random.Random, width: float, depth: float, height: float) -> None:
    """Add floor, ceiling and four walls around the origin, and ground outside; sizes in meters."""
    scene.box((0, 0, -0.1), (width + 0.4, depth + 0.4, 0.2), palette.floor())
    scene.box((0, 0, height + 0.1), (width + 0.4, depth + 0.4, 0.2), palette.plain(0.1, 0.6, 0.98))
    scene.box((0, 0, -3.1), (2000, 2000, 0.2), palette.ground())
    for _ in range(rng.randint(0, 6)):
        angle, away = rng.uniform(0, 6.3), rng.uniform(9.0, 40.0)
        place = (away * math.cos(angle), away * math.sin(angle), 0)
        scene.box(
            place, (rng.uniform(3, 12), rng.uniform(3, 12), rng.uniform(4, 24)), palette.facade(), yaw=rng.random()
        )
    shared = palette.wall()
    for side in range(4):
        length, away = (width, depth / 2) if side % 2 == 0 else (depth, width / 2)
        material = shared if rng.random() < 0.7 else palette.wall()
        with scene.place((0, 0, 0), yaw=side * math.pi / 2), scene.place((0, away, 0)):
            wall(scene, palette, rng, length, height, material, plain=rng.random() < 0.15)


def furnish(scene: Scene, palette: Palette, rng: random.Random, width: float, depth: float) -> None:
    """Add furniture along the walls and in the middle; sizes of the room in meters."""
    for side in range(4):
        length, away = (width, depth / 2) if side % 2 == 0 else (depth, width / 2)
        x = -length / 2 + rng.uniform(0.5, 1.2)
        while x < length / 2 - 0.6:
            if rng.random() < 0.75:
                with scene.place((0, 0, 0), yaw=side * math.pi / 2), scene.place((x, away - rng.uniform(0.4, 0.55), 0)):
                    furniture.against_wall(scene, palette, rng)
            x += rng.uniform(0.9, 2.2)
    for _ in range(rng.randint(0, max(1, int(width * depth / 4)))):
        place = (rng.uniform(-0.35, 0.35) * width, rng.uniform(-0.35, 0.35) * depth, 0)
        with scene.place(place, yaw=rng.choice((0, 1.571, 3.142, rng.uniform(0, 6.3)))):
            furniture.anywhere(scene, palette, rng)
    if rng.random() < 0.5:
        rug = (rng.uniform(1.0, width * 0.8), rng.uniform(1.0, depth * 0.8), 0.012)
        scene.box(
            (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), 0.006),
            rug,
            palette.fabric(),
            yaw=rng.choice((0, rng.random())),
        )


def furnished_room(
    scene: Scene, palette: Palette, rng: random.Random, width: float, depth: float, height: float
) -> None:
    """Add walls, furniture, daylight and lamps; sizes in meters."""
    daylight(scene, rng)
    shell(scene, palette, rng, width, depth, height)
    furnish(scene, palette, rng, width, depth)
    ceiling_lights(scene, palette, rng, width, depth, height)


def room(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Build a furnished room, seen by a standing or sitting person, or by a robot near the floor."""
    width, depth, height = rng.uniform(2.4, 7.0), rng.uniform(2.4, 7.0), rng.uniform(2.2, 3.2)
    furnished_room(scene, palette, rng, width, depth, height)
    return [inside_view(rng, width, depth, height) for _ in range(8)]


def inside_view(rng: random.Random, width: float, depth: float, height: float) -> View:
    """Return a camera anywhere in a room that looks anywhere, most often across it; sizes in meters."""
    position = (rng.uniform(-0.45, 0.45) * width, rng.uniform(-0.45, 0.45) * depth, rng.uniform(0.15, height - 0.2))
    if rng.random() < 0.75:
        position = (position[0], position[1], rng.gauss(1.35, 0.3))
    angle, pitch = rng.uniform(0, 2 * math.pi), rng.gauss(-0.15, 0.3)
    if rng.random() < 0.7:
        angle = math.atan2(-position[1], -position[0]) + rng.gauss(0, 0.6)
    return looking(position, angle, pitch, rng)


def looking(position: tuple, angle: float, pitch: float, rng: random.Random) -> View:
    """Return a view with some roll.

    Args:
        position: meters.
        angle: bearing, radians.
        pitch: radians, up positive.
        rng: random numbers.
    """
    pitch = max(-1.45, min(1.45, pitch))
    flat = math.cos(pitch)
    target = (position[0] + flat * math.cos(angle), position[1] + flat * math.sin(angle), position[2] + math.sin(pitch))
    roll = rng.gauss(0, 0.05) if rng.random() < 0.85 else rng.gauss(0, 0.4)
    return View(position, target, roll, field_of_view(rng))


def field_of_view(rng: random.Random) -> float:
    """Draw a horizontal field of view in degrees, most often that of a phone or webcam."""
    return min(110.0, max(35.0, rng.gauss(65.0, 14.0))) if rng.random() < 0.7 else rng.uniform(35.0, 110.0)


def corridor(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Build a corridor with doors, lamps at intervals and sometimes furniture."""
    width, length, height = rng.uniform(1.2, 3.0), rng.uniform(6.0, 30.0), rng.uniform(2.2, 3.6)
    daylight(scene, rng)
    shell(scene, palette, rng, width, length, height)
    warm = rng.random()
    glow, y = palette.glowing((0.9, 0.9 - 0.2 * warm, 0.9 - 0.4 * warm), 8.0), -length / 2 + rng.uniform(0.5, 2)
    spacing, power = rng.uniform(2.0, 5.0), rng.uniform(0.8, 3.0)
    while y < length / 2:
        scene.box((0, y, height), (rng.uniform(0.1, 0.3), 1.0, 0.03), glow)
        scene.lamp((0, y, height - 0.25), 0.15, (power, power * (1 - 0.25 * warm), power * (1 - 0.5 * warm)))
        for side in (-1, 1):
            if rng.random() < 0.6:
                with scene.place((side * width / 2, y + rng.uniform(-0.5, 0.5), 0), yaw=-side * math.pi / 2):
                    door_leaf(scene, palette, rng, 0.9, 2.05)
            if rng.random() < 0.3:
                with scene.place((side * (width / 2 - 0.25), y + 1.2, 0), yaw=-side * math.pi / 2):
                    rng.choice((furniture.shelf, furniture.boxes, furniture.potted_plant, furniture.chair))(
                        scene, palette, rng
                    )
        y += spacing
    for _ in range(rng.choice((0, 0, 1, 3))):
        with scene.place((rng.uniform(-0.3, 0.3) * width, rng.uniform(-0.4, 0.4) * length, 0), yaw=rng.uniform(0, 6.3)):
            furniture.person(scene, palette, rng)
    views = []
    for _ in range(8):
        position = (
            rng.uniform(-0.4, 0.4) * width,
            rng.uniform(-0.48, 0.2) * length,
            min(height - 0.2, max(0.15, rng.gauss(1.3, 0.4))),
        )
        views.append(looking(position, math.pi / 2 + rng.gauss(0, 0.45), rng.gauss(-0.05, 0.2), rng))
    return views
