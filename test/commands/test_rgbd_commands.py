"""The user's own images with depth: from a folder to a check sheet, shards, scores and a trained network."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from green_network import write_green_network
from miniature_files import encoded, picture, put

from depth_anything_ros.cli import main
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import Declaration
from depth_anything_ros.data.shards import pack
from depth_anything_ros.data.sources import read_numbered
from depth_anything_ros.data.tar_members import read_member
from depth_anything_ros.training.input.mixture import open_source
from depth_anything_ros.training.settings import SourceSettings

HEIGHT, WIDTH = 28, 56


@pytest.fixture
def own(tmp_path) -> Path:
    """Four frames of a hill that is green where it is near, in millimeters, as `green_network` sees it."""
    root = tmp_path / "kitchen"
    row, column = np.mgrid[0:HEIGHT, 0:WIDTH]
    for number in range(4):
        inverse_depth = 0.2 + 0.6 * np.exp(-((column - 20 - 4 * number) ** 2 + (row - 14) ** 2) / 150)
        image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        image[..., 1] = np.rint(inverse_depth * 250)
        depth = np.rint(1000 / inverse_depth).astype(np.uint16)
        depth[:2] = 0
        put(root / "color" / f"{number}.png", encoded(".png", image))
        put(root / "depth" / f"{number}.png", encoded(".png", depth))
    put(root / "camera.json", json.dumps({"fx": 50.0, "fy": 50.0, "cx": 27.5, "cy": 13.5}))
    return root


@pytest.fixture
def model(tmp_path) -> str:
    return f"{tmp_path / 'green.onnx'}:{write_green_network(tmp_path / 'green.onnx')}"


def error_in(told: str) -> str:
    *_, last = told.strip().splitlines()
    assert last.startswith("depth_anything_ros ")
    return last


def test_check_of_rgbd_reports_and_draws(tmp_path, own, capsys, caplog):
    sheet, result = tmp_path / "sheet.png", tmp_path / "result.json"
    arguments = ["data", "check", "rgbd", str(own), "--output", str(sheet), "--json", str(result)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "rgbd: 4 images; 4 of 4 samples decode" in printed
    assert "  color/0.png: 56x28, 93 % known, depth 1.28 to 5" in printed
    (said,) = caplog.messages
    assert said == (
        f"{own}: images such as color/0.png, depth such as depth/0.png, matched by name; depth is uint16, 0.001 m per "
        "unit (or give --depth-scale); median depth 3.26 m; intrinsics of camera.json"
    )
    assert cv2.imread(str(sheet)).shape[1] == 4 * 2 * 240
    assert json.loads(result.read_text())["left_out"] == []
    put(own / "color" / "9.png", picture(0, HEIGHT, WIDTH))
    (own / "color" / "1.png").unlink()
    put(own / "depth" / "2.png", b"damaged")
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    assert "rgbd: 3 images; 2 of 3 samples decode" in printed
    assert f"  color/2.png: CANNOT BE READ: {own / 'depth' / '2.png'} is not a picture" in printed
    assert json.loads(result.read_text())["left_out"] == ["color/9.png has no depth", "depth/1.png has no image"]


def test_check_options_describe_rgbd_folder(tmp_path, own, capsys, caplog):
    options = ["--images", "color/*.png", "--depths", "depth/*.png", "--match", "number", "--camera", "40,40,28,14"]
    assert main(["data", "check", "rgbd", str(own), *options, "--depth-scale", "500"]) == 0
    assert "depth 2.56 to 9.99" in capsys.readouterr().out
    assert caplog.messages == []  # nothing is left to be found out
    for words, message in (
        (["--depth-scale", "none"], "--depth-scale is 'none', must be a number such as 0.001, 1/5000 or 5000"),
        (["--depth-scale", "-1"], "must be a positive number"),
        (["--camera", "1,2,3"], "is '1,2,3', must be fx, fy, cx and cy in pixels, or the name of a file"),
        (["--camera", "gone.json"], f"cannot read {own / 'gone.json'}"),
        (["--images", "color"], "images needs depths, and the reverse: give both, or neither"),
        (["--pairs", "gone.txt"], f"pairs: there is no file gone.txt, neither here nor in {own}"),
    ):
        assert main(["data", "check", "rgbd", str(own), *words]) == 1
        assert message in error_in(capsys.readouterr().err)
    assert main(["data", "check", "folder", str(own), "--depth-scale", "1"]) == 1
    assert "folder: options such as --images and --depth-scale are only for the set rgbd" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--data", "kitchen", "--sets", "rgbd"], ["--data", ".", "--sets", "kitchen"]])
def test_evaluate_scores_own_rgbd_folder(tmp_path, own, model, words, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", *words, "--model", model, "--json", "scores.json", "--pictures", "pictures"]
    assert main(arguments) == 0
    name = words[-1]
    assert f"{name}: 4 of 4 frames; yours (images with depth in a folder)" in capsys.readouterr().out
    (result,) = json.loads(Path("scores.json").read_text())["sets"]
    green = next(row for row in result["rows"] if row["contender"] == "green")
    assert set(green["images"]) == {f"{name}/color/{number}.png" for number in range(4)}
    assert green["scores"]["abs_rel"] < 0.03
    assert cv2.imread(f"pictures/{name}.png") is not None
    put(own / "depth" / "1.png", b"damaged")
    (own / "depth" / "2.png").unlink()
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert f"{name}: 2 of 3 frames, 2 left out" in told.out
    assert "depth/1.png is not a picture, or is damaged" in told.err


def test_evaluate_accepts_folder_with_rgbd_yaml(tmp_path, own, model, capsys):
    put(own / "rgbd.yaml", "depth_scale: 0.001\n")
    assert main(["evaluate", "--data", str(tmp_path), "--model", model]) == 0
    assert "kitchen: 4 of 4 frames" in capsys.readouterr().out
    assert main(["evaluate", "--data", str(own), "--model", model]) == 0
    assert "rgbd: 4 of 4 frames" in capsys.readouterr().out
    put(tmp_path / "mine.yaml", "folder: kitchen\ndepth_scale: 0.001\n")
    assert main(["evaluate", "--data", str(tmp_path / "mine.yaml"), "--sets", "rgbd", "--model", model]) == 0
    assert main(["evaluate", "--data", str(tmp_path), "--sets", "mine.yaml", "--model", model]) == 0
    assert "mine: 4 of 4 frames" in capsys.readouterr().out
    (own / "rgbd.yaml").unlink()
    assert main(["evaluate", "--data", str(own), "--model", model]) == 1
    assert "for your own images with depth give --sets rgbd" in error_in(capsys.readouterr().err)
    assert main(["evaluate", "--data", str(own / "color"), "--sets", "rgbd", "--model", model]) == 1
    assert "color contains 4 images such as 0.png, but no depth. Depth is" in error_in(capsys.readouterr().err)


def test_evaluate_depth_scale_reaches_images(tmp_path, own, model, capsys):
    """Twice the meters are twice the error in meters of the same aligned prediction."""
    errors = []
    for scale in ("0.001", "0.002"):
        scores = tmp_path / "scores.json"
        arguments = ["evaluate", "--data", str(own), "--sets", "rgbd", "--model", model, "--json", str(scores)]
        assert main([*arguments, "--depth-scale", scale]) == 0
        errors.append(json.loads(scores.read_text())["mean"]["constant"]["rmse"])
    assert errors[1] == pytest.approx(2 * errors[0], rel=1e-3)
    put(tmp_path / "tum" / "0_color.png", picture(0))
    put(tmp_path / "tum" / "0_depth.png", encoded(".png", np.full((28, 42), 5000, np.uint16)))
    arguments = ["evaluate", "--data", str(tmp_path), "--sets", "tum", "--model", model, "--depth-scale", "1"]
    assert main(arguments) == 1
    assert "are for your own images: also give --sets rgbd" in error_in(capsys.readouterr().err)


def test_rgbd_shards_hold_meters_and_intrinsics(tmp_path, own):
    """And what a stage of training reads is the same, from the folder or from its shards."""
    with ThreadPoolExecutor(1) as executor:
        list(pack(RgbdSet(), own, tmp_path / "shards", 3, executor))
    packed = open_source(SourceSettings(shards=tmp_path / "shards"))
    unpacked = open_source(SourceSettings(set="rgbd", root=own))
    assert packed.is_metric
    assert unpacked.is_metric
    assert (sum(packed.blocks), sum(unpacked.blocks)) == (4, 4)
    for number in range(4):
        ours, theirs = read_numbered(packed, number), read_numbered(unpacked, number)
        stored = cv2.imread(str(own / "depth" / f"{number}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(1 / ours.inverse_depth[2:], stored[2:] / 1000, rtol=1e-4)
        np.testing.assert_allclose(ours.inverse_depth, theirs.inverse_depth, rtol=1e-4)
        assert np.array_equal(ours.image, theirs.image)
    described = read_member(tmp_path / "shards" / "shard-000000.tar", "color%2F0%2Epng.json")
    assert json.loads(described)["camera"] == [50.0, 50.0, 27.5, 13.5]


def test_pack_skips_images_without_depth(tmp_path, own, capsys):
    (own / "depth" / "2.png").unlink()
    options = ["--processes", "1", "--depth-scale", "0.002"]
    assert main(["data", "pack", "rgbd", str(own), "--output", str(tmp_path / "shards"), *options]) == 1
    assert "3 samples in 1 shards" in capsys.readouterr().out
    packed = open_source(SourceSettings(shards=tmp_path / "shards"))
    stored = cv2.imread(str(own / "depth" / "0.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(1 / read_numbered(packed, 0).inverse_depth[2:], 0.002 * stored[2:], rtol=1e-4)


def test_changed_depth_scale_packs_again(tmp_path, own):
    manifests = []
    for scale in (0.001, 0.002, 0.002):
        with ThreadPoolExecutor(1) as executor:
            list(pack(RgbdSet(declared=Declaration(depth_scale=scale)), own, tmp_path / "shards", 9, executor))
        manifests.append(json.loads((tmp_path / "shards" / "manifest.json").read_text()))
    assert manifests[0]["version"] != manifests[1]["version"]
    assert manifests[1] == manifests[2]
