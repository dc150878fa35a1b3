"""The Python interface: `Estimator` called with images, and all methods of `Prediction`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from green_network import write_green_network

import depth_anything_ros
from depth_anything_ros import Camera, Estimator, ModelError, NominalScaleWarning, PointCloud, Prediction, Scale
from depth_anything_ros.runtime.estimator import Estimator as RuntimeEstimator
from depth_anything_ros.zoo.record import ModelRecord

CAMERA_FILE = """\
image_width: {width}
image_height: {height}
camera_name: test
camera_matrix: {{rows: 3, cols: 3, data: [{focal}, 0.0, {x}, 0.0, {focal}, {y}, 0.0, 0.0, 1.0]}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}}
"""
CAMERA = Camera(600, 400, 500.0, 500.0, 299.5, 199.5)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def estimator(cache) -> Estimator:
    return Estimator("tiny", backend="onnxruntime")


@pytest.fixture(scope="module")
def photo(repository) -> Path:
    return repository / "docs" / "coffee.jpg"


@pytest.fixture(scope="module")
def prediction(estimator, photo) -> Prediction:
    return estimator(photo, camera=CAMERA)


@pytest.fixture
def green(tmp_path) -> Estimator:
    """A relative model without a nominal scale; inverse depth is the green channel."""
    return Estimator(tmp_path / "green.onnx", "onnxruntime", record=write_green_network(tmp_path / "green.onnx"))


@pytest.fixture
def metric(tmp_path) -> Estimator:
    """Meters are the green channel, for a focal length of 14 pixels at the network's 28 x 14."""
    write_green_network(tmp_path / "metric.onnx")
    record = ModelRecord("metric", "depth", "MIT", input_size=(14, 28), training_focal=14.0)
    return Estimator(tmp_path / "metric.onnx", "onnxruntime", record=record)


def gray(value: int, height: int = 30, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


class TestImport:
    def test_package_import_loads_no_library(self, repository):
        code = (
            "import sys; before = set(sys.modules)\n"
            "import depth_anything_ros as package; dir(package)\n"
            "assert not {'numpy', 'typing', 'inspect', 're'} & (set(sys.modules) - before), sys.modules\n"
            "assert {'Estimator', 'Prediction'} <= set(dir(package))\n"
            "assert not {'numpy', 'cv2', 'torch', 'onnxruntime', 'PIL'} & set(sys.modules), sys.modules\n"
            "package.Estimator\n"
            "assert not {'torch', 'onnxruntime', 'onnx', 'PIL', 'tqdm', 'rclpy'} & set(sys.modules), sys.modules\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)

    def test_every_public_name_exists_and_others_raise(self):
        for name in depth_anything_ros.__all__:
            assert getattr(depth_anything_ros, name) is not None
        with pytest.raises(AttributeError, match="has no attribute 'Estimater'; it has Camera, Estimator,"):
            depth_anything_ros.Estimater  # noqa: B018
        with pytest.raises(ImportError, match="cannot import name 'Estimater'"):
            from depth_anything_ros import Estimater  # noqa: F401

    def test_type_checking_imports_match_lazy_names(self, repository):
        source = (repository / "depth_anything_ros" / "__init__.py").read_text()
        for name, module in depth_anything_ros._MODULES.items():
            assert re.search(rf"^    from depth_anything_ros\.{module} import .*\b{name}\b", source, re.MULTILINE)
            assert name in depth_anything_ros.__all__
        assert sorted(depth_anything_ros.__all__) == sorted(depth_anything_ros._MODULES)


class TestImages:
    def test_paths_arrays_and_pillow_images_give_equal_result(self, estimator, photo, prediction):
        Image = pytest.importorskip("PIL.Image")
        pixels = cv2.imread(str(photo))[..., ::-1]
        for given in (str(photo), pixels, pixels.copy()):
            np.testing.assert_array_equal(estimator(given).values, prediction.values)
        with Image.open(photo) as image:  # whose decoder may round another way
            np.testing.assert_allclose(estimator(image).values, prediction.values, atol=0.05)

    def test_prediction_equals_node_result(self, estimator, photo, prediction):
        node = RuntimeEstimator("tiny", "onnxruntime")
        np.testing.assert_array_equal(node.estimate(cv2.imread(str(photo))[..., ::-1]), prediction.values)

    def test_list_input_gives_list_in_order(self, green):
        levels = [10, 200, 70, 30, 250, 90]
        predictions = green([gray(level, 30 + level) for level in levels])
        assert [round(float(one.values.mean())) for one in predictions] == levels
        assert [one.shape for one in predictions] == [(30 + level, 60) for level in levels]
        assert green([]) == []

    def test_size_argument_resizes_prediction_image_and_camera(self, green):
        prediction = green(gray(90), camera=Camera(60, 30, 50, 50, 29.5, 14.5), size=(15, 60))
        assert prediction.shape == (15, 60)
        assert prediction.image.shape == (15, 60, 3)
        assert (prediction.camera.fx, prediction.camera.fy) == (50, 25)

    def test_pillow_images_are_rotated_and_scaled_to_8_bit(self, green):
        Image = pytest.importorskip("PIL.Image")
        image = Image.fromarray(gray(90))
        image.getexif()[0x0112] = 6  # to be turned by 90 degrees
        assert green(image).shape == (60, 30)
        deep = Image.fromarray(np.full((30, 60), 4095 // 2, np.uint16))
        assert green(deep).values.mean() == pytest.approx(127.5, abs=1)
        assert green(Image.fromarray(gray(90)).convert("L")).values.mean() == pytest.approx(90, abs=0.1)
        with pytest.raises(ValueError, match="mode 'F'"):
            green(Image.fromarray(np.zeros((30, 60), np.float32)))

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            (np.zeros((4, 4, 3)), ValueError, "dtype float64, must be uint8"),
            (np.zeros((4, 4), np.uint8), ValueError, "must be \\(height, width, 3\\)"),
            ("absent.jpg", FileNotFoundError, "absent.jpg: no such file"),
            ("notes.txt", ValueError, "notes.txt: not a readable image"),
            (".", ValueError, "is a folder, not an image; use Estimator.stream"),
            (7, TypeError, "image is a int; give RGB uint8"),
        ],
    )
    def test_invalid_input_raises(self, green, tmp_path, monkeypatch, given, error, message):
        monkeypatch.chdir(tmp_path)
        Path("notes.txt").write_text("no picture")
        with pytest.raises(error, match=message):
            green(given)
        with pytest.raises(error, match=message):
            green([gray(1), given])

    def test_stream_reports_unreadable_files_and_continues(self, green, tmp_path, caplog):
        folder = tmp_path / "in"
        folder.mkdir()
        for name, level in (("a.png", 10), ("c.png", 30)):
            cv2.imwrite(str(folder / name), gray(level))
        (folder / "b.png").write_bytes(b"no picture")
        found = list(green.stream(folder, camera=60))
        assert [(one.name, round(float(one.values.mean()))) for one in found] == [("a", 10), ("c", 30)]
        assert found[0].source == folder / "a.png"
        assert "b.png: not a readable image" in caplog.text
        assert found[0].image.flags.c_contiguous  # as torch.from_numpy wants it
        with pytest.raises(ValueError, match="every is 0"):
            next(green.stream(folder, every=0))
        with pytest.raises(FileNotFoundError, match="absent"):
            next(green.stream("absent"))


class TestModels:
    def test_estimator_repr_describes_model(self, estimator, metric):
        assert repr(estimator).startswith("Estimator(tiny, relative inverse depth, on onnxruntime fp32, input 140x182")
        assert repr(metric) == "Estimator(metric, meters, on onnxruntime fp32, input 14x28)"

    def test_from_pretrained_equals_constructor(self, prediction, photo):
        model = Estimator.from_pretrained("tiny", backend="onnxruntime", threads=1)
        assert isinstance(model, Estimator)
        np.testing.assert_allclose(model(photo).values, prediction.values, atol=1e-4)

    def test_hub_names_are_known(self, monkeypatch, tmp_path):
        for package in ("torch", "onnx", "safetensors", "huggingface_hub"):
            pytest.importorskip(package, reason="fetches and exports")
        from hub_server import HubServer

        with HubServer() as server:  # which has nothing
            monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
            monkeypatch.setenv("HF_HOME", str(tmp_path))
            with pytest.raises(ModelError, match="depth_anything_v2_vits"):
                Estimator.from_pretrained("depth-anything/Depth-Anything-V2-Small-hf")
            asked = "/depth-anything/Depth-Anything-V2-Small/resolve/main/depth_anything_v2_vits.pth"
            assert asked in {path for _, path in server.requests}

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ("tyni", "tiny"),
            ("absent.onnx", "no such model file or folder: absent.onnx"),
            ("someone/their-depth", "hf download someone/their-depth"),
        ],
    )
    def test_invalid_model_raises_with_fix(self, model, message):
        with pytest.raises(ModelError, match=message):
            Estimator(model)

    def test_weights_without_torch_name_the_extra(self, tmp_path, monkeypatch):
        from depth_anything_ros.system import extras

        (tmp_path / "small.pth").write_bytes(b"weights")
        spec_of = extras.find_spec
        monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "torch" else spec_of(name))
        with pytest.raises(ImportError, match=r"needs torch; it comes with the extra torch: pip install '.\[torch\]'"):
            Estimator(tmp_path / "small.pth")

    @pytest.mark.parametrize("is_metric", [False, True])
    def test_transformers_folder_predicts(self, tmp_path, is_metric):
        pytest.importorskip("torch", reason="runs weights: the extra `torch`")
        safetensors = pytest.importorskip("safetensors.torch")
        from random_models import random_model

        from depth_anything_ros.zoo.encoders import ENCODERS

        taps = [tap + 1 for tap in ENCODERS["tiny"].taps["v2"]]
        backbone = {"hidden_size": 192, "num_hidden_layers": 9, "num_attention_heads": 3, "out_indices": taps}
        configuration = {"model_type": "depth_anything", "backbone_config": backbone}
        if is_metric:
            configuration |= {"depth_estimation_type": "metric", "max_depth": 20}
        folder = tmp_path / "My-Depth-Anything"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(configuration))
        (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 42, "width": 42}}))
        network = random_model("tiny", max_depth=20.0 if is_metric else None)
        safetensors.save_file(network.state_dict(), folder / "model.safetensors")
        model = Estimator.from_pretrained(folder, backend="torch", threads=1)
        prediction = model(gray(90))
        assert repr(model).startswith(f"Estimator(My-Depth-Anything, {'meters' if is_metric else 'relative'}")
        assert prediction.is_metric == is_metric
        assert prediction.record.max_depth == (20 if is_metric else None)
        assert prediction.shape == (30, 60)


class TestPrediction:
    def test_prediction_repr_describes_values(self, prediction, green, metric):
        assert repr(prediction).startswith("Prediction(600x400, relative inverse depth, 0.1")
        assert repr(prediction).endswith(", tiny on onnxruntime fp32)")
        assert prediction.unit == "inverse depth of unknown scale and shift"
        assert not prediction.is_metric
        assert repr(green(gray(7))) == "Prediction(60x30, relative inverse depth, 7 … 7, green on onnxruntime fp32)"
        uncorrected, corrected = metric(gray(7)), metric(gray(7), camera=90)
        assert "meters for the training lens, 7 … 7" in repr(uncorrected)
        assert ", meters, 7 … 7" in repr(corrected)
        assert corrected.unit == "meters"

    def test_prediction_converts_to_array(self, prediction):
        assert np.asarray(prediction) is prediction.values
        assert np.asarray(prediction, np.float64).dtype == np.float64
        assert np.array(prediction) is not prediction.values
        assert float(np.max(prediction)) == prediction.values.max()

    def test_depth_uses_given_scale(self, green):
        prediction = green(gray(100))
        for scale in (Scale(0.004, 0.1), (0.004, 0.1)):
            np.testing.assert_allclose(prediction.depth(scale), 2.0, rtol=1e-5)
        np.testing.assert_array_equal(prediction.values, 100)  # which stay as they are

    def test_depth_without_scale_raises_with_fix(self, green, tmp_path):
        prediction = green(gray(100))
        for ask in (
            prediction.depth,
            lambda: prediction.depth("nominal"),
            lambda: prediction.point_cloud(camera=60),
            lambda: prediction.save(tmp_path / "x.ply", camera=60),
            lambda: prediction.save(tmp_path / "x.png", millimeters=True),
        ):
            with pytest.raises(ValueError, match=r"green gives inverse depth of unknown scale .* give scale=Scale"):
                ask()
        assert not list(tmp_path.glob("x.*"))
        for wrong in ("metric", 3.0, (1, 2, 3), ("a", "b")):
            with pytest.raises(ValueError, match=re.escape(f"scale is {wrong!r}, must be Scale(a, b)")):
                prediction.depth(wrong)
        with pytest.raises(ValueError, match="both must be finite"):
            prediction.depth((1, float("nan")))

    def test_nominal_scale_warns_at_line_of_caller(self, prediction):
        expected = 1 / (prediction.values * prediction.record.nominal_scale[0] + prediction.record.nominal_scale[1])
        for ask in (prediction.depth, lambda: prediction.point_cloud()):
            with pytest.warns(NominalScaleWarning, match="plausible, not measured") as caught:
                ask()
            assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(prediction.depth("nominal"), expected, rtol=1e-4)

    def test_fit_scale_uses_points_of_known_distance(self, green):
        image = gray(50)
        image[:, 30:] = 200
        prediction = green(image)
        scale = prediction.fit_scale({(2, 15): 4.0, (57, 15): 1.0})
        assert (scale.a, scale.b) == pytest.approx((0.005, 0.0), abs=1e-5)
        depth = prediction.depth(scale)
        assert (depth[15, 2], depth[15, 57]) == pytest.approx((4.0, 1.0), rel=1e-4)
        known = np.where(np.arange(60) < 5, 4.0, np.where(np.arange(60) > 55, 1.0, 0.0))
        again = prediction.fit_scale(np.broadcast_to(known, (30, 60)))
        assert (again.a, again.b) == pytest.approx((scale.a, scale.b), abs=1e-5)

    @pytest.mark.parametrize(
        ("known", "message"),
        [
            ({(2, 15): 4.0}, "at least 2 pixels"),
            ({(2, 15): 1.0, (57, 15): 4.0}, "known depth decreases where predicted depth increases"),
            ({(2, 15): 1.0, (60, 0): 4.0}, "pixel \\(60, 0\\) is outside the image of 60x30"),
            (np.ones((4, 4)), "known depth has shape \\(4, 4\\), the prediction \\(30, 60\\)"),
        ],
    )
    def test_fit_scale_with_invalid_points_raises(self, green, known, message):
        image = gray(50)
        image[:, 30:] = 200
        with pytest.raises(ValueError, match=message):
            green(image).fit_scale(known)

    def test_metric_depth_is_corrected_for_lens_once(self, metric):
        """A camera of twice the focal length sees what is twice as far as the network thinks."""
        camera = Camera(28, 14, 28.0, 28.0, 13.5, 6.5)
        image = gray(10, 14, 28)
        before, after = metric(image), metric(image, camera=camera)
        np.testing.assert_allclose(before.depth(), 10)
        np.testing.assert_allclose(before.depth(camera=camera), 20)
        np.testing.assert_allclose(after.values, 20)
        np.testing.assert_allclose(after.depth(), 20)
        np.testing.assert_allclose(after.depth(camera=camera), 20)
        np.testing.assert_allclose(after.depth("nominal"), 20)
        assert np.isnan(metric(gray(0, 14, 28)).values).all()

    def test_point_cloud_points_lie_on_camera_rays(self, green):
        image = gray(100)
        cloud = green(image).point_cloud(camera=90, scale=(0.005, 0.0))
        assert isinstance(cloud, PointCloud)
        positions, colors = cloud
        assert (positions.dtype, positions.shape) == (np.float32, (1800, 3))
        assert (colors.dtype, colors.shape) == (np.uint8, (1800, 3))
        assert positions[:, 2] == pytest.approx(2.0)
        assert positions[0] == pytest.approx((-2 * 29.5 / 30, -2 * 14.5 / 30, 2.0))
        assert (colors == 100).all()
        assert repr(cloud) == "PointCloud(1800 points, x -1.97 … 1.97, y -0.967 … 0.967, z 2 … 2 meters)"
        assert repr(green(image).point_cloud(90, (0.005, 0.0), max_range=1.9)) == "PointCloud(no points)"

    def test_point_cloud_removes_flying_pixels_on_request(self, prediction):
        every, kept = (
            prediction.point_cloud(scale="nominal", remove_flying_pixels=remove).positions for remove in (False, True)
        )
        assert 0.9 * len(every) < len(kept) < len(every)

    def test_camera_argument_may_be_file_and_must_fit(self, green, tmp_path):
        path = tmp_path / "camera.yaml"
        path.write_text(CAMERA_FILE.format(width=60, height=30, focal=50.0, x=29.5, y=14.5))
        for camera in (path, str(path), Camera(60, 30, 50, 50, 29.5, 14.5), Camera(120, 60, 100, 100, 59.5, 29.5)):
            assert green(gray(9), camera=camera).camera == Camera(60, 30, 50, 50, 29.5, 14.5)
        with pytest.raises(ValueError, match="the image is 40x40, the calibration is for 60x30"):
            green(gray(9, 40, 40), camera=path)
        with pytest.raises(ValueError, match="a point cloud needs a camera: give camera=60"):
            green(gray(9)).point_cloud(scale=(1, 0))
        with pytest.raises(TypeError, match="camera is a list; give a Camera"):
            green(gray(9), camera=[60])

    @pytest.mark.parametrize(("output", "unit"), [("inverse_depth", "inverse depth of unknown"), ("depth", "meters")])
    def test_prediction_has_confidence_of_model(self, tmp_path, output, unit):
        from confidence_models import write_confidence_model

        model = Estimator(write_confidence_model(tmp_path / "sure.onnx", (14, 28), output), "onnxruntime")
        image = gray(255)
        image[..., 1] = 51
        for prediction in (model(image), *model([image, image])):
            np.testing.assert_allclose(prediction.values, 1.0, rtol=1e-5)
            np.testing.assert_allclose(prediction.confidence, 0.2, rtol=1e-5)
            assert prediction.unit.startswith(unit)
        np.testing.assert_allclose(np.load(prediction.save(tmp_path / "x.npz"))["confidence"], 0.2, rtol=1e-5)

    def test_relative_depth_model_gives_depth_of_unknown_scale(self, tmp_path):
        """Depth of unknown scale: larger is farther, and meters are a times it."""
        write_green_network(tmp_path / "depth.onnx")
        record = ModelRecord("depth", "depth", "MIT", input_size=(14, 28), scale="depth_scale")
        prediction = Estimator(tmp_path / "depth.onnx", "onnxruntime", record=record)(gray(50))
        assert repr(prediction) == "Prediction(60x30, relative depth, 50 … 50, depth on onnxruntime fp32)"
        np.testing.assert_allclose(prediction.depth((0.1, 0)), 5.0, rtol=1e-5)
        with pytest.raises(ValueError, match="scales are fitted to inverse depth only"):
            prediction.fit_scale({(0, 0): 1.0, (1, 1): 2.0})


class TestFiles:
    def test_save_array_writes_values_or_scaled_depth(self, green, tmp_path):
        prediction = green(gray(100), camera=60)
        for ending in ("npy", "npz", "tif"):
            for scale, expected in ((None, 100.0), ((0.005, 0.0), 2.0)):
                path = prediction.save(tmp_path / f"x.{ending}", scale=scale)
                values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if ending == "tif" else np.load(path)
                if ending == "npz":
                    assert ModelRecord.from_json(str(values["record"])) == prediction.record
                    np.testing.assert_array_equal(values["camera_matrix"], prediction.camera.matrix)
                    values = values["values"]
                assert (values.dtype, values.shape) == (np.float32, (30, 60))
                np.testing.assert_allclose(values, expected, rtol=1e-5)

    def test_save_exr_writes_values(self, green, tmp_path):
        OpenEXR = pytest.importorskip("OpenEXR", reason="the extra `data`")
        path = green(gray(100)).save(tmp_path / "x.exr")
        with OpenEXR.File(str(path)) as file:
            np.testing.assert_array_equal(file.channels()["Y"].pixels, np.full((30, 60), 100, np.float32))

    def test_save_png_writes_millimeters(self, green, tmp_path):
        path = green(gray(100)).save(tmp_path / "x.png", scale=(0.005, 0.0), millimeters=True)
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert (pixels.dtype, set(pixels.ravel())) == (np.uint16, {2000})

    def test_colored_prediction_is_equal_in_all_outputs(self, green, tmp_path):
        ramp = gray(0)
        ramp[...] = np.linspace(20, 250, 60, dtype=np.uint8)[:, np.newaxis]
        prediction = green(ramp)
        colored = prediction.colored()
        warmth = colored[..., 0].astype(int) - colored[..., 2]
        assert warmth[:, -5:].mean() > warmth[:, :5].mean() + 50
        for ending in ("png", "jpg"):
            picture = cv2.imread(str(prediction.save(str(tmp_path / f"x.{ending}"))))[..., ::-1]
            assert np.abs(picture.astype(int) - colored).mean() < 10
        shown = cv2.imdecode(np.frombuffer(prediction._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(shown[..., ::-1], colored)
        pytest.importorskip("PIL")
        np.testing.assert_array_equal(np.asarray(prediction.to_image()), colored)

    def test_notebook_preview_is_downscaled(self, green):
        shown = cv2.imdecode(np.frombuffer(green(gray(9, 30, 4000))._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape[1] == 1024

    def test_save_ply_writes_point_cloud(self, green, tmp_path):
        prediction = green(gray(100), camera=60)
        path = prediction.save(tmp_path / "x.ply", scale=(0.005, 0.0))
        assert b"element vertex 1800\n" in path.read_bytes()
        with pytest.raises(ValueError, match=r"point clouds are written as \.ply"):
            prediction.point_cloud(scale=(0.005, 0.0)).save(tmp_path / "x.pcd")

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("x.pngg", {}, r"x\.pngg: cannot write \.pngg: did you mean \.png"),
            ("x", {}, r"cannot write a file without an extension; give \.png, \.jpg"),
            ("x.npy", {"millimeters": True}, r"millimeters are written as 16-bit \.png"),
        ],
    )
    def test_save_with_invalid_arguments_raises_and_leaves_no_file(self, green, tmp_path, name, options, message):
        with pytest.raises(ValueError, match=message):
            green(gray(9)).save(tmp_path / name, **options)
        with pytest.raises(ValueError, match=r"cannot write 70000x30 pixels as \.jpg; save a \.png"):
            green(gray(9, 30, 70_000)).save(tmp_path / "x.jpg")
        with pytest.raises(OSError, match="absent"):
            green(gray(9)).save(tmp_path / "absent" / "x.png")
        assert not list(tmp_path.glob("x*"))

    def test_predict_command_writes_equal_files(self, photo, tmp_path, prediction):
        from depth_anything_ros.cli import main

        words = ["predict", photo, "--backend", "onnxruntime", "--output", tmp_path / "out"]
        words += ["--save", "npy", "png", "ply"]
        camera = CAMERA_FILE.format(width=600, height=400, focal=500.0, x=299.5, y=199.5)
        (tmp_path / "camera.yaml").write_text(camera)
        assert main([str(word) for word in [*words, "--camera", tmp_path / "camera.yaml"]]) == 0
        for ending in ("npy", "png", "ply"):
            ours = prediction.save(tmp_path / f"coffee.{ending}", scale="nominal" if ending == "ply" else None)
            assert ours.read_bytes() == (tmp_path / "out" / f"coffee.{ending}").read_bytes(), ending
