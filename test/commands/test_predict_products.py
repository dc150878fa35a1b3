"""`predict` from webcams and URLs, and its videos, side-by-side pictures and pictures in the terminal."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")

from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.capture import live_camera
from depth_anything_ros.cli import main
from depth_anything_ros.images.frame_reader import count_frames, read_frames
from depth_anything_ros.visualization.colormap import colorize, robust_range
from depth_anything_ros.visualization.side_by_side import SteadyColors
from depth_anything_ros.visualization.terminal import terminal_picture

SIZE = (24, 32)


@pytest.fixture
def model(tmp_path) -> str:
    record = relative_record(input_size=SIZE, nominal_scale=(0.01, 0.0))
    return str(save_graph(red_graph(SIZE, record), tmp_path / "red.onnx"))


def ramp(offset: int = 0) -> np.ndarray:
    """BGR, whose red grows to the right."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 2] = np.linspace(10, 200, 64).astype(np.uint8) + offset
    return image


def write_video(path: Path, frames: int, rate: float = 10.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (64, 48))
    for number in range(frames):
        writer.write(ramp(number))
    writer.release()
    return path


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """A folder over HTTP; ``/typed`` is a PNG without an extension."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def guess_type(self, path):
            return "image/png" if str(path).endswith("typed") else super().guess_type(path)

        def log_message(self, *_):
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    cv2.imwrite(str(folder / "ramp.png"), ramp())
    (folder / "typed").write_bytes((folder / "ramp.png").read_bytes())
    (folder / "empty.png").touch()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def report(folder: Path) -> dict:
    return json.loads((folder / "predict.json").read_text())


@pytest.mark.parametrize(("name", "stem"), [("ramp.png", "ramp"), ("typed", "typed"), ("ramp.png?size=1#x", "ramp")])
def test_image_of_url_is_predicted_like_the_file(server, model, tmp_path, name, stem):
    out = tmp_path / "out"
    assert main(["predict", f"{server}/{name}", "--model", model, "--output", str(out), "--save", "npy"]) == 0
    assert main(["predict", str(tmp_path / "served/ramp.png"), "--model", model, "--output", str(tmp_path / "b")]) == 0
    np.testing.assert_array_equal(np.load(out / f"{stem}.npy"), np.load(tmp_path / "b/ramp.npy"))
    assert report(out)["files"][0]["source"] == f"{server}/{name}"


@pytest.mark.parametrize("name", ["absent.png", "empty.png"])
def test_url_without_image_is_one_clear_line(server, model, tmp_path, capsys, name):
    assert main(["predict", f"{server}/{name}", "--model", model, "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip()
    assert f"{server}/{name}" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_password_of_url_is_not_shown(model, tmp_path, capsys):
    assert main(["predict", "http://me:secret@127.0.0.1:9/x.png", "--model", model, "--output", str(tmp_path)]) == 1
    assert "secret" not in capsys.readouterr().err


class FakeCapture:
    """A webcam that is not here: its exposure is right from the fifth frame on."""

    def __init__(self, *_):
        self.grabbed = 0

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return True

    def grab(self):
        self.grabbed += 1
        return True

    def retrieve(self):
        return True, ramp() if self.grabbed > 5 else np.zeros((48, 64, 3), np.uint8)

    def set(self, *_):
        return True

    def get(self, *_):
        return 0.0

    def release(self):
        pass


def test_webcam_gives_one_frame(model, tmp_path, monkeypatch):
    (tmp_path / "video3").touch()
    monkeypatch.setattr(live_camera, "DEVICES", tmp_path)
    monkeypatch.setattr(live_camera.cv2, "VideoCapture", FakeCapture)
    out = tmp_path / "out"
    assert main(["predict", "3", "--model", model, "--output", str(out), "--save", "npy"]) == 0
    assert np.load(out / "camera_3.npy")[:, -1].mean() > 150
    assert report(out)["files"][0]["source"] == "3"


def test_absent_webcam_is_one_clear_line(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(live_camera, "DEVICES", tmp_path)
    assert main(["predict", "7", "--model", model, "--output", str(tmp_path / "out")]) == 1
    assert "there is no" in capsys.readouterr().err


def test_jpg_has_image_and_depth_side_by_side(model, tmp_path):
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp())
    out = tmp_path / "out"
    assert (
        main(["predict", str(tmp_path / "ramp.png"), "--model", model, "--output", str(out), "--save", "jpg", "png"])
        == 0
    )
    pair, colors = cv2.imread(str(out / "ramp.jpg")), cv2.imread(str(out / "ramp.png"))
    assert pair.shape == (48, 128, 3)
    assert np.abs(pair[:, :64].astype(int) - ramp()).mean() < 6
    assert np.abs(pair[:, 64:].astype(int) - colors).mean() < 12


def test_jpg_never_replaces_an_input(model, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "ramp.jpg"), ramp())
    before = (tmp_path / "ramp.jpg").read_bytes()
    arguments = ["predict", str(tmp_path / "ramp.jpg"), "--model", model, "--output", str(tmp_path), "--save", "jpg"]
    assert main(arguments) == 1
    assert (tmp_path / "ramp.jpg").read_bytes() == before


def test_mp4_has_every_frame_beside_its_depth(model, tmp_path):
    """One for each video, at its rate; images have none, and nothing else is left."""
    videos = [write_video(tmp_path / "first.avi", 7), write_video(tmp_path / "second.avi", 4)]
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp())
    out = tmp_path / "out"
    inputs = [str(videos[0]), str(tmp_path / "ramp.png"), str(videos[1])]
    assert main(["predict", *inputs, "--model", model, "--output", str(out), "--save", "mp4", "--every", "2"]) == 0
    names = sorted(path.name for path in out.iterdir() if path.name not in (".lock", ".made.json"))
    assert names == ["first.mp4", "predict.json", "second.mp4"]
    for name, count in (("first", 4), ("second", 2)):
        capture = cv2.VideoCapture(str(out / f"{name}.mp4"))
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(5.0)
        frames = []
        while (read := capture.read())[0]:
            frames.append(read[1])
        assert len(frames) == count
        assert frames[0].shape == (48, 128, 3)
        assert np.abs(frames[-1][:, :64].astype(int) - ramp(2 * (count - 1))).mean() < 12
    assert [entry.get("mp4") for entry in report(out)["files"]] == ["first.mp4"] * 4 + [None] + ["second.mp4"] * 2


def test_videos_of_equal_name_get_a_video_each(model, tmp_path):
    folders = [tmp_path / name for name in ("front", "left", "right")]
    for number, folder in enumerate(folders, 2):
        folder.mkdir()
        write_video(folder / "drive.avi", number)
    write_video(tmp_path / "drive_2.avi", 1)
    inputs = [str(tmp_path / "drive_2.avi"), *(str(folder / "drive.avi") for folder in folders)]
    assert main(["predict", *inputs, "--model", model, "--output", str(tmp_path / "out"), "--save", "mp4"]) == 0
    made = [entry["mp4"] for entry in report(tmp_path / "out")["files"]]
    assert made == ["drive_2.mp4"] + ["drive.mp4"] * 2 + ["drive_3.mp4"] * 3 + ["drive_4.mp4"] * 4
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == sorted(set(made))


def test_a_video_given_twice_gets_a_video_each_time(model, tmp_path):
    video = str(write_video(tmp_path / "drive.avi", 3))
    assert main(["predict", video, video, "--model", model, "--output", str(tmp_path / "out"), "--save", "mp4"]) == 0
    assert [entry["mp4"] for entry in report(tmp_path / "out")["files"]] == ["drive.mp4"] * 3 + ["drive_2.mp4"] * 3
    for name in ("drive", "drive_2"):
        assert cv2.VideoCapture(str(tmp_path / "out" / f"{name}.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_mp4_of_images_is_refused_or_reported(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("ramp.png", ramp())
    assert main(["predict", "ramp.png", "--model", model, "--save", "mp4"]) == 1
    assert "no input is a video, so there is no mp4; --save jpg puts an image and its depth side by side" in (
        capsys.readouterr().err
    )
    assert not Path("depth").exists()
    assert main(["predict", "ramp.png", "--model", model, "--save", "mp4", "jpg"]) == 0
    printed = capsys.readouterr()
    assert "no input is a video, so there is no mp4" in printed.err
    assert printed.out == "1 done, 0 failed; in depth: ramp.jpg, predict.json\n"


def test_last_line_says_where_the_results_are(model, tmp_path, monkeypatch, capsys):
    """By name while they are few, else by kind. The folder needs no option."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("ramp.png", ramp())
    assert main(["predict", "ramp.png", "--model", model]) == 0
    assert capsys.readouterr().out == "1 done, 0 failed; in depth: ramp.npy, ramp.png, predict.json\n"
    write_video(Path("drive.avi"), 6)
    assert main(["predict", "drive.avi", "--model", model, "--output", "o", "--save", "png", "mp4"]) == 0
    assert capsys.readouterr().out == "6 done, 0 failed; in o: 6 png, 1 mp4, predict.json\n"
    assert all((Path("depth") / name).is_file() for name in ("ramp.npy", "ramp.png", "predict.json"))


@pytest.mark.parametrize(("names", "every", "expected"), [("i", 1, 1), ("iv", 1, 8), ("v", 2, 4), ("vv", 1, None)])
def test_expected_number_of_frames(tmp_path, names, every, expected):
    image, video = tmp_path / "ramp.png", write_video(tmp_path / "drive.avi", 7)
    cv2.imwrite(str(image), ramp())
    sources = [image if name == "i" else video for name in names]
    assert count_frames(sources, every) == expected
    if expected is not None:
        assert len(list(read_frames(sources, every))) == expected


def test_show_draws_image_and_depth(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "30")
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp())
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "ramp.png"), "--model", model, "--output", str(out), "--show"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "▀" in line]
    assert len(lines) == 7  # 128x48 pixels in 40 columns, two rows of pixels a line
    assert all(line.count("▀") == 40 for line in lines)


def test_terminal_picture_has_the_colors_of_the_image():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2], image[2:] = (255, 0, 10), (0, 200, 0)
    text = terminal_picture(image, 4, 10)
    colors = re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m", text)
    assert colors[0] == ("255", "0", "10", "255", "0", "10")
    assert colors[-1] == ("0", "200", "0", "0", "200", "0")
    assert text.count("\n") == 1
    assert text.endswith("\x1b[0m")


def test_colors_of_a_video_follow_slowly():
    """A single odd frame moves the range of the colors by a tenth of its difference."""
    near = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    colors = SteadyColors()
    np.testing.assert_array_equal(colors(near), colorize(near))
    lower, upper = 0.9 * np.array(robust_range(near)) + 0.1 * np.array(robust_range(5 * near))
    np.testing.assert_array_equal(colors(5 * near), colorize(5 * near, lower, upper))
