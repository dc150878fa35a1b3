"""Meshes in scenes: a pack from a furniture catalog, traced like the primitives, and credited."""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs numba, of the extra `train`")
pytest.importorskip("trimesh", reason="packs of meshes need trimesh, of the extra `meshes`")

from helpers.furniture_catalogs import entry, write_catalog

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import meshes as meshes_command
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.synthetic import pictures, textures, tracing
from depth_anything_ros.synthetic.appearance import Material
from depth_anything_ros.synthetic.hierarchy import build_hierarchy
from depth_anything_ros.synthetic.mesh_pack import CATALOG, CREDITS, MeshPackError, open_pack
from depth_anything_ros.synthetic.palette import Palette
from depth_anything_ros.synthetic.render import render
from depth_anything_ros.synthetic.scene import Scene, View
from depth_anything_ros.synthetic.scene_images import RenderedScenes
from depth_anything_ros.synthetic.triangles import (
    EDGES,
    NORMALS,
    TEXTURE,
    TRIANGLE_COLUMNS,
    closest_triangle,
    texture_coordinates,
)

pytestmark = pytest.mark.usefixtures("renderer")

WIDTH, HEIGHT = 64, 48


def make_pack(*arguments) -> int:
    """Run the command `meshes`."""
    parser = argparse.ArgumentParser()
    meshes_command.add_arguments(parser)
    return meshes_command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meshes")
    write_catalog(folder / "a.sh3f", [entry(1, "sofa"), entry(2, "vase", width="20", depth="10", height="5")])
    assert make_pack(folder / "a.sh3f", "--output", folder / "pack") == 0
    return open_pack(folder / "pack")


def traced(scene, view, shown):
    """Color and depth of a manually built scene."""
    camera = Camera.from_field_of_view(WIDTH, HEIGHT, view.field_of_view)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
    arrays = scene.pack(view.position, shown)
    return tracing.trace(arrays, lens, view.rotation(), np.array(view.position, np.float64), WIDTH, HEIGHT, 1)


def gray(scene):
    return scene.material(Material(textures.PLAIN, (0.5, 0.5, 0.5)))


def mesh_materials(scene, mesh, first_picture):
    """Add a mesh's materials as they are."""
    for material in mesh.materials:
        pattern = textures.PICTURE if material.texture >= 0 else textures.PLAIN
        scene.material(Material(pattern, material.color, scale=0.0, photograph=first_picture + material.texture))
    return len(scene.materials) - len(mesh.materials)


def test_mesh_of_box_has_depth_of_box(pack):
    sofa = next(mesh for mesh in pack.meshes if mesh.role == "furniture")
    assert sofa.size == (2.0, 1.0, 0.5)
    view = View((1.5, -3.0, 1.2), (0.0, 0.0, 0.3), roll=0.2, field_of_view=60)
    depths = []
    for meshes in (None, pack):
        scene = Scene(meshes=meshes)
        scene.box((0, 0, -0.5), (40, 40, 1), gray(scene))
        with scene.place((0.2, 0.1, 0.0), yaw=0.4):
            if meshes is None:
                scene.box((0, 0, 0.25), sofa.size, gray(scene))
            else:
                scene.mesh(sofa, mesh_materials(scene, sofa, 0))
        depths.append(traced(scene, view, pack.atlas(pictures.atlas()))[1])
    np.testing.assert_allclose(depths[1], depths[0], rtol=1e-5)


def test_texture_is_upright_on_front(pack):
    """The model's front, at the largest z of its own axes, looks to -y here, and its texture is not mirrored."""
    sofa = next(mesh for mesh in pack.meshes if mesh.role == "furniture")
    scene, drawn = Scene(meshes=pack), pictures.atlas()
    scene.mesh(sofa, mesh_materials(scene, sofa, len(drawn)))
    color, depth = traced(scene, View((0, -2.0, 0.25), (0, 0, 0.25), field_of_view=50), pack.atlas(drawn))
    row = color[HEIGHT // 2]
    left, right = row[WIDTH // 4], row[3 * WIDTH // 4]
    assert depth[HEIGHT // 2, WIDTH // 2] == pytest.approx(1.5, rel=1e-5)
    assert left[0] > 20 * left[1]
    assert right[1] > 20 * right[0]
    behind, _ = traced(scene, View((0, 2.0, 0.25), (0, 0, 0.25), field_of_view=50), pack.atlas(drawn))
    assert behind[HEIGHT // 2, WIDTH // 4, 2] > 5 * behind[HEIGHT // 2, WIDTH // 4, 0]  # the paint


def test_hierarchy_of_triangles_matches_search_of_all():
    rng = np.random.default_rng(1)
    triangles = np.zeros((200, TRIANGLE_COLUMNS), np.float32)
    triangles[:, :NORMALS] = rng.uniform(-0.4, 0.4, (200, NORMALS))
    triangles[:, :EDGES] *= 2
    corners = triangles[:, None, :3] + np.stack([0 * triangles[:, :3], triangles[:, 3:6], triangles[:, 6:9]], axis=1)
    lows, highs = corners.min(axis=1).astype(np.float64), corners.max(axis=1).astype(np.float64)
    bounds, links, order = build_hierarchy(lows - 1e-6, highs + 1e-6, np.zeros(3))
    triangles, bounds = triangles[order], bounds.astype(np.float32)
    flat_bounds = np.array([[-9, -9, -9, 9, 9, 9]], np.float32)
    flat_links = np.array([[1, 0, 200]], np.int32)
    met = 0
    for _ in range(500):
        ray = (*rng.normal(0, 1, 3), *rng.normal(0, 1, 3), np.inf, False)
        fast = closest_triangle(triangles, bounds, links, 0, len(bounds), *ray)
        slow = closest_triangle(triangles, flat_bounds, flat_links, 0, 1, *ray)
        assert fast == slow
        met += fast[1] >= 0
    assert 50 < met < 500


def test_thin_triangle_keeps_texture_coordinates_between_its_corners():
    triangles = np.zeros((1, TRIANGLE_COLUMNS), np.float32)
    triangles[0, EDGES : EDGES + 6] = [1.0, 0.0, 0.0, 1.0, 1e-12, 0.0]
    triangles[0, TEXTURE : TEXTURE + 6] = [0.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    s, t = texture_coordinates(triangles, 0, 0.5, 1e-4, 0.0)
    assert 0.0 <= s <= 1.0
    assert 0.0 <= t <= 1.0


def test_pack_decides_scenes(pack):
    atlas = pictures.atlas()
    plain, first, again = (render(3, WIDTH, HEIGHT, "room", pictures=atlas, meshes=m) for m in (None, pack, pack))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.depth.tobytes() == again.depth.tobytes()
    assert plain.image.tobytes() != first.image.tobytes()
    without, having = RenderedScenes(count=1, size=(24, 32)), RenderedScenes(count=1, size=(24, 32), meshes=pack.folder)
    nowhere = Path("nowhere")
    assert pack.digest[:16] in having.stamp(nowhere, "scene_000000")
    assert pack.digest[:16] in having.origin(nowhere)
    assert having.stamp(nowhere, "scene_000000") != without.stamp(nowhere, "scene_000000")


def test_credits_name_title_author_and_license(pack):
    assert '"sofa" by Jane Doe, CC0 (public domain), sweethome3d.com\n' in (pack.folder / CREDITS).read_text()


def test_unused_and_unreadable_models_are_counted(tmp_path, capsys):
    entries = [entry(1, "sofa"), entry(2, "gate", doorOrWindow="true"), entry(3, "bad"), entry(4, "rug", width="900")]
    catalog = write_catalog(tmp_path / "b.sh3f", entries, broken=("bad",))
    (tmp_path / "c.sh3f").write_bytes(b"no archive")
    write_catalog(tmp_path / "d.sh3f", [entry(1, "toy")], terms="Creative Commons Attribution-NonCommercial 4.0")
    assert make_pack(tmp_path, "--output", tmp_path / "pack") == 1
    printed = capsys.readouterr().out
    assert "1 mesh: 1 furniture" in printed
    assert "left out 1: part of a building" in printed
    assert "left out 1: 9.0 m long" in printed
    assert "d.sh3f: its license is neither CC0 nor CC BY" in printed
    assert f"cannot read {catalog.stem}/bad" in printed
    assert f"cannot read {tmp_path / 'c.sh3f'}" in printed
    assert [mesh.name for mesh in open_pack(tmp_path / "pack").meshes] == ["b/sofa"]


def test_see_through_parts_are_left_out(tmp_path):
    write_catalog(tmp_path / "e.sh3f", [entry(1, "sofa")], opacity=0.2)
    make_pack(tmp_path / "e.sh3f", "--output", tmp_path / "pack")
    catalog = json.loads((tmp_path / "pack" / CATALOG).read_text())
    assert [len(mesh["materials"]) for mesh in catalog["meshes"]] == [1]


def test_too_many_triangles_leave_nothing(tmp_path):
    write_catalog(tmp_path / "f.sh3f", [entry(1, "sofa")])
    with pytest.raises(CommandError, match="more than 3 triangles"):
        make_pack(tmp_path / "f.sh3f", "--output", tmp_path / "pack", "--triangles", 3)


def test_source_without_catalog_and_folder_without_pack_are_named(tmp_path):
    with pytest.raises(CommandError, match=r"has no furniture catalog: give a \.sh3f"):
        make_pack(tmp_path, "--output", tmp_path / "pack")
    with pytest.raises(MeshPackError, match="depth_anything_ros meshes"):
        open_pack(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write_catalog(tmp_path / "g.sh3f", [entry(1, "sofa")])
    with pytest.raises(CommandError, match="contains other files"):
        make_pack(tmp_path / "g.sh3f", "--output", tmp_path)


def test_surfaces_show_textures_of_pack(pack):
    drawn = 40
    with_pack, without = (Palette(Scene(meshes=meshes), random.Random(1), drawn) for meshes in (pack, None))
    for palette in (with_pack, without):
        for _ in range(60):
            palette.floor()
            palette.wall()
            palette.picture()
    first, last = drawn, drawn + len(pack.textures)
    shown = [[m.photograph for m in palette.scene.materials] for palette in (with_pack, without)]
    assert any(first <= photograph < last for photograph in shown[0])
    assert max(shown[0]) < last
    assert max(shown[1]) < first
