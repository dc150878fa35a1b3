"""`predict`, from real files to real files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import damaged_files
import numpy as np
import pytest
from damaged_files import huge_jpeg, huge_png
from folder_holder import held
from miniature_files import put
from ply_files import read_ply

pytest.importorskip("onnx", reason="builds the graphs that are run")

from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.cli import main
from depth_anything_ros.images.frame_reader import list_sources, read_frames
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.precision_choice import choices
from depth_anything_ros.system.output_folder import PREDICTIONS

SIZE = (24, 32)
CAMERA = """\
image_width: 64
image_height: 48
camera_name: test
camera_matrix: {rows: 3, cols: 3, data: [50.0, 0.0, 30.0, 0.0, 50.0, 20.0, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""


@pytest.fixture
def relative(tmp_path) -> Path:
    """A model whose inverse depth is the red channel."""
    record = relative_record(input_size=SIZE, nominal_scale=(0.01, 0.0))
    return save_graph(red_graph(SIZE, record), tmp_path / "relative.onnx")


@pytest.fixture
def metric(tmp_path) -> Path:
    """A model whose meters are a fiftieth of the red channel."""
    record = relative_record("meters", output="depth", input_size=SIZE)
    return save_graph(red_graph(SIZE, record, gain=0.02), tmp_path / "metric.onnx")


def write_image(path: Path, height: int = 48, width: int = 64, rgb: tuple[int, int, int] = (100, 20, 220)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), rgb[::-1], np.uint8))
    return path


def write_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), (0, 0, 20 * number), np.uint8))
    writer.release()
    return path


def predict(*arguments: object) -> int:
    return main(["predict", *map(str, arguments)])


def shown_in(folder: Path) -> set[str]:
    """Return the names of the visible files in a folder."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


class TestProducts:
    def test_saved_arrays_have_image_size(self, relative, tmp_path):
        image = write_image(tmp_path / "in" / "one.png", 30, 50)
        assert predict(image, "--model", relative, "--output", tmp_path / "out", "--save", "npy") == 0
        values = np.load(tmp_path / "out" / "one.npy")
        assert values.dtype == np.float32
        assert values.shape == (30, 50)
        assert np.all(values == 100)
        assert shown_in(tmp_path / "out") == {"one.npy", "predict.json"}

    def test_input_range_applies_to_16_bit_images(self, relative, tmp_path):
        deep = np.zeros((48, 64, 3), np.uint16)
        deep[..., 2] = np.linspace(0, 4095, 64)  # of 12 bits
        assert cv2.imwrite(str(tmp_path / "deep.png"), deep)
        for given, expected in (((), deep >> 4), (("--input-range", "0,2047"), np.minimum(deep >> 3, 255))):
            assert predict(tmp_path / "deep.png", "--model", relative, "--output", tmp_path / "out", *given) == 0
            values = np.load(tmp_path / "out" / "deep.npy")
            assert np.abs(values - expected[..., 2]).max() <= 4.5  # it was resized to the network's width and back
        with pytest.raises(SystemExit):
            predict(tmp_path / "deep.png", "--model", relative, "--output", tmp_path / "out", "--input-range", "9,7")

    def test_trailing_bytes_are_ignored_and_half_file_is_rejected(self, relative, tmp_path):
        whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))[1].tobytes()
        (tmp_path / "buffer.jpg").write_bytes(whole + bytes(200_000))
        (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2] + bytes(200_000))
        images = [tmp_path / "buffer.jpg", tmp_path / "half.jpg"]
        assert predict(*images, "--model", relative, "--output", tmp_path / "out") == 1
        report = json.loads((tmp_path / "out" / "predict.json").read_text())
        assert [Path(entry["source"]).name for entry in report["files"]] == ["buffer.jpg"]
        assert "it is truncated" in report["failed"][0]["error"]

    @pytest.mark.parametrize("model", ["relative", "metric"])
    def test_images_show_near_in_warm_colors(self, request, tmp_path, model):
        """Inverse depth grows to the right in the relative model, depth in the metric one."""
        ramp = np.zeros((48, 64, 3), np.uint8)
        ramp[..., 2] = np.linspace(20, 250, 64)
        cv2.imwrite(str(tmp_path / "ramp.png"), ramp)
        path = request.getfixturevalue(model)
        assert predict(tmp_path / "ramp.png", "--model", path, "--output", tmp_path / "out") == 0
        picture = cv2.imread(str(tmp_path / "out" / "ramp.png"))[..., ::-1].astype(int)
        assert picture.shape == (48, 64, 3)
        warmth = picture[..., 0] - picture[..., 2]
        left, right = warmth[:, :5].mean(), warmth[:, -5:].mean()
        assert right > left + 50 if model == "relative" else left > right + 50

    def test_cloud_of_metric_model_is_in_meters(self, metric, tmp_path):
        image = write_image(tmp_path / "plane.png")
        arguments = ["--model", metric, "--output", tmp_path / "out", "--save", "ply", "--fov", 90]
        assert predict(image, *arguments) == 0
        points = read_ply(tmp_path / "out" / "plane.ply")
        assert len(points) == 48 * 64
        assert points["z"] == pytest.approx(2.0, abs=1e-6)
        assert points["x"].max() == pytest.approx(2 * 31.5 / 32, abs=1e-5)  # 90 degrees between the outer edges
        assert points["y"].min() == pytest.approx(-2 * 23.5 / 32, abs=1e-5)
        assert (points["red"][0], points["green"][0], points["blue"][0]) == (100, 20, 220)

    def test_cloud_uses_calibration_at_image_size(self, metric, tmp_path):
        camera = tmp_path / "camera.yaml"
        camera.write_text(CAMERA)
        image = write_image(tmp_path / "plane.png", 96, 128)
        arguments = ["--model", metric, "--output", tmp_path / "out", "--save", "ply", "--camera", camera]
        assert predict(image, *arguments) == 0
        points = read_ply(tmp_path / "out" / "plane.ply")
        assert points["x"].min() == pytest.approx(-2 * (30.5 * 2 - 0.5) / 100, abs=1e-5)
        assert points["y"].min() == pytest.approx(-2 * (20.5 * 2 - 0.5) / 100, abs=1e-5)

    def test_cloud_uses_projection_matrix(self, metric, tmp_path):
        camera = tmp_path / "camera.yaml"
        projection = "{rows: 3, cols: 4, data: [40.0, 0.0, 30.0, 0.0, 0.0, 40.0, 20.0, 0.0, 0.0, 0.0, 1.0, 0.0]}"
        camera.write_text(f"{CAMERA}projection_matrix: {projection}\n")
        image = write_image(tmp_path / "plane.png")
        arguments = ["--model", metric, "--output", tmp_path / "out", "--save", "ply", "--camera", camera]
        assert predict(image, *arguments) == 0
        assert read_ply(tmp_path / "out" / "plane.ply")["x"].min() == pytest.approx(-2 * 30 / 40, abs=1e-5)

    @pytest.mark.parametrize(
        ("scale", "depth", "source"), [([], 1.0, "nominal"), (["--scale", "0.004,0.1"], 2.0, "given")]
    )
    def test_cloud_uses_nominal_or_given_scale(self, relative, tmp_path, capsys, scale, depth, source):
        image = write_image(tmp_path / "plane.png")
        arguments = ["--model", relative, "--output", tmp_path / "out", "--save", "ply", "--fov", 60, *scale]
        assert predict(image, *arguments) == 0
        assert read_ply(tmp_path / "out" / "plane.ply")["z"] == pytest.approx(depth, rel=1e-5)
        assert source in capsys.readouterr().err
        report = json.loads((tmp_path / "out" / "predict.json").read_text())
        assert report["cloud_scale"]["source"].startswith(source)

    def test_cloud_excludes_points_beyond_max_range(self, metric, tmp_path):
        image = write_image(tmp_path / "plane.png")
        arguments = ["--output", tmp_path / "out", "--save", "ply", "--fov", 60, "--max-range", 1.9]
        assert predict(image, "--model", metric, *arguments) == 0
        assert len(read_ply(tmp_path / "out" / "plane.ply")) == 0


class TestInputs:
    def test_folders_images_and_videos_are_predicted_together(self, relative, tmp_path):
        folder = tmp_path / "in"
        write_image(folder / "b.jpg")
        write_image(folder / "a.PNG")
        (folder / "notes.txt").write_text("not an image")
        video = write_video(tmp_path / "drive.avi", 5)
        arguments = ["--model", relative, "--output", tmp_path / "out", "--save", "npy", "--every", 2]
        assert predict(folder, video, *arguments) == 0
        names = sorted(path.name for path in (tmp_path / "out").glob("*.npy"))
        assert names == ["a.npy", "b.npy", "drive_000000.npy", "drive_000002.npy", "drive_000004.npy"]
        assert np.load(tmp_path / "out" / "drive_000004.npy").mean() == pytest.approx(80, abs=6)

    def test_equal_file_names_get_distinct_outputs(self, relative, tmp_path):
        first = write_image(tmp_path / "a" / "x.png", rgb=(10, 0, 0))
        second = write_image(tmp_path / "b" / "x.png", rgb=(90, 0, 0))
        assert predict(first, second, "--model", relative, "--output", tmp_path / "out") == 0
        assert np.load(tmp_path / "out" / "x.npy").mean() == 10
        assert np.load(tmp_path / "out" / "x_2.npy").mean() == 90
        report = json.loads((tmp_path / "out" / "predict.json").read_text())
        assert [(entry["source"], entry["npy"]) for entry in report["files"]] == [
            (str(first), "x.npy"),
            (str(second), "x_2.npy"),
        ]

    def test_output_stems_are_always_distinct(self, tmp_path):
        paths = [write_image(tmp_path / folder / name) for folder, name in (("a", "x.png"), ("b", "x.png"))]
        paths += [write_image(tmp_path / "x_2.png"), write_image(tmp_path / "film_000001.png")]
        paths.append(write_video(tmp_path / "film.avi", 3))
        stems = [frame.stem for frame in read_frames(list_sources(paths))]
        assert len(stems) == 7
        assert len(set(stems)) == 7

    @pytest.mark.parametrize(
        ("name", "content"), [("cut.png", "half"), ("empty.jpg", b""), ("text.png", b"hello"), ("film.mp4", b"no")]
    )
    def test_unreadable_file_fails_alone(self, relative, tmp_path, capsys, name, content):
        folder = tmp_path / "in"
        first, last = write_image(folder / "a.png"), write_image(folder / "z.png")
        if content == "half":  # of a header: what is cut later, decoders fill up
            content = first.read_bytes()[:20]
        (folder / name).write_bytes(content)
        assert predict(folder, "--model", relative, "--output", tmp_path / "out") == 1
        assert (tmp_path / "out" / "a.npy").is_file()
        assert (tmp_path / "out" / "z.npy").is_file()
        assert name in capsys.readouterr().err
        report = json.loads((tmp_path / "out" / "predict.json").read_text())
        assert [entry["source"] for entry in report["files"]] == [str(first), str(last)]
        assert [Path(entry["source"]).name for entry in report["failed"]] == [name]

    def test_image_that_does_not_fit_calibration_fails_alone(self, metric, tmp_path):
        (tmp_path / "camera.yaml").write_text(CAMERA)
        folder = tmp_path / "in"
        write_image(folder / "a.png", 64, 64)
        write_image(folder / "b.png", 48, 64)
        arguments = ["--model", metric, "--save", "ply", "--camera", tmp_path / "camera.yaml"]
        assert predict(folder, *arguments, "--output", tmp_path / "out") == 1
        assert shown_in(tmp_path / "out") == {"b.ply", "predict.json"}

    def test_image_with_huge_declared_size_fails_alone(self, relative, tmp_path, capsys):
        folder = tmp_path / "in"
        write_image(folder / "a.png")
        (folder / "b.png").write_bytes(huge_png())
        (folder / "c.jpg").write_bytes(huge_jpeg(40_000))
        write_image(folder / "z.png")
        assert predict(folder, "--model", relative, "--output", tmp_path / "out") == 1
        report = json.loads((tmp_path / "out" / "predict.json").read_text())
        assert [Path(entry["source"]).name for entry in report["files"]] == ["a.png", "z.png"]
        assert [Path(entry["source"]).name for entry in report["failed"]] == ["b.png", "c.jpg"]
        printed = capsys.readouterr()
        assert "2 done, 2 failed" in printed.out
        assert "b.png: not a readable image: " in printed.err
        assert "Traceback" not in printed.err

    def test_image_that_exhausts_memory_fails_alone(self, relative, tmp_path, monkeypatch, capsys):
        """An error of that kind stands in for an image that takes all there is."""
        folder = tmp_path / "in"
        for name, width in (("a.png", 64), ("b.png", 96), ("c.png", 64)):
            write_image(folder / name, width=width)
        estimate = Estimator.estimate

        def fail_on_wide(self: Estimator, image: np.ndarray, *arguments: object) -> np.ndarray:
            if image.shape[1] == 96:
                raise MemoryError
            return estimate(self, image, *arguments)

        monkeypatch.setattr(Estimator, "estimate", fail_on_wide)
        assert predict(folder, "--model", relative, "--output", tmp_path / "out") == 1
        printed = capsys.readouterr()
        assert "2 done, 1 failed" in printed.out
        assert "b.png: the image of 96x48 pixels cannot be predicted: out of memory" in printed.err

    def test_damaged_video_frame_is_counted_and_skipped(self, relative, tmp_path, capsys):
        video = damaged_files.write_video(tmp_path / "drive.avi", range(20, 200, 6))
        damaged_files.zero_frames(video, 7)
        assert predict(video, "--model", relative, "--output", tmp_path / "out", "--save", "npy") == 1
        names = sorted(path.name for path in (tmp_path / "out").glob("*.npy"))
        assert names == [f"drive_{number:06}.npy" for number in range(30) if number != 7]
        assert np.load(tmp_path / "out" / "drive_000008.npy").mean() == pytest.approx(20 + 6 * 8, abs=5)
        printed = capsys.readouterr()
        assert "29 done, 1 failed" in printed.out
        assert "drive.avi: 1 of 30 frames cannot be decoded: 7" in printed.err
        (failure,) = json.loads((tmp_path / "out" / "predict.json").read_text())["failed"]
        assert (failure["source"], failure["images"]) == (str(video), 1)
        arguments = ["--model", relative, "--output", tmp_path / "out", "--every", 2]
        assert predict(video, *arguments) == 0  # which has no use for frame 7

    def test_folder_predicts_all_readable_images_and_names_rest(self, relative, tmp_path, capsys):
        folder = tmp_path / "in"
        write_image(folder / "photo.jpg")
        write_image(folder / "rare.jp2")
        write_image(folder / "below" / "deep.png")
        (folder / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(500))
        (folder / "._photo.jpg").write_bytes(b"of macOS")
        (folder / "x.png").mkdir()
        (folder / "notes.txt").write_text("words")
        assert predict(folder, "--model", relative, "--output", folder / "depth", "--save", "npy", "png") == 1
        report = json.loads((folder / "depth" / "predict.json").read_text())
        assert sorted(entry["npy"] for entry in report["files"]) == ["deep.npy", "photo.npy", "rare.npy"]
        (failure,) = report["failed"]
        assert failure["source"].endswith("x.heic")
        assert "it is HEIC; convert it to JPEG or PNG" in failure["error"]
        assert "3 done, 1 failed" in capsys.readouterr().out
        (folder / "x.heic").unlink()
        assert predict(folder, "--model", relative, "--output", folder / "depth2") == 0
        assert "3 done, 0 failed" in capsys.readouterr().out  # the results of before are no inputs

    def test_skipped_files_are_reported_in_one_line(self, relative, tmp_path, caplog):
        folder = tmp_path / "in"
        write_image(folder / "a.png")
        (folder / "._a.png").write_bytes(b"of macOS")
        (folder / "x.png").mkdir()
        assert predict(folder, "--model", relative, "--output", tmp_path / "out") == 0
        (said,) = [text for text in caplog.messages if "passed over" in text]
        assert said == (f"{folder}: passed over macOS metadata: 1 (._a.png); folders named like files: 1 (x.png)")

    def test_missing_input_does_not_stop_others(self, relative, tmp_path, capsys):
        image = write_image(tmp_path / "a.png")
        (tmp_path / "empty").mkdir()
        arguments = ["--model", relative, "--output", tmp_path / "out"]
        assert predict(tmp_path / "absent.png", image, tmp_path / "empty", tmp_path / "absent.mp4", *arguments) == 1
        printed = capsys.readouterr()
        assert "1 done, 3 failed" in printed.out
        for line in ("absent.png: no such file or folder", "empty: no image or video in this folder"):
            assert line in printed.err
        assert "absent.mp4: no such file or folder" in printed.err

    def test_multi_page_file_reports_unused_pages(self, relative, tmp_path, capsys):
        (tmp_path / "scan.tif").write_bytes(damaged_files.tiff_pages(50, 150, 250))
        assert predict(tmp_path / "scan.tif", "--model", relative, "--output", tmp_path / "out") == 0
        assert np.load(tmp_path / "out" / "scan.npy").mean() == 50
        assert f"only the first of several images is used: {tmp_path / 'scan.tif'} (3)" in capsys.readouterr().err
        (entry,) = json.loads((tmp_path / "out" / "predict.json").read_text())["files"]
        assert entry["pages"] == 3

    def test_undecodable_file_name_is_reported(self, relative, tmp_path):
        name = os.fsdecode(b"caf\xe9.png")
        os.rename(write_image(tmp_path / "cafe.png"), tmp_path / name)
        assert predict(tmp_path / name, "--model", relative, "--output", tmp_path / "out") == 0
        (entry,) = json.loads((tmp_path / "out" / "predict.json").read_text())["files"]
        assert entry["source"] == str(tmp_path / name)


class TestReport:
    def test_report_contains_record_provenance_and_timing(self, relative, tmp_path):
        image = write_image(tmp_path / "one.png")
        copy = tmp_path / "copy.json"
        assert predict(image, "--model", relative, "--output", tmp_path / "out", "--json", copy) == 0
        report = json.loads((tmp_path / "out" / "predict.json").read_text())
        assert report == json.loads(copy.read_text())
        assert report["model"]["name"] == "red"
        assert (report["backend"], report["precision"]) in choices()
        assert str(relative) in report["provenance"]
        assert report["files"][0]["network_size"] == [24, 32]
        assert report["seconds_per_image"]["median"] > 0
        assert report["failed"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png"),
        (["image.png", "--model", "nowhere.onnx"], "nowhere.onnx"),
        (["image.png", "--save", "ply"], "--fov"),
        (["image.png", "--save", "ply", "--camera", "nowhere.yaml"], "nowhere.yaml"),
        (["image.png", "--save", "ply", "--fov", "200"], "200"),
        (["image.png", "--backend", "abacus"], "onnxruntime"),
        (["image.png", "--every", "0"], "--every"),
        (["."], "no image or video"),
    ],
)
def test_predict_with_invalid_arguments_writes_nothing(relative, tmp_path, monkeypatch, capsys, arguments, message):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    write_image(tmp_path / "image.png")
    arguments = [str(tmp_path / "image.png") if word == "image.png" else word for word in arguments]
    if "--model" not in arguments:
        arguments += ["--model", str(relative)]
    assert predict(*arguments, "--output", "out") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("depth_anything_ros predict:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(work.iterdir())


@pytest.mark.parametrize(("given", "message"), [("", "is INPUT images, which"), ("one.png", "holds one.png, an input")])
def test_predict_results_never_replace_inputs(given, message, relative, tmp_path, monkeypatch, capsys):
    image = write_image(tmp_path / "images" / "one.png")
    before = image.read_bytes()
    monkeypatch.chdir(tmp_path)
    assert predict(Path("images") / given, "--model", relative, "--output", tmp_path / "images") == 1
    assert message in capsys.readouterr().err
    assert list(image.parent.iterdir()) == [image]
    assert image.read_bytes() == before


@pytest.mark.parametrize("name", ["one.png", "one.npy", "clip_000000.png", "clip_3.npy"])
def test_predict_never_replaces_foreign_files(name, relative, tmp_path, capsys):
    put(tmp_path / "out" / name, b"somebody's")
    image, video = write_image(tmp_path / "one.jpg"), write_video(tmp_path / "clip.avi", 2)
    assert predict(image, video, "--model", relative, "--output", tmp_path / "out") == 1
    assert f"--output {tmp_path / 'out'} holds {name}, which `predict` did not make" in capsys.readouterr().err
    assert (tmp_path / "out" / name).read_bytes() == b"somebody's"
    assert shown_in(tmp_path / "out") == {name}


def test_predict_rejects_folder_of_shards(relative, tmp_path, capsys):
    put(tmp_path / "out" / "manifest.json", '{"set": "kitti"}')
    assert predict(write_image(tmp_path / "one.jpg"), "--model", relative, "--output", tmp_path / "out") == 1
    assert "holds shards of kitti: choose another folder for predictions" in capsys.readouterr().err
    assert shown_in(tmp_path / "out") == {"manifest.json"}


def test_predict_overwrites_its_own_results(relative, tmp_path):
    image = write_image(tmp_path / "one.jpg")
    for _ in range(2):
        assert predict(image, "--model", relative, "--output", tmp_path / "out") == 0
    (tmp_path / "out" / "predict.json").unlink()  # as where the first was killed
    assert predict(image, "--model", relative, "--output", tmp_path / "out") == 0


def test_output_folder_with_input_images_is_rejected(relative, tmp_path, capsys):
    """They would be passed over."""
    write_image(tmp_path / "in" / "a.png")
    write_image(tmp_path / "in" / "sub" / "b.jpg")
    assert predict(tmp_path / "in", "--model", relative, "--output", tmp_path / "in" / "sub") == 1
    assert "holds b.jpg, which is among the inputs in" in capsys.readouterr().err
    assert predict(tmp_path / "in", "--model", relative, "--output", tmp_path / "in" / "new") == 0


def test_second_process_cannot_write_into_output_folder(relative, tmp_path, capsys):
    image = write_image(tmp_path / "one.jpg")
    with held(tmp_path / "out", PREDICTIONS, PREDICTIONS, "predict"):
        assert predict(image, "--model", relative, "--output", tmp_path / "out") == 1
    assert "another process (`predict`, process " in capsys.readouterr().err
    assert shown_in(tmp_path / "out") == set()


@pytest.mark.parametrize("command", ["predict", "build"])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_file_that_is_no_model_is_rejected_with_formats(backend, command, tmp_path, capsys):
    (tmp_path / "README.md").write_text("# words\n")
    words = [write_image(tmp_path / "one.png"), "--output", tmp_path / "out", "--model"] if command == "predict" else []
    assert main([command, *map(str, words), str(tmp_path / "README.md"), "--backend", backend]) == 1
    error = capsys.readouterr().err
    assert (
        f"{tmp_path / 'README.md'} is not a model: give an .onnx file, weights (.pth, .pt, .safetensors, .bin)" in error
    )
    assert "do once" not in error


def test_relative_model_without_scale_rejects_cloud(tmp_path, capsys):
    path = save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "net.onnx")
    image = write_image(tmp_path / "one.png")
    assert predict(image, "--model", path, "--save", "ply", "--fov", 60, "--output", tmp_path / "out") == 1
    assert "--scale" in capsys.readouterr().err


def test_readme_predict_example_runs(repository, tmp_path, monkeypatch):
    lines = (repository / "README.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(".venv/bin/depth_anything_ros predict docs/")]
    image, *arguments = line.partition("#")[0].split()[2:]
    arguments[arguments.index("--output") + 1] = str(tmp_path)
    monkeypatch.chdir(repository)
    assert predict(image, *arguments) == 0
    assert np.ptp(np.load(tmp_path / f"{Path(image).stem}.npy")) > 0
    assert len(read_ply(tmp_path / f"{Path(image).stem}.ply")) > 0
