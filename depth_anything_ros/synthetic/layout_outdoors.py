"""Layouts of streets and open country under a sky.

All functions add to ``scene``, take materials from ``palette`` and draw shapes from ``rng``. Lengths are in meters. The
layouts `street` and `field` return possible views.
"""

from __future__ import annotations

import math
import random

from depth_anything_ros.synthetic.appearance import Sky
from depth_anything_ros.synthetic.layout_rooms import looking
from depth_anything_ros.synthetic.mesh_placement import stand_mesh
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.people import animal, person
from depth_anything_ros.synthetic.scene import Scene, View


def weather(scene: Scene, rng: random.Random) -> None:
    """Set a clear, cloudy, overcast, hazy or evening sky."""
    cover, angle, height = rng.random(), rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.12, 0.95)
    flat = math.sqrt(1.0 - height * height)
    gray = min(1.0, max(0.0, cover * 1.6 - 0.6))
    zenith = tuple((1 - gray) * c + gray * 0.55 for c in (0.2, 0.38, 0.75))
    horizon = tuple((1 - gray) * c + gray * 0.7 for c in (0.65, 0.75, 0.85))
    sun = 0.0 if cover > 0.7 else rng.uniform(1.0, 3.5)
    warm = max(0.0, 0.5 - height)
    scene.sky = Sky(
        zenith=zenith,
        horizon=tuple(c * f for c, f in zip(horizon, (1 + warm, 1.0, 1 - warm), strict=True)),
        ground=(0.2, 0.19, 0.16),
        cloud_cover=cover,
        cloud_scale=rng.uniform(0.4, 2.0),
        sun_direction=(flat * math.cos(angle), flat * math.sin(angle), height),
        sun_color=(sun, sun * (0.95 - 0.5 * warm), sun * (0.85 - 1.1 * warm)),
        haze=horizon,
        visibility=10.0 ** rng.uniform(2.0, 3.8),
        reach=rng.uniform(2.0, 8.0),
        bounce=rng.uniform(0.3, 0.7),
        seed=rng.randrange(1 << 20),
    )


def tree(scene: Scene, palette: Palette, rng: random.Random, leaf: int, bark: int) -> None:
    """Add a broad-leaved tree or a fir at the origin of the innermost frame.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        leaf: index of the leaves' material.
        bark: index of the trunk's material.
    """
    height = rng.uniform(3.0, 11.0)
    scene.cylinder((0, 0, 0), 0.03 * height, height * 0.6, bark, taper=0.5)
    if rng.random() < 0.25:
        for k in range(4):
            radius = height * (0.24 - 0.045 * k)
            scene.cylinder((0, 0, height * (0.15 + 0.2 * k)), radius, height * 0.34, leaf, taper=0.05)
        return
    for _ in range(rng.randint(4, 14)):
        radius = height * rng.uniform(0.07, 0.22)
        place = (rng.gauss(0, 0.13) * height, rng.gauss(0, 0.13) * height, height * rng.uniform(0.5, 0.92))
        radii = (radius, radius * rng.uniform(0.8, 1.2), radius * rng.uniform(0.6, 1.0))
        scene.ellipsoid(place, radii, leaf, holes=(rng.uniform(0.3, 0.5), rng.uniform(0.04, 0.13)))


def bush(scene: Scene, palette: Palette, rng: random.Random, leaf: int) -> None:
    """Add a bush, a hedge, or an object of gardens and parks; ``leaf``: index of its material."""
    if stand_mesh(scene, palette, rng, "outdoor", yaw=rng.uniform(0.0, 6.3)) is not None:
        return
    for _ in range(rng.randint(1, 4)):
        radius = rng.uniform(0.25, 0.9)
        scene.ellipsoid(
            (rng.gauss(0, 0.5), rng.gauss(0, 0.5), radius * 0.7),
            (radius, radius, radius * 0.9),
            leaf,
            holes=(0.35, rng.uniform(0.03, 0.08)),
        )


def car(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a car or a van along y."""
    if stand_mesh(scene, palette, rng, "vehicle", yaw=rng.choice((0.0, math.pi))) is not None:
        return
    paint, glass, tyre = (
        palette.plastic(),
        palette.add(0, (0.03, 0.035, 0.04), mirror=0.25),
        palette.plain(0.1, 0.05, 0.15),
    )
    length, width, body = rng.uniform(3.7, 5.0), rng.uniform(1.65, 1.9), rng.uniform(0.6, 0.75)
    scene.box((0, 0, 0.28 + body / 2), (width, length, body), paint)
    scene.ellipsoid((0, 0, 0.28 + body * 0.75), (width * 0.53, length * 0.53, body * 0.5), paint)
    cabin = rng.uniform(0.4, 0.75) * length
    tall, back = rng.choice((0.5, 0.5, 0.95)), rng.uniform(-0.1, 0.2) * (length - cabin)
    scene.box((0, back, 0.28 + body + tall / 2), (width * 0.86, cabin, tall), glass)
    scene.box((0, back, 0.28 + body + tall), (width * 0.84, cabin * 0.85, 0.06), paint)
    for end in (-1, 1):
        scene.box(
            (0, back + end * cabin * 0.5, 0.3 + body + tall * 0.42), (width * 0.8, 0.05, tall), glass, roll=end * 0.6
        )
        lamp = palette.glowing((0.9, 0.1, 0.08) if end > 0 else (0.9, 0.9, 0.8), rng.choice((0.0, 2.0)))
        for side in (-1, 1):
            scene.box((side * width * 0.38, end * length * 0.5, 0.28 + body * 0.65), (0.3, 0.06, 0.14), lamp)
            with scene.place((side * width * 0.5, end * length * 0.32, 0.32), pitch=math.pi / 2):
                scene.cylinder((0, 0, -0.1), 0.32, 0.2, tyre)
                scene.cylinder((0, 0, -0.11), 0.19, 0.22, palette.metal())


def pole(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a street lamp, a sign or a bollard."""
    metal, kind = palette.metal(), rng.random()
    height = rng.uniform(2.2, 7.0)
    if kind < 0.4:
        scene.cylinder((0, 0, 0), 0.08, height, metal, taper=0.6)
        scene.box((0.6, 0, height), (1.3, 0.15, 0.1), metal)
    elif kind < 0.75:
        scene.cylinder((0, 0, 0), 0.04, 2.6, metal)
        sign = palette.picture()
        scene.box((0, -0.05, 2.4), (rng.uniform(0.4, 1.2), 0.02, rng.uniform(0.4, 0.9)), sign)
    else:
        scene.cylinder((0, 0, 0), 0.08, 0.9, palette.plastic())


def building(scene: Scene, palette: Palette, rng: random.Random, width: float) -> None:
    """Add a house, its front at y = 0 facing -y, its middle at x = 0; ``width``: along x, meters."""
    height, depth = rng.uniform(4.0, 24.0), rng.uniform(6.0, 14.0)
    front = palette.facade() if rng.random() < 0.8 else palette.masonry()
    scene.box((0, depth / 2, height / 2), (width, depth, height), front)
    scene.box((0, 0, height), (width + 0.2, 0.5, 0.4), palette.stone())
    if rng.random() < 0.5:
        for side in (-1, 1):
            scene.box(
                (0, depth / 2 + side * depth * 0.25, height + depth * 0.12),
                (width, depth * 0.6, 0.2),
                palette.masonry(),
                roll=side * 0.5,
            )
    shop = palette.picture() if rng.random() < 0.3 else palette.stone()
    scene.box((0, -0.05, 3.1), (width * 0.9, 0.3, 0.6), shop)
    dark, frame = palette.add(0, (0.05, 0.05, 0.06), mirror=0.15), palette.plain(0.3)
    count = max(1, int(width / 2.5))
    for k in range(count):
        x = (k + 0.5) * width / count - width / 2
        tall = rng.choice((2.1, 1.6))
        scene.box((x, -0.02, 2.5 - tall / 2), (1.4, 0.12, tall), frame)
        scene.box((x, -0.06, 2.5 - tall / 2), (1.2, 0.1, tall - 0.15), dark if rng.random() < 0.7 else palette.wood())
        if height > 7 and rng.random() < 0.4:
            for storey in range(1, min(6, int(height / 3))):
                scene.box((x, -0.5, storey * 3.1 + 0.4), (1.6, 1.0, 0.12), frame)
                scene.box((x, -0.98, storey * 3.1 + 0.9), (1.6, 0.04, 0.9), frame)


def street(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Build a street along y with pavements, houses, cars, people and trees, seen by a walker, a driver or a robot."""
    weather(scene, rng)
    half, walk = rng.uniform(2.5, 7.0), rng.uniform(1.5, 5.0)
    scene.box((0, 0, -0.5), (4000, 4000, 0.9), palette.ground() if rng.random() < 0.5 else palette.asphalt())
    scene.box((0, 100, -0.05), (2 * half, 400, 0.1), palette.asphalt())
    white = palette.plain(0.05, 0.7, 0.9)
    gap = rng.choice((0.5, 3.0, 6.0))
    for k in range(24):
        scene.box((0, k * (gap + 3.0) - 12, 0.002), (0.14, 3.0, 0.006), white)
    for side in (-1, 1):
        scene.box((side * (half - 0.3), 100, 0.002), (0.12, 400, 0.006), white)
        scene.box(
            (side * (half + walk / 2), 100, 0.06),
            (walk, 400, 0.14),
            palette.tiles() if rng.random() < 0.5 else palette.asphalt(),
        )
        built = rng.random() < 0.8
        y = -15.0
        while built and y < 120.0:
            width = rng.uniform(5.0, 16.0)
            if rng.random() < 0.85:
                setback = half + walk + rng.choice((0.0, 0.0, rng.uniform(0, 4)))
                with scene.place((side * setback, y + width / 2, 0), yaw=-side * math.pi / 2):
                    building(scene, palette, rng, width)
            y += width + rng.choice((0.0, 0.0, rng.uniform(0.5, 6.0)))
    along_street(scene, palette, rng, half, walk)
    if rng.random() < 0.5:
        scene.box((0, rng.uniform(60, 150), 10), (120, 10, rng.uniform(10, 40)), palette.facade())
    views = []
    for _ in range(8):
        position = (rng.uniform(-1, 1) * (half + walk * 0.8), rng.uniform(-5, 20), max(0.25, rng.gauss(1.5, 0.5)))
        if rng.random() < 0.12:
            position = (*position[:2], rng.uniform(3.0, 9.0))
        views.append(looking(position, math.pi / 2 + rng.gauss(0, 0.6), rng.gauss(0.0, 0.18), rng))
    return views


def along_street(scene: Scene, palette: Palette, rng: random.Random, half: float, walk: float) -> None:
    """Add cars on the road, and trees, poles, bushes and people on the pavements.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        half: half the width of the road, meters.
        walk: width of a pavement, meters.
    """
    leaf, bark = palette.foliage(), palette.wood()
    for side in (-1, 1):
        parked, y = rng.random() < 0.6, -8.0
        while y < 60.0:
            if parked and rng.random() < 0.55:
                with scene.place((side * (half - 1.1), y, 0), yaw=rng.gauss(0, 0.02) + (0 if side > 0 else math.pi)):
                    car(scene, palette, rng)
            if rng.random() < 0.5:
                with scene.place(
                    (side * (half + rng.uniform(0.2, 0.4) * walk), y + rng.uniform(0, 3), 0.1), yaw=side * math.pi
                ):
                    kind = rng.random()
                    if kind < 0.4:
                        tree(scene, palette, rng, leaf, bark)
                    elif kind < 0.7:
                        pole(scene, palette, rng)
                    else:
                        bush(scene, palette, rng, leaf)
            if rng.random() < 0.3:
                with scene.place(
                    (side * (half + rng.uniform(0.2, 0.9) * walk), y + rng.uniform(0, 5), 0.13), yaw=rng.uniform(0, 6.3)
                ):
                    person(scene, palette, rng)
            y += rng.uniform(5.5, 9.0)
    for _ in range(rng.randint(0, 3)):
        with scene.place((rng.choice((-0.5, 0.5)) * half, rng.uniform(5, 60), 0), yaw=rng.choice((0, math.pi))):
            car(scene, palette, rng)


def field(scene: Scene, palette: Palette, rng: random.Random) -> list[View]:
    """Build open ground with hills, trees, rocks, fences and sheds."""
    weather(scene, rng)
    ground, leaf, bark, rock = palette.ground(), palette.foliage(), palette.wood(), palette.stone()
    scene.box((0, 0, -0.5), (8000, 8000, 1.0), ground)
    for _ in range(rng.randint(2, 9)):
        away, angle = 10.0 ** rng.uniform(1.2, 3.0), rng.uniform(0, math.pi)
        radius = away * rng.uniform(0.2, 0.7)
        place = (away * math.cos(angle), away * math.sin(angle), -0.02 * radius)
        scene.ellipsoid(
            place,
            (radius, radius * rng.uniform(0.5, 1.5), radius * rng.uniform(0.05, 0.5)),
            palette.ground() if rng.random() < 0.5 else ground,
        )
    for _ in range(rng.randint(2, 16)):
        away, angle = 10.0 ** rng.uniform(0.4, 1.9), rng.uniform(0, math.pi)
        with scene.place((away * math.cos(angle), away * math.sin(angle), 0)):
            rng.choice((tree, tree))(scene, palette, rng, leaf, bark) if rng.random() < 0.7 else bush(
                scene, palette, rng, leaf
            )
    for _ in range(rng.randint(0, 25)):
        away, angle, size = 10.0 ** rng.uniform(0.1, 1.5), rng.uniform(0, math.pi), rng.uniform(0.05, 0.8)
        radii = tuple(size * rng.uniform(0.5, 1.2) for _ in range(3))
        scene.ellipsoid(
            (away * math.cos(angle), away * math.sin(angle), 0.1 * size),
            radii,
            rock,
            yaw=rng.uniform(0, 6.3),
            roll=rng.gauss(0, 0.4),
        )
    if rng.random() < 0.4:
        fence(scene, palette, rng)
    for _ in range(rng.randint(0, 3)):
        place = (rng.uniform(-20, 20), rng.uniform(4, 40), 0)
        with scene.place(place, yaw=rng.uniform(0, 6.3)):
            kind = rng.random()
            if kind < 0.3:
                person(scene, palette, rng)
            elif kind < 0.5:
                animal(scene, palette, rng)
            elif kind < 0.75:
                car(scene, palette, rng)
            else:
                building(scene, palette, rng, rng.uniform(4, 12))
    if rng.random() < 0.4:
        scene.box(
            (rng.uniform(-5, 5), 100, 0.005), (rng.uniform(1, 6), 400, 0.02), palette.asphalt(), yaw=rng.gauss(0, 0.3)
        )
    views = []
    for _ in range(8):
        position = (
            rng.uniform(-4, 4),
            rng.uniform(-4, 4),
            max(0.2, rng.gauss(1.4, 0.5)) if rng.random() < 0.85 else rng.uniform(2, 15),
        )
        views.append(looking(position, math.pi / 2 + rng.gauss(0, 0.5), rng.gauss(-0.08, 0.2), rng))
    return views


def fence(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add posts and rails across the view."""
    wood, y = palette.wood(), rng.uniform(2.0, 10.0)
    with scene.place((0, y, 0), yaw=rng.gauss(0, 0.4)):
        for k in range(-8, 9):
            scene.box((k * 1.8, 0, 0.55), (0.1, 0.1, 1.1), wood)
        for z in (0.4, 0.75, 1.0):
            scene.box((0, -0.06, z), (32, 0.03, 0.1), wood)
