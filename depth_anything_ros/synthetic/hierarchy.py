"""A bounding-volume hierarchy without a stack: nodes in depth-first order, each with a link for missed rays.

The child nearer to the camera comes first, so that camera rays meet the scene roughly front to back.
"""

from __future__ import annotations

from math import inf

import numpy as np

from depth_anything_ros.synthetic.compilation import allocating, compiled
from depth_anything_ros.synthetic.noise import noise3
from depth_anything_ros.synthetic.primitives import (
    EXTENT,
    HOLE_SIZE,
    HOLES,
    MESH,
    NODES,
    SHAPE,
    TINY,
    intersect,
    local_point,
    local_ray,
)
from depth_anything_ros.synthetic.triangles import closest_triangle

LEAF_SIZE = 2
SKIP, START, COUNT = 0, 1, 2


@compiled
def enclose(box, low, high):
    """Enlarge ``box`` (6,), lower corner first, until it contains another box."""
    for axis in range(3):
        box[axis] = min(box[axis], low[axis])
        box[3 + axis] = max(box[3 + axis], high[axis])


@compiled
def half_area(box):
    """Return half the surface area of an axis-aligned box (6,)."""
    x, y, z = box[3] - box[0], box[4] - box[1], box[5] - box[2]
    return x * y + y * z + z * x


@allocating
def best_split(order, first, count, lows, highs):
    """Sort a part of ``order`` along the best axis; return the size of its first half by the surface-area heuristic."""
    members = order[first : first + count].copy()
    best_cost, best_size = inf, count // 2
    right_areas = np.empty(count)
    best_members = members
    middles = np.empty(count)
    box = np.empty(6)
    for axis in range(3):
        for k in range(count):
            middles[k] = lows[members[k], axis] + highs[members[k], axis]
        ranked = members[np.argsort(middles)]
        box[:3], box[3:] = inf, -inf
        for k in range(count - 1, -1, -1):
            enclose(box, lows[ranked[k]], highs[ranked[k]])
            right_areas[k] = half_area(box)
        box[:3], box[3:] = inf, -inf
        for k in range(1, count):
            enclose(box, lows[ranked[k - 1]], highs[ranked[k - 1]])
            cost = k * half_area(box) + (count - k) * right_areas[k]
            if cost < best_cost:
                best_cost, best_size, best_members = cost, k, ranked
    for k in range(count):  # an assignment to a slice compiles its error messages too, for seconds
        order[first + k] = best_members[k]
    return best_size


@compiled
def distance_to_bounds(point, low, high):
    """Return the squared distance between a point and an axis-aligned box."""
    total = 0.0
    for axis in range(3):
        gap = max(0.0, max(low[axis] - point[axis], point[axis] - high[axis]))
        total += gap * gap
    return total


@allocating
def build_hierarchy(lows, highs, camera):
    """Build a hierarchy over bounding boxes.

    Args:
        lows: (N, 3) float64, lower corners in meters.
        highs: (N, 3) float64, upper corners in meters.
        camera: (3,) float64 position; children are ordered by their distance from it.

    Returns:
        bounds (K, 6) float64; links (K, 3) int32: the next node after a miss, the first primitive and their number (0
        for an inner node); order (N,) int32: the primitive at each index.
    """
    total = len(lows)
    order = np.arange(total).astype(np.int32)
    bounds = np.empty((2 * total, 6))
    links = np.zeros((2 * total, 3), np.int32)
    # A pending entry is (first, count); -1 marks that the subtree of node `count` is complete.
    pending = [(0, total)]
    nodes = 0
    while len(pending) > 0:
        first, count = pending.pop()
        if first < 0:
            links[count, SKIP] = nodes
            continue
        node = nodes
        nodes += 1
        bounds[node, :3], bounds[node, 3:] = inf, -inf
        for k in range(first, first + count):
            enclose(bounds[node], lows[order[k]], highs[order[k]])
        links[node, START] = first
        if count <= LEAF_SIZE:
            links[node, COUNT] = count
            links[node, SKIP] = nodes
            continue
        size = best_split(order, first, count, lows, highs)
        left_distance, right_distance = inf, inf
        for k in range(first, first + count):
            distance = distance_to_bounds(camera, lows[order[k]], highs[order[k]])
            if k < first + size:
                left_distance = min(left_distance, distance)
            else:
                right_distance = min(right_distance, distance)
        pending.append((-1, node))
        if left_distance <= right_distance:
            pending.append((first + size, count - size))
            pending.append((first, size))
        else:
            pending.append((first, size))
            pending.append((first + size, count - size))
    return bounds[:nodes].copy(), links[:nodes].copy(), order


@compiled
def intersect_cut(primitives, i, ox, oy, oz, dx, dy, dz, furthest):
    """Return the same as `intersect`, but through the holes of a primitive (leaves, gratings)."""
    t = intersect(primitives, i, ox, oy, oz, dx, dy, dz, 0.0)
    per_hole = 1.0 / primitives[i, HOLE_SIZE]
    u, v = primitives[i, EXTENT] * per_hole, primitives[i, EXTENT + 1] * per_hole
    w = primitives[i, EXTENT + 2] * per_hole
    while t < furthest:
        x, y, z = local_point(primitives, i, ox + t * dx, oy + t * dy, oz + t * dz)
        if noise3(x * u, y * v, z * w, i) > primitives[i, HOLES]:
            return t
        t = intersect(primitives, i, ox, oy, oz, dx, dy, dz, t + 1e-6)
    return inf


@compiled
def hit_mesh(scene, i, ox, oy, oz, dx, dy, dz, furthest, any_hit):
    """Return where a world ray meets the mesh of primitive ``i`` as (parameter, triangle), or (inf, -1)."""
    lx, ly, lz, ex, ey, ez = local_ray(scene.primitives, i, ox, oy, oz, dx, dy, dz)
    root, end = int(scene.primitives[i, NODES]), int(scene.primitives[i, NODES + 1])
    return closest_triangle(
        scene.triangles, scene.mesh_bounds, scene.mesh_links, root, end, lx, ly, lz, ex, ey, ez, furthest, any_hit
    )


@compiled
def closest_hit(scene, ox, oy, oz, dx, dy, dz, furthest, any_hit):
    """Return the first primitive along a ray as (parameter, index, triangle); with ``any_hit`` any primitive.

    The triangle is the index of a mesh's triangle, or -1. A ray that meets nothing gives (inf, -1, -1).
    """
    primitives, bounds, links = scene.primitives, scene.bounds, scene.links
    ix = 1.0 / (dx if abs(dx) > TINY else TINY)
    iy = 1.0 / (dy if abs(dy) > TINY else TINY)
    iz = 1.0 / (dz if abs(dz) > TINY else TINY)
    best, hit, triangle = furthest, -1, -1
    node, total = 0, len(links)
    while node < total:
        ax, bx = (bounds[node, 0] - ox) * ix, (bounds[node, 3] - ox) * ix
        ay, by = (bounds[node, 1] - oy) * iy, (bounds[node, 4] - oy) * iy
        az, bz = (bounds[node, 2] - oz) * iz, (bounds[node, 5] - oz) * iz
        enter = max(max(min(ax, bx), min(ay, by)), max(min(az, bz), 0.0))
        leave = min(min(max(ax, bx), max(ay, by)), min(max(az, bz), best))
        if enter > leave:
            node = links[node, SKIP]
            continue
        start = links[node, START]
        for i in range(start, start + links[node, COUNT]):
            k = -1
            if int(primitives[i, SHAPE]) == MESH:
                t, k = hit_mesh(scene, i, ox, oy, oz, dx, dy, dz, best, any_hit)
            elif primitives[i, HOLES] > 0.0:
                t = intersect_cut(primitives, i, ox, oy, oz, dx, dy, dz, best)
            else:
                t = intersect(primitives, i, ox, oy, oz, dx, dy, dz, 0.0)
            if t < best:
                best, hit, triangle = t, i, k
                if any_hit:
                    return best, hit, triangle
        node += 1
    return (best, hit, triangle) if hit >= 0 else (inf, -1, -1)
