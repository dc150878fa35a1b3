"""Furniture. Each piece stands at the origin of the innermost frame, with its front towards -y and z up, in meters.

All functions add to ``scene``, take materials from ``palette`` and draw shapes from ``rng``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from depth_anything_ros.synthetic.mesh_placement import stand_mesh
from depth_anything_ros.synthetic.objects import plant, scatter, screen
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.people import person, pet
from depth_anything_ros.synthetic.scene import Scene


def legs(
    scene: Scene, width: float, depth: float, height: float, thickness: float, material: int, round_ones: bool
) -> None:
    """Add four legs under a rectangle.

    Args:
        scene: the scene.
        width: Width of the rectangle along x.
        depth: Depth of the rectangle along y.
        height: Height of the legs.
        thickness: Thickness of the legs.
        material: index of their material.
        round_ones: whether the legs are round.
    """
    for x in (-0.5, 0.5):
        for y in (-0.5, 0.5):
            place = (x * (width - 1.5 * thickness), y * (depth - 1.5 * thickness), 0.0)
            if round_ones:
                scene.cylinder(place, thickness / 2, height, material)
            else:
                scene.box((place[0], place[1], height / 2), (thickness, thickness, height), material)


def table(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a table, round or not, with things on it."""
    width, depth, height = rng.uniform(0.7, 2.0), rng.uniform(0.5, 1.0), rng.choice((0.4, 0.72, 0.75))
    top = rng.choice((palette.wood, palette.wood, palette.plain, palette.stone))()
    if rng.random() < 0.2:
        scene.cylinder((0, 0, height - 0.03), width / 2, 0.03, top)
        scene.cylinder((0, 0, 0), 0.05, height, palette.metal())
        width, depth = width * 0.6, width * 0.6
    else:
        scene.box((0, 0, height - 0.02), (width, depth, 0.04), top)
        leg = rng.choice((top, palette.metal()))
        legs(scene, width, depth, height - 0.04, rng.uniform(0.03, 0.08), leg, rng.random() < 0.4)
    with scene.place((0, 0, height)):
        scatter(scene, palette, rng, width * 0.8, depth * 0.7, rng.randint(0, 7), 0.22)


def desk(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a desk with a screen, drawers and a chair."""
    width, depth = rng.uniform(1.1, 1.8), rng.uniform(0.6, 0.8)
    top, body = palette.wood(), palette.plain(0.3)
    scene.box((0, 0, 0.73), (width, depth, 0.035), top)
    scene.box((width / 2 - 0.22, 0, 0.36), (0.4, depth - 0.06, 0.7), body)
    scene.box((-width / 2 + 0.03, 0, 0.36), (0.04, depth - 0.06, 0.7), top)
    with scene.place((rng.uniform(-0.2, 0.2), 0.1, 0.75)):
        screen(scene, palette, rng, rng.uniform(0.3, 0.45))
    with scene.place((0, -0.05, 0.75)):
        scatter(scene, palette, rng, width * 0.9, depth * 0.8, rng.randint(2, 8), 0.18)
    with scene.place((rng.uniform(-0.3, 0.1), -0.65, 0), yaw=3.14 + rng.gauss(0, 0.5)):
        chair(scene, palette, rng)


def chair(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a chair whose back is a board or slats."""
    seat, frame = (
        rng.choice((palette.wood, palette.fabric, palette.plastic))(),
        rng.choice((palette.wood, palette.metal))(),
    )
    width, height = rng.uniform(0.38, 0.5), rng.uniform(0.42, 0.48)
    scene.box((0, 0, height), (width, width, rng.uniform(0.02, 0.09)), seat)
    if rng.random() < 0.3:
        scene.cylinder((0, 0, 0.08), 0.03, height - 0.08, frame)
        for k in range(5):
            scene.box((0, 0, 0.06), (0.6, 0.04, 0.03), frame, yaw=1.257 * k)
    else:
        legs(scene, width, width, height, 0.035, frame, rng.random() < 0.5)
    rise = rng.uniform(0.35, 0.6)
    if rng.random() < 0.5:
        scene.box((0, width / 2, height + rise * 0.6), (width, 0.03, rise * 0.8), seat, roll=-0.12)
    else:
        for k in range(-2, 3):
            scene.box((0.22 * k * width, width / 2, height + rise / 2), (0.03, 0.025, rise), frame, roll=-0.1)
        scene.box((0, width / 2, height + rise), (width, 0.03, 0.06), frame)


def sofa(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a sofa or armchair with cushions."""
    cloth = palette.fabric()
    width, depth = rng.choice((0.9, 1.6, 2.1)), rng.uniform(0.8, 0.95)
    scene.box((0, 0, 0.21), (width, depth, 0.34), cloth)
    scene.box((0, depth / 2 - 0.1, 0.55), (width, 0.2, rng.uniform(0.45, 0.6)), cloth, roll=-0.1)
    for side in (-1, 1):
        scene.box((side * width / 2, 0, 0.32), (0.16, depth, rng.uniform(0.5, 0.62)), cloth)
    for k in range(rng.randint(0, 4)):
        place = ((k - 1.5) * width * 0.2, depth * 0.15, 0.55)
        scene.ellipsoid(place, (0.22, 0.1, 0.21), palette.fabric(), roll=-0.4, yaw=rng.gauss(0, 0.2))
    seats = max(1, round(width / 0.75))
    for k in range(seats):
        scene.box(
            ((k + 0.5 - seats / 2) * width / seats, -0.08, 0.42), (width / seats - 0.02, depth - 0.25, 0.12), cloth
        )


def bed(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a bed, its head towards +y."""
    width, length = rng.choice((0.9, 1.4, 1.8)), 2.0
    frame, sheet, cover = palette.wood(), palette.plain(0.2, 0.6, 0.98), palette.fabric()
    scene.box((0, 0, 0.2), (width, length, 0.25), frame)
    scene.box((0, 0, 0.4), (width - 0.05, length - 0.05, 0.2), sheet)
    scene.box((0, -0.25, 0.44), (width + 0.02, length * 0.7, 0.18), cover)
    scene.box((0, length / 2, 0.55), (width + 0.06, 0.06, rng.uniform(0.6, 1.1)), frame)
    for side in (-0.25, 0.25) if width > 1.0 else (0.0,):
        scene.ellipsoid(
            (side * width, length / 2 - 0.3, 0.56), (0.3, 0.2, 0.1), palette.fabric(), yaw=rng.gauss(0, 0.15)
        )


def shelf(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add an open bookcase with books and things, its back at y = depth / 2."""
    width, depth, height = rng.uniform(0.6, 1.6), rng.uniform(0.25, 0.4), rng.uniform(0.8, 2.2)
    board = rng.choice((palette.wood, palette.plain, palette.metal))()
    storeys = max(2, round(height / rng.uniform(0.28, 0.42)))
    for side in (-0.5, 0.5):
        scene.box((side * width, 0, height / 2), (0.025, depth, height), board)
    if rng.random() < 0.7:
        scene.box((0, depth / 2, height / 2), (width, 0.01, height), board)
    for storey in range(storeys + 1):
        level = storey * height / storeys
        scene.box((0, 0, level), (width, depth, 0.022), board)
        if storey == storeys:
            continue
        with scene.place((0, 0, level + 0.011)):
            if rng.random() < 0.55:
                row_of_books(scene, palette, rng, width * rng.uniform(0.3, 0.95), depth, height / storeys - 0.04)
            else:
                scatter(scene, palette, rng, width * 0.85, depth * 0.5, rng.randint(1, 5), 0.2)


def row_of_books(scene: Scene, palette: Palette, rng: random.Random, width: float, depth: float, height: float) -> None:
    """Add books side by side; many books become one block with a painted front.

    Args:
        scene: the scene.
        palette: its materials.
        rng: random numbers.
        width: Width of the row along x.
        depth: largest depth of a book along y.
        height: largest height of a book.
    """
    x = -width / 2
    if rng.random() < 0.3:
        flat, side = palette.spines(), palette.plain()
        tall = height * rng.uniform(0.6, 0.9)
        scene.box((0, 0, tall / 2), (width, depth * 0.7, tall), (side, side, flat, side, side, side))
        return
    covers = [palette.plain(0.9) for _ in range(4)] + [palette.picture()]
    while x < width / 2:
        thickness, tall = rng.uniform(0.02, 0.07), height * rng.uniform(0.55, 0.98)
        lean = rng.choice((0.0, 0.0, 0.0, 0.2))
        deep = depth * rng.uniform(0.5, 0.85)
        scene.box((x + thickness / 2, 0, tall / 2), (thickness * 0.95, deep, tall), rng.choice(covers), pitch=lean)
        x += thickness


def cupboard(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a cupboard, wardrobe, chest or refrigerator with doors and handles, and things on its top."""
    width, depth, height = rng.uniform(0.5, 1.8), rng.uniform(0.4, 0.65), rng.choice((0.5, 0.85, 1.2, 1.9, 2.2))
    body = rng.choice((palette.wood, palette.wood, palette.plain, palette.plastic))()
    handle = palette.metal()
    scene.box((0, 0, height / 2), (width, depth, height), body)
    columns, rows = max(1, round(width / 0.5)), rng.randint(1, 4) if height < 1.5 else rng.randint(1, 2)
    door_width, door_height = width / columns, (height - 0.06) / rows
    for column in range(columns):
        for row in range(rows):
            x, z = (column + 0.5) * door_width - width / 2, 0.06 + (row + 0.5) * door_height
            scene.box((x, -depth / 2, z), (door_width - 0.012, 0.03, door_height - 0.012), body)
            scene.box(
                (x + door_width * 0.35, -depth / 2 - 0.03, z), (0.015, 0.03, min(0.15, door_height * 0.4)), handle
            )
    if height < 1.5:
        with scene.place((0, 0, height)):
            scatter(scene, palette, rng, width * 0.9, depth * 0.7, rng.randint(1, 7), 0.25)


def kitchen(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a row of kitchen units with a worktop, things on it, and cupboards above."""
    units = rng.randint(3, 6)
    width, body = 0.6 * units, rng.choice((palette.plain, palette.wood, palette.plastic))()
    metal, top, black = palette.metal(), rng.choice((palette.stone, palette.wood))(), palette.plain(0.1, 0.05, 0.2)
    scene.box((0, 0.02, 0.45), (width, 0.56, 0.86), body)
    scene.box((0, 0, 0.9), (width + 0.04, 0.64, 0.04), top)
    oven = rng.randrange(units)
    for k in range(units):
        x = (k + 0.5) * 0.6 - width / 2
        scene.box((x, -0.27, 0.48), (0.585, 0.025, 0.76), black if k == oven else body)
        scene.box((x, -0.3, 0.82), (0.3, 0.02, 0.015), metal)
        if rng.random() < 0.75:
            scene.box((x, 0.14, 1.75), (0.59, 0.34, 0.7), body)
    for k in range(4):
        place = ((oven + 0.5) * 0.6 - width / 2 + (k % 2 - 0.5) * 0.28, (k // 2 - 0.5) * 0.26, 0.92)
        scene.cylinder(place, 0.09, 0.006, black)
    with scene.place((0, 0, 0.92)):
        scatter(scene, palette, rng, width * 0.9, 0.4, rng.randint(3, 12), 0.24)


def floor_lamp(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a floor lamp, which lights the room when it is on."""
    height, metal = rng.uniform(1.3, 1.8), palette.metal()
    lit = rng.random() < 0.6
    color = palette.color(0.35, 0.8, 1.0)
    scene.cylinder((0, 0, 0), 0.15, 0.03, metal)
    scene.cylinder((0, 0, 0), 0.015, height, metal)
    scene.cylinder(
        (0, 0, height - 0.15), 0.2, 0.28, palette.glowing(color, 7.0 if lit else 0.0), taper=rng.uniform(0.5, 1.0)
    )
    if lit:
        scene.lamp((0, 0, height + 0.2), 0.1, tuple(c * rng.uniform(0.6, 2.5) for c in (1.0, 0.8, 0.55)))


def potted_plant(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a plant on the floor."""
    plant(scene, palette, rng, rng.uniform(0.6, 1.6))


def boxes(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add cartons, bags and toys on the floor."""
    scatter(scene, palette, rng, 0.9, 0.9, rng.randint(2, 6), 0.4)


AGAINST_WALL = (desk, sofa, bed, shelf, shelf, cupboard, cupboard, kitchen, floor_lamp, potted_plant, boxes)
ANYWHERE = (table, table, chair, chair, sofa, boxes, potted_plant, person, pet, floor_lamp)


def piece(scene: Scene, palette: Palette, rng: random.Random, kinds: Sequence[Callable]) -> None:
    """Add one piece of furniture: one of ``kinds``, or a mesh, perhaps with things on it."""
    mesh = stand_mesh(scene, palette, rng, "furniture")
    if mesh is None:
        rng.choice(kinds)(scene, palette, rng)
    elif mesh.top is not None and rng.random() < 0.6:
        with scene.place((0, 0, mesh.top)):
            scatter(scene, palette, rng, 0.7 * mesh.size[0], 0.7 * mesh.size[1], rng.randint(1, 5), 0.2)


def against_wall(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a piece that stands with its back to a wall."""
    piece(scene, palette, rng, AGAINST_WALL)


def anywhere(scene: Scene, palette: Palette, rng: random.Random) -> None:
    """Add a piece that stands free."""
    piece(scene, palette, rng, ANYWHERE)
