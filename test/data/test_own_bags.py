"""The user's own ROS bags: image topics, and damaged, truncated or empty bags."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bag_files import TYPES, header, put_bag, raw
from image_comparison import assert_is
from miniature_files import HEIGHT, JPEG, WIDTH, encoded, picture, put
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_anything_ros.data.archive_set import TarSet
from depth_anything_ros.data.bags import BagSet
from depth_anything_ros.data.folder_sets import FolderSet
from depth_anything_ros.data.frame import DataError, decode_image
from depth_anything_ros.data.shards import pack
from depth_anything_ros.data.tar_members import tar_members
from depth_anything_ros.images.intensity import InputRange


def compressed(content: bytes, kind: str) -> Any:
    return TYPES.types["sensor_msgs/msg/CompressedImage"](header(0), kind, np.frombuffer(content, np.uint8))


def test_bag_gives_color_images_without_depth(tmp_path):
    color, gray = picture(0), picture(1)[..., 0].copy()
    depth = np.full((HEIGHT, WIDTH), 1500, np.uint16)
    put_bag(
        tmp_path / "bag",
        {
            "/rgb": [(1, raw(color, "rgb8")), (1.5, raw(picture(2), "rgb8")), (2, raw(picture(3), "rgb8"))],
            "/bgr": [(1, raw(color[..., ::-1].copy(), "bgr8"))],
            "/gray": [(1, raw(gray, "mono8"))],
            "/depth": [(1, raw(depth, "16UC1"))],
            "/meters": [(1, raw(depth.astype(np.float32), "32FC1"))],
            "/jpeg": [(1, compressed(encoded(".jpg", color), "rgb8; jpeg compressed bgr8"))],
            "/gray_jpeg": [(1, compressed(encoded(".jpg", gray), "mono8; jpeg compressed "))],
            "/depth_png": [(1, compressed(encoded(".png", depth), "16UC1; compressedDepth png"))],
        },
    )
    declared = BagSet()
    names = list(declared.names(tmp_path / "bag"))
    assert sorted(names) == [
        *("/bgr#1000000000", "/gray#1000000000", "/gray_jpeg#1000000000", "/jpeg#1000000000"),
        *("/rgb#1000000000", "/rgb#2000000000"),
    ]
    on_three = gray[..., None].repeat(3, 2)
    for name, requested, tolerance in (
        ("/rgb#1000000000", color, 0),
        ("/rgb#2000000000", picture(3), 0),
        ("/bgr#1000000000", color, 0),
        ("/gray#1000000000", on_three, 0),
        ("/jpeg#1000000000", color, JPEG),
        ("/gray_jpeg#1000000000", on_three, JPEG),
    ):
        assert_is(declared.read_image(tmp_path / "bag", name), requested, tolerance)
    ending, content = declared.read_file(tmp_path / "bag", "/rgb#1000000000")
    assert ending == "jpg"
    assert_is(decode_image(content, ""), color, JPEG)
    with pytest.raises(DataError, match=r"bag has no image /rgb#1250000000"):
        declared.read_image(tmp_path / "bag", "/rgb#1250000000")


def test_depth_topic_is_recognized_by_encoding_and_name(tmp_path, caplog):
    deep = picture(0)[..., 0].astype(np.uint16) * 16
    topics = {
        "/camera/depth/image_rect_raw": raw(deep, "mono16"),
        "/camera/aligned_depth_to_color/image_raw/compressed": compressed(
            encoded(".png", deep), "mono16; png compressed "
        ),
        "/camera/image": raw(deep, "16UC1"),
        "/flir/thermal/image_raw": raw(deep, "16UC1"),
        "/camera/infra1/image_rect_raw": raw(deep, "mono16"),
        "/camera/depth/preview": raw(picture(1), "rgb8"),
        "/left/disparity_image": raw(deep.astype(np.float32), "32FC1"),
        "/flow": raw(np.dstack([deep, deep]).astype(np.float32), "32FC2"),
        "/distance/compressed": compressed(bytes(12) + encoded(".png", deep), ""),
    }
    put_bag(tmp_path / "bag", {topic: [(1, message)] for topic, message in topics.items()})
    taken = {name.partition("#")[0] for name in BagSet().names(tmp_path / "bag")}
    assert taken == {"/flir/thermal/image_raw", "/camera/infra1/image_rect_raw", "/camera/depth/preview"}
    said = "\n".join(caplog.messages)
    for topic in topics.keys() - taken:
        assert f"left out: {topic} of " in said
    assert said.count("give it with --topic") == 3
    asked = BagSet(topics=("/camera/image",))
    (name,) = asked.names(tmp_path / "bag")
    assert_is(asked.read_image(tmp_path / "bag", name), picture(0)[..., :1].repeat(3, 2), 0)
    with pytest.raises(DataError, match=r"has no images on /cam; topics with images: /camera/aligned_depth"):
        list(BagSet(topics=("/cam",)).names(tmp_path / "bag"))


def test_input_range_is_applied_in_shards(tmp_path):
    deep = picture(0)[..., 0].astype(np.uint16) * 16
    put(tmp_path / "set" / "deep.png", deep)
    put(tmp_path / "set" / "plain.png", picture(1))
    put_bag(tmp_path / "bag", {"/ir": [(1, raw(deep, "mono16"))]})
    for mode, expected in (("auto", picture(0)[..., 0]), ("full", deep >> 8), ("0,2047", np.minimum(deep >> 3, 255))):
        for declared, root in ((FolderSet(), tmp_path / "set"), (BagSet(), tmp_path / "bag")):
            declared = replace(declared, input_range=InputRange.of(mode))
            with ThreadPoolExecutor(1) as executor:  # over the shards of another range, which are made anew
                list(pack(declared, root, tmp_path / f"{declared.name} shards", 9, executor))
            tar_members.cache_clear()
            archives = tmp_path / f"{declared.name} shards"
            names = list(TarSet().names(archives))
            gray = np.asarray(expected, np.uint8)[..., None].repeat(3, 2)
            assert_is(TarSet().read_image(archives, names[0]), gray, 0 if declared.name == "folder" else JPEG)
    assert_is(TarSet().read_image(tmp_path / "folder shards", "shard-000000.tar#plain%2Epng.png"), picture(1), 0)


def test_unreadable_bag_images_are_named(tmp_path):
    put_bag(
        tmp_path / "bag",
        {
            "/short": [(1, replace(raw(picture(0), "rgb8"), height=HEIGHT + 1))],
            "/odd": [(1, raw(picture(0), "yuv999"))],
            "/cut": [(1, compressed(encoded(".jpg", picture(0))[:300], "jpeg"))],
        },
    )
    names = list(BagSet().names(tmp_path / "bag"))
    assert len(names) == 3
    for name in names:
        with pytest.raises(DataError, match=rf"bag: {name} (cannot be read|is not a picture)"):
            BagSet().read_image(tmp_path / "bag", name)


def test_damaged_or_missing_bag_is_named(tmp_path):
    put_bag(tmp_path / "bag", {"/rgb": [(1, raw(picture(0), "rgb8"))]})
    (recording,) = (tmp_path / "bag").glob("*.mcap")
    content = recording.read_bytes()
    for keep in (len(content) // 2, 0):
        recording.write_bytes(content[:keep])
        with pytest.raises(DataError, match=r"cannot read .*bag"):
            list(BagSet().names(tmp_path / "bag"))
    (tmp_path / "bag" / "metadata.yaml").write_text("nothing: here\n")
    with pytest.raises(DataError, match=r"cannot read .*bag"):
        list(BagSet().names(tmp_path / "bag"))
    with pytest.raises(DataError, match=r"cannot read .*absent"):
        list(BagSet().names(tmp_path / "absent"))


def test_path_that_is_no_bag_gets_advice(tmp_path):
    put_bag(tmp_path / "bags" / "one", {"/rgb": [(1, raw(picture(0), "rgb8"))]})
    put_bag(tmp_path / "bags" / "two", {"/rgb": [(1, raw(picture(0), "rgb8"))]})
    (recording,) = (tmp_path / "bags" / "one").glob("*.mcap")
    put(tmp_path / "bare" / "a.mcap", recording.read_bytes())
    assert list(BagSet().names(tmp_path / "bare" / "a.mcap")) == ["/rgb#1000000000"]
    put(tmp_path / "packed" / "a.mcap.zstd", b"compressed")
    put(tmp_path / "old.bag.active", b"#ROSBAG")
    put(tmp_path / "pictures" / "a.png", b"")
    put(tmp_path / "empty.mcap", b"")
    put(tmp_path / "words.txt", b"words")
    for path, said in (
        ("bags", f"a folder of 2 bags: give one of {tmp_path / 'bags' / 'one'}, {tmp_path / 'bags' / 'two'}"),
        (
            "bare",
            f"no metadata.yaml, .*run `ros2 bag reindex {tmp_path / 'bare'}`, or give {tmp_path / 'bare' / 'a.mcap'}",
        ),
        ("packed/a.mcap.zstd", f"is compressed: run `unzstd a.mcap.zstd`, and give {tmp_path / 'packed' / 'a.mcap'}"),
        ("packed", r"has no metadata\.yaml, and a\.mcap\.zstd is compressed: .*run `unzstd"),
        ("bags/one/metadata.yaml", f"give its folder {tmp_path / 'bags' / 'one'}"),
        ("old.bag.active", r"run `rosbag reindex old\.bag\.active`"),
        ("pictures", r"no metadata\.yaml and no \.mcap, \.db3 or \.bag file"),
        ("empty.mcap", "the file is empty"),
        ("words.txt", "it is not a bag: give the folder of a bag"),
    ):
        with pytest.raises(DataError, match=rf"^cannot read {tmp_path / path}: .*{said}"):
            list(BagSet().names(tmp_path / path))


def test_bag_with_one_timestamp_is_reported(tmp_path, caplog):
    put_bag(tmp_path / "bag", {"/rgb": [(0, raw(picture(number), "rgb8")) for number in range(4)]})
    assert list(BagSet().names(tmp_path / "bag")) == ["/rgb#0"]
    assert caplog.messages == [
        f"/rgb of {tmp_path / 'bag'}: all of its 4 messages have the time 0, so only the first one is read"
    ]


def test_empty_bag_and_bag_without_images_are_distinguished(tmp_path):
    with Writer(tmp_path / "empty", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/rgb", "sensor_msgs/msg/Image", typestore=TYPES)
    put_bag(tmp_path / "stamps", {"/clock": [(1, header(1))]})
    for name, said in (
        ("empty", "is an empty bag without messages"),
        ("stamps", "has no topic with images; its topics are /clock (std_msgs/msg/Header)"),
    ):
        assert list(BagSet().names(tmp_path / name)) == []
        assert BagSet().empty_message(tmp_path / name).startswith(f"{tmp_path / name} {said}")


@pytest.mark.parametrize("storage", StoragePlugin)
def test_bag_with_flipped_bytes_is_named(tmp_path, storage):
    """In what lists the topics, in their names, in tables and in indices."""
    images = [(seconds, compressed(encoded(".png", picture(seconds)), "png")) for seconds in (1, 2)]
    put_bag(tmp_path / "bag", {"/rgb": images}, storage)
    (recording,) = (path for path in (tmp_path / "bag").iterdir() if path.suffix != ".yaml")
    content, refused = recording.read_bytes(), 0
    for place in range(0, len(content), len(content) // 40):
        recording.write_bytes(
            content[:place] + bytes(one ^ 0xA5 for one in content[place : place + 8]) + content[place + 8 :]
        )
        try:
            for name in BagSet().names(tmp_path / "bag"):
                BagSet().read_image(tmp_path / "bag", name)
        except DataError as error:
            assert "bag" in str(error)  # noqa: PT017 - where bytes do not matter, there is no error
            refused += 1
    assert refused > 0


def test_truncated_bag_message_is_skipped_and_named(tmp_path):
    kind = "sensor_msgs/msg/Image"
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/rgb", kind, typestore=TYPES)
        for second in (1, 2, 3):
            content = bytes(TYPES.serialize_cdr(raw(picture(second), "rgb8"), kind))
            writer.write(connection, 1_000_000_000 * second, content[: len(content) // 2] if second == 2 else content)
    with ThreadPoolExecutor(1) as executor:
        (shard,) = pack(BagSet(), tmp_path / "bag", tmp_path / "shards", 9, executor)
    assert shard.samples == 2
    assert re.match(r"cannot read /rgb#2000000000 of .*bag: ", shard.refused[0])


def test_bag_without_rosbags_names_extra(tmp_path, monkeypatch):
    for name in ("rosbags", "rosbags.highlevel"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"needs rosbags\.highlevel.*; it comes with the extra data: "):
        list(BagSet().names(tmp_path))


def test_ros1_bag_is_read(tmp_path):
    types = get_typestore(Stores.ROS1_NOETIC)
    kinds = types.types
    stamp = kinds["std_msgs/msg/Header"](0, kinds["builtin_interfaces/msg/Time"](1, 0), "camera")
    rows = picture(0)[..., ::-1].copy().ravel()
    message = kinds["sensor_msgs/msg/Image"](stamp, HEIGHT, WIDTH, "bgr8", 0, 3 * WIDTH, rows)
    with Writer1(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/camera", message.__msgtype__, typestore=types)
        writer.write(connection, 1_000_000_000, types.serialize_ros1(message, message.__msgtype__))
    assert list(BagSet().names(tmp_path / "old.bag")) == ["/camera#1000000000"]
    assert_is(BagSet().read_image(tmp_path / "old.bag", "/camera#1000000000"), picture(0), 0)


def test_recorded_bag_gives_its_original_frames(shared):
    """Fifteen color images at 5 Hz, raw and compressed, and depth, which is none."""
    bag, frames = shared / "data" / "bags" / "sevenscenes_rgbd_converted", shared / "data" / "sevenscenes_redkitchen"
    if not bag.is_dir():
        pytest.skip(f"there is no {bag}")
    names = list(BagSet().names(bag))
    topics = [name.partition("#")[0] for name in names]
    assert topics == ["/camera/color/image_raw"] * 3 + ["/camera/color/image_raw/compressed"] * 3
    for name, number in zip(names, (0, 30, 60) * 2, strict=True):  # a second apart
        requested = FolderSet().read_image(frames, f"frame-{number:06}.color.jpg")
        np.testing.assert_array_equal(BagSet().read_image(bag, name), requested)
