"""A scene under construction, as Python objects, and packed, as the arrays that the kernels read.

World frame: z up, meters. Camera frame: REP 103's optical frame, x right, y down, z along the axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from depth_anything_ros.synthetic import hierarchy
from depth_anything_ros.synthetic.appearance import FIRST, SECOND, Color, Lamp, Material, Sky, Vector
from depth_anything_ros.synthetic.mesh_pack import Mesh, MeshPack, no_meshes
from depth_anything_ros.synthetic.primitives import BOX, MESH, ROUND, SPHERE


class SceneArrays(NamedTuple):
    """A packed scene: N primitives, K hierarchy nodes, M materials, L lamps, P pictures."""

    primitives: np.ndarray  # (N, 30) float64, see `primitives`' columns, in the hierarchy's order
    bounds: np.ndarray  # (K, 6) float64
    links: np.ndarray  # (K, 3) int32, see `hierarchy.build_hierarchy`
    materials: np.ndarray  # (M, 23) float64, the fields of Material
    lamps: np.ndarray  # (L, 7) float64: position, radius, color
    sky: np.ndarray  # (25,) float64, the fields of Sky
    pictures: np.ndarray  # (P, 256, 384, 3) uint8, each with its mip levels on its right
    triangles: np.ndarray  # (T, 26) float32, of all meshes, see `triangles`
    mesh_bounds: np.ndarray  # (Q, 6) float32, nodes of the meshes' own hierarchies
    mesh_links: np.ndarray  # (Q, 3) int32


@dataclass(frozen=True)
class Pose:
    """A frame in the world: rotation (3, 3) and origin (3,), meters."""

    rotation: np.ndarray
    origin: np.ndarray


@dataclass
class View:
    """A camera.

    Attributes:
        position: meters.
        target: a point on the optical axis, meters.
        roll: radians.
        field_of_view: horizontal, degrees.
        clearance: smallest depth in meters of things that stand on the floor z = 0; nearer ones block the view.
    """

    position: Vector
    target: Vector
    roll: float = 0.0
    field_of_view: float = 60.0
    clearance: float = 0.0

    def rotation(self) -> np.ndarray:
        """Return (3, 3) float64 with the camera's x, y and z axes in the world as columns."""
        forward = np.subtract(self.target, self.position).astype(np.float64)
        forward /= np.linalg.norm(forward)
        up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
        right = np.cross(forward, up)
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        cosine, sine = math.cos(self.roll), math.sin(self.roll)
        return np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], axis=1)


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Return the (3, 3) rotation about z, then the new y, then the new x; angles in radians."""
    a, b, c = math.cos(yaw), math.cos(pitch), math.cos(roll)
    x, y, z = math.sin(yaw), math.sin(pitch), math.sin(roll)
    return np.array(
        [
            [a * b, a * y * z - x * c, a * y * c + x * z],
            [x * b, x * y * z + a * c, x * y * c - a * z],
            [-y, b * z, b * c],
        ]
    )


@dataclass
class Scene:
    """Primitives, lights and sky, added by the layouts. Positions are relative to the innermost `place`.

    ``meshes`` is a pack that layouts may take meshes from, or None.
    """

    sky: Sky = field(default_factory=Sky)
    lamps: list[Lamp] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    meshes: MeshPack | None = None
    _rows: list[tuple] = field(default_factory=list)
    _frame: Pose = field(default_factory=lambda: Pose(np.eye(3), np.zeros(3)))

    def __len__(self) -> int:
        return len(self._rows)

    def material(self, material: Material) -> int:
        """Add a material and return its index."""
        self.materials.append(material)
        return len(self.materials) - 1

    @contextmanager
    def place(self, origin: Vector, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Iterator[None]:
        """Move and turn everything added in the block, relative to the frame around it.

        Args:
            origin: Origin of the new frame, meters.
            yaw: radians, as for `rotation`.
            pitch: radians, as for `rotation`.
            roll: radians, as for `rotation`.
        """
        outer = self._frame
        self._frame = Pose(outer.rotation @ rotation(yaw, pitch, roll), outer.rotation @ origin + outer.origin)
        try:
            yield
        finally:
            self._frame = outer

    def world(self, point: Vector) -> np.ndarray:
        """Return the world position of a point of the innermost frame."""
        return self._frame.rotation @ point + self._frame.origin

    def box(self, center: Vector, size: Vector, material: int | Sequence[int], **turn: float) -> None:
        """Add a box.

        Args:
            center: meters.
            size: full edge lengths, meters.
            material: index for all faces, or six in the order -x, +x, -y, +y, -z, +z.
            turn: yaw, pitch and roll, radians.
        """
        self._add(BOX, center, (0.5 * size[0], 0.5 * size[1], 0.5 * size[2]), material, turn)

    def ellipsoid(
        self, center: Vector, radii: Vector, material: int, holes: tuple[float, float] = (0.0, 1.0), **turn: float
    ) -> None:
        """Add an ellipsoid.

        Args:
            center: meters.
            radii: meters.
            material: index.
            holes: share and size in meters of holes, as in foliage.
            turn: yaw, pitch and roll, radians.
        """
        self._add(SPHERE, center, radii, material, turn, holes=holes)

    def sphere(self, center: Vector, radius: float, material: int) -> None:
        """Add a sphere; lengths in meters."""
        self._add(SPHERE, center, (radius, radius, radius), material, {})

    def cylinder(
        self,
        foot: Vector,
        radius: float,
        height: float,
        material: int | Sequence[int],
        taper: float = 1.0,
        **turn: float,
    ) -> None:
        """Add a cylinder or cone.

        Args:
            foot: center of its lower end, meters; it extends along z.
            radius: at the foot, meters.
            height: meters.
            material: index for all faces, or six as for `box`.
            taper: radius at the top over the one at the foot; 0 for a cone.
            turn: yaw, pitch and roll, radians.
        """
        turned = rotation(**turn) if turn else np.eye(3)
        center = turned @ (0.0, 0.0, 0.5 * height) + foot
        self._add(ROUND, center, (radius, radius, 0.5 * height), material, turn, taper=taper)

    def mesh(self, mesh: Mesh, material: int) -> None:
        """Add a mesh that stands at the origin of the innermost frame, its front towards -y.

        Args:
            mesh: Mesh of the scene's pack.
            material: index of its first material; the others follow.
        """
        width, depth, height = (0.5 * side for side in mesh.size)
        self._add(MESH, (0.0, 0.0, height), (width, depth, height), material, {}, nodes=mesh.nodes)

    def lamp(self, position: Vector, radius: float, color: Color) -> None:
        """Add a light at a point of the innermost frame.

        Args:
            position: meters.
            radius: meters.
            color: power.
        """
        self.lamps.append(Lamp(tuple(self.world(position)), radius, color))

    def _add(self, shape, center, half, material, turn, taper=1.0, holes=(0.0, 1.0), nodes=(0, 0)) -> None:
        turned = self._frame.rotation @ rotation(**turn) if turn else self._frame.rotation
        faces = (material,) * 6 if isinstance(material, int) else tuple(material)
        self._rows.append((shape, turned, self.world(center), half, taper, faces, holes, nodes))

    def pack(self, camera: Vector, pictures: np.ndarray) -> SceneArrays:
        """Pack the scene into arrays.

        Args:
            camera: its position, meters; the hierarchy is ordered for it.
            pictures: from `pictures.atlas`.
        """
        shapes, rotations, centers, halves, tapers, faces, holes, nodes = zip(*self._rows, strict=True)
        rotations, centers = np.array(rotations), np.array(centers, np.float64)
        halves, faces = np.maximum(np.array(halves, np.float64), 1e-5), np.array(faces, np.int32)
        linear = rotations.transpose(0, 2, 1) / halves[:, :, None]
        offset = -np.einsum("nij,nj->ni", linear, centers)
        shapes = np.array(shapes, np.int32)
        # A sphere's bounds are exact from its norm; the bounds of other shapes are those of their boxes.
        reach = np.abs(rotations) @ halves[:, :, None]
        spherical = np.sqrt((rotations**2) @ (halves[:, :, None] ** 2))
        reach = np.where((shapes == SPHERE)[:, None, None], spherical, reach)[:, :, 0] + 1e-6
        bounds, links, order = hierarchy.build_hierarchy(centers - reach, centers + reach, np.array(camera, np.float64))
        materials = np.array([material.row() for material in self.materials], np.float64)
        colors = 0.6 * materials[:, FIRST : FIRST + 3] + 0.4 * materials[:, SECOND : SECOND + 3]
        lamps = np.array([(*lamp.position, lamp.radius, *lamp.color) for lamp in self.lamps], np.float64)
        primitives = np.concatenate(
            [
                shapes[:, None],
                np.concatenate([linear, offset[:, :, None]], axis=2).reshape(-1, 12),
                halves,
                np.array(tapers)[:, None],
                np.array(holes),
                colors[faces[:, 0]],
                faces,
                np.array(nodes),
            ],
            axis=1,
        )
        pool = vars(self.meshes) if self.meshes else no_meshes()
        return SceneArrays(
            primitives=np.ascontiguousarray(primitives[order], np.float64),
            bounds=bounds,
            links=links,
            materials=materials,
            lamps=lamps.reshape(-1, 7),
            sky=np.array(self.sky.row(), np.float64),
            pictures=pictures,
            triangles=pool["triangles"],
            mesh_bounds=pool["bounds"],
            mesh_links=pool["links"],
        )
