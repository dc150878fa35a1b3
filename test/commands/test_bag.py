"""`bag`, from real bags to real bags: every format in, options, damage, interruption, and readers of others."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("onnx", reason="the tests write a model with the onnx package")
pytest.importorskip("rosbags", reason="the tests write bags with rosbags")

from bag_files import TYPES, put_bag
from calibration_bags import (
    BODY,
    CAMERA,
    FRAME,
    HEIGHT,
    START,
    WIDTH,
    A,
    B,
    cloud_message,
    depth_message,
    depth_seen,
    every,
    image_message,
    info_message,
    lidar_points,
    pose,
    transform_message,
    write_network,
)
from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from waiting import wait_until

from depth_anything_ros.cli import main
from depth_anything_ros.commands import bag as command
from depth_anything_ros.geometry.transform import Transform

IMAGE, INFO, LIDAR = "/camera/image_rect", "/camera/camera_info", "/lidar/points"
SECONDS, RATE = 0.6, 5
FRAMES = 3
IMAGES = 1500
MOUNT = Transform(BODY.rotation, np.array([0.05, -0.12, 0.02]))
FIXED = ("--param", f"scale.a:={A}", "--param", f"scale.b:={B}")


def topics(seconds: float = SECONDS) -> dict[str, Any]:
    return {INFO: every(seconds, RATE, info_message), IMAGE: every(seconds, RATE, image_message)}


def bag(*arguments: object) -> int:
    return main(["bag", *map(str, arguments), "--backend", "onnxruntime"])


def messages_in(path: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([path]) as reader:
        for connection, time, content in reader.messages():
            found.setdefault(connection.topic, []).append((time, reader.deserialize(content, connection.msgtype)))
    return found


def floats(message: Any) -> np.ndarray:
    return message.data.view(np.float32).reshape(message.height, message.width)


@pytest.fixture(name="network")
def exact_network(tmp_path: Path) -> Path:
    return write_network(tmp_path / "exact.onnx")


def test_output_has_depth_of_each_image_and_the_messages_of_the_input(tmp_path: Path, network: Path) -> None:
    put_bag(tmp_path / "in", topics())
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, *FIXED) == 0
    given, found = messages_in(tmp_path / "in"), messages_in(tmp_path / "out")
    assert set(found) == {IMAGE, INFO, "/depth/image_rect", "/depth/camera_info", "/points"}
    for number, (time, depth) in enumerate(found["/depth/image_rect"]):
        received, image = given[IMAGE][number]
        assert (time, depth.header.stamp.nanosec) == (received, image.header.stamp.nanosec)
        assert depth.header.frame_id == FRAME
        truth = depth_seen(pose(number / RATE))
        assert np.allclose(floats(depth), truth, rtol=2e-3)
    assert len(found["/depth/image_rect"]) == len(given[IMAGE]) == FRAMES
    assert [str(one) for one in found[IMAGE]] == [str(one) for one in given[IMAGE]]


def write_ros1(path: Path, given: dict[str, Any]) -> None:
    """The same messages in a ROS 1 bag, whose camera_info has matrices in capitals."""
    types = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(path) as writer:
        for topic, messages in given.items():
            kind = messages[0][1].__msgtype__
            connection = writer.add_connection(topic, kind, typestore=types)
            for seconds, message in messages:
                fields = {name: value for name, value in vars(message).items() if name != "header"}
                header = types.types["std_msgs/msg/Header"](0, message.header.stamp, message.header.frame_id)
                if kind.endswith("CameraInfo"):
                    fields = {name.upper() if len(name) == 1 else name: value for name, value in fields.items()}
                converted = types.types[kind](header, **{n: v for n, v in fields.items() if n != "__msgtype__"})
                writer.write(connection, round(1e9 * seconds), types.serialize_ros1(converted, kind))


@pytest.mark.parametrize("kind", ["sqlite3", "file zstd", "message zstd", "mcap zstd", "ros1"])
def test_every_kind_of_bag_gives_the_same_output(tmp_path: Path, network: Path, kind: str) -> None:
    put_bag(tmp_path / "in", topics())
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, *FIXED) == 0
    other = tmp_path / ("other.bag" if kind == "ros1" else "other")
    if kind == "ros1":
        write_ros1(other, topics())
    else:
        plugin = StoragePlugin.MCAP if kind == "mcap zstd" else StoragePlugin.SQLITE3
        writer = Writer(other, version=9, storage_plugin=plugin)
        modes = {"file": CompressionMode.FILE, "message": CompressionMode.MESSAGE, "mcap": CompressionMode.STORAGE}
        if kind != "sqlite3":
            writer.set_compression(modes[kind.split()[0]], CompressionFormat.ZSTD)
        with writer:
            for topic, messages in topics().items():
                connection = writer.add_connection(topic, messages[0][1].__msgtype__, typestore=TYPES)
                for seconds, message in messages:
                    content = TYPES.serialize_cdr(message, message.__msgtype__)
                    writer.write(connection, round(1e9 * seconds), content)
    assert bag(other, tmp_path / "again", "--model", network, *FIXED) == 0
    first, again = messages_in(tmp_path / "out"), messages_in(tmp_path / "again")
    assert {topic: [str(one) for one in found] for topic, found in first.items()} == {
        topic: [str(one) for one in found] for topic, found in again.items()
    }


@pytest.mark.parametrize("mount", ["tf", "extrinsics"])
def test_lidar_gives_the_scale(tmp_path: Path, network: Path, mount: str) -> None:
    """The cloud of an image is recorded after it, as drivers send it; its sensor is where TF or the option says."""
    rng = np.random.default_rng(0)
    given = topics()
    given[LIDAR] = every(
        SECONDS, RATE, lambda time: cloud_message(time, lidar_points(time, MOUNT, rng, 0.0, 600), "lidar"), 0.05
    )
    options: list[object] = []
    if mount == "tf":
        given["/tf_static"] = [(START + SECONDS, transform_message({(FRAME, "lidar"): MOUNT}))]
    else:
        options = ["--extrinsics", *MOUNT.translation, *MOUNT.quaternion]
    put_bag(tmp_path / "in", given)
    saved = ("--save", "depth", "scale", "sigma", "--no-copy")
    assert bag(tmp_path / "in", tmp_path / "out.mcap", "--model", network, "--points", LIDAR, *saved, *options) == 0
    found = messages_in(tmp_path / "out.mcap")
    assert set(found) == {"/depth/image_rect", "/scale", "/depth/sigma"}
    for number, (_, depth) in enumerate(found["/depth/image_rect"]):
        error = floats(depth) / depth_seen(pose(number / RATE)) - 1
        assert np.median(np.abs(error)) < 0.02
    report = found["/scale"][0][1].status[0]
    assert (report.message, report.level) == ("measured", 0)
    assert float(next(pair.value for pair in report.values if pair.key == "a")) == pytest.approx(A, rel=0.05)


def test_parameter_file_and_options_are_those_of_the_node(tmp_path: Path, network: Path, capsys) -> None:
    put_bag(tmp_path / "in", topics())
    file = tmp_path / "robot.yaml"
    section = {"scale": {"a": A, "b": B}, "max_depth": 3.0, "points.stride": 4, "points.color": False, "max_rat": 1.0}
    file.write_text(yaml.safe_dump({"/**": {"left": {"depth_node": {"ros__parameters": section}}}}))
    options = ("--params", file, "-p", "max_depth:=2.5", "--namespace", "left")
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, *options) == 0
    found = messages_in(tmp_path / "out")
    depth, cloud = floats(found["/left/depth/image_rect"][0][1]), found["/left/points"][0][1]
    assert np.isinf(depth).any()
    assert depth[np.isfinite(depth)].max() <= 2.5
    assert (cloud.height, cloud.width, cloud.point_step) == (HEIGHT // 4, WIDTH // 4, 12)
    assert "no parameter max_rat: did you mean" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "max_depth:=deep"], "max_depth is 'deep', must be like 80.0"),
        (["-p", "points.stride:=0"], "points.stride is 0, must be from 1 to 64"),
        (["-p", "max_deph:=1"], "no parameter max_deph"),
        (["--image", "/none"], "--image /none has no messages"),
        (["--points", "/scan"], "--points /scan has no messages"),
        (["--save", "depth"], "does not give depth"),
    ],
)
def test_wrong_options_are_named_before_anything_is_written(
    tmp_path: Path, network: Path, capsys, options: Sequence[str], message: str
) -> None:
    put_bag(tmp_path / "in", topics())
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, *options) == 1
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exact.onnx", "in"]


def test_input_and_foreign_files_are_never_overwritten(tmp_path: Path, network: Path, capsys) -> None:
    put_bag(tmp_path / "in", topics())
    before = sorted((tmp_path / "in").iterdir()), (tmp_path / "in" / "in.mcap").read_bytes()
    assert bag(tmp_path / "in", tmp_path / "in", "--model", network, "--overwrite") == 1
    assert bag(tmp_path / "in" / "in.mcap", tmp_path / "in" / "in.mcap", "--model", network, "--overwrite") == 1
    assert "which is an input" in capsys.readouterr().err
    assert (sorted((tmp_path / "in").iterdir()), (tmp_path / "in" / "in.mcap").read_bytes()) == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").touch()
    assert bag(tmp_path / "in", tmp_path / "thesis", "--model", network, "--overwrite") == 1
    assert "is no bag, so it is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "chapter").exists()
    for target in (tmp_path / "out", tmp_path / "out.mcap"):
        assert bag(tmp_path / "in", target, "--model", network, *FIXED) == 0
        assert bag(tmp_path / "in", target, "--model", network, *FIXED) == 1
        assert "exists: choose another name, or give --overwrite" in capsys.readouterr().err
        assert bag(tmp_path / "in", target, "--model", network, *FIXED, "--overwrite", "--save", "depth") == 0
        assert "/points" not in messages_in(target)
    assert not list(tmp_path.glob(".*"))


def test_damaged_messages_are_skipped_named_and_counted(tmp_path: Path, network: Path, capsys) -> None:
    given = topics(1.0)
    broken = given[IMAGE][1][1]
    broken.data = broken.data[:100]
    given[IMAGE][3] = given[IMAGE][2]  # the same stamp again
    put_bag(tmp_path / "in", given)
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, *FIXED) == 1
    captured = capsys.readouterr()
    assert f"{IMAGE}: skipped 2 messages: {START + 0.2:.3f} s:" in captured.err
    assert "it has a duplicate stamp" in captured.err
    assert "3 done, 2 failed" in captured.out
    found = messages_in(tmp_path / "out")
    assert (len(found["/depth/image_rect"]), len(found[IMAGE])) == (3, 5)


def test_images_without_camera_info_have_depth_but_no_cloud(tmp_path: Path, network: Path, capsys) -> None:
    put_bag(tmp_path / "in", {IMAGE: topics()[IMAGE]})
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, *FIXED) == 0
    assert set(messages_in(tmp_path / "out")) == {IMAGE, "/depth/image_rect"}
    captured = capsys.readouterr().err
    assert f"no camera_info on {INFO}" in captured
    assert f"{FRAMES} images without some outputs: there is no camera_info" in captured


def test_sensor_corrects_a_metric_model_as_in_the_node(tmp_path: Path) -> None:
    network = write_network(tmp_path / "metric.onnx", "depth", gain=0.8)
    given = topics()
    given["/depth/image"] = every(SECONDS, RATE, lambda time: depth_message(time, depth_seen(pose(time))))
    given["/depth/camera_info"] = [(START, info_message(0))]
    put_bag(tmp_path / "in", given)
    options = ("--model", network, "--image", IMAGE, "--save", "depth", "scale")
    assert bag(tmp_path / "in", tmp_path / "out", *options, "--depth", "/depth/image") == 0
    found = messages_in(tmp_path / "out")
    assert np.median(np.abs(floats(found["/depth/image_rect"][0][1]) / depth_seen(pose(0)) - 1)) < 0.02
    values = {pair.key: pair.value for pair in found["/scale"][0][1].status[0].values}
    assert (values["state"], float(values["a"])) == ("measured", pytest.approx(1.25, rel=0.02))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interruption_leaves_a_valid_partial_bag_or_nothing(tmp_path: Path, network: Path, number: int) -> None:
    put_bag(tmp_path / "few", topics())
    image, types = topics()[IMAGE][0][1], TYPES.types
    repeated = []
    for second in range(IMAGES):
        header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](second + 1, 0), FRAME)
        repeated.append((START + second, replace(image, header=header)))
    put_bag(tmp_path / "in", {INFO: topics()[INFO], IMAGE: repeated})
    command = [sys.executable, "-m", "depth_anything_ros", "bag", tmp_path / "in", tmp_path / "out"]
    options = ["--model", network, "--backend", "onnxruntime", *FIXED]
    process = subprocess.Popen([str(word) for word in (*command, *options)], stderr=subprocess.PIPE, text=True)

    def is_writing() -> bool:
        assert process.poll() is None
        return any(file.stat().st_size > 1 << 20 for file in tmp_path.glob(".out.*.partial/out/out.mcap"))

    wait_until(is_writing, "the first frames")
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert not (tmp_path / "out").exists()
    if number == signal.SIGKILL:
        assert list(tmp_path.glob(".out.*.partial"))
        assert bag(tmp_path / "few", tmp_path / "out", "--model", network, *FIXED) == 0
        assert not list(tmp_path.glob(".out.*.partial"))  # the next run removes it
        return
    assert process.returncode == 130
    found = messages_in(tmp_path / "out_partial")
    done = len(found["/depth/image_rect"])
    assert 0 < done < IMAGES
    assert f"interrupted: {done} of {IMAGES} images are in {tmp_path / 'out_partial'}" in error
    assert not list(tmp_path.glob(".out.*"))


def test_full_disk_is_named_and_leaves_nothing(tmp_path: Path, network: Path) -> None:
    put_bag(tmp_path / "in", topics(3.0))
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2); "
    call = "from depth_anything_ros.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--model", network, "--backend", "onnxruntime", *FIXED]
    words = [sys.executable, "-c", limited + call, "bag", tmp_path / "in", tmp_path / "out", *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1
    assert f"{tmp_path / 'out'}: File too large" in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exact.onnx", "in"]


def test_two_images_at_once_write_the_same_bag(tmp_path: Path, network: Path, monkeypatch, capfd) -> None:
    """With a scale by a sensor, so that the order of the frames counts; and in the order of the recording."""
    given = topics(2.0)
    rng = np.random.default_rng(0)
    given[LIDAR] = every(
        2.0, RATE, lambda time: cloud_message(time, lidar_points(time, MOUNT, rng, 0.0, 600), "lidar"), 0.05
    )
    put_bag(tmp_path / "in", given)
    options = ("--model", network, "--points", LIDAR, "--extrinsics", *MOUNT.translation, *MOUNT.quaternion)
    assert bag(tmp_path / "in", tmp_path / "one" / "out.mcap", *options) == 0
    monkeypatch.setattr(command, "MANY_IMAGES", 1)
    monkeypatch.setattr("depth_anything_ros.runtime.shared_cores.usable_cores", lambda: 2)
    threads = []
    load = command._load
    monkeypatch.setattr(command, "_load", lambda model: (threads.append(model.threads), load(model))[1])
    assert bag(tmp_path / "in", tmp_path / "two" / "out.mcap", *options) == 0
    assert threads == [None, 1, 1]
    assert (tmp_path / "one" / "out.mcap").read_bytes() == (tmp_path / "two" / "out.mcap").read_bytes()


def test_images_that_change_size_have_outputs_of_their_size(tmp_path: Path, network: Path) -> None:
    given = {IMAGE: every(4.0, RATE, image_message)}
    for _, image in given[IMAGE][1::2]:
        small = image.data.reshape(HEIGHT, WIDTH, 3)[::2, ::2]
        image.height, image.width, image.step = *small.shape[:2], 3 * small.shape[1]
        image.data = np.ascontiguousarray(small).ravel()
    put_bag(tmp_path / "in", given)
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, *FIXED) == 0
    found = [one for _, one in messages_in(tmp_path / "out")["/depth/image_rect"]]
    assert [one.height for one in found] == [HEIGHT, HEIGHT // 2] * 10
    for one, place in zip(found[::2], (pose(number / RATE) for number in range(0, 20, 2)), strict=True):
        assert np.allclose(floats(one), depth_seen(place), rtol=2e-3)


def test_sensor_that_is_much_faster_than_the_camera_gives_the_scale(tmp_path: Path, network: Path) -> None:
    """Few of its measurements are kept: those of an image must still be there when the image is computed."""
    rng = np.random.default_rng(0)
    cloud = cloud_message(0.0, lidar_points(0.0, MOUNT, rng, 0.0, 600), "lidar")
    given: dict[str, Any] = {
        INFO: every(3.0, 1, lambda _: info_message(0.0)),
        IMAGE: every(3.0, 1, lambda time: replace(image_message(0.0), header=info_message(time).header)),
        LIDAR: every(3.0, 100, lambda time: replace(cloud, header=cloud_message(time, np.zeros((1, 3)), "l").header)),
    }
    put_bag(tmp_path / "in", given)
    place = ("--extrinsics", *MOUNT.translation, *MOUNT.quaternion)
    saved = ("--save", "scale", "--no-copy")
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, "--points", LIDAR, *place, *saved) == 0
    reports = [one.status[0].message for _, one in messages_in(tmp_path / "out")["/scale"]]
    assert reports == ["measured"] * 3


def test_output_opens_in_the_readers_of_mcap(tmp_path: Path, network: Path) -> None:
    """The libraries of the mcap project read it as Foxglove does: by its index, and with its own schemas."""
    reader = pytest.importorskip("mcap.reader", reason="mcap is not installed")
    decoder = pytest.importorskip("mcap_ros2.decoder", reason="mcap-ros2-support is not installed")
    put_bag(tmp_path / "in", topics())
    assert bag(tmp_path / "in", tmp_path / "out", "--model", network, *FIXED) == 0
    with open(tmp_path / "out" / "out.mcap", "rb") as stream:
        opened = reader.make_reader(stream, decoder_factories=[decoder.DecoderFactory()])
        assert opened.get_summary().statistics.message_count == 5 * FRAMES
        found = {}
        for schema, channel, message, decoded in opened.iter_decoded_messages():
            found.setdefault((channel.topic, schema.name), []).append((message.log_time, decoded))
    ours = messages_in(tmp_path / "out")
    depth = found["/depth/image_rect", "sensor_msgs/msg/Image"]
    assert [bytes(one.data) for _, one in depth] == [one.data.tobytes() for _, one in ours["/depth/image_rect"]]
    cloud = found["/points", "sensor_msgs/msg/PointCloud2"][0][1]
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"]
    assert found["/depth/camera_info", "sensor_msgs/msg/CameraInfo"][0][1].k[0] == pytest.approx(CAMERA.fx)


def test_output_opens_in_rerun(tmp_path: Path, network: Path) -> None:
    """Rerun decodes the messages itself, into its own images, pinhole cameras and points."""
    rerun = pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed")
    put_bag(tmp_path / "in", topics())
    assert bag(tmp_path / "in", tmp_path / "out.mcap", "--model", network, *FIXED) == 0
    found: dict[str, list[Any]] = {}
    for chunk in rerun.McapReader(tmp_path / "out.mcap").stream():
        batch = chunk.to_record_batch()
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            found.setdefault(f"{chunk.entity_path} {name}", []).extend(column)
    ours = messages_in(tmp_path / "out.mcap")

    def of(name: str) -> list[np.ndarray]:
        return [np.array(one.values[0].values) for one in found[name]]

    for topic, kind in ((IMAGE, "Image"), ("/depth/image_rect", "DepthImage")):
        for read, (_, message) in zip(of(f"{topic} {kind}:buffer"), ours[topic], strict=True):
            assert np.array_equal(read, message.data)
    times = [time.value for time in found["/depth/image_rect message_log_time"]]
    assert times == [time for time, _ in ours["/depth/image_rect"]]
    matrix = np.reshape(of("/depth/camera_info Pinhole:image_from_camera")[0], (3, 3)).T
    assert np.allclose(matrix, ours["/depth/camera_info"][0][1].k.reshape(3, 3))
    for read, (_, cloud) in zip(found["/points Points3D:positions"], ours["/points"], strict=True):
        positions = np.array(read.values.flatten()).reshape(-1, 3)
        assert np.array_equal(positions, cloud.data.view(np.float32).reshape(-1, 4)[:, :3], equal_nan=True)


def test_output_opens_in_the_reader_of_foxglove(tmp_path: Path, network: Path) -> None:
    """The packages with which Foxglove reads bags; they come from npm."""
    script = Path(__file__).parents[1] / "helpers" / "foxglove_reader.cjs"
    node = shutil.which("node")
    names = [line.split('"')[1] for line in script.read_text().splitlines() if 'require("@' in line]
    checked = node and subprocess.run(
        [node, "-e", ";".join(f"require('{name}')" for name in names)], check=False, capture_output=True
    )
    if not checked or checked.returncode:
        pytest.skip(f"node with {', '.join(names)} is not installed")
    put_bag(tmp_path / "in", topics())
    assert bag(tmp_path / "in", tmp_path / "out.mcap", "--model", network, *FIXED) == 0
    found = json.loads(subprocess.check_output([node, script, tmp_path / "out.mcap"]))
    ours = messages_in(tmp_path / "out.mcap")
    assert found == {
        topic: [
            [
                str(time),
                hashlib.sha256(one.data.tobytes()).hexdigest() if hasattr(one, "data") else None,
                one.k.tolist() if hasattr(one, "k") else None,
            ]
            for time, one in messages
        ]
        for topic, messages in ours.items()
    }
