"""`verify` on real backends: agreement passes, disagreement fails and is drawn."""

from __future__ import annotations

import json
import logging

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")
pytest.importorskip("openvino", reason="the backend is optional: the extra `openvino`")

from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.cli import main
from depth_anything_ros.commands.verify import difference_panels
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.cuda.driver import devices
from depth_anything_ros.visualization.captions import LINE, RULE

SIZE = (24, 32)


@pytest.fixture
def red(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    return str(save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx"))


@pytest.mark.processor
def test_verify_passes_agreeing_backends(red, tmp_path, capsys):
    picture, numbers = tmp_path / "difference.png", tmp_path / "verify.json"
    assert main(["verify", red, "--backend", "openvino", "--picture", str(picture), "--json", str(numbers)]) == 0
    assert "passes" in capsys.readouterr().out
    result = json.loads(numbers.read_text())
    assert result["passed"]
    assert len(result["images"]) == 3
    assert all(image["correlation"] > 0.9999 for image in result["images"].values())
    assert cv2.imread(str(picture)).shape[0] == 3 * (240 + 2 * LINE) + RULE + 3 * LINE


@pytest.mark.processor
def test_verify_with_unsupported_precision_fails_with_reason(red, capsys, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    if processor().bf16:
        pytest.skip("the variable is of x86-64 processors")
    assert main(["verify", red, "--backend", "openvino", "--precision", "bf16"]) == 1
    error = capsys.readouterr().err
    assert "has no bfloat16 arithmetic" in error
    assert "Traceback" not in error
    assert main(["verify", red, "--backend", "openvino"]) == 0


def test_verify_finds_backend_for_precision(red, capsys, caplog):
    """What only other devices offer is passed over, without a word of devices that nobody named."""
    if devices():
        pytest.skip("a GPU is there, which offers more")
    assert main(["verify", red, "--precision", "fp32"]) == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert main(["verify", red, "--precision", "fp16"]) == 1
    assert "nothing here computes in precision fp16" in capsys.readouterr().err


def test_verify_uses_own_images(red, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "mine.png"), np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    assert main(["verify", red, "--backend", "openvino", "--images", str(tmp_path / "mine.png")]) == 0
    assert "mine at 24x32" in capsys.readouterr().out


def test_verify_names_unreadable_image(red, tmp_path, capsys):
    (tmp_path / "torn.png").write_bytes(b"PNG")
    assert main(["verify", red, "--images", str(tmp_path / "torn.png")]) == 1
    assert "torn.png" in capsys.readouterr().err


def test_verify_continues_after_unreadable_image(red, tmp_path, capsys):
    images, numbers = tmp_path / "images", tmp_path / "verify.json"
    images.mkdir()
    (images / "torn.png").write_bytes(b"PNG")
    cv2.imwrite(str(images / "whole.png"), np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    assert main(["verify", red, "--images", str(images), "--json", str(numbers)]) == 1
    printed = capsys.readouterr()
    assert "passes; images left out: 1" in printed.out
    assert f"left out: {images / 'torn.png'}: not a readable image" in printed.err
    result = json.loads(numbers.read_text())
    assert (list(result["images"]), result["passed"], result["left_out"]) == (["whole"], True, 1)


def test_difference_image_is_white_above_limit():
    expected = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    given = expected.copy()
    given[:, :15] += 0.5
    image = np.zeros((20, 30, 3), np.uint8)
    row = np.hstack(difference_panels(image, expected, given, gate.LIMITS["fp32"], height=20))
    assert (row[:, 90:105] == 255).all()
    assert (row[:, 105:] == 0).all()


def test_verify_of_backend_with_itself_says_so(red, capsys):
    assert main(["verify", red, "--backend", "onnxruntime"]) == 0
    assert "both are the same" in capsys.readouterr().out
