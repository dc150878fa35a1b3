"""Convert furniture catalogs of Sweet Home 3D (.sh3f) into a pack of meshes.

A catalog is a ZIP archive of OBJ meshes with materials, textures and a list with sizes, categories and authors. Only
those under CC0 or CC BY are taken. trimesh reads the meshes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from depth_anything_ros.synthetic.hierarchy import build_hierarchy
from depth_anything_ros.synthetic.mesh_pack import Mesh, MeshMaterial
from depth_anything_ros.synthetic.pictures import with_levels
from depth_anything_ros.synthetic.triangles import DENSITY, EDGES, MATERIAL, NORMALS, TEXTURE, TRIANGLE_COLUMNS

LIST = "PluginFurnitureCatalog.properties"
FREE = re.compile(r"public domain|creative commons (zero|attribution)|CC0|CC[ -]BY", re.IGNORECASE)
RESTRICTED = re.compile(r"non.?commercial|share.?alike|no.?deriv", re.IGNORECASE)
SEE_THROUGH = 0.45
"""Opacity below which a part of a mesh is left out, as glass is for a sensor."""
# Axes of a model are x right, y up, z to the front.
UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


class UnusableError(ValueError):
    """A model that cannot be used, with the reason."""


@dataclass(frozen=True)
class Model:
    """An entry of a catalog: its fields, and the archive that it is in."""

    archive: zipfile.ZipFile
    fields: dict[str, str]
    license: str

    @property
    def name(self) -> str:
        """The catalog's stem and the entry's identifier."""
        return f"{Path(self.archive.filename).stem}/{self.fields['id'].partition('#')[2]}"

    def meters(self, field_name: str) -> float:
        """Return a length of the catalog, 0 if it has none."""
        return float(self.fields.get(field_name, 0.0)) / 100.0

    @property
    def credit(self) -> str:
        """Title, author, license and, where known, the source."""
        folder = self.fields["model"].lstrip("/").rpartition("/")[0]
        texts = [name for name in self.archive.namelist() if name == f"{folder}/BLENDSWAP_LICENSE.txt"]
        text = self.archive.read(texts[0]).decode("utf-8", "replace") if texts else ""
        title = re.search(r'downloading "([^"\n]+)"', text)
        source = re.search(r"Downloaded from (\S+)", text)
        parts = [f'"{title[1] if title else self.fields["name"]}" by {self.fields.get("creator", "unknown")}']
        parts += [self.license, source[1] if source else "sweethome3d.com"]
        return ", ".join(parts)


@dataclass
class Pool:
    """The arrays of a pack while it grows."""

    triangles: list[np.ndarray] = field(default_factory=list)
    bounds: list[np.ndarray] = field(default_factory=list)
    links: list[np.ndarray] = field(default_factory=list)
    textures: list[np.ndarray] = field(default_factory=list)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, as `MeshPack` has them."""
        textures = np.stack(self.textures) if self.textures else np.zeros((0, 256, 384, 3), np.uint8)
        return {
            "triangles": np.concatenate(self.triangles),
            "bounds": np.concatenate(self.bounds),
            "links": np.concatenate(self.links),
            "textures": textures,
        }

    def add(self, triangles: np.ndarray) -> tuple[int, int]:
        """Add a mesh's triangles (T, 26); return its nodes."""
        corners = triangles[:, None, :3] + np.stack(
            [np.zeros_like(triangles[:, :3]), triangles[:, EDGES : EDGES + 3], triangles[:, EDGES + 3 : NORMALS]],
            axis=1,
        )
        corners = corners.astype(np.float64)
        # Flat boxes need some thickness, more than the rounding of float32.
        lows, highs = corners.min(axis=1) - 1e-6, corners.max(axis=1) + 1e-6
        bounds, links, order = build_hierarchy(lows, highs, np.array([0.0, -10.0, 5.0]))
        node, triangle = sum(map(len, self.bounds)), sum(map(len, self.triangles))
        self.triangles.append(triangles[order])
        self.bounds.append(bounds.astype(np.float32) + np.array([-1, -1, -1, 1, 1, 1], np.float32) * 1e-6)
        self.links.append(links + np.array([node, triangle, 0], np.int32))
        return node, node + len(bounds)


def models(catalog: zipfile.ZipFile) -> Iterator[Model]:
    """Yield the entries of a catalog. Raise `UnusableError` if its license permits no reuse in trained weights."""
    text = catalog.read(LIST).decode("latin-1")
    named = re.search(r"^license=(.*)$", text, re.MULTILINE)
    terms = named[1].strip() if named else "no license"
    if not FREE.search(terms) or RESTRICTED.search(terms):
        raise UnusableError(f"its license is neither CC0 nor CC BY: {terms}")
    entries: dict[str, dict[str, str]] = {}
    for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*)$", text, re.MULTILINE):
        entries.setdefault(number, {})[key] = value.strip()
    license_name = re.sub(r"\s*(Copyright|\N{COPYRIGHT SIGN}|\(C\)).*| license", "", terms).strip()
    license_name = "CC0 (public domain)" if license_name == "Public domain" else license_name
    for fields in entries.values():
        yield Model(catalog, fields, license_name)


def role_of(model: Model) -> str:
    """Return the role of a model. Raise `UnusableError` if it has none."""
    category, longest = model.fields["category"], max(map(model.meters, ("width", "depth", "height")))
    if model.fields.get("doorOrWindow") == "true" or category in ("Doors and windows", "Staircases"):
        raise UnusableError("part of a building")
    if category == "Characters" and model.meters("height") > 1.2:
        return "person"
    if category == "Vehicles" and longest > 2.5:
        return "vehicle"
    if category in ("Exterior", "Vehicles"):
        role, most = "outdoor", 12.0
    elif model.meters("elevation") > 0.3:
        role, most = "hung", 2.0
    else:
        role, most = ("small", 0.55) if longest < 0.55 else ("furniture", 3.5)
    if longest > most:
        raise UnusableError(f"{longest:.1f} m long")
    return role


def convert(model: Model, pool: Pool, most_triangles: int) -> Mesh:
    """Add a model to a pool and return its entry.

    Raises:
        UnusableError: the model has too many triangles, cut-out textures, no surface, or no use.
    """
    role, size = role_of(model), tuple(model.meters(side) for side in ("width", "depth", "height"))
    if min(size) <= 0.0:
        raise UnusableError("its size is unknown")
    parts = [part for part in read_parts(model) if opacity(part) >= SEE_THROUGH]
    if sum(len(part.faces) for part in parts) > most_triangles:
        raise UnusableError(f"more than {most_triangles} triangles")
    if not parts:
        raise UnusableError("it has no opaque surface")
    turn = np.fromstring(model.fields.get("modelRotation", "1 0 0 0 1 0 0 0 1"), sep=" ").reshape(3, 3)
    turn = UPRIGHT @ turn
    corners = np.concatenate([part.vertices for part in parts]) @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    to_unit = 2.0 / np.maximum(high - low, 1e-9)
    materials, packed, textures = [], [], []
    for number, part in enumerate(parts):
        vertices = (part.vertices @ turn.T - low) * to_unit - 1.0
        normals = part.vertex_normals @ turn.T / to_unit
        materials.append(material_of(part, len(pool.textures), textures))
        packed.append(pack_triangles(part, vertices, normals, number, np.array(size) / 2.0))
    triangles = np.concatenate(packed)
    triangles = triangles[np.abs(triangles[:, EDGES:NORMALS]).max(axis=1) > 0.0]
    if not len(triangles) or not np.isfinite(triangles).all():
        raise UnusableError("it has no surface")
    pool.textures += textures
    top = model.meters("dropOnTopElevation") if "dropOnTopElevation" in model.fields else None
    return Mesh(
        model.name, role, size, model.meters("elevation"), top, pool.add(triangles), tuple(materials), model.credit
    )


def read_parts(model: Model) -> list:
    """Return the parts of a model, trimesh's meshes of one material each, textured or not."""
    import trimesh
    from trimesh.resolvers import ZipResolver

    path = model.fields["model"].lstrip("/")
    folder = path.rpartition("/")[0]
    files = {
        name: io.BytesIO(model.archive.read(name))
        for name in model.archive.namelist()
        if name.startswith(f"{folder}/") and not name.endswith("/")
    }
    loaded = trimesh.load_scene(
        files[path], file_type="obj", resolver=ZipResolver(files, namespace=folder), process=False
    )
    return [part for part in loaded.dump() if len(part.faces)]


def opacity(part) -> float:
    """Return the opacity of a part, 1 where its material says nothing."""
    material = getattr(part.visual, "material", None)
    values = getattr(material, "kwargs", None) or {}
    return float(values["d"][-1]) if values.get("d") else 1.0


def material_of(part, first_texture: int, textures: list[np.ndarray]) -> MeshMaterial:
    """Return a part's material; its texture is appended to ``textures``, which ``first_texture`` go before."""
    material = getattr(part.visual, "material", None)
    diffuse = np.asarray(getattr(material, "diffuse", (160, 160, 160)))[:3] / 255.0
    shine = float(np.asarray(getattr(material, "specular", (0, 0, 0)))[:3].mean()) / 255.0
    gloss = min(120.0, max(5.0, float(getattr(material, "glossiness", 20.0) or 20.0)))
    image = getattr(material, "image", None)
    if image is None or part.visual.uv is None:
        return MeshMaterial(tuple(float(c) for c in np.maximum(diffuse, 0.02) ** 2.2), -1, 0.5 * shine, gloss)
    if image.mode in ("RGBA", "LA", "P") and (np.asarray(image.convert("RGBA"))[:, :, 3] < 128).mean() > 0.02:
        raise UnusableError("a texture is cut out")
    textures.append(with_levels(np.asarray(image.convert("RGB"))))
    return MeshMaterial((1.0, 1.0, 1.0), first_texture + len(textures) - 1, 0.5 * shine, gloss)


def pack_triangles(part, vertices: np.ndarray, normals: np.ndarray, number: int, half: Sequence[float]) -> np.ndarray:
    """Return a part's triangles, (T, 26) float32.

    Args:
        part: trimesh's mesh.
        vertices: (V, 3), in the unit frame.
        normals: (V, 3), in the unit frame, of any length.
        number: Index of its material.
        half: half the size of the mesh, meters.
    """
    packed = np.zeros((len(part.faces), TRIANGLE_COLUMNS))
    corners = vertices[part.faces]
    packed[:, :EDGES] = corners[:, 0]
    packed[:, EDGES : EDGES + 3], packed[:, EDGES + 3 : NORMALS] = (corners[:, k] - corners[:, 0] for k in (1, 2))
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    packed[:, NORMALS:TEXTURE] = normals[part.faces].reshape(-1, 9)
    packed[:, MATERIAL] = number
    uv = getattr(part.visual, "uv", None)
    if uv is not None:
        corners_uv = np.asarray(uv)[part.faces]
        packed[:, TEXTURE:MATERIAL] = corners_uv.reshape(-1, 6)
        first, second = (corners_uv[:, k] - corners_uv[:, 0] for k in (1, 2))
        texture_area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
        edges = (corners[:, 1:] - corners[:, :1]) * half
        area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        packed[:, DENSITY] = np.sqrt(texture_area / np.maximum(area, 1e-12))
    return packed.astype(np.float32)
