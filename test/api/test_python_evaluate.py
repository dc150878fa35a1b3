"""`depth_anything_ros.evaluate` gives the scores of the command, in one call."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from green_network import write_green_network

from depth_anything_ros import Estimator, Evaluation, ModelError, evaluate
from depth_anything_ros.cli import main


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path) -> Path:
    """Three of the user's frames: a hill that is green where it is near; one depth file is cut off."""
    row, column = np.mgrid[0:28, 0:56]
    for kind in ("rgb", "depth"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for index in range(3):
        inverse_depth = 0.2 + 0.6 * np.exp(-((column - 20 - 8 * index) ** 2 + (row - 14) ** 2) / 150)
        image = np.full((28, 56, 3), 60, np.uint8)
        image[..., 1] = np.rint(inverse_depth * 250)
        cv2.imwrite(str(tmp_path / "data" / "rgb" / f"{index}.png"), image)
        depth = np.rint(5000 / inverse_depth).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "data" / "depth" / f"{index}.png"), depth)
    return tmp_path / "data"


@pytest.fixture
def green(tmp_path) -> Estimator:
    return Estimator(tmp_path / "green.onnx", "onnxruntime", record=write_green_network(tmp_path / "green.onnx"))


def test_evaluate_scores_equal_command_scores(data, green, tmp_path, capsys):
    evaluation = evaluate(green, data, "rgbd", depth_scale=1 / 5000, pictures=tmp_path / "new" / "pictures")
    assert isinstance(evaluation, Evaluation)
    assert evaluation.means["green"].abs_rel < 0.03
    assert evaluation.means["constant"].abs_rel > 0.2
    assert (tmp_path / "new" / "pictures" / "rgbd.png").is_file()
    assert repr(evaluation).startswith("Evaluation(3 frames of rgbd: green AbsRel 0.0")
    assert "| rgbd | 3 | **0.0" in evaluation.to_markdown()
    model = f"{tmp_path / 'green.onnx'}:{tmp_path / 'green.json'}"
    words = ["--sets", "rgbd", "--model", model, "--depth-scale", "0.0002", "--json", tmp_path / "scores.json"]
    assert main(["evaluate", "--data", str(data), "--backend", "onnxruntime", *map(str, words)]) == 0
    printed = capsys.readouterr().out
    assert [line[:60] for line in str(evaluation).splitlines()] == [line[:60] for line in printed.splitlines()]
    ours, theirs = json.loads(evaluation.to_json()), json.loads((tmp_path / "scores.json").read_text())
    assert ours["mean"] == theirs["mean"]
    assert ours["models"] == theirs["models"]


def test_score_of_prediction_equals_that_of_evaluate(data, green):
    evaluation = evaluate(green, data, "rgbd", depth_scale=1 / 5000, baselines=False)
    (row,) = evaluation.results[0].rows
    truth = cv2.imread(str(data / "depth" / "1.png"), cv2.IMREAD_UNCHANGED) / 5000
    prediction = green(data / "rgb" / "1.png")
    expected = asdict(row.images["rgbd/rgb/1.png"])
    assert asdict(prediction.score(truth)) == pytest.approx(expected, rel=1e-5)
    scale = prediction.fit_scale(truth)
    assert prediction.score(truth, scale).abs_rel == pytest.approx(prediction.score(truth).abs_rel, rel=0.1)
    assert prediction.score(truth, (2 * scale.a, 2 * scale.b)).delta1 == 0
    with pytest.raises(ValueError, match="the truth has no pixel with known depth"):
        prediction.score(np.zeros(truth.shape))
    with pytest.raises(ValueError, match=r"known depth has shape \(2, 2\), the prediction \(28, 56\)"):
        prediction.score(np.ones((2, 2)))


def test_split_file_is_found_here_or_in_the_data(data, green, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path, data):
        (place / "val.txt").write_text("2\n0\n")
        assert evaluate(green, data, "rgbd", pairs="val.txt", baselines=False).results[0].frames == 2
        (place / "val.txt").unlink()
    with pytest.raises(ValueError, match=r"pairs: there is no file val\.txt, neither here nor in .*data"):
        evaluate(green, data, "rgbd", pairs="val.txt")


def test_evaluate_reports_skipped_samples_and_scores_rest(data, green, caplog):
    (data / "depth" / "1.png").write_bytes((data / "depth" / "1.png").read_bytes()[:100])
    evaluation = evaluate(green, data, ["rgbd"], baselines=False)
    assert list(evaluation.means) == ["green"]
    (text,) = evaluation.left_out
    assert "1.png" in text
    assert f"left out: {text}" in caplog.messages
    assert repr(evaluation).endswith("; 1 left out)")


def test_models_of_equal_name_get_distinct_names(data, green, tmp_path):
    typed = f"{tmp_path / 'green.onnx'}:{tmp_path / 'green.json'}"
    other = Estimator(tmp_path / "green.onnx", "onnxruntime", record=tmp_path / "green.json", threads=1)

    def names(*models: Estimator | str) -> list[str]:
        return list(evaluate(models, data, "rgbd", limit=1, backend="onnxruntime", baselines=False).means)

    assert names(green, "tiny", green) == ["green", "tiny"]
    on = "green on onnxruntime fp32"
    assert names(green, typed, other, typed) == [on, typed, f"{on} (2)"]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("tiny", "absent"), {}, ValueError, "absent is not a folder"),
        (("tiny", "data", "nyuv3"), {}, ValueError, "nyuv3"),
        (("tiny", "data", "rgbd"), {"limit": -1}, ValueError, "limit is -1, must be 0 or more"),
        (
            ("tiny", "data", "rgbd"),
            {"protocol": "ful"},
            ValueError,
            "protocol is 'ful', must be full, published, .*did you mean full",
        ),
        (("tiny", "data", "rgbd"), {"depth_scal": 1}, TypeError, "depth_scal"),
        (("absent.onnx", "data", "rgbd"), {}, ModelError, "no such model file"),
    ],
)
def test_evaluate_with_invalid_arguments_raises(data, monkeypatch, arguments, options, error, message):
    monkeypatch.chdir(data.parent)
    with pytest.raises(error, match=message):
        evaluate(*arguments, **options)
