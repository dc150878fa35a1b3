"""Meshes in layouts: where a scene has a pack, half of the things of a role are meshes."""

from __future__ import annotations

import random

from depth_anything_ros.synthetic.mesh_pack import Mesh
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.scene import Scene

MESH_SHARE = 0.5
"""Share of things that are meshes where a mesh fits."""


def stand_mesh(
    scene: Scene, palette: Palette, rng: random.Random, role: str, largest: float = 12.0, yaw: float = 0.0
) -> Mesh | None:
    """Perhaps add a mesh at the origin of the innermost frame, its front towards -y, at its own elevation.

    Args:
        scene: the scene; without a pack nothing is added, and nothing drawn from ``rng``.
        palette: its materials.
        rng: random numbers.
        role: one of `mesh_pack.ROLES`.
        largest: length of its longest side, meters.
        yaw: turns the mesh, radians.

    Returns:
        The mesh, or None if none was added.
    """
    if scene.meshes is None or rng.random() >= MESH_SHARE:
        return None
    mesh = scene.meshes.draw(role, rng, largest)
    if mesh is not None:
        with scene.place((0.0, 0.0, mesh.elevation), yaw=yaw):
            scene.mesh(mesh, palette.mesh(mesh))
    return mesh
