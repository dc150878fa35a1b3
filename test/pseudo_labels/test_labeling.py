"""`depth_anything_ros label`: equal bytes from any number of processes, no duplicate work, no losses."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="labeling needs the `train` extra")
pytest.importorskip("webdataset", reason="labeling needs the `train` extra")
pytest.importorskip("pydantic", reason="labeling needs the `train` extra")

import stage_runs  # noqa: E402
from folder_holder import held  # noqa: E402
from miniature_files import encoded, put  # noqa: E402
from waiting import limit, wait_while_running  # noqa: E402
from warm_process import ForkedProcess  # noqa: E402

from depth_anything_ros.cli import main  # noqa: E402
from depth_anything_ros.commands import CommandError  # noqa: E402
from depth_anything_ros.commands.own_share import choose_gpu, local_rank_of, own_task  # noqa: E402
from depth_anything_ros.data.depth_codes import CodeRange, decode_inverse_depth, from_png  # noqa: E402
from depth_anything_ros.data.frame import DataError  # noqa: E402
from depth_anything_ros.data.sets import find_set  # noqa: E402
from depth_anything_ros.data.shard_samples import keys_of, shard_image  # noqa: E402
from depth_anything_ros.data.shard_source import ShardSource  # noqa: E402
from depth_anything_ros.data.shards import pack, read_manifest, verify_shards  # noqa: E402
from depth_anything_ros.data.tar_members import read_member, tar_members  # noqa: E402
from depth_anything_ros.images.resizing import resize_image, resize_map  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint  # noqa: E402
from depth_anything_ros.pseudo_labels.chunks import Part, Problem, decode, make_label, part_to_bytes  # noqa: E402
from depth_anything_ros.pseudo_labels.completion import recorded_problems, unfinished  # noqa: E402
from depth_anything_ros.pseudo_labels.folder import Labeling, LabelingError  # noqa: E402
from depth_anything_ros.pseudo_labels.open_teacher import one_thread_each  # noqa: E402
from depth_anything_ros.pseudo_labels.shard_writer import write_shard  # noqa: E402
from depth_anything_ros.pseudo_labels.statistics import Statistics  # noqa: E402
from depth_anything_ros.runtime.cuda import driver as cuda_driver  # noqa: E402
from depth_anything_ros.runtime.cuda.driver import CudaDevice  # noqa: E402
from depth_anything_ros.runtime.estimator import Estimator  # noqa: E402
from depth_anything_ros.system.atomic_file import partial_of  # noqa: E402
from depth_anything_ros.system.output_folder import LABELS  # noqa: E402
from depth_anything_ros.system.process_rank import Task  # noqa: E402
from depth_anything_ros.training.settings import TeacherSettings  # noqa: E402
from depth_anything_ros.training.teachers.identity import find_teacher  # noqa: E402
from depth_anything_ros.training.teachers.networks import TorchTeacher  # noqa: E402
from depth_anything_ros.visualization.captions import LINE, RULE  # noqa: E402
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER  # noqa: E402
from depth_anything_ros.zoo.record import ModelRecord  # noqa: E402

IMAGES, PER_SHARD, CHUNK, BATCH = 36, 10, 3, 2
SIZES = ((90, 120), (120, 90), (100, 100))
OPTIONS = ["--chunk", str(CHUNK), "--batch", str(BATCH), "--workers", "1", "--device", "cpu"]
TURNED = 4
"""The picture whose Exif header says that its right side is up."""


def scene(seed: int) -> np.ndarray:
    """An RGB image of a few boxes before a gradient."""
    generator = np.random.default_rng(seed)
    height, width = SIZES[seed % len(SIZES)]
    image = np.linspace(40, 200, height)[:, None, None] * generator.uniform(0.5, 1.2, 3) * np.ones((height, width, 3))
    for _ in range(6):
        row, column = generator.integers(0, height - 20), generator.integers(0, width - 20)
        image[row : row + generator.integers(10, 60), column : column + generator.integers(10, 60)] = generator.uniform(
            0, 255, 3
        )
    return np.clip(image, 0, 255).astype(np.uint8)


def turned(jpeg: bytes) -> bytes:
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff + jpeg[2:]


def pack_pictures(folder: Path, output: Path, per_shard: int) -> Path:
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set("folder"), folder, output, per_shard, executor))
    return output


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Four shards of images in three shapes; not to be changed."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(IMAGES):
        jpeg = encoded(".jpg", scene(number))
        put(folder / f"{number:02d}.jpg", turned(jpeg) if number == TURNED else jpeg)
    return pack_pictures(folder, tmp_path_factory.mktemp("packed") / "shards", PER_SHARD)


def label(shards: Path, output: Path, *options: str | Path, teacher: str | Path = "tiny") -> int:
    """Run the command in this process; it hides the GPUs, which later tests may need."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    arguments = [str(shards), "--teacher", str(teacher), "--output", str(output), *OPTIONS, *map(str, options)]
    try:
        return main(["label", *arguments])
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible


@pytest.fixture(scope="module")
def labels(shards, tmp_path_factory) -> Path:
    """The labels that one process makes for the shards; not to be changed."""
    output = tmp_path_factory.mktemp("labels") / "whole"
    assert label(shards, output) == 0
    return output


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def contents(folder: Path) -> dict[str, bytes]:
    assert all(path.is_file() for path in folder.iterdir())
    return {path.name: path.read_bytes() for path in shown(folder)}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in shown(folder)}


def shown(folder: Path) -> list[Path]:
    """The visible files in a folder; locks and notes contain process ids and paths."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def start(shards: Path, output: Path, *options: str, **variables: str) -> ForkedProcess:
    """Start the command in its own process, forked from a warm one."""
    words = ["label", str(shards), "--teacher", "tiny", "--output", str(output), *OPTIONS, *options]
    return stage_runs.WARM.start(words, stage_runs.environment() | variables)


def decoded(labels: Path, shard: str, key: str) -> tuple[np.ndarray, float]:
    """A label, and one step of its codes."""
    described = json.loads(read_member(labels / shard, f"{key}.json"))
    code_range = CodeRange.from_dictionary(described["depth"])
    assert code_range.scale == "inverse_depth"
    codes = from_png(read_member(labels / shard, f"{key}.depth.png"))
    return decode_inverse_depth(codes, code_range), (code_range.high - code_range.low) / 65533


def every_sample(shards: Path) -> list[tuple[str, str]]:
    return [
        (entry["name"], key) for entry in read_manifest(shards)["shards"] for key in keys_of(shards / entry["name"])
    ]


@lru_cache
def network() -> TorchTeacher:
    return TorchTeacher(load_checkpoint(BUNDLED_FOLDER / "tiny.safetensors"))


def prediction(pixels: np.ndarray) -> np.ndarray:
    """The bundled network's output for one image of a supported size."""
    with one_thread_each():
        return network()(torch.from_numpy(pixels)[None])[0].numpy()


def test_labels_match_network_output(shards, labels):
    """Each image alone, at the network's size in its own shape, and back at the image's size."""
    samples = every_sample(shards)
    assert len(samples) == IMAGES
    for shard, key in samples[::3]:
        image = shard_image(shards / shard, key)
        wide, high = image.shape[1] > image.shape[0], image.shape[0] > image.shape[1]
        pixels = np.empty((182 if high else 140, 182 if wide else 140, 3), np.uint8)  # the record prefers 140
        resize_image(image, pixels)
        expected = resize_map(prediction(pixels), image.shape[:2])
        label, step = decoded(labels, shard, key)
        assert step > 0
        # A batch of two is not computed to the last bit as one image is.
        np.testing.assert_allclose(label, expected, rtol=0, atol=0.5 * step + 5e-6 * np.abs(expected).max())


def test_size_and_resolution_options_set_label_size(shards, tmp_path):
    assert label(shards, tmp_path / "out", "--size", "56", "--resolution", "network", "--limit-shards", "1") == 0
    shard, key = every_sample(shards)[0]
    image = shard_image(shards / shard, key)
    pixels = np.empty((56, 70, 3), np.uint8)
    resize_image(image, pixels)
    expected = prediction(pixels)
    found, step = decoded(tmp_path / "out", shard, key)
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.5 * step + 5e-6 * np.abs(expected).max())
    read = ShardSource(shards, tmp_path / "out").read(0, 0)
    np.testing.assert_array_equal(read.inverse_depth, resize_map(found, image.shape[:2]))


def test_onnx_teacher_labels(shards, tmp_path):
    graph = BUNDLED_FOLDER / "tiny_140x182.onnx"
    options = ["--resolution", "network", "--limit-shards", "1", "--chunk", "32"]
    assert label(shards, tmp_path / "out", *options, teacher=graph) == 0
    estimator = Estimator(graph, measured=False)
    for shard, key in every_sample(shards)[:PER_SHARD]:
        pixels = np.empty((140, 182, 3), np.uint8)
        resize_image(shard_image(shards / shard, key), pixels)
        expected = estimator.estimate(pixels)
        found, step = decoded(tmp_path / "out", shard, key)
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.5 * step + 1e-6 * np.abs(expected).max())


THREADS_OF = """
import os, sys
sys.modules["openvino"] = None  # which has no more threads than cores
from depth_anything_ros.pseudo_labels.open_teacher import OpenTeacher
from depth_anything_ros.training.teachers.identity import find_teacher
from depth_anything_ros.training.configuration import TeacherSettings
teacher, kept = find_teacher(TeacherSettings(model=sys.argv[1])), []
for threads in (1, 1, 7):  # the first loads libraries
    before = len(os.listdir("/proc/self/task"))
    kept.append(OpenTeacher(teacher, "cpu", threads))
    print(len(os.listdir("/proc/self/task")) - before)
"""


def test_onnx_teacher_uses_given_number_of_threads():
    """Several processes of one machine would else have as many as cores each."""
    if not Path("/proc/self/task").exists():
        pytest.skip("threads can be counted on Linux alone")
    command = [sys.executable, "-c", THREADS_OF, str(BUNDLED_FOLDER / "tiny_140x182.onnx")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=limit(60), env=environment
    ).stdout
    assert said.split()[1:] == ["0", "6"]


def test_onnx_teacher_of_fixed_size_rejects_other_size(shards, tmp_path, capsys):
    assert label(shards, tmp_path / "out", "--size", "56", teacher=BUNDLED_FOLDER / "tiny_140x182.onnx") == 1
    assert "has fixed sizes (140x182)" in capsys.readouterr().err
    assert label(shards, tmp_path / "out", "--size", "50") == 1
    assert "--size 50: tiny needs a multiple of 14" in capsys.readouterr().err


def test_training_reads_images_with_labels(shards, labels):
    source = ShardSource(shards, labels)
    assert source.blocks == [10, 10, 10, 6]
    assert not source.is_metric
    assert read_manifest(labels)["version"] in source.version
    for block, index, seed in ((0, 0, 0), (0, TURNED, TURNED), (3, 5, 35)):
        sample = source.read(block, index)
        upright = scene(seed) if seed != TURNED else np.rot90(scene(seed), -1)
        assert sample.image.shape == upright.shape
        assert np.abs(sample.image.astype(int) - upright).mean() < 8  # JPEG
        expected, _ = decoded(labels, f"shard-{block:06d}.tar", f"{seed:02d}%2Ejpg")
        np.testing.assert_array_equal(sample.inverse_depth, expected)


def test_labels_of_other_images_are_rejected(shards, labels, tmp_path):
    copy_of(labels, tmp_path / "labels")
    manifest = read_manifest(labels)
    manifest["shards"][1]["labels_of"] = "0" * 64
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(manifest))
    assert ShardSource(shards, tmp_path / "labels").blocks == [10, 10, 6]  # the labels of the others are valid
    for entry in manifest["shards"]:
        entry["labels_of"] = "0" * 64
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="run label again"):
        ShardSource(shards, tmp_path / "labels")


def test_labels_of_first_release_are_valid_for_all_images(shards, labels, tmp_path):
    copy_of(labels, tmp_path / "labels")
    manifest = read_manifest(labels)
    for entry in manifest["shards"]:
        del entry["labels_of"]
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(manifest))
    assert ShardSource(shards, tmp_path / "labels").blocks == [10, 10, 10, 6]
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(manifest | {"labels_of": "0" * 64}))
    with pytest.raises(DataError, match="run label again"):
        ShardSource(shards, tmp_path / "labels")


def test_added_image_labels_only_its_shard(tmp_path, capsys):
    pictures, images, output = tmp_path / "pictures", tmp_path / "images", tmp_path / "out"
    for number in range(4):
        put(pictures / f"{number}.jpg", encoded(".jpg", scene(number)))
    pack_pictures(pictures, images, 2)
    assert label(images, output, "--size", "14") == 0
    before = times(output)
    put(pictures / "0a.jpg", encoded(".jpg", scene(9)))
    pack_pictures(pictures, images, 2)
    assert ShardSource(images, output).blocks == [2, 2]
    capsys.readouterr()
    assert label(images, output, "--size", "14") == 0
    assert "1 shards to label, 1 images" in capsys.readouterr().out
    assert {name: times(output)[name] for name in before if "shard" in name} == {
        name: time for name, time in before.items() if "shard" in name
    }
    assert ShardSource(images, output).blocks == [2, 2, 1]


def test_labels_of_other_images_are_not_replaced(shards, labels, tmp_path, capsys):
    """The shards of every set have the same names."""
    put(tmp_path / "pictures" / "0.jpg", encoded(".jpg", scene(50)))
    other = pack_pictures(tmp_path / "pictures", tmp_path / "other", 2)
    before = contents(labels)
    assert label(other, labels) == 1
    said = capsys.readouterr().err
    assert f"{labels} holds labels of folder made from {shards}, but no labels for the images in {other}" in said
    assert contents(labels) == before
    assert label(copy_of(shards, tmp_path / "moved"), labels) == 0  # the same, elsewhere
    assert contents(labels) == before


def test_output_folder_is_shared_only_within_one_run(shards, labels, tmp_path, capsys):
    with held(labels, LABELS, "labels of folder", "label", rank=1, processes=2):
        assert label(shards, labels) == 1
        assert "another process (`label`, process " in capsys.readouterr().err
        assert label_as(1, shards, labels) == 1
        assert label_as(0, shards, labels) == 0


def test_manifest_records_teacher_and_images(shards, labels, capsys):
    manifest, images = read_manifest(labels), read_manifest(shards)
    assert manifest["labels_of"] == images["version"]
    assert (manifest["samples"], manifest["refused"], manifest["damaged"]) == (IMAGES, 0, [])
    assert [shard["name"] for shard in manifest["shards"]] == [shard["name"] for shard in images["shards"]]
    assert manifest["teacher"]["name"] == "tiny"
    assert manifest["teacher"]["sizes"] == 140
    record = json.loads((BUNDLED_FOLDER / "record.json").read_text())
    assert manifest["teacher"]["sha256"] in [file["sha256"] for file in record["files"]]
    assert [trouble for _, trouble in verify_shards(labels)] == [""] * 4


def test_second_run_labels_nothing(shards, labels, capsys):
    before = times(labels)
    assert label(shards, labels) == 0
    assert times(labels) == before
    assert "0 shards to label, 0 images" in capsys.readouterr().out


def test_changed_or_missing_shard_is_labeled_again(shards, labels, tmp_path):
    output = copy_of(labels, tmp_path / "labels")
    (output / "shard-000000.tar").write_bytes(b"cut")
    (output / "shard-000001.json").unlink()
    (output / "shard-000002.json").write_text("{")
    kept = times(output)["shard-000003.tar"]
    assert label(shards, output) == 0
    assert contents(output) == contents(labels)
    assert times(output)["shard-000003.tar"] == kept


def test_manifest_omits_missing_shard(shards, labels, tmp_path, capsys):
    """Which another process is to make again."""
    output = copy_of(labels, tmp_path / "labels")
    for name in ("shard-000001.tar", "manifest.json"):
        (output / name).unlink()
    assert label_as(0, shards, output) == 0
    assert "1 shards are left to other processes" in capsys.readouterr().out
    assert not (output / "manifest.json").exists()
    assert label_as(1, shards, output) == 0
    assert contents(output) == contents(labels)


def test_limit_keeps_finished_shards_in_manifest(shards, labels, tmp_path):
    output = copy_of(labels, tmp_path / "labels")
    assert label(shards, output, "--limit-shards", "1") == 0
    assert contents(output) == contents(labels)
    (output / "shard-000001.tar").unlink()
    assert label(shards, output, "--limit-shards", "1") == 0
    assert [shard["name"] for shard in read_manifest(output)["shards"]] == [f"shard-00000{n}.tar" for n in (0, 2, 3)]


def test_labels_of_other_settings_are_not_mixed(shards, labels, capsys):
    before = contents(labels)
    assert label(shards, labels, "--size", "56") == 1
    assert "holds labels made with tiny" in capsys.readouterr().err
    assert label(shards, labels, "--resolution", "network") == 1
    assert "give another folder" in capsys.readouterr().err
    assert contents(labels) == before
    assert label(shards, shards) == 1
    assert f"--output {shards} is SHARDS {shards}, which is an input" in capsys.readouterr().err


def test_command_without_labels_leaves_folder_free(shards, tmp_path, capsys):
    (tmp_path / "no weights.pth").write_bytes(b"nothing")
    assert label(shards, tmp_path / "out", teacher=tmp_path / "no weights.pth") == 1
    assert label(tmp_path, tmp_path / "out") == 1  # no shards
    assert "create it with" in capsys.readouterr().err
    assert label(shards, tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("corrected", "told"),
    [
        ({"output": "depth"}, "output 'depth', not 'inverse_depth'"),
        ({"mean": (0, 0, 0), "std": (1, 1, 1)}, "mean [0, 0, 0], not [0.485, 0.456, 0.406], std [1, 1, 1]"),
        ({"confidence": "sure"}, "confidence 'sure', not None"),
    ],
)
def test_changed_teacher_record_rejects_folder_with_old_labels(shards, tmp_path, corrected, told):
    """Depth and inverse depth are opposites, and must not end up in one folder."""
    graph, record = BUNDLED_FOLDER / "tiny_140x182.onnx", tmp_path / "net.json"

    def labeling() -> Labeling:
        return Labeling(shards, tmp_path / "out", find_teacher(TeacherSettings(model=str(graph), record=record)))

    wrong = ModelRecord("net", "inverse_depth", "unknown")
    record.write_text(wrong.to_json())
    before = labeling()
    before.begin()
    (tmp_path / "out/shard-000000.tar").touch()  # labels, as far as the folder is concerned
    record.write_text(replace(wrong, license="Apache-2.0", description="decides nothing").to_json())
    labeling().begin()
    record.write_text(replace(wrong, **corrected).to_json())
    with pytest.raises(LabelingError, match=re.escape(told)):
        labeling().begin()
    assert labeling().fingerprint("shard-000000.tar") != before.fingerprint("shard-000000.tar")


def test_folder_without_shards_is_named_without_output(tmp_path, capsys):
    (tmp_path / "photographs").mkdir()
    assert label(tmp_path / "photographs", tmp_path / "out") == 1
    assert f"{tmp_path / 'photographs'} has no manifest.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("number", "count", "local"),
    [("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")],
)
def test_several_processes_divide_shards(shards, labels, tmp_path, number, count, local):
    """Torchrun, and srun, tell each its number in the environment."""
    environments = [{number: str(rank), count: "2", local: str(rank)} for rank in range(2)]
    processes = [start(shards, tmp_path / "out", **environment) for environment in environments]
    said = [process.communicate(timeout=limit(120))[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "2 shards to label, 20 images" in said[0]
    assert "2 shards to label, 16 images" in said[1]
    assert contents(tmp_path / "out") == contents(labels)


def test_stopped_process_resumes(shards, labels, tmp_path):
    output = tmp_path / "out"
    process = start(shards, output)
    wait_while_running(process, (output / "shard-000000.json").exists, "the first shard of labels")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=limit(120))
    assert process.returncode == 130, said
    assert "stop requested: ending after the present batch; finished shards are kept" in said
    assert not list(output.glob(".*.partial"))
    assert not (output / "manifest.json").exists()
    kept = times(output)["shard-000000.tar"]
    assert label(shards, output) == 0
    assert times(output)["shard-000000.tar"] == kept
    assert contents(output) == contents(labels)


def test_killed_process_resumes(shards, labels, tmp_path):
    output = tmp_path / "out"
    process = start(shards, output)
    wait_while_running(process, (output / "shard-000000.json").exists, "the first shard of labels")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (output / "manifest.json").exists()
    left = partial_of(output / "shard-000003.tar").name.replace(f"-{os.getpid()}-", f"-{process.pid}-")
    (output / left).write_bytes(b"half a shard")
    kept = times(output)["shard-000000.tar"]
    assert label(shards, output) == 0
    assert times(output)["shard-000000.tar"] == kept
    assert contents(output) == contents(labels)


def test_restarted_process_keeps_files_of_others(shards, tmp_path):
    """As number 1 of 1 too, in which case it is to label the same shard."""
    teacher = find_teacher(TeacherSettings(model="tiny"))
    labeling, again = (Labeling(shards, tmp_path, teacher, chunk=CHUNK) for _ in range(2))
    shard = labeling.begin(1, 2)[0]

    def parts() -> Iterator[Part]:
        for chunk in labeling.split(shard):
            if chunk.number == 1:
                assert shard in again.begin()
            yield Part(shard, chunk.number, [make_label(key, np.eye(2, dtype=np.float32)) for key in chunk.keys])

    assert write_shard(labeling, shard, parts()) is None
    assert labeling.is_done(shard)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_reported_and_keeps_finished_shards(shards, labels, tmp_path, capsys):
    output = tmp_path / "out"
    assert label(shards, output, "--limit-shards", "1") == 0
    kept = times(output)["shard-000000.tar"]
    capsys.readouterr()
    with largest_file((labels / "shard-000001.tar").stat().st_size // 2):
        assert label(shards, output) == 1
    said = capsys.readouterr().err
    assert f"labeling into {output} stopped: {output / 'shard-000001.tar'}: File too large" in said
    assert "run the same command to continue from there" in said
    assert not [path for path in output.iterdir() if "partial" in path.name or path.name.startswith("shard-000001")]
    assert label(shards, output) == 0
    assert contents(output) == contents(labels)
    assert times(output)["shard-000000.tar"] == kept


def test_damaged_shard_is_named_and_others_are_labeled(shards, labels, tmp_path, capsys):
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    whole = (images / "shard-000001.tar").read_bytes()
    (images / "shard-000001.tar").write_bytes(whole[: len(whole) // 2])
    altered = bytearray((images / "shard-000002.tar").read_bytes())
    altered[5000] ^= 1
    (images / "shard-000002.tar").write_bytes(altered)
    (images / "shard-000003.tar").unlink()
    assert label(images, output) == 1
    printed = capsys.readouterr().out
    for text in ("shard-000001.tar has", "shard-000002.tar has another SHA-256", "shard-000003.tar cannot be read"):
        assert text in printed
    assert "3 shards damaged" in printed
    assert (output / "shard-000000.tar").read_bytes() == (labels / "shard-000000.tar").read_bytes()
    assert [entry["shard"] for entry in read_manifest(output)["damaged"]] == [f"shard-00000{n}.tar" for n in (1, 2, 3)]
    assert ShardSource(images, output).blocks == [10]  # training may begin with what is there
    for number in (1, 2, 3):
        (images / f"shard-00000{number}.tar").write_bytes((shards / f"shard-00000{number}.tar").read_bytes())
    assert label(images, output) == 0
    assert contents(output) == contents(labels)


def label_as(rank: int, shards: Path, output: Path, *options: str) -> int:
    """Run the command as one of two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", str(rank))
        patch.setenv("WORLD_SIZE", "2")
        return label(shards, output, *options)


def alter_second_shard(images: Path) -> None:
    altered = bytearray((images / "shard-000001.tar").read_bytes())
    altered[5000] ^= 1
    (images / "shard-000001.tar").write_bytes(altered)


def test_last_of_several_processes_reports_damaged_shard(shards, tmp_path, capsys):
    """With the first status that is not 0, torchrun kills all others."""
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    alter_second_shard(images)
    assert label_as(1, images, output) == 0
    assert "shard-000001.tar has another SHA-256" in capsys.readouterr().out
    assert not (output / "manifest.json").exists()
    assert label_as(0, images, output) == 1
    assert "shard-000001.tar has another SHA-256" in capsys.readouterr().out
    assert [entry["shard"] for entry in read_manifest(output)["damaged"]] == ["shard-000001.tar"]
    assert label_as(0, images, output) == 1  # it has nothing to do, and the other's shard is damaged still


def test_repaired_shard_is_not_reported_damaged_by_other_process(shards, labels, tmp_path, capsys):
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    alter_second_shard(images)
    assert label(images, output) == 1
    (output / "manifest.json").unlink()
    (images / "shard-000001.tar").write_bytes((shards / "shard-000001.tar").read_bytes())
    assert label_as(0, images, output) == 0
    assert "1 shards are left to other processes" in capsys.readouterr().out
    assert not (output / "manifest.json").exists()
    assert label_as(1, images, output) == 0
    assert contents(output) == contents(labels)


def test_problem_counts_if_new_or_lasting(shards, tmp_path):
    """What could not be read once, and can be now, is for the process that it belongs to."""
    labeling = Labeling(shards, tmp_path, find_teacher(TeacherSettings(model="tiny")), limit=1)
    (shard,) = labeling.begin()
    write_shard(labeling, shard, [Problem(shard, "stale file handle")])
    assert unfinished(labeling, {}) == []
    earlier = recorded_problems(labeling)
    assert unfinished(labeling, earlier) == [shard]
    write_shard(labeling, shard, [Problem(shard, "stale file handle")])
    assert unfinished(labeling, earlier) == []


def test_late_process_reports_shard_without_valid_image(shards, tmp_path, capsys):
    """The others have ended, and the shard can be read: nobody will come to another end with it."""
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    for key in keys_of(images / "shard-000001.tar"):
        damage_image(images, "shard-000001.tar", key)
    tar_members.cache_clear()
    assert label_as(1, images, output) == 0
    assert label_as(0, images, output) == 1
    assert "none of its" in capsys.readouterr().out
    assert (output / "manifest.json").exists()


def damage_image(folder: Path, shard: str, key: str) -> None:
    """Replace an image by zeros, with a manifest that still matches the shard."""
    offset, size = tar_members(folder / shard)[f"{key}.jpg"]
    content = bytearray((folder / shard).read_bytes())
    content[offset : offset + size] = bytes(size)
    (folder / shard).write_bytes(content)
    manifest = read_manifest(folder)
    for entry in manifest["shards"]:
        if entry["name"] == shard:
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_damaged_image_is_skipped_and_named(shards, labels, tmp_path):
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    damage_image(images, "shard-000001.tar", "12%2Ejpg")
    assert label(images, output) == 0
    entry = read_manifest(output)["shards"][1]
    assert entry["samples"] == 9
    (refused,) = entry["refused"]
    assert "12%2Ejpg.jpg is not a picture, or is damaged" in refused
    report = json.loads((output / "report.json").read_text())
    assert report["refused"] == {"images": 1, "kinds": {"image": 1}, "named": [refused]}
    assert (report["images"], report["labels"]) == (IMAGES, IMAGES - 1)
    assert list(keys_of(output / "shard-000001.tar")) == [f"{n}%2Ejpg" for n in range(10, 20) if n != 12]
    source = ShardSource(images, output)
    for index in (1, 3):  # the neighbors keep their own labels
        expected, _ = decoded(output, "shard-000001.tar", f"1{index}%2Ejpg")
        np.testing.assert_array_equal(source.read(1, index).inverse_depth, expected)
    with pytest.raises(DataError, match="12%2Ejpg"):
        source.read(1, 2)
    for name in ("shard-000000.tar", "shard-000002.tar"):
        assert (output / name).read_bytes() == (labels / name).read_bytes()


@pytest.mark.parametrize("amiss", ["is absent", "is cut short", "cannot be read"])
def test_unreadable_shard_is_not_reported_as_damaged_image(shards, tmp_path, amiss):
    """A network file system that fails for a moment leaves no image out for ever."""
    images = copy_of(shards, tmp_path / "images")
    teacher = find_teacher(TeacherSettings(model="tiny"))
    labeling = Labeling(images, tmp_path / "out", teacher, chunk=CHUNK, limit=1)
    (shard,) = labeling.begin()
    chunks, content = labeling.split(shard), (images / shard).read_bytes()
    (images / shard).unlink()
    if amiss == "is cut short":
        (images / shard).write_bytes(content[:2000])
    elif amiss == "cannot be read":
        (images / shard).mkdir()  # the system refuses to read it
    found = decode(chunks[1], teacher.sizes)
    assert isinstance(found, Problem)
    assert str(images / shard) in found.text
    assert write_shard(labeling, shard, [Part(shard, 0), found]) is not None
    assert labeling.begin() == [shard]


def test_shard_without_any_label_is_named(tmp_path, capsys):
    for number in range(3):
        put(tmp_path / "pictures" / f"{number}.jpg", encoded(".jpg", scene(number)))
    shards, output = pack_pictures(tmp_path / "pictures", tmp_path / "shards", 2), tmp_path / "out"
    damage_image(shards, "shard-000001.tar", "2%2Ejpg")
    assert label(shards, output) == 1
    assert not (output / "shard-000001.tar").exists()
    said = capsys.readouterr().out
    assert "shard-000001.tar: none of its 1 images can be labeled, the first: " in said
    assert "2%2Ejpg.jpg is not a picture, or is damaged" in said
    assert [shard["name"] for shard in read_manifest(output)["shards"]] == ["shard-000000.tar"]
    assert ShardSource(shards, output).blocks == [2]


def write_root_graph(path: Path) -> Path:
    """A teacher that returns the square root of red minus 20, which is a number only where red is bright enough."""
    onnx = pytest.importorskip("onnx", reason="writes the graph that labels")
    from small_graphs import relative_record

    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Slice", ["image", "zero", "one", "last"], ["red"]),
        helper.make_node("Squeeze", ["red", "last"], ["bytes"]),
        helper.make_node("Cast", ["bytes"], ["values"], to=types.FLOAT),
        helper.make_node("Sub", ["values", "dark"], ["less"]),
        helper.make_node("Sqrt", ["less"], ["output"]),
    ]
    initializers = [
        helper.make_tensor(name, types.INT64, [1], [n]) for name, n in (("zero", 0), ("one", 1), ("last", 3))
    ]
    initializers.append(helper.make_tensor("dark", types.FLOAT, [], [20.0]))
    image = helper.make_tensor_value_info("image", types.UINT8, [1, 28, 28, 3])
    output = helper.make_tensor_value_info("output", types.FLOAT, [1, 28, 28])
    model = helper.make_model(
        helper.make_graph(nodes, "root", [image], [output], initializers),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, path)
    path.with_suffix(".record.json").write_text(relative_record("root").to_json())
    return path


def uneven(red: int) -> np.ndarray:
    """28x28 pixels of this red, half of them brighter by 100."""
    image = np.full((28, 28, 3), red, np.uint8)
    image[:, 14:, 0] += 100
    return image


def test_images_without_finite_depth_are_skipped_and_flat_counted(tmp_path, capsys):
    graph = write_root_graph(tmp_path / "root.onnx")
    pictures = {
        "a_good": uneven(60),
        "b_half": uneven(0),  # not a number on the left
        "c_black": np.zeros((28, 28, 3), np.uint8),  # nor anywhere
        "d_flat": np.full((28, 28, 3), 120, np.uint8),
        "e_good": uneven(100),
    }
    for name, image in pictures.items():
        put(tmp_path / "pictures" / f"{name}.png", image)
    shards, output = pack_pictures(tmp_path / "pictures", tmp_path / "shards", 9), tmp_path / "out"
    assert label(shards, output, teacher=graph) == 0
    assert "3 labels, 2 images left out, 1 labels flat, 0 shards damaged" in capsys.readouterr().out
    report = json.loads((output / "report.json").read_text())
    assert report["refused"]["kinds"] == {"prediction": 2}
    assert report["refused"]["named"] == [
        f"shard-000000.tar: depth of {key}%2Epng is not finite" for key in ("b_half", "c_black")
    ]
    assert report["flat"] == {"labels": 1, "share": pytest.approx(1 / 3)}
    assert report["flattest"][0] == {"sample": "shard-000000.tar/d_flat%2Epng", "used": 0.0}
    assert report["most_saturated"][0] == {"sample": "shard-000000.tar/d_flat%2Epng", "saturated": 1.0}
    found, _ = decoded(output, "shard-000000.tar", "a_good%2Epng")
    np.testing.assert_allclose(found, np.sqrt(uneven(60)[..., 0] - 20.0), atol=1e-4)


def test_teacher_without_output_is_stopped(tmp_path, capsys):
    graph = write_root_graph(tmp_path / "root.onnx")
    for number in range(11):
        put(tmp_path / "pictures" / f"{number}.png", np.full((28, 28, 3), number, np.uint8))
    shards = pack_pictures(tmp_path / "pictures", tmp_path / "shards", 11)
    assert label(shards, tmp_path / "out", teacher=graph) == 1
    assert "root gives no finite depth for any of the 11 images of shard-000000.tar" in capsys.readouterr().err
    assert not (tmp_path / "out" / "shard-000000.tar").exists()


def test_report_draws_images_with_labels(labels):
    report = json.loads((labels / "report.json").read_text())
    assert report["version"] == read_manifest(labels)["version"]
    assert report["computed"] == [{"batch": BATCH, "device": "cpu", "precision": "fp32", "shards": 4}]
    assert list(report["range"]) == ["p1", "p10", "p50", "p90", "p99"]
    assert 0 < report["range"]["p1"] <= report["range"]["p50"] <= report["range"]["p99"]
    worst = [entry["used"] for entry in report["flattest"]]
    assert worst == sorted(worst)
    sheet, suspicious = (cv2.imread(str(labels / name)) for name in ("report.jpg", "suspicious.jpg"))
    assert sheet.shape == (6 * (180 + 2 * LINE) + RULE + 2 * LINE, 4 * 480, 3)
    assert suspicious.shape[1] == 4 * 480
    first = sheet[:180, :240].astype(int)
    expected = cv2.resize(scene(0), (240, 180), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    assert np.abs(first - expected).mean() < 12
    assert sheet[:180, 240:480].std() > 20


def test_percentiles_accumulate_over_shards():
    ranges = 2.0 ** np.random.default_rng(0).uniform(-6, 6, 1000)
    total, start = Statistics(), 0
    for count in (1, 99, 900):
        part = Statistics()
        for number in range(start, start + count):
            depth = {"low": 1.0, "high": 1.0 + float(ranges[number])}
            part.add(f"{number}", {"depth": depth, "used": number / 1000, "saturated": 1 - number / 1000})
        total.add_shard("s", json.loads(json.dumps(part.to_dictionary())))
        start += count
    assert total.labels == 1000
    for name, value in total.range_percentiles((1, 50, 99)).items():
        assert value == pytest.approx(np.percentile(ranges, int(name[1:])), rel=0.1)
    assert total.share_percentiles("used", (10, 90)) == {"p10": 0.09, "p90": 0.89}
    assert [name for _, name in total.flattest] == [f"s/{number}" for number in range(8)]
    assert [name for _, name in total.most_saturated] == [f"s/{number}" for number in range(8)]


def test_ray_labels_equal_single_process_labels(shards, labels, tmp_path):
    """What is there already, shards and labeled chunks, is not made again."""
    ray = pytest.importorskip("ray", reason="needs the `ray` extra")
    output = tmp_path / "out"
    assert label(shards, output, "--limit-shards", "2") == 0
    kept = times(output)
    labeling = Labeling(shards, output, find_teacher(TeacherSettings(model="tiny")), "cpu", BATCH, CHUNK)
    first, second = labeling.split("shard-000003.tar")
    marked = make_label(first.keys[0], np.full(SIZES[0], 7, np.float32))
    path = labeling.part(first.shard, first.number)
    path.parent.mkdir(parents=True)
    path.write_bytes(part_to_bytes(Part(first.shard, first.number, [marked])))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        assert label(shards, output, "--ray") == 0
    finally:
        ray.shutdown()
    for name in ("shard-000000.tar", "shard-000001.tar"):
        assert times(output)[name] == kept[name]
    for name in ("shard-000002.tar", "shard-000002.json"):
        assert (output / name).read_bytes() == (labels / name).read_bytes()
    last = output / "shard-000003.tar"
    assert list(keys_of(last)) == [first.keys[0], *second.keys]
    assert (decoded(output, last.name, first.keys[0])[0] == 7).all()
    for key in second.keys:
        theirs = read_member(labels / last.name, f"{key}.depth.png")
        assert read_member(last, f"{key}.depth.png") == theirs
    assert not (output / ".parts").exists()


def row(shard: str, number: int, chunks: int, problem: str = "") -> dict[str, object]:
    return {"shard": shard, "number": number, "chunks": chunks, "images": 1, "problem": problem, "failure": ""}


def test_shard_is_finished_once_for_duplicate_ray_results():
    ray_stream = pytest.importorskip("depth_anything_ros.pseudo_labels.ray_stream", reason="needs the `ray` extra")
    rows = [
        *(row("a", 0, 2), row("b", 0, 2), row("a", 0, 2), row("a", 1, 2), row("a", 0, 2), row("a", 1, 2)),
        *(row("b", 0, 0, "is gone"), row("b", 1, 2), row("b", 0, 0, "is gone"), row("a", 0, 0, "is gone")),
    ]
    seen: list[int] = []
    assert list(ray_stream.finished(rows, ["a", "b"], seen.append)) == [("a", 2), ("b", Problem("b", "is gone"))]
    assert sum(seen) == 3


def test_chunks_of_finished_shards_are_forgotten():
    """A run of millions of them lasts for weeks."""
    ray_stream = pytest.importorskip("depth_anything_ros.pseudo_labels.ray_stream", reason="needs the `ray` extra")
    shards, chunks = [f"{number}" for number in range(200)], 500
    rows = (row(shard, number, chunks) for shard in shards for number in range(chunks))
    tracemalloc.start()
    try:
        assert sum(1 for _ in ray_stream.finished(rows, shards, lambda _: None)) == len(shards)
        assert tracemalloc.get_traced_memory()[1] < 500_000  # of all it would be 8 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("resources", "device", "teachers", "said"),
    [
        ({"CPU": 8}, "cpu", 4, ""),
        ({"CPU": 8, "GPU": 3}, "cuda", 3, ""),
        ({"CPU": 8}, "cuda", None, "no GPU"),
        ({"CPU": 1}, "cpu", None, "1 processors, but needs 2"),
        ({}, "cuda", None, "no GPU"),
    ],
)
def test_number_of_ray_teachers_follows_resources(resources, device, teachers, said, caplog):
    """One that has none yet is waited for, as those that grow from nothing must be; this machine does not grow."""
    ray_stream = pytest.importorskip("depth_anything_ros.pseudo_labels.ray_stream", reason="needs the `ray` extra")
    if said:
        with pytest.raises(LabelingError, match=said):
            ray_stream.most_teachers(resources, device == "cuda", may_grow=False)
    else:
        assert ray_stream.most_teachers(resources, device == "cuda", may_grow=False) == teachers
    assert not caplog.records
    assert ray_stream.most_teachers(resources, device == "cuda", may_grow=True) is None
    assert said in caplog.text
    assert bool(said) == ("waits for machines that join" in caplog.text)


def test_ray_assembles_shard_twice_without_change(shards, labels, tmp_path):
    """The machine was lost between the shard and the answer: its chunks are gone by then."""
    ray_stream = pytest.importorskip("depth_anything_ros.pseudo_labels.ray_stream", reason="needs the `ray` extra")
    output = tmp_path / "out"
    labeling = Labeling(shards, output, find_teacher(TeacherSettings(model="tiny")), "cpu", BATCH, CHUNK)
    assert label(shards, output, "--limit-shards", "1") == 0
    before = times(output)
    assemble = ray_stream._assemble._function
    assert assemble(labeling, "shard-000000.tar", 2) is None
    assert times(output) == before


def test_missing_ray_names_extra(shards, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert label(shards, tmp_path / "out", "--ray") == 1
    assert "pip install '.[ray]'" in capsys.readouterr().err


def test_decoding_imports_no_torch(shards):
    """It runs in processes of Ray's that would else spend seconds on importing PyTorch."""
    code = "import sys, depth_anything_ros.pseudo_labels.folder; print('torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"
    teacher = find_teacher(TeacherSettings(model="tiny"))
    chunk = Labeling(shards, shards, teacher, chunk=4).split("shard-000000.tar")[0]
    assert [image.shape for image in decode(chunk, teacher.sizes).images] == [
        (140, 182, 3),
        (182, 140, 3),
        (140, 140, 3),
        (140, 182, 3),
    ]


def test_benchmark_times_parts_and_extrapolates(repository, shards, tmp_path):
    spec = importlib.util.spec_from_file_location("labeling_benchmark", repository / "benchmarks/train/labeling.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    requested = {"teacher": "tiny", "size": 56, "device": "cpu", "resolution": "image", "image": (48, 64), "images": 24}
    arguments = argparse.Namespace(**requested)
    own = benchmark.write_shards(tmp_path, 24, (48, 64))
    assert read_manifest(own)["samples"] == 24
    parts = benchmark.time_parts(arguments, own, tmp_path)
    assert list(parts) == ["decode", "network", "encode"]
    assert all(value > 0 for value in parts.values())
    names = ("every core", "half of the cores", "two processes, a half each")
    rates = {
        name: {"images_per_second": rate, "core_seconds_per_image": 0.125}
        for name, rate in zip(names, (10.0, 6.0, 9.0), strict=True)
    }
    report = benchmark.summary(arguments, parts, rates, 2e5)
    assert report["efficiency_of_a_second_process"] == pytest.approx(0.75)
    hours = report["paper"]["hours_by_machines"]
    assert hours["1"] == pytest.approx(62e6 / 10 / 3600)
    assert hours["8"] == pytest.approx(62e6 / (10 * 8 * 0.75) / 3600)
    assert report["paper"]["terabytes"] == pytest.approx(12.4)
    printed = benchmark.as_tables(report)
    for words in (
        "network",
        "two processes, a half each | 9.0 | 125.0",
        "a second process adds 50 % of the first",
        "12.4 TB",
    ):
        assert words in printed


def test_process_number_selects_its_gpu():
    assert own_task({}) == Task()
    found = own_task({"RANK": "3", "WORLD_SIZE": "8"})
    assert (found.rank, found.count) == (3, 8)
    for wrong, words in (
        ({"RANK": "8", "WORLD_SIZE": "8"}, "give RANK from 0 to WORLD_SIZE - 1"),
        ({"RANK": "1"}, "give RANK from 0 to WORLD_SIZE - 1"),
        ({"RANK": "x"}, "RANK is 'x', must be a whole number"),
        ({"WORLD_SIZE": "8"}, "WORLD_SIZE is 8, but RANK is not set: set both, or neither"),
    ):
        with pytest.raises(CommandError, match=words):
            own_task(wrong)
    for environment, device, gpus, visible in (
        ({"LOCAL_RANK": "2"}, "auto", 3, "2"),
        ({"LOCAL_RANK": "2", "CUDA_VISIBLE_DEVICES": "4,6"}, "auto", 0, "4"),  # all are on the CPU
        ({"LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "4,6"}, "cuda", 2, "6"),
        ({"LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "5"}, "cuda", 1, "5"),
        ({"LOCAL_RANK": "1"}, "cpu", 0, ""),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}, "auto", 4, "1"),
        ({}, "auto", 0, None),
    ):
        choose_gpu(environment, local_rank_of(own_task(environment), environment), device, gpus)
        assert environment.get("CUDA_VISIBLE_DEVICES") == visible


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize("shown", [{}, {"CUDA_VISIBLE_DEVICES": "4,6"}])
def test_more_processes_than_gpus_are_rejected(device, shown):
    """It would be the one that labels on the CPU."""
    with pytest.raises(CommandError, match=r"process 2 .* but there are only 2 GPUs.*torchrun --nproc-per-node 2\)"):
        choose_gpu(dict(shown), 2, device, 2)


@pytest.mark.parametrize("options", [["--batch", "0"], ["--workers", "0"], ["--chunk", "0"], ["--limit-shards", "-1"]])
def test_invalid_numbers_are_rejected(shards, tmp_path, capsys, options):
    assert label(shards, tmp_path / "out", *options) == 1
    assert f"{options[0]}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("capabilities", "precision"), [((), "bf16"), (("8.6",), "bf16"), (("7.5",), "fp32"), (("9.0", "7.5"), "fp32")]
)
def test_teacher_precision_follows_device(capabilities, precision, tmp_path, monkeypatch):
    gpus = [CudaDevice(index, "GPU", capability, False) for index, capability in enumerate(capabilities)]
    monkeypatch.setattr(cuda_driver, "devices", lambda: gpus)
    torch.save(load_checkpoint(BUNDLED_FOLDER / "tiny.safetensors").state_dict(), tmp_path / "weights.pth")
    teacher = find_teacher(TeacherSettings(model=str(tmp_path / "weights.pth"), version="v2"))
    assert (teacher.precision("cuda"), teacher.precision("cpu")) == (precision, "fp32")
