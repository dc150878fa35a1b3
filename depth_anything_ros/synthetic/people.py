"""People and animals of simple parts. Each stands at the origin of the innermost frame and faces -y; lengths in meters.

All functions add to ``scene``, take materials from ``palette`` and draw shapes from ``rng``.
"""

from __future__ import annotations

import math
import random

from depth_anything_ros.synthetic import textures
from depth_anything_ros.synthetic.mesh_placement import stand_mesh
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.scene import Scene


def person(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a person standing, walking or with raised arms."""
    if stand_mesh(scene, palette, rng, "person") is not None:
        return
    height, stride = rng.uniform(1.45, 1.92), rng.gauss(0, 0.25)
    skin = skin_of(palette, rng)
    trousers, shoes = palette.fabric(), palette.plain(0.4, 0.05, 0.6)
    for side in (-1, 1):
        with scene.place((side * 0.09, 0, height * 0.5), roll=side * stride):
            scene.cylinder((0, 0, -height * 0.5), 0.055, height * 0.52, trousers, taper=1.5)
            scene.ellipsoid((0, -0.06, -height * 0.48), (0.05, 0.13, 0.045), shoes)
    scene.ellipsoid((0, 0, height * 0.52), (0.17, 0.12, 0.16), trousers)
    with scene.place((0, 0, height * 0.5)):
        torso(scene, palette, rng, height, skin)


def bust(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a sitting person: thighs and shins in front of the seat at the origin, and the upper half."""
    trousers = palette.fabric()
    for side in (-1, 1):
        with scene.place((side * 0.1, 0, 0.06), roll=math.pi / 2):
            scene.cylinder((0, 0, 0), 0.085, 0.45, trousers, taper=0.75)
        scene.cylinder((side * 0.1, -0.43, -0.48), 0.045, 0.55, trousers, taper=1.4)
    torso(scene, palette, rng, rng.uniform(1.45, 1.92), skin_of(palette, rng))


def skin_of(palette: Palette, rng: random.Random) -> int:
    """Add a skin material, from light to dark, and return its index."""
    shade = rng.uniform(0.2, 1.0)
    return palette.add(textures.PLAIN, (0.62 * shade, 0.4 * shade, 0.28 * shade), specular=0.03)


def torso(scene: Scene, palette: Palette, rng: random.Random, height: float, skin: int) -> None:
    """Add trunk, arms and head; the origin is the hip.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        height: Height of the person, meters.
        skin: index of the skin's material.
    """
    shirt, broad = palette.fabric(), height * rng.uniform(0.105, 0.13)
    scene.ellipsoid((0, 0, height * 0.17), (broad * 1.0, 0.12, height * 0.2), shirt)
    scene.ellipsoid((0, 0, height * 0.285), (broad * 1.25, 0.1, height * 0.06), shirt)
    for side in (-1, 1):
        swing, bend = rng.gauss(0, 0.4), rng.uniform(0.0, 1.6)
        with scene.place((side * broad * 1.2, 0, height * 0.3), roll=swing, pitch=-side * rng.uniform(0.05, 0.5)):
            scene.ellipsoid((0, 0, -0.02), (0.06, 0.06, 0.07), shirt)
            scene.cylinder((0, 0, -height * 0.17), 0.042, height * 0.17, shirt, taper=1.2)
            with scene.place((0, 0, -height * 0.17), roll=-bend):
                scene.cylinder((0, 0, -height * 0.15), 0.032, height * 0.16, rng.choice((skin, shirt)), taper=1.25)
                scene.ellipsoid((0, 0, -height * 0.18), (0.03, 0.045, 0.07), skin)
    scene.cylinder((0, 0, height * 0.3), 0.055, height * 0.09, skin)
    with scene.place((0, -0.02, height * 0.43), yaw=rng.gauss(0, 0.4), roll=rng.gauss(0, 0.15)):
        head(scene, palette, rng, skin)


def head(scene: Scene, palette: Palette, rng: random.Random, skin: int) -> None:
    """Add a head with hair, eyes, nose and mouth around the origin; ``skin``: index of its material."""
    hair, dark, lips = palette.plain(0.4, 0.05, 0.55), palette.plain(0.1, 0.05, 0.15), palette.plain(0.6, 0.3, 0.5)
    scene.ellipsoid((0, 0, 0), (0.076, 0.096, 0.118), skin)
    scene.ellipsoid((0, 0.022, 0.03), (0.084, 0.094, 0.105), hair)
    if rng.random() < 0.4:
        scene.ellipsoid((0, 0.05, -0.08), (0.09, 0.06, 0.15), hair)
    for side in (-1, 1):
        scene.ellipsoid((side * 0.031, -0.082, 0.015), (0.014, 0.01, 0.007), dark)
        scene.ellipsoid((side * 0.031, -0.082, 0.036), (0.02, 0.012, 0.004), hair)
        scene.ellipsoid((side * 0.078, 0.01, 0.0), (0.01, 0.02, 0.03), skin)
    scene.ellipsoid((0, -0.095, -0.012), (0.014, 0.02, 0.026), skin)
    scene.ellipsoid((0, -0.086, -0.055), (0.026, 0.01, 0.008), lips)


def animal(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a dog, a sheep or a cow."""
    four_legs(scene, palette, rng.choice((0.5, 0.8, 1.3)) * rng.uniform(0.8, 1.2))


def pet(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a cat or a dog."""
    four_legs(scene, palette, rng.uniform(0.2, 0.55))


def four_legs(scene: Scene, palette: Palette, size: float) -> None:
    """Add a four-legged animal; ``size``: from its shoulders to the ground, meters."""
    coat = palette.fabric()
    scene.ellipsoid((0, 0, size * 0.75), (size * 0.22, size * 0.6, size * 0.26), coat)
    for x in (-0.13, 0.13):
        for y in (-0.4, 0.4):
            scene.cylinder((x * size, y * size, 0), size * 0.06, size * 0.7, coat, taper=1.5)
    scene.ellipsoid((0, -size * 0.62, size * 0.95), (size * 0.1, size * 0.22, size * 0.22), coat, roll=-0.6)
    scene.ellipsoid((0, -size * 0.8, size * 1.1), (size * 0.13, size * 0.2, size * 0.13), coat)
    for side in (-1, 1):
        scene.ellipsoid((side * size * 0.1, -size * 0.7, size * 1.22), (size * 0.04, size * 0.03, size * 0.09), coat)
    scene.cylinder((0, size * 0.55, size * 0.8), size * 0.04, size * 0.5, coat, taper=0.5, roll=-1.9)
