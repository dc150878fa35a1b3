"""The command end to end: a miniature set, a real ONNX graph, ONNX Runtime."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from green_network import write_green_network
from miniature_benchmarks import nyuv2_labeled
from miniature_tum import put_tum

from depth_anything_ros.cli import main
from depth_anything_ros.evaluation.crops import eigen_crop
from depth_anything_ros.visualization.captions import LINE


@pytest.fixture
def data(tmp_path) -> Path:
    """Two frames of a miniature TUM set: a hill that is green where it is near."""
    return put_tum(tmp_path / "data")


def test_evaluate_prints_report_and_writes_files(tmp_path, data, capsys):
    record_file = write_green_network(tmp_path / "green.onnx")
    model = f"{tmp_path / 'green.onnx'}:{record_file}"
    scores, table, pictures = tmp_path / "scores.json", tmp_path / "scores.md", tmp_path / "pictures"
    arguments = ["evaluate", "--data", str(data), "--sets", "tum", "--model", model, "--threads", "1"]
    page = tmp_path / "page.html"
    outputs = ["--json", str(scores), "--markdown", str(table), "--pictures", str(pictures), "--html", str(page)]
    assert main([*arguments, *outputs]) == 0
    printed, progress = capsys.readouterr()
    assert "scoring tum: 2 frames\n" in progress
    assert f"written: {table}, {page}, {scores}, {pictures}\n" in progress
    assert "tum: 2 of 2 frames; CC BY 4.0" in printed
    assert "green beats constant on 1 of 1 sets in AbsRel and 1 in δ1" in printed
    assert "green beats vertical gradient on 1 of 1 sets in AbsRel and 1 in δ1" in printed

    report = json.loads(scores.read_text())
    assert report["protocol"] == "full"
    assert report["models"]["green"]["record"]["output"] == "inverse_depth"
    rows = {row["contender"]: row for row in report["sets"][0]["rows"]}
    assert set(rows) == {"green", "constant", "vertical gradient"}
    assert set(rows["green"]["images"]) == {"tum/0_color.png", "tum/1_color.png"}
    # The network sees half the resolution; only interpolation keeps it from being exact.
    assert rows["green"]["scores"]["abs_rel"] < 0.03
    assert rows["green"]["scores"]["delta1"] > 0.99
    assert rows["constant"]["scores"]["abs_rel"] > 0.2
    assert "| tum | 2 | " in table.read_text()
    picture = cv2.imread(str(pictures / "tum.png"))
    assert picture.shape == (3 * (240 + LINE), 4 * 480, 3)
    assert page.read_text().count('"caption": "green, ') == 2
    assert not list(tmp_path.rglob("*.part"))


def test_evaluate_applies_limit_and_no_baselines(tmp_path, data, capsys):
    record_file = write_green_network(tmp_path / "green.onnx")
    model = f"{tmp_path / 'green.onnx'}:{record_file}"
    arguments = ["evaluate", "--data", str(data), "--sets", "tum", "--model", model, "--limit", "1", "--no-baselines"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "tum: 1 of 2 frames" in printed
    assert "constant" not in printed


def test_models_of_equal_name_are_named_as_given(tmp_path, data, capsys):
    """A model that was just made, beside the one in the box of the same name."""
    models = []
    for folder in ("new", "old"):
        (tmp_path / folder).mkdir()
        graph = tmp_path / folder / "green.onnx"
        models.append(f"{graph}:{write_green_network(graph)}")
    words = [word for model in (*models, models[0]) for word in ("--model", model)]
    arguments = ["evaluate", "--data", str(data), "--sets", "tum", "--no-baselines", "--threads", "1", *words]
    assert main([*arguments, "--json", str(tmp_path / "scores.json")]) == 0
    (result,) = json.loads((tmp_path / "scores.json").read_text())["sets"]
    assert [row["contender"] for row in result["rows"]] == models


def test_published_protocol_scores_only_eigen_crop(tmp_path, capsys):
    """NYUv2 at full size: near inside the Eigen crop, ten times as far on its border and beyond 10 m in one corner."""
    for folder in ("rgb", "depth"):
        (tmp_path / "nyuv2" / folder).mkdir(parents=True)
    depth = np.full((480, 640), 20000, np.uint16)
    depth[eigen_crop(480, 640)] = 2000
    depth[100:200, 100:200] = 15000
    cv2.imwrite(str(tmp_path / "nyuv2" / "rgb" / "rgb_0.jpg"), np.zeros((480, 640, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "nyuv2" / "depth" / "sync_depth_0.png"), depth)
    record_file = write_green_network(tmp_path / "green.onnx")
    delta1 = {}
    for protocol in ("full", "published"):
        scores = tmp_path / f"{protocol}.json"
        arguments = ["evaluate", "--data", str(tmp_path), "--sets", "nyuv2", "--protocol", protocol]
        assert main([*arguments, "--model", f"{tmp_path / 'green.onnx'}:{record_file}", "--json", str(scores)]) == 0
        report = json.loads(scores.read_text())
        assert report["protocol"] == protocol
        delta1[protocol] = report["mean"]["constant"]["delta1"]
    # Only the 2 m wall is left, which a constant fits; over all pixels it fits neither wall.
    assert delta1["published"] == 1
    assert delta1["full"] < 0.9


def test_evaluate_reports_missing_sets(tmp_path, data, capsys):
    record_file = write_green_network(tmp_path / "green.onnx")
    arguments = ["evaluate", "--data", str(data), "--model", f"{tmp_path / 'green.onnx'}:{record_file}"]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "skipped: kitti_depth, kitti_object, nyuv2, realsense_shelf, sevenscenes_redkitchen" in told.err
    assert "tum: 2 of 2 frames" in told.out


def test_evaluate_skips_unscorable_frames_and_names_them(tmp_path, data, capsys, caplog):
    """One without a depth file, one whose depth is damaged, one whose depth is all zeros; the other two are scored."""
    folder = data / "tum"
    for number in range(2, 5):
        for kind in ("color", "depth"):
            shutil.copy(folder / f"0_{kind}.png", folder / f"{number}_{kind}.png")
    (folder / "2_depth.png").unlink()
    damaged = folder / "3_depth.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    cv2.imwrite(str(folder / "4_depth.png"), np.zeros((28, 56), np.uint16))
    model = f"{tmp_path / 'green.onnx'}:{write_green_network(tmp_path / 'green.onnx')}"
    scores = tmp_path / "scores.json"
    arguments = ["evaluate", "--data", str(data), "--sets", "tum", "--model", model, "--json", str(scores)]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert "tum: 2 of 4 frames, 3 left out" in told.out
    for text in (
        "left out 1 of 5 images without depth at {frame}_depth.png: 2_color.png",
        "3_depth.png is not a picture, or is damaged",
        "left out: tum/4_color.png: no pixel with known depth is left to score",
    ):
        assert (told.err + caplog.text).count(text) == 1, text
    (result,) = json.loads(scores.read_text())["sets"]
    assert set(result["rows"][0]["images"]) == {"tum/0_color.png", "tum/1_color.png"}
    assert [text.split()[0].rpartition("/")[2] for text in result["left_out"]] == [
        *("2_color.png", "3_depth.png", "4_color.png:")
    ]


def test_set_without_scorable_frames_does_not_stop_others(tmp_path, data, capsys):
    """Images without any depth: their absence is said, not that of the images."""
    put = data / "nyuv2" / "rgb" / "rgb_1.jpg"
    put.parent.mkdir(parents=True)
    cv2.imwrite(str(put), np.zeros((28, 56, 3), np.uint8))
    model = f"{tmp_path / 'green.onnx'}:{write_green_network(tmp_path / 'green.onnx')}"
    assert main(["evaluate", "--data", str(data), "--model", model]) == 1
    told = capsys.readouterr()
    assert "tum: 2 of 2 frames" in told.out
    reason = f"{data / 'nyuv2'} contains 1 images of nyuv2, but none has depth at depth/sync_depth_{{frame}}.png"
    assert f"left out: nyuv2: {reason}" in told.err
    assert main(["evaluate", "--data", str(data), "--sets", "nyuv2", "--model", model]) == 1
    assert capsys.readouterr().err.strip() == f"depth_anything_ros evaluate: nyuv2: {reason}"
    for file in (data / "tum").glob("*_depth.png"):
        file.write_bytes(b"")
    assert main(["evaluate", "--data", str(data), "--sets", "tum", "--model", model]) == 1
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last == "depth_anything_ros evaluate: tum: none of 2 frames can be scored, see above"


def test_evaluate_user_errors_give_one_line(tmp_path, data, capsys):
    def error_of(*arguments: str) -> str:
        assert main(["evaluate", *arguments]) == 1
        line = capsys.readouterr().err.strip()
        assert line.count("\n") == 0
        return line

    assert "is not a folder; give the one that contains" in error_of("--data", str(tmp_path / "nowhere"))
    assert "kitti is not scored by the protocols full and published: give --protocol" in error_of(
        "--data", str(data), "--sets", "kitti"
    )
    assert "there is no set 'house'; sets that can be" in error_of("--data", str(data), "--sets", "house")
    assert error_of(str(tmp_path / "x.mcap")).endswith(f": there is no bag {tmp_path / 'x.mcap'}")
    assert main(["evaluate", str(data)]) == 2
    hint = f"for a folder with images and depth give --data {data} --sets rgbd"
    assert hint in capsys.readouterr().err
    assert "--limit is -1, must be 0 or more" in error_of("--data", str(data), "--limit", "-1")
    absent = str(tmp_path / "absent.onnx")
    assert "absent.onnx" in error_of("--data", str(data), "--sets", "tum", "--model", absent)


def test_fastdepth_is_recognized_by_hash_and_scores_well(shared, capsys, tmp_path):
    """The peer, on the set that it was trained on; its paper gives δ1 0.77 unaligned over the whole test split."""
    network = shared / "models" / "fastdepth_nyu_224x224.onnx"
    scores = tmp_path / "scores.json"
    arguments = ["evaluate", "--data", str(shared / "data"), "--sets", "nyuv2", "tum", "kitti_depth", "--limit", "1"]
    assert main([*arguments, "--model", str(network), "--json", str(scores)]) == 0
    assert "fastdepth beats constant on 3 of 3 sets in AbsRel" in capsys.readouterr().out
    report = json.loads(scores.read_text())
    rows = {(row["contender"], row["aligned"]): row["scores"] for row in report["sets"][0]["rows"]}
    assert rows[("fastdepth", True)]["delta1"] > 0.9
    assert rows[("fastdepth", False)]["delta1"] > 0.85
    assert rows[("constant", True)]["delta1"] < 0.7
    on_road = {row["contender"]: row["scores"] for row in report["sets"][2]["rows"] if row["aligned"]}
    assert on_road["vertical gradient"]["delta1"] > 0.7 > on_road["constant"]["delta1"]


def test_protocol_refuses_options_that_it_fixes(tmp_path, data, capsys):
    arguments = ["evaluate", "--data", str(data), "--protocol", "paper"]
    assert main([*arguments, "--limit", "3"]) == 1
    assert "protocol paper fixes its frames, truth and cameras: leave out --limit" in capsys.readouterr().err
    assert main([*arguments, "--depth-scale", "0.5"]) == 1
    assert "leave out options such as --depth-scale" in capsys.readouterr().err
    assert main([*arguments, "--sets", "tum"]) == 1
    assert "protocol paper does not score tum; its sets are kitti" in capsys.readouterr().err
    assert main(["evaluate", "--data", str(data), "--camera-height", "1"]) == 1
    assert "--camera-height limits obstacles: also give --robot" in capsys.readouterr().err
    assert main(["evaluate", "--data", str(data), "--workers", "0"]) == 1
    assert "--workers is 0, must be 1 or more" in capsys.readouterr().err


def test_paper_protocol_is_scored_beside_published_numbers(tmp_path, capsys):
    """A miniature has too few frames: it is scored, and the difference from the split is named."""
    nyuv2_labeled(tmp_path / "nyuv2_labeled")
    model = f"{tmp_path / 'green.onnx'}:{write_green_network(tmp_path / 'green.onnx')}"
    table, scores = tmp_path / "table.md", tmp_path / "scores.json"
    arguments = ["evaluate", "--data", str(tmp_path), "--protocol", "paper", "--model", model, "--markdown", str(table)]
    assert main([*arguments, "--json", str(scores), "--workers", "2", "--robot"]) == 1
    told = capsys.readouterr()
    assert "left out: nyuv2_labeled has 3 frames, split 'Eigen test' has 654" in told.err
    assert "nyuv2_labeled: 3 of 3 frames, 1 left out" in told.out
    text = table.read_text()
    assert "Published: Depth Anything V2 (arXiv 2406.09414), table 2" in text
    assert "| nyuv2_labeled | 0.048 / 0.980 | 0.053 / 0.972 |" in text
    assert "## For robots" in text
    report = json.loads(scores.read_text())
    assert report["sets"][0]["rules"]["crop"] == ["eigen"]
    assert report["published"][0]["tolerance"] == 0.05
    assert set(report["sets"][0]["rows"][0]["intervals"]["abs_rel"]) != {0}


def test_resume_takes_scores_from_folder(tmp_path, data, capsys):
    record_file = write_green_network(tmp_path / "green.onnx")
    arguments = [
        "evaluate",
        "--data",
        str(data),
        "--sets",
        "tum",
        "--model",
        f"{tmp_path / 'green.onnx'}:{record_file}",
    ]
    reports = []
    for number in range(2):
        report = tmp_path / f"{number}.json"
        assert main([*arguments, "--resume", str(tmp_path / "kept"), "--json", str(report)]) == 0
        reports.append(report.read_text())
    assert len(list((tmp_path / "kept").glob("*.json"))) == 2
    assert reports[0] == reports[1]  # with the times of the predictions
    assert main([*arguments, "--resume", str(tmp_path / "kept"), "--robot"]) == 1
    assert "resume keeps scores, not depth" in capsys.readouterr().err


def test_failed_run_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "sets" / "diode_val").mkdir(parents=True)
    places = ("--pictures", tmp_path / "pictures", "--html", tmp_path / "pages" / "one.html")
    arguments = ["evaluate", "--data", tmp_path / "sets", "--backend", "onnxruntime", *places]
    assert main([*map(str, arguments), "--sets", "diode_val"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sets"]
