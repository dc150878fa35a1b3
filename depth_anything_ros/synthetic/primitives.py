"""Intersections of rays with three unit shapes, and the surface there.

Every primitive is a unit shape under an affine map: a box [-1, 1]^3, a sphere of radius 1, a round (a frustum around z
from -1 to 1, with radius 1 at the foot and ``taper`` at the top: a cylinder with taper 1, a cone with 0), or a mesh
(`triangles`), which is intersected elsewhere. Rays are
transformed into that frame without normalization, so that their parameter is the same as in the world.

In the kernels (ox, oy, oz) is a ray's origin, (dx, dy, dz) its direction, ``i`` the index of a primitive.
"""

from __future__ import annotations

from math import asin, atan2, inf, pi, sqrt

from depth_anything_ros.synthetic.compilation import compiled

BOX, SPHERE, ROUND, MESH = 0, 1, 2, 3
TINY = 1e-12

# Columns of a packed primitive: its shape, the affine map from the world to its unit frame (3 rows of 4), its half
# sizes in meters, a round's taper, the share and the size of the holes cut into it, its mean color, the material of
# each face, and the nodes of a mesh: the first and the one after the last. A mesh's first material is that of face 0.
SHAPE, MAP, EXTENT, TAPER, HOLES, HOLE_SIZE, TINT, FACES, NODES, COLUMNS = 0, 1, 13, 16, 17, 18, 19, 22, 28, 30


@compiled
def intersect_box(ox, oy, oz, dx, dy, dz, nearest):
    """Return the smallest parameter beyond ``nearest`` at which the ray meets the unit box, or inf."""
    ix = 1.0 / (dx if abs(dx) > TINY else TINY)
    iy = 1.0 / (dy if abs(dy) > TINY else TINY)
    iz = 1.0 / (dz if abs(dz) > TINY else TINY)
    ax, bx = (-1.0 - ox) * ix, (1.0 - ox) * ix
    ay, by = (-1.0 - oy) * iy, (1.0 - oy) * iy
    az, bz = (-1.0 - oz) * iz, (1.0 - oz) * iz
    enter = max(max(min(ax, bx), min(ay, by)), min(az, bz))
    leave = min(min(max(ax, bx), max(ay, by)), max(az, bz))
    if enter > leave or leave <= nearest:
        return inf
    return enter if enter > nearest else leave


@compiled
def intersect_sphere(ox, oy, oz, dx, dy, dz, nearest):
    """Return the smallest parameter beyond ``nearest`` at which the ray meets the unit sphere, or inf."""
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    c = ox * ox + oy * oy + oz * oz - 1.0
    discriminant = b * b - a * c
    if discriminant < 0.0:
        return inf
    root = sqrt(discriminant)
    t = (-b - root) / a
    if t > nearest:
        return t
    t = (-b + root) / a
    return t if t > nearest else inf


@compiled
def intersect_round(ox, oy, oz, dx, dy, dz, taper, nearest):
    """Return the smallest parameter beyond ``nearest`` at which the ray meets the unit frustum, or inf."""
    best = inf
    slope = 0.5 * (1.0 - taper)
    width = 0.5 * (1.0 + taper) - slope * oz
    a = dx * dx + dy * dy - slope * slope * dz * dz
    b = ox * dx + oy * dy + width * slope * dz
    c = ox * ox + oy * oy - width * width
    discriminant = b * b - a * c
    if discriminant >= 0.0 and abs(a) > TINY:
        root = sqrt(discriminant)
        t = (-b - root) / a
        if nearest < t < best and abs(oz + t * dz) <= 1.0:
            best = t
        t = (-b + root) / a
        if nearest < t < best and abs(oz + t * dz) <= 1.0:
            best = t
    if abs(dz) > TINY:
        t = (-1.0 - oz) / dz
        x, y = ox + t * dx, oy + t * dy
        if nearest < t < best and x * x + y * y <= 1.0:
            best = t
        t = (1.0 - oz) / dz
        x, y = ox + t * dx, oy + t * dy
        if nearest < t < best and x * x + y * y <= taper * taper:
            best = t
    return best


@compiled
def local_ray(primitives, i, ox, oy, oz, dx, dy, dz):
    """Return a world ray in the unit frame of primitive ``i``: origin and direction."""
    m = MAP
    lx = primitives[i, m] * ox + primitives[i, m + 1] * oy + primitives[i, m + 2] * oz + primitives[i, m + 3]
    ly = primitives[i, m + 4] * ox + primitives[i, m + 5] * oy + primitives[i, m + 6] * oz + primitives[i, m + 7]
    lz = primitives[i, m + 8] * ox + primitives[i, m + 9] * oy + primitives[i, m + 10] * oz + primitives[i, m + 11]
    ex = primitives[i, m] * dx + primitives[i, m + 1] * dy + primitives[i, m + 2] * dz
    ey = primitives[i, m + 4] * dx + primitives[i, m + 5] * dy + primitives[i, m + 6] * dz
    ez = primitives[i, m + 8] * dx + primitives[i, m + 9] * dy + primitives[i, m + 10] * dz
    return lx, ly, lz, ex, ey, ez


@compiled
def intersect(primitives, i, ox, oy, oz, dx, dy, dz, nearest):
    """Return the smallest parameter beyond ``nearest`` at which a world ray meets primitive ``i``, or inf."""
    lx, ly, lz, ex, ey, ez = local_ray(primitives, i, ox, oy, oz, dx, dy, dz)
    shape = int(primitives[i, SHAPE])
    if shape == BOX:
        return intersect_box(lx, ly, lz, ex, ey, ez, nearest)
    if shape == SPHERE:
        return intersect_sphere(lx, ly, lz, ex, ey, ez, nearest)
    return intersect_round(lx, ly, lz, ex, ey, ez, primitives[i, TAPER], nearest)


@compiled
def local_point(primitives, i, x, y, z):
    """Return a world point in the unit frame of primitive ``i``."""
    return (
        primitives[i, MAP] * x + primitives[i, MAP + 1] * y + primitives[i, MAP + 2] * z + primitives[i, MAP + 3],
        primitives[i, MAP + 4] * x + primitives[i, MAP + 5] * y + primitives[i, MAP + 6] * z + primitives[i, MAP + 7],
        primitives[i, MAP + 8] * x + primitives[i, MAP + 9] * y + primitives[i, MAP + 10] * z + primitives[i, MAP + 11],
    )


@compiled
def surface_face(primitives, i, x, y, z):
    """Return the face of primitive ``i`` at a point of its unit frame, and the outward normal there in that frame.

    Faces 0 to 5 are -x, +x, -y, +y, -z, +z. A sphere and a round's side are face 0, a round's foot and top are 4 and 5.
    """
    shape = int(primitives[i, SHAPE])
    if shape == SPHERE:
        return 0, x, y, z
    if shape == BOX:
        ax, ay, az = abs(x), abs(y), abs(z)
        if ax >= ay and ax >= az:
            return (1, 1.0, 0.0, 0.0) if x > 0 else (0, -1.0, 0.0, 0.0)
        if ay >= az:
            return (3, 0.0, 1.0, 0.0) if y > 0 else (2, 0.0, -1.0, 0.0)
        return (5, 0.0, 0.0, 1.0) if z > 0 else (4, 0.0, 0.0, -1.0)
    taper = primitives[i, TAPER]
    slope = 0.5 * (1.0 - taper)
    width = 0.5 * (1.0 + taper) - slope * z
    from_side = abs(sqrt(x * x + y * y) - width)
    if from_side < abs(1.0 - abs(z)) or abs(z) < 0.999:
        return 0, x, y, slope * width
    return (5, 0.0, 0.0, 1.0) if z > 0 else (4, 0.0, 0.0, -1.0)


@compiled
def world_normal(primitives, i, x, y, z):
    """Return the unit normal in the world, from one in the unit frame of primitive ``i``, by the inverse transpose."""
    nx = primitives[i, MAP] * x + primitives[i, MAP + 4] * y + primitives[i, MAP + 8] * z
    ny = primitives[i, MAP + 1] * x + primitives[i, MAP + 5] * y + primitives[i, MAP + 9] * z
    nz = primitives[i, MAP + 2] * x + primitives[i, MAP + 6] * y + primitives[i, MAP + 10] * z
    scale = 1.0 / sqrt(nx * nx + ny * ny + nz * nz + TINY)
    return nx * scale, ny * scale, nz * scale


@compiled
def surface_coordinates(primitives, i, face, x, y, z):
    """Return coordinates over a face: (u, v) in meters from its middle, (s, t) in [0, 1]; v and t point up."""
    half_x, half_y, half_z = primitives[i, EXTENT], primitives[i, EXTENT + 1], primitives[i, EXTENT + 2]
    shape = int(primitives[i, SHAPE])
    if shape == BOX or face >= 4:
        if face == 0:
            s, t, u, v = -y, z, half_y, half_z
        elif face == 1:
            s, t, u, v = y, z, half_y, half_z
        elif face == 2:
            s, t, u, v = x, z, half_x, half_z
        elif face == 3:
            s, t, u, v = -x, z, half_x, half_z
        elif face == 4:
            s, t, u, v = -x, y, half_x, half_y
        else:
            s, t, u, v = x, y, half_x, half_y
        return s * u, t * v, 0.5 + 0.5 * s, 0.5 + 0.5 * t
    angle = atan2(y, x)
    if shape == SPHERE:
        latitude = asin(min(1.0, max(-1.0, z)))
        return angle * half_x, latitude * half_z, 0.5 + angle / (2.0 * pi), 0.5 + latitude / pi
    return angle * half_x, z * half_z, 0.5 + angle / (2.0 * pi), 0.5 + 0.5 * z
