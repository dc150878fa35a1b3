"""Triangles of meshes: their packed columns, intersection through a mesh's own hierarchy, and the surface there.

A mesh is a primitive of the shape MESH: its triangles are in the unit frame, in the box [-1, 1]^3. Its hierarchy is a
range of nodes of the pool that all meshes share. Rays come in that frame, with the parameter of the world.
"""

from __future__ import annotations

from math import inf, sqrt

from depth_anything_ros.synthetic.compilation import compiled
from depth_anything_ros.synthetic.primitives import TINY

# Columns of a packed triangle: its first corner, the edges from it to the others, the normals and the texture
# coordinates of the three corners, the number of its material in the mesh, the textures' length per meter.
CORNER, EDGES, NORMALS, TEXTURE, MATERIAL, DENSITY, TRIANGLE_COLUMNS = 0, 3, 9, 18, 24, 25, 26


@compiled
def intersect_triangle(triangles, k, ox, oy, oz, dx, dy, dz):
    """Return the parameter at which a ray meets triangle ``k`` from either side, or inf, and its two weights there."""
    ax, ay, az = triangles[k, EDGES], triangles[k, EDGES + 1], triangles[k, EDGES + 2]
    bx, by, bz = triangles[k, EDGES + 3], triangles[k, EDGES + 4], triangles[k, EDGES + 5]
    px, py, pz = dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx
    determinant = ax * px + ay * py + az * pz
    if abs(determinant) < TINY:
        return inf, 0.0, 0.0
    inverse = 1.0 / determinant
    x, y, z = ox - triangles[k, CORNER], oy - triangles[k, CORNER + 1], oz - triangles[k, CORNER + 2]
    u = (x * px + y * py + z * pz) * inverse
    if u < 0.0 or u > 1.0:
        return inf, 0.0, 0.0
    qx, qy, qz = y * az - z * ay, z * ax - x * az, x * ay - y * ax
    v = (dx * qx + dy * qy + dz * qz) * inverse
    if v < 0.0 or u + v > 1.0:
        return inf, 0.0, 0.0
    return (bx * qx + by * qy + bz * qz) * inverse, u, v


@compiled
def closest_triangle(triangles, bounds, links, root, end, ox, oy, oz, dx, dy, dz, furthest, any_hit):
    """Return the first triangle of a mesh along a ray of its unit frame as (parameter, index), or (inf, -1)."""
    ix = 1.0 / (dx if abs(dx) > TINY else TINY)
    iy = 1.0 / (dy if abs(dy) > TINY else TINY)
    iz = 1.0 / (dz if abs(dz) > TINY else TINY)
    best, hit = furthest, -1
    node = root
    while node < end:
        ax, bx = (bounds[node, 0] - ox) * ix, (bounds[node, 3] - ox) * ix
        ay, by = (bounds[node, 1] - oy) * iy, (bounds[node, 4] - oy) * iy
        az, bz = (bounds[node, 2] - oz) * iz, (bounds[node, 5] - oz) * iz
        enter = max(max(min(ax, bx), min(ay, by)), max(min(az, bz), 0.0))
        leave = min(min(max(ax, bx), max(ay, by)), min(max(az, bz), best))
        if enter > leave:
            node = links[node, 0]
            continue
        start = links[node, 1]
        for k in range(start, start + links[node, 2]):
            t, _, _ = intersect_triangle(triangles, k, ox, oy, oz, dx, dy, dz)
            if 0.0 < t < best:
                best, hit = t, k
                if any_hit:
                    return best, hit
        node += 1
    return (best, hit) if hit >= 0 else (inf, -1)


@compiled
def weights(triangles, k, x, y, z):
    """Return the weights of the second and third corner of triangle ``k`` at a point on it, in its unit frame.

    Rounding puts the point next to a very thin triangle. The limits keep the weights finite there.
    """
    ax, ay, az = triangles[k, EDGES], triangles[k, EDGES + 1], triangles[k, EDGES + 2]
    bx, by, bz = triangles[k, EDGES + 3], triangles[k, EDGES + 4], triangles[k, EDGES + 5]
    px, py, pz = x - triangles[k, CORNER], y - triangles[k, CORNER + 1], z - triangles[k, CORNER + 2]
    aa, ab, bb = ax * ax + ay * ay + az * az, ax * bx + ay * by + az * bz, bx * bx + by * by + bz * bz
    pa, pb = px * ax + py * ay + pz * az, px * bx + py * by + pz * bz
    scale = 1.0 / max(aa * bb - ab * ab, 1e-30)
    second = min(max((bb * pa - ab * pb) * scale, 0.0), 1.0)
    return second, min(max((aa * pb - ab * pa) * scale, 0.0), 1.0 - second)


@compiled
def triangle_face(triangles, k):
    """Return the flat normal of triangle ``k`` in the unit frame, of any length."""
    ax, ay, az = triangles[k, EDGES], triangles[k, EDGES + 1], triangles[k, EDGES + 2]
    bx, by, bz = triangles[k, EDGES + 3], triangles[k, EDGES + 4], triangles[k, EDGES + 5]
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@compiled
def smooth_normal(triangles, k, x, y, z):
    """Return the normal of triangle ``k`` between its corners' normals, on the side of its flat normal."""
    second, third = weights(triangles, k, x, y, z)
    first = 1.0 - second - third
    n = NORMALS
    nx = first * triangles[k, n] + second * triangles[k, n + 3] + third * triangles[k, n + 6]
    ny = first * triangles[k, n + 1] + second * triangles[k, n + 4] + third * triangles[k, n + 7]
    nz = first * triangles[k, n + 2] + second * triangles[k, n + 5] + third * triangles[k, n + 8]
    fx, fy, fz = triangle_face(triangles, k)
    length = sqrt(fx * fx + fy * fy + fz * fz) + 1e-30
    fx, fy, fz = fx / length, fy / length, fz / length
    # The flat normal limits the smooth one, so that light does not come from behind the surface.
    side = 1.0 if nx * fx + ny * fy + nz * fz >= 0.0 else -1.0
    return nx * side + 0.3 * fx, ny * side + 0.3 * fy, nz * side + 0.3 * fz


@compiled
def texture_coordinates(triangles, k, x, y, z):
    """Return (s, t) of triangle ``k`` at a point on it; a texture repeats every 1."""
    second, third = weights(triangles, k, x, y, z)
    first = 1.0 - second - third
    m = TEXTURE
    return (
        first * triangles[k, m] + second * triangles[k, m + 2] + third * triangles[k, m + 4],
        first * triangles[k, m + 1] + second * triangles[k, m + 3] + third * triangles[k, m + 5],
    )
