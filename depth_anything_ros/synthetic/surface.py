"""The surface that a ray meets: its face, its normal, its material, and the position on it.

``i`` is the index of a primitive, ``k`` that of a mesh's triangle or -1, both as from `hierarchy.closest_hit`.
"""

from __future__ import annotations

from depth_anything_ros.synthetic.compilation import compiled
from depth_anything_ros.synthetic.primitives import (
    BOX,
    EXTENT,
    FACES,
    SHAPE,
    local_point,
    surface_coordinates,
    surface_face,
    world_normal,
)
from depth_anything_ros.synthetic.triangles import (
    DENSITY,
    MATERIAL,
    smooth_normal,
    texture_coordinates,
    triangle_face,
)


@compiled
def facing_normal(scene, i, k, x, y, z, dx, dy, dz):
    """Return face and unit normal at a world point; the normal points against the ray.

    The face of a triangle is the number of its material in the mesh.
    """
    primitives = scene.primitives
    lx, ly, lz = local_point(primitives, i, x, y, z)
    if k >= 0:
        face = int(scene.triangles[k, MATERIAL])
        fx, fy, fz = triangle_face(scene.triangles, k)
        nx, ny, nz = smooth_normal(scene.triangles, k, lx, ly, lz)
        fx, fy, fz = world_normal(primitives, i, fx, fy, fz)
        nx, ny, nz = world_normal(primitives, i, nx, ny, nz)
        if fx * dx + fy * dy + fz * dz > 0.0:
            nx, ny, nz = -nx, -ny, -nz
        return face, nx, ny, nz
    face, nx, ny, nz = surface_face(primitives, i, lx, ly, lz)
    nx, ny, nz = world_normal(primitives, i, nx, ny, nz)
    if nx * dx + ny * dy + nz * dz > 0.0:
        nx, ny, nz = -nx, -ny, -nz
    return face, nx, ny, nz


@compiled
def surface_id(scene, i, k, x, y, z):
    """Return 8 * primitive + a number of the face. Edges are where it changes."""
    if k < 0:
        lx, ly, lz = local_point(scene.primitives, i, x, y, z)
        return 8 * i + surface_face(scene.primitives, i, lx, ly, lz)[0]
    fx, fy, fz = triangle_face(scene.triangles, k)
    fx, fy, fz = world_normal(scene.primitives, i, fx, fy, fz)
    axis = 0 if abs(fx) > max(abs(fy), abs(fz)) else (1 if abs(fy) > abs(fz) else 2)
    return 8 * i + ((3 * int(scene.triangles[k, MATERIAL]) + axis) & 7)


@compiled
def surface_material(scene, i, k, face):
    """Return the index of the material of a face."""
    if k >= 0:
        return int(scene.primitives[i, FACES]) + face
    return int(scene.primitives[i, FACES + face])


@compiled
def surface_position(scene, i, k, face, x, y, z):
    """Return the position of a world point on its face, as a tuple for `textures.surface_color`.

    That is (u, v) in meters, (s, t) in [0, 1] or a texture's, the point in the primitive's frame in meters, and the
    extent of the face along s in meters.
    """
    primitives = scene.primitives
    lx, ly, lz = local_point(primitives, i, x, y, z)
    half_x, half_y, half_z = primitives[i, EXTENT], primitives[i, EXTENT + 1], primitives[i, EXTENT + 2]
    px, py, pz = lx * half_x, ly * half_y, lz * half_z
    if k >= 0:
        s, t = texture_coordinates(scene.triangles, k, lx, ly, lz)
        return px + py, pz, s, t, px, py, pz, 1.0 / max(float(scene.triangles[k, DENSITY]), 1e-6)
    u, v, s, t = surface_coordinates(primitives, i, face, lx, ly, lz)
    across = 2.0 * half_y if int(primitives[i, SHAPE]) == BOX and face < 2 else 2.0 * half_x
    return u, v, s, t, px, py, pz, across
