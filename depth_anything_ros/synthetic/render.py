"""Render a picture, its depth and its camera from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.synthetic import layout_close, layout_halls, layout_outdoors, layout_rooms, tracing
from depth_anything_ros.synthetic.camera_prior import PRIORS
from depth_anything_ros.synthetic.kinds import KINDS, WEIGHTS
from depth_anything_ros.synthetic.mesh_pack import MeshPack
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.photograph import photograph
from depth_anything_ros.synthetic.pictures import atlas
from depth_anything_ros.synthetic.scene import Scene, SceneArrays, View

# A layout fills a scene and returns possible views of it.
LAYOUTS = {
    "room": layout_rooms.room,
    "corridor": layout_rooms.corridor,
    "stairs": layout_halls.stairs,
    "warehouse": layout_halls.warehouse,
    "company": layout_halls.company,
    "tabletop": layout_close.tabletop,
    "shelves": layout_close.shelves,
    "surface": layout_close.surface,
    "clutter": layout_close.clutter,
    "street": layout_outdoors.street,
    "field": layout_outdoors.field,
}
PROBE = (24, 18)
NEAREST = 0.12


@dataclass(frozen=True)
class RenderedScene:
    """A picture with its depth and camera.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, meters along the optical axis at each pixel's center; +inf for sky.
        camera: intrinsics.
        kind: name of the layout, one of KINDS.
    """

    image: np.ndarray
    depth: np.ndarray
    camera: Camera
    kind: str


def render(
    seed: int,
    width: int,
    height: int,
    kind: str | None = None,
    photographs: Sequence[np.ndarray] = (),
    pictures: np.ndarray | None = None,
    cameras: str = "robot",
    meshes: MeshPack | None = None,
) -> RenderedScene:
    """Render the scene of a seed; the same arguments give the same bytes.

    Args:
        seed: any integer.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        kind: a layout of `KINDS`; None draws one by weight.
        photographs: (H, W, 3) uint8 RGB arrays that may appear on walls, screens and packets.
        pictures: the result of ``pictures.atlas(photographs)``, to compute it once for many scenes.
        meshes: a pack that furniture and objects may come from.
        cameras: name of a prior, one of `camera_prior.PRIORS`.

    Raises:
        ValueError: an unknown kind or prior, or a size that is not positive.
    """
    if kind is not None and kind not in LAYOUTS:
        raise ValueError(f"unknown kind of scene {kind!r}; give one of {', '.join(KINDS)}")
    if cameras not in PRIORS:
        raise ValueError(f"unknown prior of cameras {cameras!r}; give one of {', '.join(PRIORS)}")
    if width < 1 or height < 1:
        raise ValueError(f"an image of {width} x {height} pixels cannot be rendered; both must be at least 1")
    rng = random.Random(seed)
    drawn = rng.choices(KINDS, list(WEIGHTS.values()))[0]
    kind = kind or drawn
    pictures = atlas(photographs) if pictures is None else pictures
    shown = pictures if meshes is None else meshes.atlas(pictures)
    while True:
        scene = Scene(meshes=meshes)
        views = PRIORS[cameras].views(kind, LAYOUTS[kind](scene, Palette(scene, rng, len(pictures)), rng), rng)
        view, arrays = best_view(scene, views, shown, width / height)
        if view is not None:
            break
    camera = Camera.from_field_of_view(width, height, view.field_of_view)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float64)
    color, depth = tracing.trace(
        arrays, lens, view.rotation(), np.array(view.position, np.float64), width, height, rng.randrange(1 << 30)
    )
    return RenderedScene(photograph(color, rng), depth, camera, kind)


def best_view(
    scene: Scene, views: Sequence[View], pictures: np.ndarray, ratio: float
) -> tuple[View | None, SceneArrays | None]:
    """Return the unblocked view with the most visible surfaces, or None, and the packed scene.

    Args:
        scene: the scene.
        views: the candidates.
        pictures: from `pictures.atlas`.
        ratio: width over height of the image.
    """
    best, best_score = None, 0
    arrays = scene.pack(views[0].position, pictures)
    for view in views:
        camera = Camera.from_field_of_view(PROBE[0], max(2, round(PROBE[0] / ratio)), view.field_of_view)
        depth = np.empty((camera.height, camera.width), np.float32)
        surfaces, triangles = (np.empty(depth.shape, np.int32) for _ in range(2))
        lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float64)
        tracing.trace_visibility(
            arrays, lens, view.rotation(), np.array(view.position, np.float64), depth, surfaces, triangles
        )
        if depth.min() < NEAREST or np.isinf(depth).mean() > 0.6:
            continue
        if view.clearance and nearest_thing(depth, camera, view) < view.clearance:
            continue
        score = len(np.unique(surfaces))
        if score > best_score:
            best, best_score = view, score
    return best, arrays


def nearest_thing(depth: np.ndarray, camera: Camera, view: View) -> float:
    """Return the smallest depth in meters of the objects more than 5 cm above the floor z = 0, or inf.

    Args:
        depth: (H, W) float32, meters.
        camera: the camera of the depth.
        view: its place.
    """
    across = view.rotation()[2]
    rows, columns = np.mgrid[: camera.height, : camera.width]
    rise = across[0] * (columns - camera.cx) / camera.fx + across[1] * (rows - camera.cy) / camera.fy + across[2]
    things = depth[view.position[2] + depth * rise > 0.05]
    return float(things.min()) if things.size else np.inf
