"""Protocol segmentation: mean intersection over union of a set against closed forms, and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from miniature_sets import MINIATURES

from depth_anything_ros import evaluate
from depth_anything_ros.cli import main
from depth_anything_ros.data.segmentation import IGNORED, ClassImage
from depth_anything_ros.evaluation.classes import CLASSES, ClassScores, class_scores, confusion_matrix, score_classes
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.scored_sets import find_sets

PROTOCOL = find_protocol("segmentation")


def frames(root: Path, name: str) -> list[ClassImage]:
    MINIATURES[name](root / name)
    (declared,) = find_sets(root, [name], protocol=PROTOCOL)
    return [declared.read(root, one) for one in declared.frame_names(root)]


def row_of(images: list[ClassImage], change):
    known = {image.image.tobytes(): change(image.labels) for image in images}
    model = ScoredModel("net", lambda image: known[image.tobytes()], CLASSES, is_metric=False)
    depth = ScoredModel("depth", lambda image: 1 / 0, "inverse_depth")
    (row,) = score_classes([model, depth], images, pytest.fail)
    return row


@pytest.mark.parametrize("name", PROTOCOL.sets)
def test_only_the_validation_split_is_read_and_a_perfect_predictor_is_perfect(tmp_path, name):
    images = frames(tmp_path, name)
    assert len(images) == 1  # two others are for training
    assert "val" in images[0].name
    assert images[0].classes == {"ade20k": 150, "cityscapes": 19}[name]
    row = row_of(images, lambda labels: np.where(labels == IGNORED, 0, labels))
    assert row.scores == ClassScores(1.0, 1.0)


def test_scores_are_those_of_all_pixels_together():
    """Class 1 is 1 of 4 pixels in one image and all of another: 4 of 5 right, 1 more said."""
    image = np.zeros((2, 2, 3), np.uint8)
    first = ClassImage("a", image, np.array([[0, 0], [0, 1]], np.uint8), 3)
    second = ClassImage("b", image + 1, np.array([[1, 1], [1, 1]], np.uint8), 3)
    known = {first.image.tobytes(): [[0, 1], [0, 0]], second.image.tobytes(): [[1, 1], [1, 1]]}
    model = ScoredModel("net", lambda image: np.array(known[image.tobytes()], np.uint8), CLASSES)
    (row,) = score_classes([model], [first, second], pytest.fail)
    assert row.scores.miou == pytest.approx((2 / 4 + 4 / 6) / 2)
    assert row.scores.pixel_accuracy == pytest.approx(6 / 8)
    assert row.images["a"].miou == pytest.approx((2 / 4 + 0 / 2) / 2)
    (other,) = score_classes([model], [second, first], pytest.fail)
    assert other.scores == row.scores
    assert row.values("miou").size == 0


def test_confusion_equals_counting():
    rng = np.random.default_rng(0)
    labels, prediction = rng.integers(0, 5, (2, 20, 30)).astype(np.uint8)
    labels[:3] = IGNORED
    expected = np.zeros((5, 5), np.int64)
    for true, said in zip(labels[3:].ravel(), prediction[3:].ravel(), strict=True):
        expected[true, said] += 1
    np.testing.assert_array_equal(confusion_matrix(prediction, labels, 5), expected)
    unions = [expected[k].sum() + expected[:, k].sum() - expected[k, k] for k in range(5)]
    assert class_scores(expected).miou == pytest.approx(np.mean([expected[k, k] / unions[k] for k in range(5)]))


def test_images_that_cannot_be_scored_are_named():
    image, said = np.zeros((2, 2, 3), np.uint8), []
    cases = [
        ClassImage("empty", image, np.full((2, 2), IGNORED, np.uint8), 3),
        ClassImage("high", image, np.full((2, 2), 3, np.uint8), 3),
        ClassImage("good", image, np.zeros((2, 2), np.uint8), 3),
    ]
    with pytest.raises(ValueError, match="there is nothing to evaluate"):
        score_classes([ScoredModel("net", lambda image: np.full((2, 2), 4, np.uint8), CLASSES)], cases, said.append)
    assert said[0] == "empty: no pixel has a class"
    assert said[1].startswith("high has class 3 (from 0)")
    assert said[2] == "net predicts class 4 (from 0), but the set has 3 classes"


def test_evaluate_scores_networks_of_stage_segment(tmp_path, capsys):
    pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")
    from dataclasses import replace

    from segmentation_networks import record_of, small_network

    from depth_anything_ros.model.segmentation import save_segmentation

    network = small_network(19)
    for name in ("first", "second"):
        save_segmentation(network, replace(record_of(network), name=name), tmp_path / f"{name}.safetensors")
    MINIATURES["cityscapes"](tmp_path / "cityscapes")
    arguments = ["evaluate", "--data", str(tmp_path), "--protocol", "segmentation", "--json", str(tmp_path / "s.json")]
    models = ["--model", str(tmp_path / "first.safetensors"), "--model", str(tmp_path / "second.safetensors")]
    assert main([*arguments, *models, "--markdown", str(tmp_path / "s.md"), "--html", str(tmp_path / "s.html")]) == 1
    printed = capsys.readouterr()
    assert "cityscapes has 1 frames, split 'validation' has 500" in printed.err
    report = json.loads((tmp_path / "s.json").read_text())
    first, second = report["sets"][0]["rows"]
    assert (first["contender"], second["contender"]) == ("first", "second")
    assert 0 <= first["scores"]["miou"] == second["scores"]["miou"] < 0.2
    assert report["alignment"] == "no alignment"
    assert "depth_anything_v2_vits" in (tmp_path / "s.md").read_text()
    assert main(arguments) == 1
    assert "protocol segmentation scores networks of stage segment of `train`: give" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"a segmentation network must be a \.safetensors file"):
        evaluate(str(tmp_path / "s.json"), tmp_path, protocol="segmentation")
