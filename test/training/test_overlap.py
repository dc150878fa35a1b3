"""Evaluation images among the training images are found by the content of their files, and kept out."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from miniature_sets import MINIATURES  # noqa: E402

from depth_anything_ros.data import retry  # noqa: E402
from depth_anything_ros.data.frame import DataError  # noqa: E402
from depth_anything_ros.data.set_source import SetSource  # noqa: E402
from depth_anything_ros.data.sets import find_set  # noqa: E402
from depth_anything_ros.data.shard_source import ShardSource  # noqa: E402
from depth_anything_ros.data.shards import pack  # noqa: E402
from depth_anything_ros.training.configuration import StageConfiguration  # noqa: E402
from depth_anything_ros.training.input import overlap  # noqa: E402
from depth_anything_ros.training.input.overlap import KeptApart, Remainder, Shared, shared_with  # noqa: E402
from depth_anything_ros.training.input.samples import SampleIndex, open_data  # noqa: E402
from depth_anything_ros.training.input.sources_in_use import sources_table  # noqa: E402
from depth_anything_ros.training.run.stop_request import StoppedError, StopRequest  # noqa: E402


def pictures(folder: Path, *numbers: int) -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        image = np.random.default_rng(number).integers(0, 256, (28, 42, 3), np.uint8)
        cv2.imwrite(str(folder / f"picture{number}.png"), image)
    return folder


def packed(name: str, root: Path, shards: Path, per_shard: int = 2) -> Path:
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set(name), root, shards, per_shard, executor))
    return shards


def stage(labeled, validation=(), **data) -> StageConfiguration:
    data |= {
        "labeled": labeled,
        "validation": list(validation),
        "labeled_batch_size": 1,
        "sizes": [[14, 28]],
        "workers": 2,
    }
    values = {"stage": "teacher", "name": "a", "network": {"encoder": "tiny"}, "optimizer": {"steps": 1}}
    return StageConfiguration.from_dictionary({**values, "data": data})


@pytest.fixture(scope="module")
def kitti(tmp_path_factory) -> tuple[Path, Path]:
    """The miniature's folder, and its shards in another folder."""
    root = tmp_path_factory.mktemp("sets") / "kitti"
    MINIATURES["kitti"](root)
    return root, packed("kitti", root, root.with_name("shards"))


def test_equal_training_and_validation_shards_are_rejected(kitti):
    _, shards = kitti
    source = {"shards": str(shards)}
    message = (
        r"^3 of 3 images of kitti \(labeled\) are validation images too: shards/shard-000000\.tar/2011.* "
        r"\(validation: shards/shard-000000\.tar/2011.*\), .*: give other images .* with data\.overlap=take_out$"
    )
    with pytest.raises(DataError, match=message):
        open_data(stage([source], [source]))
    open_data(stage([source], [source], overlap="allow"))


def test_overlap_is_detected_by_content_in_any_place(kitti, tmp_path):
    """In shards, as files, under other names; a picture of the same size is another all the same."""
    root, shards = kitti
    other = pictures(tmp_path / "other", 1, 2)
    copied = sorted(root.rglob("image_03/data/0000000005.png"))[0]
    shutil.copy(copied, other / "holiday.png")
    twin = bytearray(copied.read_bytes())
    twin[-20] ^= 1
    (other / "twin.png").write_bytes(twin)
    apart = KeptApart()
    apart.add(overlap.VALIDATION, ShardSource(shards), [(0, 0), (0, 1), (1, 0)])
    found = shared_with(SetSource(find_set("folder"), other), apart, 0)
    assert [(one.index, one.kept.role) for one in found] == [(0, overlap.VALIDATION)]
    assert "image_03" in found[0].kept.name
    split = {"set": "kitti", "root": str(root), "fields": {"split": "train"}}
    with pytest.raises(DataError, match=r"^2 of 3 images of kitti \(labeled\) are validation images too"):
        open_data(stage([{"shards": str(shards)}], [split]))
    test = {"set": "kitti", "root": str(root), "fields": {"split": "test"}}
    open_data(stage([split], [test]))


def test_evaluation_images_are_excluded_from_training(kitti):
    root, shards = kitti
    every, train = {"shards": str(shards)}, {"set": "kitti", "root": str(root), "fields": {"split": "train"}}
    folder = {"set": "folder", "root": str(root / "2011_10_03")}  # the test drive's pictures, whatever set they are
    with pytest.raises(DataError, match=r"^1 of 3 images of kitti \(labeled\) are evaluation images too"):
        open_data(stage([every], evaluation=[folder]))
    with pytest.raises(DataError, match=r"^1 of 3 images of kitti \(validation\) are evaluation images too"):
        open_data(stage([train], [every], evaluation=[folder]))
    data = open_data(stage([every], evaluation=[folder], overlap="take_out"))
    assert len(data.samples.mixtures["labeled"]) == 2


def test_take_out_splits_one_source(kitti):
    _, shards = kitti
    source = {"shards": str(shards)}
    configuration = stage([source], [source], overlap="take_out", validation_images=1)
    data = open_data(configuration)
    mixture = data.samples.mixtures["labeled"]
    assert len(mixture) == 2
    names = {mixture.read(position).name for position in range(20)}
    assert len(names) == 2
    (validation,) = data.sources["validation"]
    assert validation.read(0, 0).name not in names
    versions = [open_data(configuration).sources["labeled"][0].version for _ in range(2)]
    assert versions[0] == versions[1] != ShardSource(shards).version  # a run goes on only with the same images
    table = sources_table(configuration, data.sources)
    assert "2, 1 taken out" in table
    assert data.samples[SampleIndex("labeled", 0, 0)].sample.image.shape == (14, 28, 3)


def test_take_out_of_whole_source_raises(kitti):
    source = {"shards": str(kitti[1])}
    with pytest.raises(DataError, match="no image of kitti is left to train on: all of them are kept apart") as said:
        open_data(stage([source], [source], overlap="take_out"))
    assert "(validation: " in str(said.value)
    assert "data.overlap=allow" in str(said.value)


def test_unlabeled_images_are_compared_too(kitti, tmp_path):
    root, shards = kitti
    folder = pictures(tmp_path / "photographs", 1, 2, 3)
    shutil.copy(sorted(root.rglob("image_02/data/0000000005.png"))[0], folder)
    values = stage([{"shards": str(shards)}], [{"shards": str(shards)}], validation_images=3).to_dictionary()
    values |= {"stage": "student", "teacher": {"model": "tiny"}}
    values["data"] |= {"labeled": [], "labeled_batch_size": 0, "unlabeled_batch_size": 2}
    values["data"]["unlabeled"] = [{"set": "folder", "root": str(folder)}]
    with pytest.raises(
        DataError, match=r"^1 of 4 images of folder \(unlabeled\) are validation images too: folder/0000000005\.png"
    ):
        open_data(StageConfiguration.from_dictionary(values))


def test_damaged_images_do_not_stop_comparison(kitti, tmp_path):
    _, shards = kitti
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    (copy / "shard-000001.tar").write_bytes((shards / "shard-000001.tar").read_bytes()[:700])
    apart = KeptApart()
    apart.add(overlap.VALIDATION, ShardSource(copy), [(0, 0), (1, 0)])
    assert len(apart.sizes) == 1
    apart.add(overlap.VALIDATION, ShardSource(shards), [(1, 0)])
    assert [one.block for one in shared_with(ShardSource(copy), apart, 0)] == [0]
    assert [one.block for one in shared_with(ShardSource(shards), apart, 0)] == [0, 1]


def test_take_out_removes_exactly_the_shared_images(tmp_path):
    source = ShardSource(packed("folder", pictures(tmp_path / "pictures", *range(7)), tmp_path / "shards", 3))
    kept = overlap.Kept(overlap.VALIDATION, "")
    rest = Remainder(source, [Shared(0, 1, kept), Shared(2, 0, kept)])
    assert (rest.blocks, rest.taken) == ([2, 3, 0], 2)
    names = [rest.sample_name(block, index) for block, count in enumerate(rest.blocks) for index in range(count)]
    assert [name[-14:-7] for name in names] == ["picture"] * 5
    assert [name.split("picture")[1][0] for name in names] == ["0", "2", "3", "4", "5"]
    assert [len(sizes) for sizes in rest.image_sizes()] == [2, 3, 0]
    assert [rest.read(0, 1).name, rest.image_file(0, 1)] == [source.read(0, 2).name, source.image_file(0, 2)]


def test_large_source_is_compared_once_by_several_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(overlap, "MANY_BLOCKS", 2)
    shards = packed("folder", pictures(tmp_path / "pictures", *range(6)), tmp_path / "shards", 1)
    apart = KeptApart()
    apart.add("evaluation", SetSource(find_set("folder"), pictures(tmp_path / "scored", 3, 9)))
    found = shared_with(ShardSource(shards), apart, 2)
    assert [one.block for one in found] == [3]
    monkeypatch.setattr(overlap, "_compare", None)
    assert shared_with(ShardSource(shards), apart, 2) == found  # of which the cache tells
    apart.add("evaluation", SetSource(find_set("folder"), pictures(tmp_path / "more", 4)))
    with pytest.raises(TypeError):  # of others it does not
        shared_with(ShardSource(shards), apart, 2)


@pytest.mark.parametrize("name", ["nyuv2_labeled", "lsun", "sa1b"])
def test_images_in_one_large_file_are_compared(tmp_path, name):
    root = tmp_path / name
    MINIATURES[name](root)
    apart = KeptApart()
    apart.add("evaluation", SetSource(find_set(name), root))
    shards = ShardSource(packed(name, root, tmp_path / "shards"))
    assert len(shared_with(shards, apart, 0)) == sum(shards.blocks) > 1


def test_images_without_files_are_reported_as_not_compared(tmp_path, caplog):
    MINIATURES["bdd100k"](tmp_path / "videos")
    apart = KeptApart()
    apart.add("evaluation", SetSource(find_set("folder"), pictures(tmp_path / "pictures", 1)))
    assert shared_with(SetSource(find_set("bdd100k"), tmp_path / "videos"), apart, 0) == []
    assert "bdd100k: its images are not files, so they were not compared with the validation images" in caplog.messages


@pytest.mark.parametrize("role", ["scored", "learned"])
def test_transient_disk_failure_hides_no_image(kitti, monkeypatch, role):
    """One that goes on failing ends the command: what could not be compared is not taken for another image."""
    monkeypatch.setattr(retry, "WAITS", (0.001,) * 3)
    scored, learned = ShardSource(kitti[1]), ShardSource(kitti[1])
    source = scored if role == "scored" else learned
    failures, read = [], source.image_file

    def fail(block: int, index: int) -> bytes:
        if len(failures) < failing:
            failures.append(1)
            raise DataError("it cannot be read") from OSError(errno.EIO, "Input/output error")
        return read(block, index)

    source.image_file, failing = fail, 2
    apart = KeptApart()
    apart.add(overlap.VALIDATION, scored, [(0, 0), (0, 1), (1, 0)])
    assert len(shared_with(learned, apart, 0)) == 3
    assert len(failures) == 2
    failing, apart = 100, KeptApart()
    apart._add(overlap.VALIDATION, scored, 0, 0, len(read(0, 0)))
    with pytest.raises(OSError, match="it cannot be read"):
        shared_with(learned, apart, 0)


def test_transient_folder_failure_hides_no_image(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "WAITS", (0.001,) * 3)
    source = SetSource(find_set("folder"), pictures(tmp_path / "pictures", 1))
    stat, failures = Path.stat, []

    def fail(path: Path, **named):
        if path.name == "picture1.png" and len(failures) < 2:
            failures.append(1)
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(path, **named)

    monkeypatch.setattr(Path, "stat", fail)
    assert [sizes.tolist() for sizes in source.image_sizes()] == [[(tmp_path / "pictures/picture1.png").stat().st_size]]
    assert len(failures) == 2


def test_interrupted_comparison_reports_once_and_ends(capfd):
    """The processes that help it get a terminal's Ctrl-C too."""

    stop = StopRequest("asked to stop")
    with pytest.raises(StoppedError), stop.listening(), stop.interrupting(), overlap._processes(2) as run:
        list(map(_interrupt_all, run(_wait, range(200))))
    assert capfd.readouterr().err.count("asked to stop") == 1
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]


def _interrupt_all(_: None) -> None:
    for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
        os.kill(process.pid, signal.SIGINT)


def _wait(_: int) -> None:
    threading.Event().wait(0.05)


def test_evaluation_folder_without_images_does_not_stop_training(kitti, tmp_path, caplog):
    """As a folder of sets has them that holds NYUv2's one file alone; a folder that is absent does."""
    MINIATURES["nyuv2_labeled"](tmp_path / "sets" / "nyuv2_labeled")
    labeled = [{"shards": str(kitti[1])}]
    data = open_data(stage(labeled, evaluation=[{"set": "folder", "root": str(tmp_path / "sets")}]))
    assert data.sources["evaluation"] == []
    (message,) = [message for message in caplog.messages if "evaluation source" in message]
    assert message.endswith("the images of this evaluation source are not kept out of training")
    with pytest.raises(DataError, match=r"absent does not exist"):
        open_data(stage(labeled, evaluation=[{"set": "folder", "root": str(tmp_path / "absent")}]))
    with pytest.raises(DataError, match="contains no picture"):
        open_data(stage([{"set": "folder", "root": str(tmp_path / "sets")}]))
