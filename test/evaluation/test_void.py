"""VOID: its lists, and depth completed from the points that the set stores."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature_files import HEIGHT, WIDTH, picture, put
from miniature_sets import MINIATURES

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.evaluation.completion import NO_NETWORK, score_completion
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.scored_sets import EvaluationSet, find_sets

RULES = find_protocol("completion").rules("void_500")


@pytest.fixture
def root(tmp_path) -> Path:
    MINIATURES["void_500"](tmp_path / "void_500")
    return tmp_path


def declared(root: Path) -> EvaluationSet:
    (found,) = find_sets(root, ["void_500"], protocol=find_protocol("completion"))
    return found


def test_frames_have_the_stored_points(root):
    found = declared(root)
    names = found.frame_names(root)
    assert names[-1] == "data/plants2/image/9.1.png"
    for name in names:
        frame = found.read(root, name)
        stored = cv2.imread(str(root / "void_500" / name.replace("/image/", "/sparse_depth/")), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(frame.sparse, np.where(stored > 0, stored / 256, np.nan), rtol=1e-6)
        assert np.isfinite(frame.sparse).sum() == 200
    assert found.missing(root, names)[0].startswith("void_500 has 3 frames, split 'test' has 800")


def test_folders_of_the_release_are_found(tmp_path):
    for points in (150, 1500):
        MINIATURES[f"void_{points}"](tmp_path / "void_release" / f"void_{points}")
    found = find_sets(tmp_path, protocol=find_protocol("completion"))
    assert [one.name for one in found] == ["void_150", "void_1500"]
    assert found[1].folder(tmp_path) == tmp_path / "void_release" / "void_1500"


@pytest.mark.parametrize(
    ("listing", "change", "message"),
    [
        ("test_ground_truth.txt", lambda lines: lines[1:], "has 2 lines, test_image.txt has 3"),
        (
            "test_sparse_depth.txt",
            lambda lines: lines[::-1],
            "line 1 is .*plants2/sparse_depth/9.1.png, but the image of",
        ),
        ("test_intrinsics.txt", lambda lines: ["x/K.txt"] * 3, "line 1 is x/K.txt, but the image of"),
        (
            "test_image.txt",
            lambda lines: ["image/a.png"] * 3,
            "lists 'image/a.png', which is not data/{sequence}/image",
        ),
        ("test_intrinsics.txt", None, r"cannot read .*test_intrinsics\.txt"),
    ],
)
def test_lists_that_do_not_match_are_named(root, listing, change, message):
    path = root / "void_500" / listing
    lines = path.read_text().split()
    path.unlink() if change is None else path.write_text("\n".join(change(lines)))
    with pytest.raises(DataError, match=message) as caught:
        declared(root).frame_names(root)
    assert listing in str(caught.value)


def test_points_of_another_size_are_named(root):
    put(root / "void_500/data/plants2/sparse_depth/9.1.png", np.ones((HEIGHT, WIDTH + 8), np.uint16))
    with pytest.raises(DataError, match=r"sparse_depth/9\.1\.png has the shape"):
        declared(root).read(root, "data/plants2/image/9.1.png")


def room(noise: float = 0.0) -> LabeledImage:
    x, y = np.meshgrid(np.linspace(-1, 1, 320), np.linspace(-1, 1, 96))
    depth = (2 + 0.5 * x + 0.3 * np.sin(3 * y)).astype(np.float32)
    rng = np.random.default_rng(3)
    sparse = np.full_like(depth, np.nan)
    places = rng.choice(depth.size, 500, replace=False)
    sparse.flat[places] = depth.flat[places] * np.exp(noise * rng.standard_normal(500))
    return LabeledImage("made/room", picture(0, 96, 320), depth, sparse=sparse)


def rows(frame: LabeledImage, rules: SetRules = RULES, workers: int = 1):
    model = ScoredModel("net", lambda image: 0.3 / room().depth + 0.05, "inverse_depth")
    said = []
    found = score_completion([model], [frame], rules, lambda *_: None, said.append, workers)
    return found, said


def test_perfect_shape_with_exact_points_is_perfect():
    found, _ = rows(room())
    net, nearest = found["stored"]
    assert nearest.model == NO_NETWORK
    assert net.scores.abs_rel < 1e-3 < nearest.scores.abs_rel


def test_points_that_are_too_far_make_depth_too_far():
    """All points 10 % too far: the fit follows them, and the error is that of the points."""
    frame = room()
    far = LabeledImage(frame.name, frame.image, frame.depth, sparse=frame.sparse * np.float32(1.1))
    net, nearest = rows(far)[0]["stored"]
    assert net.scores.abs_rel == pytest.approx(0.1, abs=2e-3)
    assert net.scores.mae == pytest.approx(0.1 * frame.depth.mean(), rel=0.02)
    assert nearest.scores.abs_rel == pytest.approx(0.1, abs=0.01)


def test_stored_points_are_scored_and_drawn_ones_are_not():
    frame = room(noise=0.05)
    few = np.full_like(frame.depth, np.nan)
    few[40:44, 100:140] = frame.depth[40:44, 100:140]
    dense = LabeledImage(frame.name, frame.image, few, sparse=frame.sparse)
    assert rows(dense)[0]["stored"][0].images
    with pytest.raises(ValueError, match="there is nothing to evaluate"):
        rows(dense, SetRules(patterns=("points 500",), min_depth=0.2, max_depth=5.0))


def test_sets_without_points_are_named():
    frame = room()
    said = []
    with pytest.raises(ValueError, match="there is nothing to evaluate"):
        score_completion([], [LabeledImage("a", frame.image, frame.depth)], RULES, lambda *_: None, said.append)
    assert said == ["a: pattern 'stored' needs a set with sparse points"]
    said.clear()
    none = LabeledImage("a", frame.image, frame.depth, sparse=np.full_like(frame.depth, np.nan))
    with pytest.raises(ValueError, match="there is nothing to evaluate"):
        score_completion([], [none], RULES, lambda *_: None, said.append)
    assert said == ["a: pattern 'stored' has no point"]
