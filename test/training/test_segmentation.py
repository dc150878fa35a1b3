"""Segmentation: scores and losses against literal numbers, a real run that learns shapes, and errors."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from miniature_files import put  # noqa: E402
from miniature_sets import MINIATURES  # noqa: E402
from random_models import random_images, random_model  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from depth_anything_ros.data.check import color_classes  # noqa: E402
from depth_anything_ros.data.frame import DataError  # noqa: E402
from depth_anything_ros.data.segmentation import IGNORED  # noqa: E402
from depth_anything_ros.data.set_source import SetSource  # noqa: E402
from depth_anything_ros.data.sets import find_set  # noqa: E402
from depth_anything_ros.data.sources import Sample  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint, load_encoder  # noqa: E402
from depth_anything_ros.model.segmentation import (  # noqa: E402
    METADATA_KEY,
    SegmentationNetwork,
    SegmentationRecord,
    enlarge,
    load_segmentation,
    save_segmentation,
)
from depth_anything_ros.model.weight_files import CheckpointError  # noqa: E402
from depth_anything_ros.runtime.cpu_features import processor  # noqa: E402
from depth_anything_ros.training.configuration import ConfigurationError, StageConfiguration  # noqa: E402
from depth_anything_ros.training.distributed.devices import open_fabric  # noqa: E402
from depth_anything_ros.training.distributed.placement import Placement  # noqa: E402
from depth_anything_ros.training.finish_stage import class_names, finish_stage  # noqa: E402
from depth_anything_ros.training.initial_network import start_segmentation  # noqa: E402
from depth_anything_ros.training.input.batch import Batch, Images  # noqa: E402
from depth_anything_ros.training.input.pixels import normalize_pixels  # noqa: E402
from depth_anything_ros.training.input.samples import open_data  # noqa: E402
from depth_anything_ros.training.loop import Training  # noqa: E402
from depth_anything_ros.training.objectives.stage_objectives import SegmentationObjective, image_cross_entropy  # noqa: E402
from depth_anything_ros.training.run.folder import StageFolder  # noqa: E402
from depth_anything_ros.training.settings import SegmentationSettings  # noqa: E402
from depth_anything_ros.training.stages import parts_of  # noqa: E402
from depth_anything_ros.training.validation.final_scores import scores_by_source  # noqa: E402
from depth_anything_ros.training.validation.predictions import predictor  # noqa: E402
from depth_anything_ros.training.validation.segmentation import SegmentationScoring, multi_scale_predictor  # noqa: E402

SIZE = (56, 70)
COLORS = ((200, 60, 60), (60, 160, 70), (70, 80, 200))
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Use one thread: networks this small are slower on several threads beside other processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


# ---- the network and its file


def small_network(classes: int = 4) -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork("tiny", "v2", classes).eval()


def record_of(network: SegmentationNetwork, **changes) -> SegmentationRecord:
    record = SegmentationRecord("shapes", "Apache-2.0", network.encoder, network.version, network.classes, SIZE)
    return dataclasses.replace(record, **changes)


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


# ---- settings and sources


def shapes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc, a square and an ellipse on noise, and labels as ADE20K stores them: 1 to 4, and 0 at the top."""
    generator = np.random.default_rng(seed)
    image = generator.integers(90, 150, (*SIZE, 1)).repeat(3, 2).astype(np.uint8)
    labels = np.ones(SIZE, np.uint8)
    for shape in generator.permutation(3):
        mask, radius = np.zeros(SIZE, np.uint8), int(generator.integers(8, 15))
        y, x = int(generator.integers(10, SIZE[0] - 10)), int(generator.integers(10, SIZE[1] - 10))
        if shape == 0:
            cv2.circle(mask, (x, y), radius, 1, -1)
        elif shape == 1:
            cv2.rectangle(mask, (x - radius, y - radius), (x + radius, y + radius), 1, -1)
        else:
            cv2.ellipse(mask, (x, y), (radius, radius // 2 + 2), 0, 0, 360, 1, -1)
        noise = generator.integers(-30, 30, (int(mask.sum()), 3))
        image[mask > 0] = np.clip(np.array(COLORS[shape]) + noise, 0, 255)
        labels[mask > 0] = shape + 2
    labels[:2] = 0
    return image, labels


@pytest.fixture(scope="module")
def ade20k(tmp_path_factory):
    """A set in ADE20K's format: 48 training images of shapes, 12 evaluation images."""
    root = tmp_path_factory.mktemp("ade20k")
    for split, first, count in (("training", 0, 48), ("validation", 1000, 12)):
        for number in range(first, first + count):
            image, labels = shapes(number)
            put(root / "images" / split / f"{number}.jpg", image)
            put(root / "annotations" / split / f"{number}.png", labels)
    return root


def settings_of(root, repository, **changes) -> dict:
    """Settings of a run, with changes by dotted names."""
    source = {"set": "ade20k", "root": str(root)}
    values = {
        "stage": "segment",
        "name": "shapes",
        "license": "Apache-2.0",
        "network": {
            "encoder": "tiny",
            "version": "v2",
            "start": str(repository / "depth_anything_ros" / "zoo" / "bundled" / "tiny.safetensors"),
        },
        "segmentation": {"classes": 4, "scales": [0.75, 1.0, 1.25]},
        "data": {
            "labeled": [{**source, "fields": {"split": "training"}}],
            "validation": [{**source, "fields": {"split": "validation"}}],
            "labeled_batch_size": 8,
            "sizes": [SIZE],
            "smallest_crop": 0.8,
            "workers": 0,
        },
        "optimizer": {
            **{"steps": 40, "encoder_lr": 2e-4, "decoder_lr": 2e-3},
            **{"warmup_steps": 5, "weight_decay": 0.05, "schedule": "power"},
        },
        "run": {"precision": "32-true", "validate_every": 20},
    }
    for name, value in changes.items():
        section, _, last = name.rpartition("__")
        (values[section] if section else values)[last] = value
    return values


def open_training(root, values: dict) -> Training:
    configuration = StageConfiguration.from_dictionary(values)
    fabric = open_fabric(configuration.run, "cpu", Placement())
    fabric.launch()
    root.mkdir(exist_ok=True)
    return Training(configuration, open_data(configuration), StageFolder(root), fabric)


@pytest.mark.parametrize("name", ["ade20k", "cityscapes"])
def test_shipped_segmentation_stages_load(repository, name):
    recipe = StageConfiguration.read(repository / "config" / "train" / f"segment_{name}.yaml")
    declared = find_set(name)
    assert recipe.segmentation.classes == len(declared.classes)
    rates = recipe.optimizer
    assert rates.decoder_lr == pytest.approx(10 * rates.encoder_lr)
    assert (rates.weight_decay, rates.grad_clip, rates.warmup_steps) == (0.05, 0.01, 1500)
    assert min(recipe.scored_size) == 896
    for source in (*recipe.data.labeled, *recipe.data.validation):
        assert declared.select(source.fields) != declared


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"segmentation": {"classes": 1}}, "segmentation.classes: Input should be greater than or equal to 2"),
        ({"segmentation": {"classes": 256}}, "segmentation.classes: Input should be less than or equal to 255"),
        ({"segmentation": {"classes": 4, "scales": []}}, "segmentation.scales"),
        ({"segmentation": {"classes": 4, "scales": [0]}}, "segmentation.scales.0: Input should be greater than 0"),
        ({"segmentation": None}, "segmentation must be given for the stage segment"),
        ({"network__start": None, "network__start_decoder": True}, "start_decoder needs start"),
        ({"data__labeled": [{"shards": "x", "fields": {"split": "val"}}]}, "fields need a set: "),
    ],
)
def test_invalid_segmentation_settings_are_named(tmp_path, repository, changes, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        StageConfiguration.from_dictionary(settings_of(tmp_path, repository, **changes))


def test_evaluation_settings_may_change_but_not_classes(tmp_path, repository):
    def fingerprint(**segmentation):
        values = settings_of(tmp_path, repository, segmentation=segmentation)
        return StageConfiguration.from_dictionary(values).fingerprint()

    assert fingerprint(classes=4) == fingerprint(classes=4, scales=[1.0], flip=False, scored_size=[112, 140])
    assert fingerprint(classes=4) != fingerprint(classes=5)


@pytest.mark.parametrize("kind", ["labeled", "validation"])
def test_label_beyond_number_of_classes_is_named(tmp_path, ade20k, repository, kind):
    put(tmp_path / "plain" / "images" / "training" / "1.jpg", shapes(5000)[0])
    put(tmp_path / "plain" / "annotations" / "training" / "1.png", np.ones(SIZE, np.uint8))
    plain = [{"set": "ade20k", "root": str(tmp_path / "plain")}]
    other = {"labeled": "validation", "validation": "labeled"}[kind]
    values = settings_of(ade20k, repository, segmentation__classes=3, **{f"data__{other}": plain})
    with pytest.raises(DataError, match=r"has class 3 \(from 0\), but segmentation\.classes is 3"):
        open_training(tmp_path / "run", values)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("labeled", "has no classes: the stage segment needs labeled images with classes"),
        ("validation", "no sample of folder has depth or classes"),
    ],
)
def test_images_without_classes_are_rejected(tmp_path, ade20k, repository, kind, complaint):
    values = settings_of(ade20k, repository)
    values["data"][kind] = [{"set": "folder", "root": str(ade20k / "images")}]
    with pytest.raises(DataError, match=complaint):
        open_training(tmp_path / "run", values)


def test_fields_select_subset_and_are_checked(tmp_path):
    MINIATURES["cityscapes"](tmp_path)
    declared = find_set("cityscapes")
    assert [name.split("/")[1] for name in declared.select({"split": "val"}).names(tmp_path)] == ["val"]
    assert len(list(declared.select({"city": "aachen|lindau"}).names(tmp_path))) == 2
    with pytest.raises(DataError, match=r"cityscapes has no field 'spilt': its images are leftImg8bit/\{split\}"):
        declared.select({"spilt": "val"})
    with pytest.raises(DataError, match="is not a valid regular expression"):
        declared.select({"split": "("})


def test_class_names_come_from_set_with_equal_count(tmp_path):
    MINIATURES["cityscapes"](tmp_path / "cityscapes")
    MINIATURES["ade20k"](tmp_path / "ade20k")
    cityscapes, other = (SetSource(find_set(name), tmp_path / name) for name in ("cityscapes", "ade20k"))
    assert class_names([cityscapes, cityscapes], 19)[:2] == ("road", "sidewalk")
    assert class_names([cityscapes], 18) == ()
    assert class_names([cityscapes, other], 19) == ()


# ---- where training begins


def test_start_from_segmentation_requires_equal_classes(tmp_path, repository):
    network = small_network(4)
    save_segmentation(network, record_of(network), tmp_path / "shapes.safetensors")
    path = str(tmp_path / "shapes.safetensors")
    values = settings_of(tmp_path, repository, network__start=path, network__start_decoder=True)
    settings = StageConfiguration.from_dictionary(values).network
    pixels = torch.zeros(1, *SIZE, 3, dtype=torch.uint8)
    begun = start_segmentation(settings, 4, pixels)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in begun.state_dict().items())
    with pytest.raises(CheckpointError, match="its classes is 4, but 5 is configured"):
        start_segmentation(settings, 5, pixels)


@torch.no_grad()
def test_larger_encoder_is_sliced_and_smaller_rejected(tmp_path, repository):
    larger, pixels = random_model("vits"), torch.randint(0, 256, (4, 28, 42, 3), dtype=torch.uint8)
    save_file(larger.state_dict(), tmp_path / "larger.safetensors")
    values = settings_of(tmp_path, repository, network__start=str(tmp_path / "larger.safetensors"))
    begun = start_segmentation(StageConfiguration.from_dictionary(values).network, 4, pixels)
    # What the smaller one makes of patches are combinations of what the larger makes of them.
    small, large = (one.pretrained.patch_embed.proj.weight.flatten(1) for one in (begun, larger))
    combined = torch.linalg.lstsq(large.T, small.T).solution.T @ large
    torch.testing.assert_close(combined, small, rtol=1e-3, atol=1e-4 * small.abs().max().item())
    values = settings_of(tmp_path, repository, network__encoder="vits")
    with pytest.raises(CheckpointError, match="its encoder is smaller than vits"):
        start_segmentation(StageConfiguration.from_dictionary(values).network, 4, pixels)


# ---- a run


@pytest.fixture(scope="module")
def trained(tmp_path_factory, ade20k, repository):
    """A finished run: its settings, its state and its result."""
    training = open_training(tmp_path_factory.mktemp("run"), settings_of(ade20k, repository))
    training.run()
    return training, finish_stage(training)


def test_segmentation_run_learns_shapes(trained):
    training, result = trained
    entries = [json.loads(line) for line in training.folder.log.read_text().splitlines()]
    losses = [entry["loss"]["cross_entropy"] for entry in entries if "loss" in entry]
    assert losses[-1] < 0.5 * losses[0]
    validation = [entry["validation"] for entry in entries if "validation" in entry]
    assert validation[-1]["miou"] > validation[0]["miou"]
    assert result["scores"]["miou"] == validation[-1]["miou"] > 0.6  # all background would be 0.2
    assert result["scores"]["pixel_accuracy"] > 0.85  # and 0.75


def test_multi_scale_scores_are_not_worse(trained):
    _, result = trained
    assert result["scores"]["miou_multi_scale"] > result["scores"]["miou"] - 0.02
    assert result["scores"]["pixel_accuracy_multi_scale"] > result["scores"]["pixel_accuracy"] - 0.01


def test_saved_network_reproduces_scores_of_run(trained):
    training, result = trained
    network, record = load_segmentation(result["checkpoint"])
    assert (record.name, record.classes, record.class_names, record.input_size) == ("shapes", 4, (), SIZE)
    assert "Stage segment" in record.description
    assert "nominal" not in record.description
    scoring, samples = SegmentationScoring(4), list(training.validation.samples_of_all())
    (one,) = scores_by_source(predictor(network, CPU, SIZE), samples, scoring).values()
    several = multi_scale_predictor(network, CPU, SIZE, training.configuration.segmentation)
    (averaged,) = scores_by_source(several, samples, scoring).values()
    found = one | {f"{name}_multi_scale": value for name, value in averaged.items()}
    assert found == pytest.approx(result["scores"])


def test_single_scale_without_flip_is_plain_prediction(trained):
    training, result = trained
    network, _ = load_segmentation(result["checkpoint"])
    alone = multi_scale_predictor(network, CPU, SIZE, SegmentationSettings(classes=4, scales=(1.0,), flip=False))
    plain = predictor(network, CPU, SIZE)
    mirrored = multi_scale_predictor(network, CPU, SIZE, SegmentationSettings(classes=4, scales=(1.0,)))
    differs = 0
    for _, found in training.validation.samples_of_all():
        assert np.array_equal(alone(found.image), plain(found.image))
        assert np.array_equal(mirrored(found.image[:, ::-1]), mirrored(found.image)[:, ::-1])
        differs += (plain(found.image[:, ::-1]) != plain(found.image)[:, ::-1]).sum()
    assert differs > 0


def test_resumed_segmentation_run_equals_uninterrupted_one(tmp_path, ade20k, repository):
    values = settings_of(
        ade20k,
        repository,
        optimizer__steps=4,
        optimizer__warmup_steps=1,
        run__save_every=2,
        run__keep=9,
        data__validation=[],
    )
    whole = open_training(tmp_path / "whole", values)
    whole.run()
    states = sorted((tmp_path / "whole" / "states").iterdir())
    assert [path.name for path in states] == ["state_000000002.pt", "state_000000004.pt"]
    (tmp_path / "part" / "states").mkdir(parents=True)
    shutil.copy(states[0], tmp_path / "part" / "states")
    rest = open_training(tmp_path / "part", values)
    assert rest.step == 2
    rest.run()
    expected = whole.network.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in rest.network.state_dict().items())
    assert set(finish_stage(rest)["scores"]) == set()


EMULATED = pytest.mark.skipif(not processor().bf16, reason=f"bfloat16 is emulated on this processor ({processor()})")


@pytest.mark.processor
@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-mixed", marks=EMULATED)])
def test_two_classes_train_in_every_precision(tmp_path, repository, precision):
    for split, first, count in (("training", 0, 4), ("validation", 1000, 2)):
        for number in range(first, first + count):
            image, labels = shapes(number)
            put(tmp_path / "set" / "images" / split / f"{number}.jpg", image)
            put(tmp_path / "set" / "annotations" / split / f"{number}.png", np.minimum(labels, 2))
    values = settings_of(
        tmp_path / "set",
        repository,
        segmentation__classes=2,
        optimizer__steps=2,
        optimizer__warmup_steps=1,
        data__labeled_batch_size=2,
    )
    values["run"]["precision"] = precision
    training = open_training(tmp_path / "run", values)
    training.run()
    result = finish_stage(training)
    assert load_segmentation(result["checkpoint"])[0].classes == 2
    assert all(0 <= value <= 1 for value in result["scores"].values())
    assert len(result["scores"]) == 4
