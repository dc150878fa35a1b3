"""Labels: equal to the network's output, at the requested size, readable by training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="labeling needs the `train` extra")
pytest.importorskip("webdataset", reason="labeling needs the `train` extra")
pytest.importorskip("pydantic", reason="labeling needs the `train` extra")

from labeling_runs import BATCH, IMAGES, PER_SHARD, TURNED, decoded, label, pack_pictures, scene  # noqa: E402
from miniature_files import put  # noqa: E402
from waiting import limit  # noqa: E402

from depth_anything_ros.data.shard_samples import keys_of, shard_image  # noqa: E402
from depth_anything_ros.data.shard_source import ShardSource  # noqa: E402
from depth_anything_ros.data.shards import read_manifest  # noqa: E402
from depth_anything_ros.images.resizing import resize_image, resize_map  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint  # noqa: E402
from depth_anything_ros.pseudo_labels.chunks import decode  # noqa: E402
from depth_anything_ros.pseudo_labels.folder import Labeling  # noqa: E402
from depth_anything_ros.pseudo_labels.open_teacher import one_thread_each  # noqa: E402
from depth_anything_ros.pseudo_labels.statistics import Statistics  # noqa: E402
from depth_anything_ros.runtime.cuda import driver as cuda_driver  # noqa: E402
from depth_anything_ros.runtime.cuda.driver import CudaDevice  # noqa: E402
from depth_anything_ros.runtime.estimator import Estimator  # noqa: E402
from depth_anything_ros.training.settings import TeacherSettings  # noqa: E402
from depth_anything_ros.training.teachers.identity import find_teacher  # noqa: E402
from depth_anything_ros.training.teachers.networks import TorchTeacher  # noqa: E402
from depth_anything_ros.visualization.captions import LINE, RULE  # noqa: E402
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER  # noqa: E402


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


@pytest.mark.parametrize(
    ("capabilities", "precision"), [((), "bf16"), (("8.6",), "bf16"), (("7.5",), "fp32"), (("9.0", "7.5"), "fp32")]
)
def test_teacher_precision_follows_device(capabilities, precision, tmp_path, monkeypatch):
    gpus = [CudaDevice(index, "GPU", capability, False) for index, capability in enumerate(capabilities)]
    monkeypatch.setattr(cuda_driver, "devices", lambda: gpus)
    torch.save(load_checkpoint(BUNDLED_FOLDER / "tiny.safetensors").state_dict(), tmp_path / "weights.pth")
    teacher = find_teacher(TeacherSettings(model=str(tmp_path / "weights.pth"), version="v2"))
    assert (teacher.precision("cuda"), teacher.precision("cpu")) == (precision, "fp32")
