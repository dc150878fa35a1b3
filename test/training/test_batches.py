"""Batches of real shards: their mix, clean and perturbed images, and equality for every reader."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from scene_shards import pack_scenes  # noqa: E402

from depth_anything_ros.data.frame import DataError  # noqa: E402
from depth_anything_ros.data.shards import read_manifest  # noqa: E402
from depth_anything_ros.data.sources import Sample  # noqa: E402
from depth_anything_ros.training.configuration import StageConfiguration  # noqa: E402
from depth_anything_ros.training.input.batch import Batch  # noqa: E402
from depth_anything_ros.training.input.batches import BatchSampler, open_batches  # noqa: E402
from depth_anything_ros.training.input.samples import SampleIndex, Samples, open_data  # noqa: E402

pytestmark = pytest.mark.usefixtures("renderer")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return pack_scenes(folder / "labeled", 25, 0, (56, 70)), pack_scenes(folder / "unlabeled", 24, 500, (56, 70))


def student(shards, **changes) -> StageConfiguration:
    labeled, unlabeled = shards
    values = {
        "stage": "student",
        "name": "student",
        "network": {"encoder": "tiny", "version": "v2", "start": "tiny"},
        "teacher": {"model": "tiny"},
        "data": {
            "labeled": [{"shards": str(labeled)}],
            "unlabeled": [{"shards": str(unlabeled)}],
            "labeled_batch_size": 4,
            "unlabeled_batch_size": 8,
            "sizes": [[28, 42], [42, 28]],
            "smallest_crop": 0.5,
            "workers": 0,
        },
        "optimizer": {"steps": 8},
    }
    for name, value in changes.items():
        section, _, setting = name.partition("__")
        values[section] = {**values[section], setting: value} if setting else value
    return StageConfiguration.from_dictionary(values)


def all_batches(configuration, first=0, rank=0, devices=1) -> list[Batch]:
    return list(open_batches(configuration, Samples(configuration), first, rank, devices))


def tensors(batch: Batch) -> list[torch.Tensor]:
    found = []
    batch.map(found.append)
    return found


def same(one, other) -> bool:
    pairs = list(zip(tensors(one), tensors(other), strict=True))
    assert pairs
    return all(torch.equal(ours.nan_to_num(-1), theirs.nan_to_num(-1)) for ours, theirs in pairs)


def test_batch_has_two_unlabeled_images_per_labeled(shards):
    for batch in all_batches(student(shards)):
        assert len(batch.labeled.pixels) == 4
        assert len(batch.unlabeled.pixels) == 8
        assert batch.labeled.inverse_depth.shape == batch.labeled.pixels.shape[:3]
        assert batch.labeled.perturbation is None
        assert len(batch.unlabeled.perturbation.blur) == 8


def test_labeled_images_are_perturbed_only_on_request(shards):
    plain = all_batches(student(shards))
    drawn = all_batches(student(shards, labeled_augmentation={"cut_share": 0.0, "color_share": 1.0}))
    for ours, theirs in zip(drawn, plain, strict=True):
        assert len(ours.labeled.perturbation.hue) == 4
        assert (ours.labeled.perturbation.brightness != ours.unlabeled.perturbation.brightness[:4]).all()
        assert same(Batch(None, ours.unlabeled), Batch(None, theirs.unlabeled))
        assert torch.equal(ours.labeled.pixels, theirs.labeled.pixels)


def test_metric_stage_rejects_labels_without_unit(tmp_path):
    scenes = pack_scenes(tmp_path / "scenes", 2, 0, (28, 42))
    manifest = read_manifest(scenes)
    values = {
        "stage": "metric",
        "name": "metric",
        "network": {"encoder": "tiny", "version": "v2", "start": "tiny", "max_depth": 80.0},
        "data": {"labeled": [{"shards": str(scenes)}], "labeled_batch_size": 2, "sizes": [[28, 42]]},
        "optimizer": {"steps": 1},
    }
    open_data(StageConfiguration.from_dictionary(values))
    labels = tmp_path / "labels"
    labels.mkdir()
    shutil.copy(scenes / "shard-000000.tar", labels)
    written = {**manifest, "labels_of": manifest["version"]}
    (labels / "manifest.json").write_text(json.dumps(written))
    values["data"]["labeled"] = [{"shards": str(scenes), "labels": str(labels)}]
    with pytest.raises(DataError, match="has an unknown scale: the stage metric needs depth in meters"):
        open_data(StageConfiguration.from_dictionary(values))


def test_unlabeled_batch_contains_no_depth(shards):
    for batch in all_batches(student(shards)):  # the shards do hold depth
        assert batch.unlabeled.inverse_depth is None


def test_step_has_one_image_size_and_steps_differ(shards):
    sizes = {tuple(batch.labeled.pixels.shape[1:3]) for batch in all_batches(student(shards))}
    assert sizes == {(28, 42), (42, 28)}
    for batch in all_batches(student(shards)):
        assert batch.labeled.pixels.shape[1:] == batch.unlabeled.pixels.shape[1:]


def test_resumed_run_gets_equal_batches(shards):
    configuration = student(shards)
    whole = all_batches(configuration)
    rest = all_batches(configuration, first=3)
    assert len(rest) == 5
    assert all(map(same, whole[3:], rest))


def test_worker_processes_give_equal_batches(shards):
    for one, other in zip(all_batches(student(shards)), all_batches(student(shards, data__workers=2)), strict=True):
        assert same(one, other)


@pytest.mark.parametrize("devices", [2, 4])
def test_devices_divide_batch_of_one_device(shards, devices):
    configuration = student(shards)
    shares = [all_batches(configuration, rank=rank, devices=devices) for rank in range(devices)]
    for step, whole in enumerate(all_batches(configuration)):
        for kind in ("labeled", "unlabeled"):
            pixels = torch.cat([getattr(share[step], kind).pixels for share in shares])
            assert torch.equal(pixels, getattr(whole, kind).pixels)
        cuts = torch.cat([share[step].unlabeled.perturbation.cut for share in shares])
        assert torch.equal(cuts, whole.unlabeled.perturbation.cut)


def test_accumulated_parts_divide_batch(shards):
    whole = all_batches(student(shards))
    parts = all_batches(student(shards, optimizer__grad_accum_steps=2))
    assert len(parts) == 2 * len(whole)
    for step, batch in enumerate(whole):
        pixels = torch.cat([part.unlabeled.pixels for part in parts[2 * step : 2 * step + 2]])
        assert torch.equal(pixels, batch.unlabeled.pixels)


def test_seeds_give_different_batches(shards):
    one, other = (all_batches(student(shards, run={"seed": seed}))[0] for seed in (0, 1))
    assert one.labeled.pixels.shape != other.labeled.pixels.shape or not same(one, other)


def test_epoch_contains_every_image_once(shards):
    samples = Samples(student(shards))
    names = [samples.view(SampleIndex("unlabeled", part, slot)).name for part in range(3) for slot in range(8)]
    assert len(set(names)) == 24


def test_indivisible_batch_size_is_rejected(shards):
    with pytest.raises(ValueError, match=r"labeled_batch_size: 4 images .* 3 devices; use a multiple of 3"):
        BatchSampler(student(shards), 0, rank=0, devices=3)
    with pytest.raises(ValueError, match="in pairs; use a multiple of 16"):
        BatchSampler(student(shards, data__labeled_batch_size=8), 0, rank=0, devices=8)


def test_labeled_image_without_depth_is_rejected(shards, tmp_path):
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((40, 50, 3), np.uint8))
    configuration = student(shards, data__labeled=[{"set": "folder", "root": str(tmp_path)}])
    with pytest.raises(DataError, match=r"picture\.png has no depth"):
        Samples(configuration)[SampleIndex("labeled", 0, 0)]


def test_worker_start_method_is_fork_on_every_python(shards):
    """Python 3.14 no longer forks by default."""
    configuration = student(shards, data__workers=1)
    loader = open_batches(configuration, Samples(configuration), 0)
    assert loader.multiprocessing_context.get_start_method() == "fork"
    assert open_batches(student(shards), Samples(configuration), 0).multiprocessing_context is None


class _ThreadsOfOpenCV(Samples):
    def view(self, place: SampleIndex) -> Sample:
        sample = super().view(place)
        return replace(sample, image=np.full_like(sample.image, cv2.getNumThreads()))


def test_worker_process_decodes_in_one_thread(shards):
    """Eight ranks of eight readers would have 64 times as many threads as cores."""
    configuration = student(shards, data__workers=1)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (4000, 4000))  # starts the threads
        for batch in open_batches(configuration, _ThreadsOfOpenCV(configuration), 0):
            assert (batch.labeled.pixels == 1).all()
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(threads)
