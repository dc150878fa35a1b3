"""The scene renderer: its depth equals the geometry's, its images vary, and equal seeds give equal bytes."""

import argparse
import json

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs numba, of the extra `train`")

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import scenes as scenes_command
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.synthetic import pictures, textures, tracing
from depth_anything_ros.synthetic.appearance import Material
from depth_anything_ros.synthetic.hierarchy import closest_hit
from depth_anything_ros.synthetic.kinds import KINDS
from depth_anything_ros.synthetic.render import render
from depth_anything_ros.synthetic.scene import Scene, View
from depth_anything_ros.visualization.captions import LINE

pytestmark = pytest.mark.usefixtures("renderer")

WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def drawn_pictures():
    return pictures.atlas()


def traced(scene, view, drawn_pictures, width=WIDTH, height=HEIGHT):
    """Color, depth, camera and camera rotation of a manually built scene."""
    camera = Camera.from_field_of_view(width, height, view.field_of_view)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
    arrays = scene.pack(view.position, drawn_pictures)
    rotation = view.rotation()
    color, depth = tracing.trace(arrays, lens, rotation, np.array(view.position, np.float64), width, height, 1)
    return color, depth, camera, rotation


def world_points(depth, camera, rotation, position):
    """Back-project pixels and depths to (H, W, 3) float64."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    rays = np.stack([*np.meshgrid(x, y), np.ones((camera.height, camera.width))], axis=-1)
    return (rays * depth[..., None].astype(np.float64)) @ rotation.T + np.asarray(position)


def gray(scene):
    return scene.material(Material(textures.PLAIN, (0.5, 0.5, 0.5)))


def test_depth_of_frontal_wall_is_constant(drawn_pictures):
    scene = Scene()
    scene.box((0, 3.5, 0), (100, 1.0, 100), gray(scene))
    _, depth, _, _ = traced(scene, View((0, 0, 0), (0, 1, 0), roll=0.4, field_of_view=90), drawn_pictures)
    np.testing.assert_allclose(depth, 3.0, rtol=1e-6)  # along the axis, not along the ray


def test_oblique_plane_back_projects_onto_plane(drawn_pictures):
    scene, normal = Scene(), None
    with scene.place((0.3, 2.0, -0.2), yaw=0.5, pitch=-0.2, roll=0.7):
        scene.box((0, 0, -0.5), (50, 50, 1.0), gray(scene))
        center, normal = scene.world((0, 0, 0)), scene.world((0, 0, 1)) - scene.world((0, 0, 0))
    position = tuple(center + 1.5 * normal + (0.2, 0.1, 0.0))
    view = View(position, tuple(center), roll=-0.3, field_of_view=60)
    _, depth, camera, rotation = traced(scene, view, drawn_pictures)
    assert depth.max() / depth.min() > 1.05
    away = (world_points(depth, camera, rotation, position) - center) @ normal
    assert np.abs(away).max() < 1e-4


def test_sphere_back_projects_onto_sphere_and_rest_is_sky(drawn_pictures):
    scene, center, radius = Scene(), np.array([0.2, 3.0, 0.1]), 0.8
    scene.sphere(tuple(center), radius, gray(scene))
    position = (0.0, 0.0, 0.0)
    _, depth, camera, rotation = traced(scene, View(position, (0, 1, 0.05), field_of_view=50), drawn_pictures)
    hit = np.isfinite(depth)
    points = world_points(np.where(hit, depth, 1.0), camera, rotation, position)
    assert np.abs(np.linalg.norm(points[hit] - center, axis=-1) - radius).max() < 1e-4
    # A ray meets the sphere exactly where its distance from the center is under the radius.
    direction = points / np.linalg.norm(points, axis=-1, keepdims=True)
    distance = np.linalg.norm(np.cross(direction, center), axis=-1)
    clear = np.abs(distance - radius) > 1e-6
    assert 0.1 < hit.mean() < 0.9
    np.testing.assert_array_equal(hit[clear], (distance < radius)[clear])
    assert np.all(np.isposinf(depth[~hit]))


@pytest.mark.parametrize("taper", [1.0, 0.5, 0.0])
def test_cone_back_projects_onto_its_surface(drawn_pictures, taper):
    scene = Scene()
    scene.cylinder((0, 3, -0.5), 0.4, 1.0, gray(scene), taper=taper)
    position = (0.3, 0.0, 1.0)
    _, depth, camera, rotation = traced(scene, View(position, (0, 3, 0), field_of_view=40), drawn_pictures)
    hit = np.isfinite(depth)
    points = world_points(np.where(hit, depth, 1.0), camera, rotation, position)[hit]
    height = points[:, 2] + 0.5
    radius = np.hypot(points[:, 0], points[:, 1] - 3.0)
    limit = 0.4 * (1.0 + (taper - 1.0) * height)
    on_side = np.abs(radius - limit) < 1e-4
    on_top = (np.abs(height - 1.0) < 1e-4) & (radius <= limit + 1e-4)
    assert hit.sum() > 100
    assert np.all(on_side | on_top)
    assert on_top.any() == (taper > 0.0)


def test_hierarchy_matches_search_of_every_primitive(drawn_pictures):
    rng = np.random.default_rng(3)
    scene = Scene()
    for k in range(150):
        with scene.place(tuple(rng.normal(0, 3, 3)), yaw=rng.uniform(0, 6), pitch=rng.uniform(-1, 1)):
            if k % 3 == 0:
                scene.box((0, 0, 0), tuple(rng.uniform(0.05, 1.5, 3)), gray(scene))
            elif k % 3 == 1:
                scene.ellipsoid((0, 0, 0), tuple(rng.uniform(0.05, 0.8, 3)), gray(scene))
            else:
                scene.cylinder(
                    (0, 0, 0), rng.uniform(0.05, 0.6), rng.uniform(0.1, 2), gray(scene), taper=rng.uniform(0, 1)
                )
    arrays = scene.pack((0, 0, 0), drawn_pictures)
    flat_bounds = np.array([[-np.inf] * 3 + [np.inf] * 3])
    flat = arrays._replace(bounds=flat_bounds, links=np.array([[1, 0, 150]], np.int32))
    met = 0
    for _ in range(500):
        origin, direction = rng.normal(0, 4, 3), rng.normal(0, 1, 3)
        fast = closest_hit(arrays, *origin, *direction, np.inf, False)
        slow = closest_hit(flat, *origin, *direction, np.inf, False)
        assert fast == slow
        met += fast[1] >= 0
    assert 100 < met < 500


def test_image_on_wall_does_not_change_depth(drawn_pictures):
    scene = Scene()
    shown = scene.material(Material(textures.PICTURE, (0.9, 0.9, 0.9), scale=0.0, photograph=6))
    scene.box((0, 2.5, 0), (3, 1.0, 3), shown)
    color, depth, _, _ = traced(scene, View((0, 0, 0), (0, 1, 0), field_of_view=40), drawn_pictures)
    assert color.std() > 0.02
    np.testing.assert_allclose(depth, 2.0, rtol=1e-6)


def test_blocked_lamp_casts_shadow(drawn_pictures):
    def floor_brightness(blocked):
        scene = Scene()
        scene.sky.reach = 0.01
        scene.box((0, 0, -0.5), (20, 20, 1.0), gray(scene))
        if blocked:
            scene.box((0, 0, 1.5), (1, 1, 0.1), gray(scene))
        scene.lamp((0, 0, 3), 0.05, (5.0, 5.0, 5.0))
        color, _, _, _ = traced(scene, View((2.0, 0, 1.0), (0, 0, 0), field_of_view=30), drawn_pictures)
        return color[HEIGHT // 2, WIDTH // 2].mean()

    assert floor_brightness(blocked=True) < 0.7 * floor_brightness(blocked=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_scene_kind_renders(kind, drawn_pictures):
    for seed in range(3):
        scene = render(seed, WIDTH, HEIGHT, kind, pictures=drawn_pictures)
        assert scene.kind == kind
        assert scene.image.shape == (HEIGHT, WIDTH, 3)
        assert scene.image.dtype == np.uint8
        assert scene.depth.shape == (HEIGHT, WIDTH)
        assert scene.depth.dtype == np.float32
        assert (scene.camera.width, scene.camera.height) == (WIDTH, HEIGHT)
        assert 30 < scene.camera.horizontal_degrees < 115
        assert np.all(scene.depth > 0.05)  # +inf is greater too; NaN is not
        assert scene.image.std() > 3.0


def test_seed_determines_scene(drawn_pictures):
    first, again, other = (render(seed, WIDTH, HEIGHT, pictures=drawn_pictures) for seed in (5, 5, 6))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.depth.tobytes() == again.depth.tobytes()
    assert (first.camera, first.kind) == (again.camera, again.kind)
    assert first.depth.tobytes() != other.depth.tobytes()


def test_depth_is_independent_of_image_size(drawn_pictures):
    small, large = (render(11, width, width * 3 // 4, "room", pictures=drawn_pictures) for width in (40, 120))
    # The center of every small pixel is that of a large one, for an odd factor.
    np.testing.assert_allclose(large.depth[1::3, 1::3], small.depth, rtol=1e-4)


def test_photographs_appear_in_scene(drawn_pictures):
    flat = np.full((50, 70, 3), (250, 5, 5), np.uint8)
    with_photograph = pictures.atlas([flat])
    assert len(with_photograph) == len(drawn_pictures) + 1
    scene = Scene()
    shown = scene.material(Material(textures.PICTURE, (1.0, 1.0, 1.0), scale=0.0, photograph=len(drawn_pictures)))
    scene.box((0, 2.5, 0), (5, 1.0, 5), shown)
    color, _, _, _ = traced(scene, View((0, 0, 0), (0, 1, 0)), with_photograph)
    assert np.all(color[..., 0] > 100 * color[..., 1])


def test_depth_is_not_explained_by_image_row(drawn_pictures):
    """Seen by wild cameras, the row of a pixel says little of how near it is: the network has to look."""
    correlations, explained = [], []
    rows = np.repeat(np.arange(24.0)[:, None], 32, axis=1)
    for kind in KINDS:
        for seed in range(6):
            wild = render(seed, 32, 24, kind, pictures=drawn_pictures, cameras="wild")
            inverse = 1.0 / wild.depth.astype(np.float64)
            correlations.append(np.corrcoef(inverse.ravel(), rows.ravel())[0, 1])
            by_row = inverse.mean(axis=1, keepdims=True)
            explained.append(by_row.repeat(32, axis=1).var() / inverse.var())
    assert np.mean(correlations) < 0.5
    assert np.std(correlations) > 0.25
    assert np.mean(explained) < 0.55
    assert np.mean(np.array(correlations) < 0.0) > 0.05  # in some, what is near is at the top


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 32, 24, "moon"), "moon"),
        ((0, 0, 24, None), "0 x 24"),
        ((0, 32, 24, None, (), None, "drone"), "drone.*robot, wild"),
    ],
)
def test_unknown_kind_prior_or_empty_size_raises(arguments, words):
    with pytest.raises(ValueError, match=words):
        render(*arguments)


def test_photographs_of_wrong_dtype_raise():
    with pytest.raises(ValueError, match="uint8"):
        render(0, 32, 24, photographs=[np.zeros((10, 10, 3), np.float32)])


def test_tabletop_cameras_see_table_within_reach(drawn_pictures):
    scenes = [render(seed, 32, 24, "tabletop", pictures=drawn_pictures, cameras="wild") for seed in range(10)]
    nearest = [scene.depth.min() for scene in scenes]
    assert np.median(nearest) < 1.2


def scenes(arguments):
    """Run the sub-command `scenes`."""
    parser = argparse.ArgumentParser()
    scenes_command.add_arguments(parser)
    return scenes_command.run(parser.parse_args(arguments))


def test_scenes_command_writes_sheet_and_description(tmp_path):
    report = tmp_path / "scenes.json"
    options = [
        "--output",
        str(tmp_path / "out"),
        "--count",
        "3",
        "--seed",
        "4",
        "--size",
        "40",
        "30",
        "--json",
        str(report),
    ]
    assert scenes(options) == 0
    sheet = cv2.imread(str(tmp_path / "out" / "scenes.png"))
    assert sheet.shape[1] >= 3 * 80
    assert sheet.shape[0] > 30 + 3 * LINE
    described = json.loads(report.read_text())["scenes"]
    assert [scene["seed"] for scene in described] == [4, 5, 6]
    assert all(0 < scene["nearest_m"] <= scene["median_m"] <= scene["furthest_m"] for scene in described)


def test_scenes_command_rejects_zero_count(tmp_path):
    with pytest.raises(CommandError, match="--count"):
        scenes(["--output", str(tmp_path), "--count", "0"])


@pytest.mark.parametrize("size", [("0", "0"), ("-4", "30"), ("40", "0")])
def test_scenes_command_rejects_empty_size(tmp_path, size):
    with pytest.raises(CommandError, match=f"--size is {size[0]} {size[1]}"):
        scenes(["--output", str(tmp_path / "out"), "--size", *size])
    assert not (tmp_path / "out").exists()
