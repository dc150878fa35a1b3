"""The stage segment: settings, errors, and a real run that learns shapes."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from miniature_files import put  # noqa: E402
from miniature_sets import MINIATURES  # noqa: E402
from random_models import random_model  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from segmentation_networks import SIZE, record_of, small_network  # noqa: E402

from depth_anything_ros.data.frame import DataError  # noqa: E402
from depth_anything_ros.data.set_source import SetSource  # noqa: E402
from depth_anything_ros.data.sets import find_set  # noqa: E402
from depth_anything_ros.model.segmentation import (  # noqa: E402
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
from depth_anything_ros.training.input.samples import open_data  # noqa: E402
from depth_anything_ros.training.loop import Training  # noqa: E402
from depth_anything_ros.training.run.folder import StageFolder  # noqa: E402
from depth_anything_ros.training.settings import SegmentationSettings  # noqa: E402
from depth_anything_ros.training.validation.final_scores import scores_by_source  # noqa: E402
from depth_anything_ros.training.validation.predictions import predictor  # noqa: E402
from depth_anything_ros.training.validation.segmentation import SegmentationScoring, multi_scale_predictor  # noqa: E402

pytestmark = pytest.mark.usefixtures("single_thread")


COLORS = ((200, 60, 60), (60, 160, 70), (70, 80, 200))
CPU = torch.device("cpu")


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
        ({"segmentation": {"classes": 1}}, "segmentation.classes: is .+, must be greater than or equal to 2"),
        ({"segmentation": {"classes": 256}}, "segmentation.classes: is .+, must be less than or equal to 255"),
        ({"segmentation": {"classes": 4, "scales": []}}, "segmentation.scales"),
        ({"segmentation": {"classes": 4, "scales": [0]}}, "segmentation.scales.0: is .+, must be greater than 0"),
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
