"""The camera prior: level views are where a robot's camera is, and rendered scenes keep its free space."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs numba, of the extra `train`")

from depth_anything_ros.evaluation.alignment import align
from depth_anything_ros.evaluation.baselines import vertical_gradient
from depth_anything_ros.synthetic import pictures
from depth_anything_ros.synthetic.appearance import Material
from depth_anything_ros.synthetic.camera_prior import LENSES, PRIORS, CameraPrior
from depth_anything_ros.synthetic.kinds import CAMERAS
from depth_anything_ros.synthetic.render import best_view, render
from depth_anything_ros.synthetic.scene import Scene, View
from depth_anything_ros.synthetic.textures import PLAIN

pytestmark = pytest.mark.usefixtures("renderer")

LEVEL = CameraPrior(level_share=1.0)
PROPOSED = View((3.0, -2.0, 7.0), (3.0, 5.0, -9.0), roll=1.0, field_of_view=35.0)


def pitch_of(view: View) -> float:
    forward = view.rotation()[:, 2]
    return math.asin(forward[2])


def test_level_views_stand_like_a_robot():
    rng = random.Random(1)
    views = [LEVEL.level(PROPOSED, rng) for _ in range(2000)]
    heights, pitches = (np.array(values) for values in zip(*((v.position[2], pitch_of(v)) for v in views), strict=True))
    assert LEVEL.height[0] <= heights.min() < 0.35
    assert 1.75 < heights.max() <= LEVEL.height[1]
    assert pitches.mean() == pytest.approx(LEVEL.pitch[0], abs=0.02)
    assert pitches.std() == pytest.approx(LEVEL.pitch[1], abs=0.02)
    assert np.std([view.roll for view in views]) == pytest.approx(LEVEL.roll, rel=0.1)
    degrees = np.array([view.field_of_view for view in views])
    nearest = np.abs(degrees[:, None] / [lens for lens, _ in LENSES.values()] - 1.0).min(axis=1)
    assert nearest.max() < 5 * LEVEL.lens_spread
    for view in views[:20]:
        assert view.position[:2] == PROPOSED.position[:2]
        forward = view.rotation()[:, 2]
        assert math.atan2(forward[1], forward[0]) == pytest.approx(math.pi / 2)  # the proposed bearing


def test_share_of_scenes_is_level():
    rng = random.Random(2)
    prior = replace(LEVEL, level_share=0.7)
    level = [prior.views("room", [PROPOSED], rng)[0] is not PROPOSED for _ in range(1000)]
    assert np.mean(level) == pytest.approx(0.7, abs=0.05)
    assert PRIORS["wild"].views("room", [PROPOSED], rng) == [PROPOSED]
    assert LEVEL.views("tabletop", [PROPOSED], rng) == [PROPOSED]
    assert tuple(PRIORS) == CAMERAS


def test_thing_within_clearance_blocks_view():
    def seen(clearance):
        scene = Scene()
        gray = scene.material(Material(PLAIN, (0.5, 0.5, 0.5)))
        scene.box((0, 0, -0.5), (50, 50, 1.0), gray)
        scene.box((0, 1.1, 0.3), (0.2, 0.2, 0.6), gray)
        view = View((0, 0, 0.5), (0, 1, 0.4), field_of_view=90, clearance=clearance)
        return best_view(scene, [view], pictures.atlas(), 4 / 3)[0]

    assert seen(0.9) is not None  # the floor is nearer than that, and is no obstacle
    assert seen(1.2) is None


def test_row_says_more_of_depth_for_robot_than_for_wild_cameras():
    """The vertical gradient is as good as on real frames of robots only if cameras stand like theirs."""
    atlas = pictures.atlas()

    def delta1(cameras):
        shares = []
        for seed in range(60):
            scene = render(seed, 48, 36, pictures=atlas, cameras=cameras)
            known = scene.depth < 200
            if known.sum() < 200:
                continue
            true = np.where(known, scene.depth, 1.0).astype(np.float64)
            ratio = (align(vertical_gradient(scene.image), true, known) / true)[known]
            shares.append((np.maximum(ratio, 1 / ratio) < 1.25).mean())
        return np.mean(shares)

    assert delta1("robot") > delta1("wild") + 0.05
