"""Segmentation: the network, its file, scores and losses against literal numbers."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from random_models import random_images, random_model  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from segmentation_networks import record_of, small_network  # noqa: E402

from depth_anything_ros.data.check import color_classes  # noqa: E402
from depth_anything_ros.data.segmentation import IGNORED  # noqa: E402
from depth_anything_ros.data.sources import Sample  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint, load_encoder  # noqa: E402
from depth_anything_ros.model.segmentation import (  # noqa: E402
    METADATA_KEY,
    enlarge,
    load_segmentation,
    save_segmentation,
)
from depth_anything_ros.model.weight_files import CheckpointError  # noqa: E402
from depth_anything_ros.training.input.batch import Batch, Images  # noqa: E402
from depth_anything_ros.training.input.pixels import normalize_pixels  # noqa: E402
from depth_anything_ros.training.objectives.stage_objectives import SegmentationObjective, image_cross_entropy  # noqa: E402
from depth_anything_ros.training.stages import parts_of  # noqa: E402
from depth_anything_ros.training.validation.segmentation import SegmentationScoring  # noqa: E402

pytestmark = pytest.mark.usefixtures("single_thread")


def sample(labels) -> Sample:
    labels = np.array(labels, np.uint8)
    return Sample("sample", np.zeros((*labels.shape, 3), np.uint8), labels=labels)


def scores(scoring: SegmentationScoring, *pairs) -> dict[str, float]:
    """The scores of pairs of truth and prediction."""
    tallies = [scoring.tally(np.array(prediction, np.uint8), sample(truth)) for truth, prediction in pairs]
    return scoring.summary(sum(tallies), len(tallies))


# ---- scores


def test_miou_is_mean_over_classes_of_all_images():
    found = scores(SegmentationScoring(3), ([[0, 0, 1, 1]], [[0, 1, 1, 1]]), ([[2, 2, 0, IGNORED]], [[2, 0, 0, 1]]))
    # Class 0: 2 right of 3 true and 3 said; class 1: 2 of 2 and 3; class 2: 1 of 2 and 1.
    assert found == {"miou": pytest.approx((2 / 4 + 2 / 3 + 1 / 2) / 3), "pixel_accuracy": pytest.approx(5 / 7)}


def test_absent_and_unpredicted_class_is_not_counted():
    assert scores(SegmentationScoring(150), ([[3, 3]], [[3, 3]])) == {"miou": 1.0, "pixel_accuracy": 1.0}


def test_predicted_but_absent_class_counts_as_zero():
    assert scores(SegmentationScoring(3), ([[0, 0]], [[0, 2]]))["miou"] == pytest.approx((1 / 2 + 0) / 2)


def test_missed_class_counts_as_zero():
    found = scores(SegmentationScoring(2), ([[0, 0, 0, 1]], [[0, 0, 0, 0]]))
    assert found == {"miou": pytest.approx((3 / 4 + 0) / 2), "pixel_accuracy": 0.75}


def test_image_without_classes_is_not_scored():
    scoring, empty = SegmentationScoring(2), sample([[IGNORED, IGNORED]])
    assert not scoring.tally(np.zeros((1, 2), np.uint8), empty).any()
    assert not scoring.can_score(empty)
    assert not scoring.can_score(dataclasses.replace(empty, labels=None))
    assert all(math.isnan(value) for value in scores(scoring, ([[IGNORED]], [[0]])).values())


@given(
    st.integers(2, 5).flatmap(
        lambda n: st.tuples(st.just(n), *[st.lists(st.integers(0, n), min_size=12, max_size=12)] * 2)
    )
)
def test_scores_match_reference_on_random_labels(case):
    classes, truth, said = case
    truth = [IGNORED if value == classes else value for value in truth]
    said = [min(value, classes - 1) for value in said]
    pairs = [(a, b) for a, b in zip(truth, said, strict=True) if a != IGNORED]
    shares = []
    for one in range(classes):
        either = [a == b for a, b in pairs if one in (a, b)]
        if either:
            shares.append(sum(either) / len(either))
    found = scores(SegmentationScoring(classes), (np.reshape(truth, (3, 4)), np.reshape(said, (3, 4))))
    if pairs:
        right = sum(a == b for a, b in pairs) / len(pairs)
        assert found == {"miou": pytest.approx(sum(shares) / len(shares)), "pixel_accuracy": pytest.approx(right)}
    else:
        assert math.isnan(found["miou"])


def test_segmentation_image_shows_truth_and_prediction():
    truth, said = np.full((8, 8), IGNORED, np.uint8), np.full((8, 8), 2, np.uint8)
    truth[:, 4:] = 1
    picture = SegmentationScoring(3).picture(said, sample(truth))
    height, width = picture.shape[0], picture.shape[1] // 2
    one, two = color_classes(np.array([[1, 2]], np.uint8), 3)[0]
    assert not picture[:, : width // 2].any()
    assert (picture[:, width // 2 : width] == one).all()
    assert (picture[:height, width:] == two).all()
    assert (one != two).any()


# ---- the loss


def test_cross_entropy_is_mean_over_known_pixels():
    logits = torch.tensor([[[0.0, 0.0, 0.0]], [[math.log(3), 0.0, 5.0]]])
    labels = torch.tensor([[0, 1, IGNORED]], dtype=torch.uint8)
    # Likelihoods of what is true: 1/4, 1/2.
    assert image_cross_entropy(logits, labels).item() == pytest.approx((math.log(4) + math.log(2)) / 2)


def test_image_without_classes_has_zero_loss_and_gradient():
    logits = torch.randn(3, 4, 4, requires_grad=True)
    loss = image_cross_entropy(logits, torch.full((14, 14), IGNORED, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_loss_per_image_equals_loss_of_whole_batch():
    network = small_network(5)
    pixels = torch.randint(0, 256, (3, 28, 42, 3), dtype=torch.uint8)
    labels = torch.randint(0, 5, (3, 28, 42), dtype=torch.uint8)
    labels[1, :9], labels[2] = IGNORED, IGNORED
    loss = SegmentationObjective(network)(Batch(labeled=Images(pixels, labels=labels)))["cross_entropy"]
    loss.backward()
    gradient = network.head.classifier.weight.grad.clone()
    network.zero_grad()
    logits = network(normalize_pixels(pixels))
    expected = sum(
        torch.nn.functional.cross_entropy(logits[[image]], labels[[image]].long(), ignore_index=IGNORED)
        for image in (0, 1)
    )
    (expected / 3).backward()
    torch.testing.assert_close(loss, expected / 3)
    torch.testing.assert_close(gradient, network.head.classifier.weight.grad)


@torch.no_grad()
def test_logits_have_image_size_from_quarter_resolution():
    network, images = small_network(150), random_images(42, 70, count=2)
    logits, coarse = network(images), network.coarse_logits(images)
    assert logits.shape == (2, 150, 42, 70)
    assert coarse.shape == (2, 150, 12, 20)
    torch.testing.assert_close(logits, enlarge(coarse, (42, 70)), rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(images).dtype == torch.float32
    with pytest.raises(ValueError, match="input is 42x71: both sides must be multiples of 14"):
        network(torch.zeros(1, 3, 42, 71))


def test_every_trainable_parameter_gets_gradient_in_one_part():
    network = small_network()
    network(random_images(28, 28)).sum().backward()
    learning = {name for name, value in network.named_parameters() if value.requires_grad}
    assert learning == {name for name, value in network.named_parameters() if value.grad is not None}
    parts = [id(value) for part in parts_of(network).values() for value in part.parameters()]
    assert sorted(parts) == sorted(id(value) for value in network.parameters())


@torch.no_grad()
def test_segmentation_file_round_trip(tmp_path):
    network = small_network(3)
    record = record_of(network, class_names=("wall", "floor", "door"), description="of a test")
    save_segmentation(network, record, tmp_path / "shapes.safetensors")
    loaded, found = load_segmentation(tmp_path / "shapes.safetensors")
    assert found == record
    assert not loaded.training
    images = random_images(42, 70)
    assert torch.equal(loaded(images), network(images))
    assert [path.name for path in tmp_path.iterdir()] == ["shapes.safetensors"]


@torch.no_grad()
def test_encoder_is_exchangeable_with_depth_network(tmp_path):
    network, depth = small_network(), random_model("tiny")
    network.pretrained.load_state_dict(depth.pretrained.state_dict())
    save_segmentation(network, record_of(network), tmp_path / "shapes.safetensors")
    encoder = load_encoder(tmp_path / "shapes.safetensors")
    images = random_images(28, 42)
    assert torch.equal(encoder(images, (8,))[0], depth.pretrained(images, (8,))[0])
    with pytest.raises(CheckpointError, match="this package's segmentation: it predicts classes, not depth"):
        load_checkpoint(tmp_path / "shapes.safetensors", "v2")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"encoder": "tinier"}, "unknown encoder 'tinier'"),
        ({"version": "v1"}, "version 'v1' of tiny is unknown"),
        ({"classes": 1}, "classes is 1, must be an integer of at least 2"),
        ({"classes": "4"}, "classes is '4', must be an integer"),
        ({"classes": 7}, "does not fit: 2 of another shape: head.classifier"),
        ({"class_names": ["wall"]}, "there are 1 class_names for 4 classes"),
        ({"color": "red"}, "must be a JSON object of class_names, classes"),
        ({"license": None}, "missing 1 required positional argument: 'license'"),
    ],
)
def test_damaged_segmentation_record_is_rejected(tmp_path, change, complaint):
    path, network = tmp_path / "shapes.safetensors", small_network()
    values = dataclasses.asdict(record_of(network)) | change
    values = {name: value for name, value in values.items() if value is not None}
    save_file(network.state_dict(), path, metadata={METADATA_KEY: json.dumps(values)})
    with pytest.raises(CheckpointError, match=complaint) as caught:
        load_segmentation(path)
    assert str(path) in str(caught.value)


def test_file_that_is_no_segmentation_network_is_rejected(tmp_path):
    network = small_network()
    with pytest.raises(CheckpointError, match="the record's classes is 5, the network's 4"):
        save_segmentation(network, record_of(network, classes=5), tmp_path / "shapes.safetensors")
    assert not list(tmp_path.iterdir())
    save_file(random_model("tiny").state_dict(), tmp_path / "depth.safetensors")
    with pytest.raises(CheckpointError, match="it is not a segmentation network"):
        load_segmentation(tmp_path / "depth.safetensors")
    with pytest.raises(CheckpointError, match=r"must be a \.safetensors file"):
        load_segmentation(tmp_path / "depth.pth")
    with pytest.raises(FileNotFoundError):
        load_segmentation(tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "depth.safetensors").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is truncated or damaged"):
        load_segmentation(tmp_path / "cut.safetensors")
