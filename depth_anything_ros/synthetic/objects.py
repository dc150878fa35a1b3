"""Small things. Each stands at the origin of the innermost frame, z up.

All functions add to ``scene``, take materials from ``palette`` and draw shapes from ``rng``; ``size`` is the
thing's approximate size in meters.
"""

from __future__ import annotations

import math
import random

from depth_anything_ros.synthetic.mesh_placement import stand_mesh
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.scene import Scene


def bottle(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a bottle with a shoulder and a cap."""
    radius, glass = size * rng.uniform(0.12, 0.2), palette.plastic()
    body = size * rng.uniform(0.5, 0.65)
    label = palette.picture() if rng.random() < 0.5 else glass
    scene.cylinder((0, 0, 0), radius, body, (label, label, glass, glass, glass, glass))
    scene.cylinder((0, 0, body), radius, size * 0.15, glass, taper=0.4)
    scene.cylinder((0, 0, body + size * 0.15), radius * 0.4, size * 0.2, palette.plastic())


def cup(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a cup, wider at the top, with its content and a handle."""
    side, inside = palette.object(), palette.plain(0.6, 0.05, 0.5)
    radius, height = size * 0.32, size * rng.uniform(0.6, 0.9)
    scene.cylinder((0, 0, 0), radius, height, (side, side, side, side, side, inside), taper=rng.uniform(0.9, 1.3))
    scene.box((radius * 1.25, 0, height * 0.55), (radius * 0.5, radius * 0.2, height * 0.5), side)


def ball(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a ball, fruit or pebble."""
    radii = tuple(size * rng.uniform(0.3, 0.5) for _ in range(3))
    scene.ellipsoid((0, 0, radii[2]), radii, palette.object())


def packet(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a carton with prints on its faces."""
    base = palette.plain(0.9)
    faces = [palette.picture() if rng.random() < 0.5 else base for _ in range(6)]
    dimensions = tuple(size * rng.uniform(0.2, 1.0) for _ in range(3))
    scene.box((0, 0, dimensions[2] / 2), dimensions, faces)


def books(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a pile of books lying down."""
    height = 0.0
    for _ in range(rng.randint(1, 5)):
        thickness = size * rng.uniform(0.06, 0.2)
        cover, pages = palette.plain(0.8), palette.plain(0.1, 0.7, 0.95)
        top = palette.picture() if rng.random() < 0.6 else cover
        dimensions = (size * rng.uniform(0.6, 1.0), size * rng.uniform(0.5, 0.75), thickness)
        scene.box(
            (0, 0, height + thickness / 2), dimensions, (pages, pages, pages, cover, cover, top), yaw=rng.gauss(0, 0.2)
        )
        height += thickness


def paper(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add sheets of paper."""
    for k in range(rng.randint(1, 3)):
        sheet = palette.writing() if rng.random() < 0.6 else palette.picture(whole=True)
        place = (size * rng.uniform(-0.3, 0.3), size * rng.uniform(-0.3, 0.3), 0.001 + 0.001 * k)
        scene.box(place, (size, size * rng.uniform(0.7, 1.4), 0.002), sheet, yaw=rng.uniform(-0.5, 0.5))


def bowl(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a plate or a bowl with something round in it."""
    side, height = palette.object(), size * rng.uniform(0.05, 0.3)
    scene.cylinder((0, 0, 0), size * 0.3, height, side, taper=1.5)
    for _ in range(rng.randint(0, 5)):
        angle, away, radius = rng.uniform(0, 6.3), size * rng.uniform(0, 0.25), size * rng.uniform(0.06, 0.16)
        scene.sphere((away * math.cos(angle), away * math.sin(angle), height + radius * 0.7), radius, palette.object())


def plant(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a pot with leaves."""
    pot = size * rng.uniform(0.2, 0.35)
    scene.cylinder((0, 0, 0), pot * 0.5, pot, palette.object(), taper=rng.uniform(1.0, 1.4))
    leaf = palette.foliage()
    scene.cylinder((0, 0, pot), size * 0.015, (size - pot) * 0.9, leaf)
    for _ in range(rng.randint(6, 16)):
        long = size * rng.uniform(0.1, 0.3)
        place = (size * rng.gauss(0, 0.1), size * rng.gauss(0, 0.1), pot + (size - pot) * rng.random())
        turn = {"yaw": rng.uniform(0, 6.3), "pitch": rng.uniform(-1, 1)}
        scene.ellipsoid(place, (long, long * rng.uniform(0.1, 0.5), long * rng.uniform(0.03, 0.3)), leaf, **turn)


def screen(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a monitor or a laptop, on or off, facing -y."""
    black, case = palette.plain(0.1, 0.05, 0.25), palette.plain(0.1, 0.1, 0.9)
    width, height = size * rng.uniform(1.0, 1.6), size * rng.uniform(0.6, 0.8)
    shown = palette.picture(whole=True) if rng.random() < 0.6 else black
    if rng.random() < 0.5:
        keys = palette.picture()
        scene.box((0, -height * 0.45, 0.008), (width, height * 0.9, 0.016), (case, case, case, case, case, keys))
        with scene.place((0, 0, 0.015), roll=-rng.uniform(0.0, 0.5)):
            scene.box((0, 0, height / 2), (width, 0.01, height), (case, case, shown, case, case, case))
        return
    scene.cylinder((0, 0, 0), size * 0.25, 0.015, case)
    scene.cylinder((0, 0.02, 0), 0.02, size * 0.5, case)
    scene.box((0, 0, size * 0.3 + height / 2), (width, 0.03, height), (case, case, shown, case, case, black))


def desk_lamp(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a lamp with a shade, lit or not."""
    metal = palette.metal()
    shade = palette.glowing(palette.color(0.3, 0.7, 1.0), rng.choice((0.0, 0.0, 6.0)))
    scene.cylinder((0, 0, 0), size * 0.2, size * 0.04, metal)
    scene.cylinder((0, 0, 0), size * 0.03, size * 0.7, metal)
    scene.cylinder((0, 0, size * 0.6), size * 0.3, size * 0.35, shade, taper=rng.uniform(0.4, 1.0))


def stick(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a pen, cable or tool lying down."""
    radius = size * rng.uniform(0.015, 0.06)
    with scene.place((0, 0, radius), yaw=rng.uniform(0, 6.3), pitch=math.pi / 2):
        scene.cylinder((0, 0, -size / 2), radius, size, palette.object(), taper=rng.choice((1.0, 1.0, 0.2)))


def tumbled(scene: Scene, palette: Palette, rng: random.Random, size: float) -> None:
    """Add a block, can or cone at any angle."""
    turn = {"yaw": rng.uniform(0, 6.3), "pitch": rng.gauss(0, 0.6), "roll": rng.gauss(0, 0.6)}
    with scene.place((0, 0, size * 0.25), **turn):
        if rng.random() < 0.5:
            scene.box((0, 0, 0), tuple(size * rng.uniform(0.15, 0.8) for _ in range(3)), palette.object())
        else:
            height = size * rng.uniform(0.3, 0.9)
            scene.cylinder(
                (0, 0, -height / 2),
                size * rng.uniform(0.1, 0.3),
                height,
                palette.object(),
                taper=rng.choice((1.0, 1.0, 0.5, 0.0)),
            )


SMALL = (bottle, cup, ball, packet, packet, books, paper, bowl, plant, screen, desk_lamp, stick, tumbled, tumbled)


def scatter(
    scene: Scene, palette: Palette, rng: random.Random, width: float, depth: float, count: int, size: float
) -> None:
    """Add things over a rectangle around the origin of the innermost frame.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        width: Width of the rectangle along x, meters.
        depth: Depth of the rectangle along y, meters.
        count: number of things.
        size: their approximate size, meters.
    """
    for _ in range(count):
        place = (rng.uniform(-0.5, 0.5) * width, rng.uniform(-0.5, 0.5) * depth, 0.0)
        yaw = rng.gauss(0.0, 0.5) if rng.random() < 0.7 else rng.uniform(0.0, 2.0 * math.pi)
        with scene.place(place, yaw=yaw):
            scaled = size * rng.uniform(0.5, 1.4)
            if stand_mesh(scene, palette, rng, "small", largest=1.5 * scaled) is None:
                rng.choice(SMALL)(scene, palette, rng, scaled)
