"""The estimator on ONNX Runtime: accepted and rejected input, and correct pixels."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")

from onnx import helper
from small_graphs import normalized_graph, red_graph, relative_record, save_graph
from waiting import limit

from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.zoo.catalog import known_models
from depth_anything_ros.zoo.record import METADATA_KEY, ModelFile, ModelRecord

SIZE = (24, 32)


@pytest.fixture
def red(tmp_path) -> Path:
    """A model whose inverse depth is the image's red channel."""
    return save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")


@pytest.fixture
def folder(tmp_path) -> Path:
    """The layout of the bundled model: a record and a graph for each of three aspect ratios."""
    files = []
    for height, width in ((24, 32), (18, 32), (12, 40)):
        path = tmp_path / f"red_{height}x{width}.onnx"
        save_graph(red_graph((height, width)), path)
        files.append(ModelFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), (height, width)))
    record = relative_record(input_size=(24, 32), files=tuple(files))
    (tmp_path / "record.json").write_text(record.to_json())
    return tmp_path


def image_of(height: int, width: int, color: tuple[int, int, int] = (200, 50, 10)) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def photograph(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth image that differs in every channel and direction."""
    rows, columns = np.mgrid[:height, :width]
    channels = [rows * 255 / height, columns * 255 / width, (rows + columns) * 255 / (height + width)]
    return np.stack(channels, axis=-1).astype(np.uint8)


class TestEstimate:
    def test_estimate_returns_float32_of_image_size(self, red):
        values = Estimator(red).estimate(image_of(48, 64))
        assert values.dtype == np.float32
        assert values.shape == (48, 64)
        assert np.all(values == 200)

    def test_estimate_returns_requested_size(self, red):
        assert Estimator(red).estimate(image_of(48, 64), size=(7, 9)).shape == (7, 9)

    @pytest.mark.parametrize(
        "view",
        [
            pytest.param(lambda image: image[..., ::-1].copy()[..., ::-1], id="BGR seen as RGB"),
            pytest.param(lambda image: np.pad(image, ((3, 5), (7, 2), (0, 0)))[3:-5, 7:-2], id="crop"),
            pytest.param(lambda image: np.pad(image, ((0, 0), (0, 0), (0, 1)))[..., :3], id="without alpha"),
            pytest.param(lambda image: image[::-1, ::-1].copy()[::-1, ::-1], id="rotated"),
            pytest.param(np.asfortranarray, id="column-major"),
        ],
    )
    def test_image_views_give_equal_depth(self, red, view):
        estimator, image = Estimator(red), photograph()
        seen = view(image)
        assert np.array_equal(seen, image)
        assert np.array_equal(estimator.estimate(seen), estimator.estimate(image))

    def test_estimate_leaves_image_unchanged(self, red):
        image = photograph()
        before = image.copy()
        Estimator(red).estimate(image[..., ::-1])
        assert np.array_equal(image, before)

    def test_later_image_keeps_earlier_result(self, red):
        estimator = Estimator(red)
        for size in ((48, 64), SIZE):  # resized, and straight from the network
            first = estimator.estimate(image_of(48, 64), size=size)
            estimator.estimate(image_of(48, 64, (1, 1, 1)), size=size)
            assert np.all(first == 200)

    def test_estimate_fills_out(self, red):
        estimator = Estimator(red)
        out = np.zeros((48, 64), np.float32)
        assert estimator.estimate(photograph(), out=out) is out
        assert np.array_equal(out, estimator.estimate(photograph()))
        padded = np.zeros((48, 70), np.float32)
        estimator.estimate(photograph(), out=padded[:, 3:67])
        assert np.array_equal(padded[:, 3:67], out)
        assert not padded[:, :3].any()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"image": np.zeros((4, 4, 3), np.float32)}, "dtype float32"),
            ({"image": np.zeros((4, 4), np.uint8)}, r"shape \(4, 4\)"),
            ({"image": np.zeros((4, 4, 4), np.uint8)}, r"shape \(4, 4, 4\)"),
            ({"image": np.zeros((0, 4, 3), np.uint8)}, "empty"),
            ({"image": [[1, 2, 3]]}, "is a list"),
            ({"image": image_of(4, 4), "size": (0, 4)}, r"size is \(0, 4\)"),
            ({"image": image_of(4, 4), "out": np.zeros((4, 5), np.float32)}, "out is"),
            ({"image": image_of(4, 4), "out": np.zeros((4, 4), np.float64)}, "out is float64"),
        ],
    )
    def test_invalid_image_size_or_out_raises(self, red, arguments, message):
        with pytest.raises(ValueError, match=message):
            Estimator(red).estimate(**arguments)

    def test_host_normalization_follows_record(self, tmp_path):
        record = relative_record(input="float_nchw", input_size=SIZE)
        image = image_of(48, 64)
        for channel in range(3):
            path = save_graph(normalized_graph(SIZE, channel, record), tmp_path / f"{channel}.onnx")
            values = Estimator(path).estimate(image)
            expected = (image[0, 0, channel] / 255 - record.mean[channel]) / record.std[channel]
            assert values == pytest.approx(np.full((48, 64), expected), abs=1e-6)


class TestSizes:
    @pytest.mark.parametrize(
        ("image", "network"), [((480, 640), (24, 32)), ((720, 1280), (18, 32)), ((375, 1242), (12, 40))]
    )
    def test_nearest_aspect_ratio_is_selected(self, folder, image, network):
        assert Estimator(folder).input_size_for(*image) == network

    def test_images_of_changing_size_work(self, folder):
        estimator = Estimator(folder)
        for height, width in ((48, 64), (36, 64), (37, 123), (1, 1), (48, 64)):
            values = estimator.estimate(image_of(height, width))
            assert values.shape == (height, width)
            assert np.all(values == 200)

    def test_graphs_are_loaded_on_first_use(self, folder):
        estimator = Estimator(folder)
        (folder / "red_12x40.onnx").unlink()
        assert estimator.estimate(image_of(48, 64)).shape == (48, 64)
        with pytest.raises(ModelError, match=r"red_12x40\.onnx"):
            estimator.estimate(image_of(12, 40))

    def test_size_argument_selects_one_graph(self, folder):
        estimator = Estimator(folder, size=(12, 40))
        assert estimator.input_size_for(480, 640) == (12, 40)

    def test_known_weights_are_rejected_before_download(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
        with pytest.raises(ModelError, match="depth_anything_ros build depth_anything_v2_vitl"):
            Estimator("depth_anything_v2_vitl")
        assert not (tmp_path / "cache").exists()

    def test_unavailable_size_is_rejected_with_list(self, folder, red):
        with pytest.raises(ModelError, match="24x32, 18x32, 12x40"):
            Estimator(folder, size=(14, 14))
        with pytest.raises(ModelError, match="only for 24x32"):
            Estimator(red, size=(14, 14))

    def test_graph_of_free_size_uses_aspect_ratio_of_image(self, tmp_path):
        record = relative_record(input_size=(56, 56), input_multiple=14)
        estimator = Estimator(save_graph(red_graph(None, record), tmp_path / "free.onnx"))
        assert estimator.input_size_for(480, 640) == (56, 70)
        assert estimator.estimate(image_of(480, 640)).shape == (480, 640)

    @pytest.mark.parametrize(
        ("image", "network"),
        [((375, 1242), (56, 182)), ((20, 400), (56, 224)), ((400, 20), (224, 56)), ((1, 4000), (56, 224))],
    )
    def test_graph_of_free_size_limits_extreme_aspect_ratios(self, tmp_path, image, network):
        record = relative_record(input_size=(56, 56), input_multiple=14)
        estimator = Estimator(save_graph(red_graph(None, record), tmp_path / "free.onnx"))
        assert estimator.input_size_for(*image) == network
        values = estimator.estimate(image_of(*image))
        assert values.shape == image
        assert np.all(values == 200)

    def test_graph_with_fixed_output_and_free_input_is_rejected(self, tmp_path):
        model = red_graph(None, relative_record(input_size=SIZE), baked=SIZE)
        path = save_graph(model, tmp_path / "baked.onnx")
        with pytest.raises(ModelError, match=r"gave an output of \(24, 32\)"):
            Estimator(path)
        assert Estimator(path, size=SIZE).estimate(image_of(48, 64)).shape == (48, 64)


class TestRecords:
    def test_record_inside_graph_is_used(self, red):
        assert Estimator(red).record == relative_record(input_size=SIZE)

    def test_record_next_to_graph_is_used(self, tmp_path):
        path = save_graph(red_graph(SIZE), tmp_path / "net.onnx")
        (tmp_path / "net.record.json").write_text(relative_record("beside", input_size=SIZE).to_json())
        assert Estimator(path).record.name == "beside"

    def test_record_argument_takes_precedence(self, red, tmp_path):
        record = relative_record("given", input_size=SIZE)
        assert Estimator(red, record=record).record is record
        file = tmp_path / "given.json"
        file.write_text(record.to_json())
        assert Estimator(red, record=file).record == record

    def test_missing_record_is_rejected_with_fix(self, tmp_path):
        path = save_graph(red_graph(SIZE), tmp_path / "net.onnx")
        with pytest.raises(ModelError, match=r"net\.record\.json"):
            Estimator(path)

    @pytest.mark.parametrize("text", ["{", '{"name": "x"}', '{"name": "x", "output": "disparity", "license": "MIT"}'])
    def test_malformed_record_is_rejected(self, tmp_path, text):
        path = save_graph(red_graph(SIZE), tmp_path / "net.onnx")
        (tmp_path / "net.record.json").write_text(text)
        with pytest.raises(ModelError, match=r"net\.record\.json"):
            Estimator(path)

    def test_record_of_other_layout_is_rejected(self, red):
        with pytest.raises(ModelError, match="float_nchw"):
            Estimator(red, record=relative_record(input="float_nchw", input_size=SIZE))

    def test_folder_with_graph_of_other_size_is_rejected(self, folder):
        shutil.copy(folder / "red_12x40.onnx", folder / "red_24x32.onnx")
        record = ModelRecord.read(folder / "record.json")
        unhashed = tuple(replace(file, sha256=None) for file in record.files)
        (folder / "record.json").write_text(replace(record, files=unhashed).to_json())
        with pytest.raises(ModelError, match=r"\(12, 40\)"):
            Estimator(folder)

    @pytest.mark.parametrize("way", ["in the folder", "given"])
    def test_record_may_have_another_scale_rate_than_the_graph(self, folder, tmp_path, way):
        """It describes where the model is used, not the network."""
        record = replace(ModelRecord.read(folder / "record.json"), scale_rate=0.12)
        path = tmp_path / "calibrated.json" if way == "given" else folder / "record.json"
        path.write_text(record.to_json())
        assert Estimator(folder, record=path if way == "given" else None).record.scale_rate == 0.12

    def test_provenance_names_model_file_and_backend(self, red):
        provenance = Estimator(red, backend="onnxruntime").provenance
        assert "red (inverse_depth)" in provenance
        assert str(red) in provenance
        assert "onnxruntime" in provenance

    def test_names_for_people_have_no_path_of_the_package(self, red):
        estimator = Estimator(red, backend="onnxruntime")
        assert estimator.summary == f"red on onnxruntime {estimator.precision}"
        if known_models()["tiny"].files:
            assert Estimator("tiny", backend="onnxruntime").provenance.startswith("tiny (inverse_depth), bundled, on ")


class TestDamage:
    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda content: b"", id="empty"),
            pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
            pytest.param(lambda content: b"<html>404</html>" * 9, id="another format"),
        ],
    )
    def test_damaged_graph_is_rejected_with_name(self, red, damage):
        red.write_bytes(damage(red.read_bytes()))
        with pytest.raises(ModelError, match=r"red\.onnx"):
            Estimator(red)

    def test_missing_model_file_is_named(self, tmp_path):
        with pytest.raises(ModelError, match=r"nowhere\.onnx"):
            Estimator(tmp_path / "nowhere.onnx")

    def test_unknown_model_name_is_named(self):
        with pytest.raises(ModelError, match="nobody_knows"):
            Estimator("nobody_knows")

    @pytest.mark.parametrize("name", ["red_24x32.onnx", "red_12x40.onnx"])
    def test_wrong_hash_is_rejected_before_load(self, folder, name):
        path = folder / name
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(ModelError, match=f"{name}.*SHA-256"):
            Estimator(folder)

    def test_missing_file_of_folder_is_named(self, folder):
        (folder / "red_18x32.onnx").unlink()
        with pytest.raises(ModelError, match=r"red_18x32\.onnx is missing"):
            Estimator(folder)

    def test_weights_file_is_rejected_with_build_command(self, tmp_path):
        path = tmp_path / "weights.pth"
        path.write_bytes(b"weights")
        with pytest.raises(ModelError, match="run once: depth_anything_ros build"):
            Estimator(path)

    def test_network_that_returns_only_nan_is_rejected(self, tmp_path):
        model = red_graph(SIZE, relative_record(input_size=SIZE), gain=float("nan"))
        with pytest.raises(ModelError, match="NaN"):
            Estimator(save_graph(model, tmp_path / "nan.onnx"))


class TestBackends:
    def test_unknown_backend_is_rejected_with_list(self, red):
        with pytest.raises(ValueError, match=r"auto, tensorrt, .*openvino, onnxruntime"):
            Estimator(red, backend="abacus")

    def test_zero_threads_is_rejected(self, red):
        with pytest.raises(ValueError, match="threads is 0"):
            Estimator(red, threads=0)

    def test_backend_name_is_reported(self, red):
        assert Estimator(red, backend="onnxruntime", threads=1).backend_name == "onnxruntime"


@pytest.mark.parametrize("name", ["../../escape", "/tmp/escape", "a/../../escape"])
@pytest.mark.parametrize("place", ["within", "beside", "folder"])
def test_record_name_that_is_a_path_is_rejected(tmp_path, name, place):
    """Engines and files are named after it; wherever the record comes from."""
    folder = tmp_path / "model"
    folder.mkdir()
    sound = relative_record("red", input_size=(4, 6), files=(ModelFile("red.onnx", None, (4, 6)),))
    text = sound.to_json().replace('"name": "red"', f'"name": {json.dumps(name)}')
    assert text != sound.to_json()
    graph = red_graph((4, 6))
    if place == "within":
        helper.set_model_props(graph, {METADATA_KEY: text})
    save_graph(graph, folder / "red.onnx")
    if place != "within":
        (folder / ("red.record.json" if place == "beside" else "record.json")).write_text(text)
    with pytest.raises(ModelError, match="a name may hold letters, digits"):
        Estimator(folder if place == "folder" else folder / "red.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_estimator_imports_neither_torch_nor_ros(red):
    program = (
        "import sys, numpy\n"
        "from depth_anything_ros.runtime.estimator import Estimator\n"
        "Estimator(sys.argv[1]).estimate(numpy.zeros((48, 64, 3), numpy.uint8))\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, red], capture_output=True, text=True, check=True, timeout=limit(60)
    )
    imported = set(done.stdout.split())
    assert imported & {"onnxruntime", "openvino"}
    assert not imported & {"torch", "rclpy", "onnx"}


def test_fastdepth_gives_meters_near_kinect(shared, repository):
    """A peer's network with a record of ours: its meters must be near the Kinect's."""
    estimator = Estimator(
        shared / "models" / "fastdepth_nyu_224x224.onnx",
        record=repository / "config" / "records" / "fastdepth_nyu_224x224.json",
    )
    assert estimator.record.is_metric
    frame = shared / "data" / "nyuv2"
    bgr = cv2.imread(str(frame / "rgb" / "rgb_00000.jpg"))
    truth = cv2.imread(str(frame / "depth" / "sync_depth_00000.png"), cv2.IMREAD_UNCHANGED) / 1000
    depth = estimator.estimate(bgr[..., ::-1])
    valid = (truth > 0) & (truth < 10)
    error = np.abs(depth - truth)[valid] / truth[valid]
    assert error.mean() < 0.3


def test_bundled_model_runs():
    if "tiny" not in known_models():
        pytest.skip("the bundled model is not part of this checkout")
    estimator = Estimator()
    assert estimator.record.nominal_scale is not None
    values = estimator.estimate(photograph(480, 640))
    assert values.shape == (480, 640)
    assert np.isfinite(values).all()
    assert values.std() > 0
