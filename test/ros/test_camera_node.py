"""The camera node over DDS: all frames of a file in order and on time, the newest of a stream, clear errors."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from damaged_files import forget_length, huge_png, tiff_pages, write_video, zero_frames
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from waiting import limit, wait_until

from depth_anything_ros.capture import players
from depth_anything_ros.capture.live_camera import SourceError, without_password
from depth_anything_ros.capture.players import FilePlayer
from depth_anything_ros.capture.sources import open_source
from depth_anything_ros.geometry.calibration import Calibration, CalibrationError
from depth_anything_ros.ros.camera_node.node import CameraNode, image_message

HEIGHT, WIDTH = 48, 64
namespaces = (f"/camera_{os.getpid()}_{number}" for number in itertools.count())


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return an image that encodes its number as a gray value, even after lossy compression."""
    return np.full((height, width, 3), 10 * number, np.uint8)


def number_of(message: Image) -> int:
    return round(float(np.frombuffer(message.data, np.uint8).mean()) / 10)


class Client(Node):
    """Stores all messages that a camera publishes, with the arrival time of each image."""

    def __init__(self, namespace: str) -> None:
        super().__init__("client", namespace=namespace)
        self.images: list[Image] = []
        self.camera_infos: list[CameraInfo] = []
        self.times: list[float] = []
        self.create_subscription(Image, "image_raw", self._on_image, QoSProfile(depth=100))
        self.create_subscription(CameraInfo, "camera_info", self.camera_infos.append, QoSProfile(depth=100))

    def _on_image(self, message: Image) -> None:
        self.times.append(time.monotonic())
        self.images.append(message)


@pytest.fixture
def ros() -> Iterator[None]:
    rclpy.init()
    yield
    rclpy.try_shutdown()


@contextlib.contextmanager
def camera(client: Client, **parameters: object) -> Iterator[tuple[CameraNode, Callable]]:
    """Yield a camera node, and a function that spins it and the client until a condition holds."""
    parameters.setdefault("wait_for_subscribers", 1)
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = CameraNode(namespace=client.get_namespace(), parameter_overrides=overrides)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(client)

    def spin_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
        wait_until(condition, "the camera", seconds, lambda: executor.spin_once(timeout_sec=0.05))

    try:
        yield node, spin_until
    finally:
        executor.shutdown()
        node.destroy_node()


def play(client: Client, count: int, **parameters: object) -> str | None:
    """Play a source to its end; ``count`` images must arrive. Return the problem text of unreadable parts, or None."""
    with camera(client, **parameters) as (node, spin_until):
        spin_until(lambda: node.finished.done() and len(client.images) >= count and len(client.camera_infos) >= count)
        trouble = node.finished.result()
    assert len(client.images) == len(client.camera_infos) == count
    return trouble


@pytest.fixture
def client(ros: None) -> Iterator[Client]:
    client = Client(next(namespaces))
    yield client
    client.destroy_node()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four numbered images, not written in the order of their names, and a file that is no image."""
    for number in (3, 1, 4, 2):
        assert cv2.imwrite(str(tmp_path / f"frame_{number}.png"), picture(number))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve numbered frames at 25 Hz."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(1, 13):
        writer.write(picture(number))
    writer.release()
    return path


def nanoseconds(message: Image | CameraInfo) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_qos_override_applies_and_invalid_one_is_named(ros: None, folder: Path) -> None:
    namespace = f"/overrides_{os.getpid()}"
    name = f"qos_overrides.{namespace}/image_raw.publisher.reliability"
    given = [Parameter("source", value=str(folder)), Parameter(name, value="best_effort")]
    node = CameraNode(namespace=namespace, parameter_overrides=given, starts=False)
    (info,) = node.get_publishers_info_by_topic(f"{namespace}/image_raw")
    assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    node.destroy_node()
    given[1] = Parameter(name, value="bestefort")
    with pytest.raises(ValueError, match=f"{name} is 'bestefort', must be one of system_default, reliable"):
        CameraNode(namespace=namespace, parameter_overrides=given)


def test_folder_publishes_all_images_in_name_order(client: Client, folder: Path) -> None:
    play(client, 4, source=str(folder), frame_rate=50.0, frame_id="left_optical_frame")
    assert [number_of(image) for image in client.images] == [1, 2, 3, 4]
    for image, camera_info in zip(client.images, client.camera_infos, strict=True):
        assert (image.height, image.width, image.step) == (HEIGHT, WIDTH, 3 * WIDTH)
        assert (image.encoding, image.is_bigendian, len(image.data)) == ("bgr8", 0, HEIGHT * WIDTH * 3)
        assert image.header == camera_info.header
        assert image.header.frame_id == "left_optical_frame"
        assert (camera_info.height, camera_info.width) == (HEIGHT, WIDTH)
    stamps = [nanoseconds(image) for image in client.images]
    assert all(later > earlier for earlier, later in itertools.pairwise(stamps))
    assert 0 <= time.time_ns() - stamps[-1] < 60e9


def test_published_pixels_equal_file_pixels(client: Client, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), pixels)
    play(client, 1, source=str(tmp_path / "noise.png"))
    np.testing.assert_array_equal(np.frombuffer(client.images[0].data, np.uint8).reshape(31, 17, 3), pixels)


def test_image_message_packs_strided_view_row_by_row() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    message = image_message(pixels[:, ::2])
    assert (message.width, message.step) == (3, 9)
    assert message.data.tobytes() == pixels[:, ::2].tobytes()


def test_video_plays_all_frames_at_its_own_rate(client: Client, video: Path) -> None:
    play(client, 12, source=str(video))
    assert [number_of(image) for image in client.images] == list(range(1, 13))
    stamps = np.array([nanoseconds(image) for image in client.images]) * 1e-9
    assert stamps[-1] - stamps[0] == pytest.approx(11 / 25, abs=0.05)  # a drift would add up over the frames
    assert np.median(np.diff(stamps)) == pytest.approx(1 / 25, abs=0.01)


def test_frame_rate_parameter_sets_playback_rate(client: Client, video: Path) -> None:
    play(client, 12, source=str(video), frame_rate=100.0)
    stamps = np.array([nanoseconds(image) for image in client.images]) * 1e-9
    assert stamps[-1] - stamps[0] == pytest.approx(11 / 100, abs=0.05)


@pytest.mark.parametrize("claimed", [1000.0, 600.0, 0.01])
def test_impossible_video_rate_is_replaced_with_warning(tmp_path: Path, claimed: float) -> None:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), claimed, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(3):
        writer.write(picture(number))
    writer.release()
    said: list[str] = []
    source = open_source(str(path), said.append)
    assert source.rate == 30.0
    assert len(said) == 1
    assert f"claims {claimed:g} frames a second; it is played at 30 Hz unless frame_rate is set" in said[0]


def test_high_speed_video_keeps_its_rate(tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 240.0, (WIDTH, HEIGHT))
    writer.write(picture(1))
    writer.release()
    assert open_source(str(path), pytest.fail).rate == 240.0


def test_slow_playback_warns_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cv2.imwrite(str(tmp_path / "picture.png"), picture(1))
    monkeypatch.setattr(players, "MAX_LAG", -1.0)  # however quick this machine is, it is behind
    said: list[str] = []
    source = open_source(str(tmp_path / "picture.png"), pytest.fail)
    player = FilePlayer(source, lambda: None, 1000.0, True, said.append)
    assert len(list(itertools.islice(player, 5))) == 5
    assert len(said) == 1
    assert "playback at 1000 Hz is" in said[0]
    assert "set a lower frame_rate" in said[0]


def test_slow_first_frame_keeps_playback_rate(folder: Path) -> None:
    source = open_source(str(folder), print)
    read, slow = source.read, [0.3]

    def read_slowly() -> np.ndarray | None:
        if slow:
            time.sleep(slow.pop())
        return read()

    source.read = read_slowly
    stamps = [frame.stamp for frame in FilePlayer(source, time.monotonic, 50.0, False, print)]
    assert stamps[-1] - stamps[0] > 0.9 * 3 / 50


@pytest.mark.parametrize("kind", ["folder", "video", "image"])
def test_loop_restarts_source(client: Client, folder: Path, video: Path, kind: str) -> None:
    source, count = {"folder": (folder, 4), "video": (video, 12), "image": (folder / "frame_3.png", 1)}[kind]
    with camera(client, source=str(source), frame_rate=100.0, loop=True) as (node, spin_until):
        spin_until(lambda: len(client.images) > 2 * count)
        assert not node.finished.done()
    first = 3 if kind == "image" else 1
    expected = [first + index % count for index in range(2 * count)]
    assert [number_of(image) for image in client.images[: 2 * count]] == expected


def test_damaged_image_in_folder_is_skipped(client: Client, folder: Path) -> None:
    (folder / "frame_2.png").write_bytes(b"\x89PNG, and no more")
    (folder / "frame_0.png").write_bytes(huge_png())
    assert play(client, 3, source=str(folder), frame_rate=50.0) == "2 of 5 images cannot be read"
    assert [number_of(image) for image in client.images] == [1, 3, 4]


def test_video_continues_after_damaged_frame(client: Client, video: Path) -> None:
    zero_frames(video, 4)
    assert play(client, 11, source=str(video)) == "1 of 12 frames cannot be decoded: 4"
    assert [number_of(image) for image in client.images] == [1, 2, 3, 4, *range(6, 13)]


def test_looped_damaged_video_warns_once_per_frame(video: Path) -> None:
    zero_frames(video, 4, 9)
    said: list[str] = []
    source = open_source(str(video), said.append)
    for _ in range(3):
        while source.read() is not None:
            pass
        source.rewind()
    assert said == [
        f"the video {video}: 1 of 12 frames cannot be decoded: 4 so far",
        f"the video {video}: 2 of 12 frames cannot be decoded: 4, 9",
    ]


def test_video_without_length_plays_to_end(client: Client, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [10 * number for number in range(1, 13)], rate=50.0)
    forget_length(path)
    assert play(client, 12, source=str(path)) is None


def test_lost_frames_end_process_with_status_1(video: Path) -> None:
    zero_frames(video, 4)
    process = run_node(f"source:={video}", "frame_rate:=200.0")
    _, errors = process.communicate(timeout=limit(20))
    assert process.returncode == 1, errors
    (line,) = (line for line in errors.splitlines() if "ERROR" in line)
    assert "the source has ended, but a part could not be read: 1 of 12 frames cannot be decoded: 4" in line
    assert "Traceback" not in errors


def test_folder_includes_subfolders_and_warns_of_skipped_files(tmp_path: Path) -> None:
    for name in ("b.png", "below/a.png", "rare.jp2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / name), picture(1))
    (tmp_path / "scan.tif").write_bytes(tiff_pages(50, 60))
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(500))
    (tmp_path / "clip.mp4").touch()
    said: list[str] = []
    source = open_source(str(tmp_path), said.append)
    count = 0
    while source.read() is not None:
        count += 1
    assert count == 4
    assert source.problem == "1 of 5 images cannot be read"
    passed_over, pages, heic = said
    assert passed_over == f"{tmp_path}: passed over videos: 1 (clip.mp4)"
    assert pages == f"{tmp_path / 'scan.tif'} has 2 images: only the first image of such files is shown"
    assert "x.heic cannot be read as an image (OpenCV cannot decode it: it is HEIC; convert it" in heic


def test_animated_gif_plays_all_frames(tmp_path: Path) -> None:
    if not hasattr(cv2, "imwritemulti") or not cv2.haveImageWriter("a.gif"):
        pytest.skip("this OpenCV writes no GIF")
    assert cv2.imwritemulti(str(tmp_path / "a.gif"), [picture(number) for number in (2, 9, 16)])
    source = open_source(str(tmp_path / "a.gif"), pytest.fail)
    assert [round(float(source.read().mean()) / 10) for _ in range(3)] == [2, 9, 16]


def test_twelve_bit_images_publish_as_8_bit(client: Client, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (31, 17, 3), np.uint16)
    assert cv2.imwrite(str(tmp_path / "deep.png"), pixels)
    play(client, 1, source=str(tmp_path / "deep.png"))
    assert np.array_equal(np.reshape(client.images[0].data, (31, 17, 3)), pixels >> 4)


def test_images_may_change_size(client: Client, folder: Path) -> None:
    cv2.imwrite(str(folder / "frame_2.png"), picture(2, 30, 90))
    play(client, 4, source=str(folder), frame_rate=50.0)
    sizes = [(camera_info.height, camera_info.width) for camera_info in client.camera_infos]
    assert sizes == [(image.height, image.width) for image in client.images]
    assert sizes == [(HEIGHT, WIDTH), (30, 90), (HEIGHT, WIDTH), (HEIGHT, WIDTH)]


def test_missing_calibration_assumes_field_of_view(client: Client, folder: Path) -> None:
    play(client, 4, source=str(folder), frame_rate=50.0, horizontal_field_of_view=90.0)
    camera_info = client.camera_infos[0]
    np.testing.assert_allclose(camera_info.k, [32, 0, 31.5, 0, 32, 23.5, 0, 0, 1], rtol=1e-12)
    np.testing.assert_allclose(camera_info.p, [32, 0, 31.5, 0, 0, 32, 23.5, 0, 0, 0, 1, 0], rtol=1e-12)
    assert list(camera_info.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert (camera_info.distortion_model, list(camera_info.d)) == ("plumb_bob", [0.0] * 5)


def test_calibration_is_scaled_to_image_size(client: Client, folder: Path) -> None:
    given = Calibration(
        10 * WIDTH,
        10 * HEIGHT,
        np.array([[500.0, 0, 321], [0, 510, 245], [0, 0, 1]]),
        (0.1, 0.02, 0.003, 0.004, 0.05),
        projection=np.array([[480.0, 0, 320, -48], [0, 490, 240, 0], [0, 0, 1, 0]]),
    )
    (folder / "camera.yaml").write_text(given.to_yaml())
    play(client, 4, source=str(folder), frame_rate=50.0, calibration=f"file://{folder}/camera.yaml")
    camera_info = client.camera_infos[0]
    np.testing.assert_allclose(camera_info.k, [50, 0, 31.65, 0, 51, 24.05, 0, 0, 1], rtol=1e-12)
    np.testing.assert_allclose(camera_info.p, [48, 0, 31.55, -4.8, 0, 49, 23.55, 0, 0, 0, 1, 0], rtol=1e-12)
    assert list(camera_info.d) == [0.1, 0.02, 0.003, 0.004, 0.05]


def test_fisheye_calibration_publishes_equidistant_model(client: Client, folder: Path) -> None:
    text = Calibration(WIDTH, HEIGHT, np.array([[30.0, 0, 31], [0, 30, 24], [0, 0, 1]]), (0.1, 0.2, 0.3, 0.4)).to_yaml()
    (folder / "camera.yaml").write_text(text.replace("distortion_model: plumb_bob", "camera_model: fisheye"))
    play(client, 4, source=str(folder), frame_rate=50.0, calibration=f"{folder}/camera.yaml")
    camera_info = client.camera_infos[0]
    assert (camera_info.distortion_model, list(camera_info.d)) == ("equidistant", [0.1, 0.2, 0.3, 0.4])


def test_calibration_of_other_aspect_ratio_is_ignored(client: Client, folder: Path) -> None:
    (folder / "camera.yaml").write_text(Calibration.from_field_of_view(1280, 720, 30.0).to_yaml())
    play(client, 4, source=str(folder), frame_rate=50.0, calibration=str(folder / "camera.yaml"))
    assumed = Calibration.from_field_of_view(WIDTH, HEIGHT, 60.0)
    np.testing.assert_allclose(client.camera_infos[0].k, assumed.camera_matrix.ravel())


def test_invalid_parameters_raise_with_fix(client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "film.mp4").write_bytes(b"not a film")
    (tmp_path / "bad.yaml").write_text("image_width: 3")
    for parameters, error, named in (
        ({"source": "nowhere.mp4"}, SourceError, "no such file"),
        ({"source": ""}, SourceError, "source is empty; give a camera's number"),
        ({"source": str(tmp_path / "empty")}, SourceError, "has no images"),
        ({"source": str(tmp_path / "film.mp4")}, SourceError, "cannot be read as a video"),
        (
            {"source": str(tmp_path / "bad.yaml")},
            SourceError,
            "is neither an image nor a video; give a camera's number",
        ),
        ({"source": "999"}, SourceError, "camera 999.*a video or a picture as source"),
        ({"source": "http://127.0.0.1:9/"}, SourceError, "cannot be opened"),
        ({"calibration": str(tmp_path / "bad.yaml")}, CalibrationError, "image_height, camera_matrix missing"),
        ({"pixel_format": "jpge2000", "source": str(tmp_path / "empty")}, ValueError, "pixel_format is 'jpge2000'"),
        ({"frame_id": "/camera"}, ValueError, "tf2 rejects a leading slash; set it to 'camera'"),
        ({"frame_id": ""}, ValueError, "frame_id is empty, which tf2 rejects"),
    ):
        with pytest.raises(error, match=named), camera(client, **parameters):
            pass


class MotionJpeg(http.server.BaseHTTPRequestHandler):
    """Serves images with increasing numbers, as network cameras do, until the server's event ``stop`` is set."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):  # the node hangs up when it is destroyed
            for number in itertools.count():
                if self.server.stop.wait(0.02):
                    return
                jpeg = cv2.imencode(".jpg", picture(number % 25))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def network_camera(port: int = 0) -> Iterator[int]:
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), MotionJpeg) as server:
        server.stop = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.stop.set()
            server.shutdown()
            thread.join()


def test_lost_stream_reconnects(client: Client) -> None:
    if cv2.CAP_FFMPEG not in cv2.videoio_registry.getStreamBackends():
        pytest.skip("this OpenCV has no FFmpeg")
    with contextlib.ExitStack() as stack:
        with network_camera() as port:
            _, spin_until = stack.enter_context(camera(client, source=f"http://127.0.0.1:{port}/camera.mjpg"))
            spin_until(lambda: len(client.images) >= 5)
        before = len(client.images)
        with network_camera(port):
            spin_until(lambda: len(client.images) >= before + 10)
    stamps = [nanoseconds(image) for image in client.images]
    assert all(later > earlier for earlier, later in itertools.pairwise(stamps))


def test_frame_rate_limits_live_camera(client: Client) -> None:
    if cv2.CAP_FFMPEG not in cv2.videoio_registry.getStreamBackends():
        pytest.skip("this OpenCV has no FFmpeg")
    with (
        network_camera() as port,
        camera(client, source=f"http://127.0.0.1:{port}/", frame_rate=10.0) as (_, spin_until),
    ):
        spin_until(lambda: len(client.images) >= 8)
    stamps = np.array([nanoseconds(image) for image in client.images]) * 1e-9
    assert (len(stamps) - 1) / (stamps[-1] - stamps[0]) < 11.0


def test_doubtful_calibration_warns(folder: Path) -> None:
    text = Calibration.from_field_of_view(WIDTH, HEIGHT, 60.0).to_yaml()
    (folder / "camera.yaml").write_text(text.replace("31.5", "310.5"))
    process = run_node(f"source:={folder}", "frame_rate:=50.0", f"calibration:={folder}/camera.yaml")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "the principal point cx is 310.5, outside the image of 64x48" in errors


def run_node(*parameters: str) -> subprocess.Popen:
    arguments = itertools.chain.from_iterable(("-p", parameter) for parameter in parameters)
    return subprocess.Popen(
        [sys.executable, "-m", "depth_anything_ros.ros.camera_node", "--ros-args", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_process_ends_when_file_ends(folder: Path) -> None:
    process = run_node(f"source:={folder}", "frame_rate:=50.0")
    _, errors = process.communicate(timeout=limit(20))
    assert process.returncode == 0, errors
    assert "a horizontal field of view of 60 degrees" in errors


def test_missing_camera_ends_process_with_one_fatal_line() -> None:
    process = run_node("source:=999")  # an integer to ROS
    _, errors = process.communicate(timeout=limit(20))
    assert process.returncode == 1
    (fatal,) = (line for line in errors.splitlines() if "FATAL" in line)
    assert "camera 999" in fatal
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_camera_process_cleanly(folder: Path, number: int) -> None:
    process = run_node(f"source:={folder}", "loop:=true")
    assert any("10 Hz" in line for line in process.stderr)  # as it begins to publish
    process.send_signal(number)
    process.send_signal(number)  # a terminal and a launcher may both send it
    _, errors = process.communicate(timeout=limit(20))
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://user:secret@10.0.0.9:554/stream", "rtsp://10.0.0.9:554/stream"),
        ("http://10.0.0.9/a@b", "http://10.0.0.9/a@b"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_logged_url_hides_password(source, shown):
    assert without_password(source) == shown
