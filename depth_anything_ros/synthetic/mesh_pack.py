"""A pack of meshes: furniture and objects that layouts place in addition to their own shapes.

A pack is a folder that `mesh_import` writes: a catalog with roles, sizes, materials and credits, and arrays that all
processes map into memory. Its meshes are in the box [-1, 1]^3, x right, y to the back, z up.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from depth_anything_ros.synthetic.triangles import TRIANGLE_COLUMNS

CATALOG, CREDITS = "catalog.json", "CREDITS.txt"
ARRAYS = ("triangles", "bounds", "links", "textures")
ROLES = ("furniture", "hung", "small", "person", "vehicle", "outdoor")


class MeshPackError(ValueError):
    """A folder is no pack of meshes, or an incomplete one."""


@dataclass(frozen=True)
class MeshMaterial:
    """The look of a part of a mesh.

    Attributes:
        color: linear reflectance; white under a texture.
        texture: number in the pack's textures, or -1.
        specular: strength of highlights.
        gloss: exponent of highlights.
    """

    color: tuple[float, float, float]
    texture: int = -1
    specular: float = 0.0
    gloss: float = 20.0


@dataclass(frozen=True)
class Mesh:
    """One mesh of a pack.

    Attributes:
        name: unique in the pack.
        role: one of ROLES.
        size: width, depth and height, meters.
        elevation: Elevation of its foot above the floor, meters.
        top: height in meters of the surface that things may stand on, or None.
        nodes: first node of its hierarchy in the pack, and the one after the last.
        materials: its parts' materials, by the number in the triangles.
        credit: title, author, license and source.
    """

    name: str
    role: str
    size: tuple[float, float, float]
    elevation: float
    top: float | None
    nodes: tuple[int, int]
    materials: tuple[MeshMaterial, ...]
    credit: str

    @classmethod
    def from_dictionary(cls, values: dict) -> Mesh:
        """Return the mesh of a catalog's entry."""
        materials = tuple(MeshMaterial(**{**m, "color": tuple(m["color"])}) for m in values["materials"])
        kept = {**values, "materials": materials, "size": tuple(values["size"]), "nodes": tuple(values["nodes"])}
        return cls(**kept)

    def to_dictionary(self) -> dict:
        """Return plain values for the catalog."""
        return asdict(self)


@dataclass(frozen=True)
class MeshPack:
    """The meshes of a folder.

    Attributes:
        folder: the pack.
        meshes: its meshes.
        digest: SHA-256 of the catalog, which holds those of the arrays.
        triangles: (T, 26) float32, see `triangles`.
        bounds: (K, 6) float32 of the hierarchies' nodes.
        links: (K, 3) int32, see `hierarchy.build_hierarchy`.
        textures: (P, 256, 384, 3) uint8, see `pictures.with_levels`.
    """

    folder: Path
    meshes: tuple[Mesh, ...]
    digest: str
    triangles: np.ndarray
    bounds: np.ndarray
    links: np.ndarray
    textures: np.ndarray
    _atlas: list[np.ndarray] = field(default_factory=list)

    @cached_property
    def by_role(self) -> dict[str, list[Mesh]]:
        """The meshes of each role."""
        return {role: [mesh for mesh in self.meshes if mesh.role == role] for role in ROLES}

    def atlas(self, pictures: np.ndarray) -> np.ndarray:
        """Return ``pictures`` followed by the textures. The last result is kept: it takes long and much memory."""
        if not self._atlas or self._atlas[0] is not pictures:
            self._atlas[:] = [pictures, np.concatenate([pictures, self.textures])]
        return self._atlas[1]

    def draw(self, role: str, rng: random.Random, largest: float = np.inf) -> Mesh | None:
        """Draw a mesh of a role whose longest side is at most ``largest`` meters; None if there is none."""
        fitting = [mesh for mesh in self.by_role[role] if max(mesh.size) <= largest]
        return rng.choice(fitting) if fitting else None


@lru_cache(maxsize=2)
def open_pack(folder: Path) -> MeshPack:
    """Map a pack into memory. Raise `MeshPackError` for a folder that is none."""
    try:
        content = (folder / CATALOG).read_bytes()
        catalog = json.loads(content)
        # Copy-on-write: read-only arrays would be another type to the kernels, and would be compiled again.
        arrays = {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in ARRAYS}
        meshes = tuple(Mesh.from_dictionary(values) for values in catalog["meshes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MeshPackError(
            f"{folder} is no pack of meshes ({error}); make one with 'depth_anything_ros meshes'"
        ) from error
    if arrays["triangles"].shape[1:] != (TRIANGLE_COLUMNS,):
        raise MeshPackError(f"{folder} is a pack of another release; make it again with 'depth_anything_ros meshes'")
    return MeshPack(folder, meshes, hashlib.sha256(content).hexdigest(), **arrays)


@lru_cache(maxsize=1)
def no_meshes() -> dict[str, np.ndarray]:
    """Return empty arrays of a pack, for scenes without meshes."""
    return {
        "triangles": np.zeros((0, TRIANGLE_COLUMNS), np.float32),
        "bounds": np.zeros((0, 6), np.float32),
        "links": np.zeros((0, 3), np.int32),
    }
