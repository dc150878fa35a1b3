"""`build` makes engines, reports them, and lists the stored ones."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="quantization needs it")

from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.cli import main
from depth_anything_ros.zoo.catalog import known_models

bundled = pytest.mark.skipif(not known_models()["tiny"].files, reason="no bundled model")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))


@bundled
@pytest.mark.processor
def test_build_makes_and_lists_every_size(tmp_path, capsys):
    result = tmp_path / "build.json"
    assert main(["build", "tiny", "--backend", "onnxruntime", "--precision", "int8", "--json", str(result)]) == 0
    written = json.loads(result.read_text())
    shapes = {tuple(engine["key"]["shape"]) for engine in written["engines"]}
    assert shapes == {(1, *size, 3) for size in _sizes()}
    assert all("correlation" in engine["gate"] for engine in written["engines"])
    capsys.readouterr()
    assert main(["build", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(shapes)


@bundled
def test_build_for_one_image_size_makes_one_engine(tmp_path):
    result = tmp_path / "build.json"
    words = ["build", "tiny", "--backend", "onnxruntime", "--precision", "int8", "--image", "720x1280"]
    assert main([*words, "--json", str(result)]) == 0
    shapes = [engine["key"]["shape"] for engine in json.loads(result.read_text())["engines"]]
    assert [1, 126, 224, 3] in shapes
    assert len(shapes) <= 2  # and the usual one, which is loaded first


def test_build_reports_nothing_to_build(tmp_path, capsys):
    red = save_graph(red_graph((24, 32), relative_record(input_size=(24, 32))), tmp_path / "red.onnx")
    assert main(["build", str(red), "--backend", "onnxruntime"]) == 0
    assert "there is nothing to build" in capsys.readouterr().out
    assert main(["build", "--list"]) == 0
    assert "no engines in" in capsys.readouterr().out


def test_build_of_unavailable_precision_fails(tmp_path, capsys):
    red = save_graph(red_graph((24, 32), relative_record(input_size=(24, 32))), tmp_path / "red.onnx")
    assert main(["build", str(red), "--backend", "onnxruntime", "--precision", "int8"]) == 1
    assert "refused: onnxruntime int8" in capsys.readouterr().out


@bundled
def test_build_calibrates_with_own_images(tmp_path, capsys):
    pytest.importorskip("nncf", reason="what quantizes for OpenVINO: the extra `openvino-int8`")
    pytest.importorskip("openvino", reason="the extra `openvino`")
    (tmp_path / "torn.png").write_bytes(b"PNG")
    arguments = ["build", "tiny", "--backend", "openvino", "--precision", "int8", "--image", "140x182", "--images"]
    assert main([*arguments, str(tmp_path / "torn.png")]) == 1
    assert "torn.png" in capsys.readouterr().err
    black = np.zeros((140, 182, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "black.png"), black)
    assert main([*arguments, str(tmp_path / "black.png")]) == 1  # the gate refuses what black images calibrate
    assert "refused: openvino int8" in capsys.readouterr().out


@bundled
def test_build_skips_unreadable_calibration_images(tmp_path, capsys):
    (tmp_path / "torn.png").write_bytes(b"PNG")
    cv2.imwrite(str(tmp_path / "whole.png"), np.zeros((140, 182, 3), np.uint8))
    words = ["build", "tiny", "--backend", "onnxruntime", "--image", "140x182", "--images", str(tmp_path)]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert "there is nothing to build" in printed.out
    assert f"left out: {tmp_path / 'torn.png'}: not a readable image" in printed.err
    assert "images left out of --images, see above: 1" in printed.err


def _sizes() -> list[tuple[int, int]]:
    return [file.size for file in known_models()["tiny"].files if file.size]
