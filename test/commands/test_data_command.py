"""`depth_anything_ros data`: its output, its files and its exit status."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import webdataset
from bag_files import put_bag, raw
from hypothesis import given, settings
from hypothesis import strategies as st
from miniature_files import HEIGHT, WIDTH, encoded, picture, put, put_tar, put_video
from miniature_sets import MINIATURES

from depth_anything_ros.cli import main
from depth_anything_ros.data.check import count_and_choose
from depth_anything_ros.data.sets import ALL_SETS
from depth_anything_ros.visualization.captions import LINE, RULE


def error_in(said: str) -> str:
    """Return the one error line at the end of stderr, after the progress bars."""
    assert "Traceback" not in said
    *_, last = said.strip().splitlines()
    assert last.startswith("depth_anything_ros data: ")
    assert said.count("depth_anything_ros data: ") == 1
    return last


def test_data_list_prints_every_set_with_terms(capsys, tmp_path):
    assert main(["data", "list", "--json", str(tmp_path / "sets.json")]) == 0
    printed = capsys.readouterr().out
    for declared in ALL_SETS.values():
        assert f"  {declared.name} " in printed
        assert f"{declared.title}; {declared.terms}" in printed
    assert "11 185 362" in printed  # of SA-1B
    rows = json.loads((tmp_path / "sets.json").read_text())
    assert [row["name"] for row in rows] == list(ALL_SETS)
    for row in rows:
        assert row["kind"] in ("labeled", "unlabeled", "benchmark", "segmentation", "sample", "your own")
        assert row["pitfalls"] == ALL_SETS[row["name"]].pitfalls
        assert row["terms"]


@pytest.mark.parametrize("name", MINIATURES)
def test_data_check_counts_and_decodes_every_set(name, tmp_path, capsys):
    root = tmp_path / "set"
    expected = MINIATURES[name](root)
    refused = [one for one in expected if one.refused]
    result = tmp_path / "result.json"
    sheet = tmp_path / "sheet.png"
    status = main(["data", "check", name, str(root), "--json", str(result), "--output", str(sheet)])
    printed = capsys.readouterr().out
    assert status == int(bool(refused))
    assert printed.startswith(f"{name}: {len(expected)} images")
    assert f"; {len(expected) - len(refused)} of {len(expected)} samples decode" in printed
    found = json.loads(result.read_text())
    assert (found["images"], found["expected"]) == (len(expected), ALL_SETS[name].count)
    for sample, one in zip(found["samples"], expected, strict=True):
        assert sample["name"] == one.name
        assert ("trouble" in sample) == bool(one.refused)
        if one.depth is not None and not one.refused:
            finite = one.depth[np.isfinite(one.depth)]
            assert sample["known"] == pytest.approx((~np.isnan(one.depth)).mean())
            assert sample["sky"] == pytest.approx(np.isposinf(one.depth).mean())
            low, high = np.percentile(finite, (1, 99))
            assert (sample["nearest"], sample["farthest"]) == (
                pytest.approx(low, rel=1e-5),
                pytest.approx(high, rel=1e-5),
            )
        if one.labels is not None:
            assert sample["known"] == pytest.approx((one.labels != 255).mean())
    assert f"sheet: {sheet}" in printed
    panels = 1 if one.depth is None and one.labels is None else 2
    whole = len(expected) - len(refused)
    columns = min(4, whole)
    height, width, _ = cv2.imread(str(sheet)).shape
    assert width == 240 * panels * columns
    explained = height - (180 + 2 * LINE) * -(-whole // columns) - RULE
    assert explained >= LINE
    assert explained % LINE == 0


def put_slope(root: Path, frame: str = "00001") -> None:
    """Write a frame of NYUv2: near on the left, far on the right, unknown at the bottom."""
    depth = np.tile(np.linspace(1000, 9000, 240), (180, 1)).astype(np.uint16)
    depth[120:] = 0
    put(root / "kitchen" / f"rgb_{frame}.jpg", picture(3, 180, 240))
    put(root / "kitchen" / f"sync_depth_{frame}.png", depth)


def test_check_sheet_shows_images_with_depth(tmp_path, capsys):
    put_slope(tmp_path / "set")
    sheet = tmp_path / "new" / "sheet.png"
    assert main(["data", "check", "nyuv2_sync", str(tmp_path / "set"), "--output", str(sheet)]) == 0
    assert "240x180, 67 % known, depth 1.07 to 8.93" in capsys.readouterr().out
    drawn = cv2.imread(str(sheet))[..., ::-1].astype(int)
    image, depth = drawn[:180, :240], drawn[:180, 240:]
    for row, column in ((45, 60), (45, 180), (135, 60), (135, 180)):
        np.testing.assert_allclose(image[row, column], picture(3, 180, 240)[row, column], atol=4)
    near, far = depth[60, 8], depth[60, 230]
    assert near[0] > near[2] + 60  # red
    assert far[2] > far[0]  # blue
    assert (depth[122:] == 0).all()  # black
    hues = cv2.cvtColor(depth[60:61].astype(np.uint8), cv2.COLOR_RGB2HSV)[0, ::20, 0].astype(int)
    assert (np.diff(hues) > 0).all()  # from red over yellow and green to blue, as depth grows


def test_check_sheet_draws_classes_in_colors(tmp_path):
    root = tmp_path / "set"
    labels = np.full((180, 240), 7, np.uint8)  # road
    labels[:, 120:] = 26  # cars
    labels[150:] = 0
    put(root / "leftImg8bit/train/aachen/aachen_0_0_leftImg8bit.png", picture(0, 180, 240))
    put(root / "gtFine/train/aachen/aachen_0_0_gtFine_labelIds.png", labels)
    assert main(["data", "check", "cityscapes", str(root), "--output", str(tmp_path / "sheet.png")]) == 0
    drawn = cv2.imread(str(tmp_path / "sheet.png"))[:180, 240:].astype(int)
    assert (drawn[151:] == 0).all()
    road, car = drawn[50, 50], drawn[50, 200]
    assert road.max() > 200
    assert car.max() > 200
    assert np.abs(road - car).max() > 100


def test_damaged_sample_is_named_and_check_fails(tmp_path, capsys):
    root = tmp_path / "set"
    expected = MINIATURES["kitti"](root)
    damaged = root / expected[1].files[1]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (root / expected[2].files[0]).write_bytes(b"")
    result, sheet = tmp_path / "result.json", tmp_path / "sheet.png"
    status = main(["data", "check", "kitti", str(root), "--json", str(result), "--output", str(sheet)])
    printed = capsys.readouterr().out
    assert status == 1
    assert "kitti: 3 images, of 92750 in total; 1 of 3 samples decode" in printed
    assert f"{expected[1].name}: CANNOT BE READ: {damaged} is not a picture, or is damaged: it is truncated" in printed
    assert f"{expected[2].name}: CANNOT BE READ: {root / expected[2].name} is not a picture" in printed
    assert [bool(sample.get("trouble")) for sample in json.loads(result.read_text())["samples"]] == [False, True, True]
    assert cv2.imread(str(sheet)).shape[1] == 480


def test_check_samples_are_spread_over_set(tmp_path, capsys):
    for number in range(20):
        put(tmp_path / "set" / f"{number:02}.png", picture(number))
    assert main(["data", "check", "folder", str(tmp_path / "set"), "--samples", "4"]) == 0
    printed = capsys.readouterr().out
    assert "folder: 20 images; 4 of 4 samples decode" in printed
    for number in (0, 5, 10, 15):
        assert f"  {number:02}.png: 64x32\n" in printed


@settings(max_examples=30, deadline=None)
@given(total=st.integers(0, 40_000), limit=st.integers(1, 40))
def test_count_and_choose_spreads_choice_without_list(total, limit):
    count, chosen = count_and_choose(map(str, range(total)), limit)
    assert count == total
    assert len(chosen) == min(total, limit)
    places = np.array(chosen, int)
    requested = np.arange(len(chosen)) * total / max(len(chosen), 1)
    assert np.abs(places - requested).max(initial=0) <= 1 + total / 2048
    assert count_and_choose(map(str, range(total)), 0) == (total, [str(number) for number in range(total)])


def test_check_reads_own_images(tmp_path, capsys, shared):
    put(tmp_path / "folder" / "a.jpg", picture(0))
    put(tmp_path / "list.txt", "folder/a.jpg\n")
    put_video(tmp_path / "videos" / "clip.mp4", [picture(number) for number in range(20)])
    put_tar(tmp_path / "archives" / "a.tar", {"a.jpg": encoded(".jpg", picture(0))})
    bag = shared / "data" / "bags" / "sevenscenes_rgbd_converted"
    for name, root, count in (
        ("folder", tmp_path / "folder", 1),
        ("list", tmp_path / "list.txt", 1),
        ("videos", tmp_path / "videos", 2),
        ("archives", tmp_path / "archives", 1),
        ("bags", bag, 6),
    ):
        assert main(["data", "check", name, str(root)]) == 0
        assert f"{name}: {count} images; {count} of {count} samples decode" in capsys.readouterr().out


def test_check_of_bag_reports_skipped_topics_and_reads_topic(tmp_path, capsys, caplog):
    thermal = np.linspace(7000, 9000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    put_bag(tmp_path / "bag", {"/sensor/image": [(1, raw(thermal, "16UC1"))], "/rgb": [(1, raw(picture(0), "rgb8"))]})
    assert main(["data", "check", "bags", str(tmp_path / "bag")]) == 0
    assert "bags: 1 images; 1 of 1 samples decode" in capsys.readouterr().out
    assert "left out: /sensor/image of" in caplog.text
    assert "give it with --topic" in caplog.text
    asked = ["--topic", "/sensor/image", "--input-range", "7000,9000", "--output", str(tmp_path / "sheet.png")]
    assert main(["data", "check", "bags", str(tmp_path / "bag"), *asked]) == 0
    assert "  /sensor/image#1000000000: " in capsys.readouterr().out
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet.min() < 10
    assert sheet.max() > 245
    assert main(["data", "check", "folder", str(tmp_path), "--topic", "/rgb"]) == 1
    assert "--topic is only for bags; folder has no topics" in capsys.readouterr().err


def test_check_counts_known_unreadable_files(tmp_path, capsys):
    for number in range(9):
        put(tmp_path / "folder" / f"{number}.png", picture(number))
        put_tar(tmp_path / "archives" / f"{number}.tar", {"a.jpg": encoded(".jpg", picture(0))})
        put_video(tmp_path / "videos" / f"{number}.mp4", [picture(number)] * 10)
    put(tmp_path / "folder" / "5.heic", b"\0\0\0\x18ftypheic" + bytes(500))
    put(tmp_path / "folder" / "mine.txt", "0.png\n1.png\nabsent.png\n2.png\n")
    put(tmp_path / "archives" / "5.tar.gz", b"compressed")
    put(tmp_path / "videos" / "5.mov", b"no video")
    result = tmp_path / "result.json"
    for name, root, count, left_out in (
        ("folder", "folder", 9, "5.heic is an image that OpenCV cannot read"),
        ("list", "folder/mine.txt", 3, "absent.png: No such file or directory"),
        ("archives", "archives", 9, "5.tar.gz: it is compressed"),
        ("videos", "videos", 9, "5.mov cannot be read as a video"),
    ):
        assert main(["data", "check", name, str(tmp_path / root), "--samples", "1", "--json", str(result)]) == 1
        printed = capsys.readouterr().out
        assert f"{name}: {count} images, and 1 left out; 1 of 1 samples decode" in printed
        assert f"{left_out}" in printed
        (said,) = json.loads(result.read_text())["left_out"]
        assert left_out in said


def test_undecodable_file_name_is_printed(tmp_path):
    put(tmp_path / "a.png", picture(0))
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    put(tmp_path / "z.png", picture(1))
    command = [sys.executable, "-m", "depth_anything_ros", "data", "check", "folder", str(tmp_path)]
    surroundings = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as in most languages
    process = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert "  caf\\udce9.png: 64x32" in process.stdout
    assert "  z.png: 64x32" in process.stdout


def test_folder_of_unsupported_images_is_reported_unreadable(tmp_path, capsys):
    put(tmp_path / "a.heic", b"\0\0\0\x18ftypheic" + bytes(500))
    assert main(["data", "check", "folder", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "left out: " in printed.out
    assert "none of 1 images can be read, see above" in error_in(printed.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "x", "here"], "there is no set 'x'; the sets are "),
        (["pack", "kiti", "here", "--output", "out"], "there is no set 'kiti': did you mean kitti"),
        (["check", "kitti", "nowhere"], "there is no nowhere"),
        (["pack", "kitti", "nowhere", "--output", "out"], "there is no nowhere"),
        (["check", "kitti", "here"], "here contains no image of kitti; the expected path is {date}/"),
        (["pack", "kitti", "here", "--output", "out"], "here contains no image of kitti; the expected path is {date}/"),
        (["check", "ddad", "here"], "cannot read here/ddad.json"),
        (["check", "folder", "here", "--output", "sheet.pdf"], "--output sheet.pdf: unsupported file ending"),
        (["pack", "folder", "here", "--output", "out", "--shard", "0"], "--shard and --processes must be at least 1"),
        (["pack", "folder", "here", "--output", "out", "--processes", "0"], "--processes must be at least 1"),
        (["pack", "folder", "here", "--output", "here"], "--output here is root here, which is an input: choose"),
        (["pack", "folder", "here", "--output", "out", "--limit", "-1"], "--limit must be at least 0"),
        (["check", "folder", "here", "--samples", "-1"], "--samples must be at least 0"),
        (["check", "folder", "file"], "cannot list file: Not a directory"),
        (["check", "imagenet21k", "file"], "cannot list file: Not a directory"),
        (["verify", "here"], "create it with `depth_anything_ros data pack`"),
    ],
)
def test_data_command_with_invalid_arguments_fails(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "file").touch()
    assert main(["data", *arguments]) == 1
    assert message in error_in(capsys.readouterr().err)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_pack_of_unreadable_images_fails(tmp_path, capsys):
    root = tmp_path / "pictures"
    root.mkdir()
    (root / "broken.jpg").write_bytes(b"no picture")
    assert main(["data", "pack", "folder", str(root), "--output", str(tmp_path / "out"), "--processes", "1"]) == 1
    printed = capsys.readouterr()
    assert "left out: " in printed.out
    assert f"no image of {root} could be packed" in printed.err


@pytest.mark.parametrize("action", ["check", "pack"])
def test_set_without_unpacked_depth_is_reported(action, tmp_path, capsys):
    root = tmp_path / "set"
    expected = MINIATURES["hypersim"](root)
    for one in expected:
        (root / one.files[1]).unlink()
    options = ["--output", str(tmp_path / "out"), "--processes", "1"] if action == "pack" else []
    assert main(["data", action, "hypersim", str(root), *options]) == 1
    said = error_in(capsys.readouterr().err)
    assert f"{root} contains {len(expected)} images of hypersim, but none has depth at " in said


def test_pack_and_verify_round_trip(tmp_path, capsys):
    root, output = tmp_path / "set", tmp_path / "shards"
    expected = MINIATURES["sintel"](root)
    (root / expected[1].files[1]).write_bytes(b"junk")
    command = ["data", "pack", "sintel", str(root), "--output", str(output), "--shard", "2", "--processes", "2"]
    assert main([*command, "--json", str(tmp_path / "pack.json")]) == 0
    printed = capsys.readouterr().out
    assert f"{output}: 2 samples in 2 shards" in printed
    assert f"left out: {root / expected[1].files[1]} is not a .dpt file" in printed
    manifest = json.loads((output / "manifest.json").read_text())
    assert json.loads((tmp_path / "pack.json").read_text()) == manifest
    shards = [str(output / shard["name"]) for shard in manifest["shards"]]
    read = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [json.loads(sample["json"])["name"] for sample in read] == [expected[0].name, expected[2].name]

    assert main(["data", "verify", str(output), "--json", str(tmp_path / "verify.json")]) == 0
    assert f"{output}: 2 of 2 shards are unchanged" in capsys.readouterr().out
    assert [row["trouble"] for row in json.loads((tmp_path / "verify.json").read_text())] == ["", ""]

    with (output / "shard-000001.tar").open("r+b") as file:
        file.truncate(100)
    assert main(["data", "verify", str(output), "--json", str(tmp_path / "verify.json")]) == 1
    printed = capsys.readouterr().out
    assert f"{output}/shard-000001.tar has 100 bytes, must have" in printed
    assert f"{output}: 1 of 2 shards are unchanged" in printed
    assert [bool(row["trouble"]) for row in json.loads((tmp_path / "verify.json").read_text())] == [False, True]

    assert main([*command[:-1], "1"]) == 0  # packing again mends it, by however many processes
    assert main(["data", "verify", str(output)]) == 0


def test_pack_reports_unreadable_archive(tmp_path, capsys):
    root, output = tmp_path / "set", tmp_path / "shards"
    for name in ("a", "b"):
        put_tar(root / f"{name}.tar", {"1.jpg": encoded(".jpg", picture(0))})
    put(root / "a.tar", (root / "a.tar").read_bytes()[:700])
    assert main(["data", "pack", "archives", str(root), "--output", str(output), "--processes", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"left out: cannot read {root / 'a.tar'}: " in printed
    assert f"{output}: 1 samples in 1 shards" in printed
    (said,) = json.loads((output / "manifest.json").read_text())["shards"][0]["refused"]
    assert str(root / "a.tar") in said


def test_pack_names_twenty_skipped_files_and_counts_rest(tmp_path, capsys):
    root, output = tmp_path / "set", tmp_path / "shards"
    put(root / "a.jpg", picture(0))
    for number in range(23):
        put(root / f"b{number:02}.jpg", b"junk")
    assert main(["data", "pack", "folder", str(root), "--output", str(output), "--processes", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("is not a picture, or is damaged") == 20
    assert f"left out: 3 more, see {output / 'manifest.json'}" in printed
    assert json.loads((output / "manifest.json").read_text())["refused"] == 23


def test_pack_with_killed_process_keeps_finished_shards(tmp_path, capsys):
    """A pipe stands in for an image: a process waits there until it is killed, as when memory runs out."""
    root, output = tmp_path / "set", tmp_path / "shards"
    for number in range(3):
        put(root / f"{number}.png", picture(number))
    os.mkfifo(root / "3.png")
    put(root / "all.txt", "".join(f"{number}.png\n" for number in range(4)))  # a folder's pipe would be passed over

    def kill_the_packer():
        writer = os.open(root / "3.png", os.O_WRONLY)  # returns once the process reads
        for child in multiprocessing.active_children():
            child.kill()
        os.close(writer)

    killer = threading.Thread(target=kill_the_packer)
    killer.start()
    command = [
        "data",
        "pack",
        "list",
        str(root / "all.txt"),
        "--output",
        str(output),
        "--shard",
        "1",
        "--processes",
        "1",
    ]
    assert main(command) == 1
    killer.join()
    said = error_in(capsys.readouterr().err)
    assert "one of 1 processes was killed, most likely because memory ran out" in said
    assert "Finished shards are kept; the next run continues from there" in said
    kept = {path: path.stat().st_ino for path in output.glob("*.tar")}
    assert len(kept) == 3
    assert not (output / "manifest.json").exists()
    (root / "3.png").unlink()
    put(root / "3.png", picture(3))
    for partial in output.glob(".*.partial"):
        os.utime(partial, (0, 0))  # a day later
    assert main(command) == 0
    assert {path: path.stat().st_ino for path in kept} == kept
    assert not list(output.glob(".*.partial"))
    assert json.loads((output / "manifest.json").read_text())["samples"] == 4


def test_pack_without_webdataset_names_extra(tmp_path, capsys, monkeypatch):
    put(tmp_path / "set" / "a.jpg", picture(0))
    monkeypatch.setitem(sys.modules, "webdataset", None)
    monkeypatch.delitem(sys.modules, "depth_anything_ros.data.shards", raising=False)
    assert main(["data", "pack", "folder", str(tmp_path / "set"), "--output", str(tmp_path / "shards")]) == 1
    assert "it comes with the extra data: pip install '.[data]'" in error_in(capsys.readouterr().err)


def test_check_without_reader_package_names_extra_once(tmp_path, capsys, monkeypatch):
    """And not for each of its images."""
    MINIATURES["hypersim"](tmp_path / "set")
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert main(["data", "check", "hypersim", str(tmp_path / "set")]) == 1
    captured = capsys.readouterr()
    assert "needs h5py; it comes with the extra data: pip install '.[data]'" in error_in(captured.err)
    assert captured.out == ""


def test_check_of_folder_needs_no_reader_packages(tmp_path, capsys, monkeypatch):
    """Whoever has pictures in a folder needs none of the extra."""
    put(tmp_path / "set" / "a.jpg", picture(0))
    for name in ("webdataset", "h5py", "lmdb", "OpenEXR", "rosbags", "rosbags.highlevel", "scipy", "scipy.io"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["data", "check", "folder", str(tmp_path / "set")]) == 0
    assert "folder: 1 images; 1 of 1 samples decode" in capsys.readouterr().out
