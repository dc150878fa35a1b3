"""Protocols from the command line: a miniature of each task, a real ONNX graph, ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from green_network import write_green_network

from depth_anything_ros.cli import main


@pytest.fixture
def evaluated(tmp_path, capsys):
    """Evaluates by a protocol; returns exit status, printed text and JSON."""
    model = f"{tmp_path / 'green.onnx'}:{write_green_network(tmp_path / 'green.onnx')}"

    def run(protocol: str, *options: str) -> tuple[int, str, dict]:
        report = tmp_path / f"{protocol}.json"
        arguments = ["evaluate", "--data", str(tmp_path), "--protocol", protocol, "--model", model, "--threads", "1"]
        outputs = ["--json", str(report), "--html", str(tmp_path / "page.html"), "--pictures", str(tmp_path / "p")]
        status = main([*arguments, *outputs, *options])
        captured = capsys.readouterr()
        return status, captured.out + captured.err, json.loads(report.read_text()) if report.exists() else {}

    return run


def hill(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A BGR image that is green where it is near, and its depth in millimeters."""
    row, column = np.mgrid[0:48, 0:64]
    inverse = 0.2 + 0.6 * np.exp(-((column - 20 - 4 * number) ** 2 + (row - 24) ** 2) / 400)
    image = np.full((48, 64, 3), 60, np.uint8)
    image[..., 1] = np.rint(inverse * 250)
    return image, np.rint(1000 / inverse).astype(np.uint16)


def put_sequence(root: Path, count: int) -> None:
    folder = root / "sevenscenes_redkitchen_30hz"
    folder.mkdir()
    for number in range(count):
        image, depth = hill(number)
        cv2.imwrite(str(folder / f"frame-{number:06d}.color.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
        cv2.imwrite(str(folder / f"frame-{number:06d}.depth.png"), depth)
        np.savetxt(folder / f"frame-{number:06d}.pose.txt", np.eye(4))


def test_video_has_one_scale_and_a_temporal_error(tmp_path, evaluated):
    put_sequence(tmp_path, 4)
    status, printed, report = evaluated("video", "--robot", "--no-baselines")
    assert status == 0
    assert "green on sevenscenes_redkitchen_30hz: temporal alignment error" in printed
    (row,) = report["sets"][0]["rows"]
    (sequence,) = row["sequences"].values()
    assert sequence["frames"] == len(row["images"]) == 4
    assert sequence["tae_percent"] > 0
    assert row["for_robots"]["flicker_percent"] is not None
    assert report["alignment"].endswith("for each sequence, floor 0.001 / m")
    assert row["scores"]["abs_rel"] < 0.1


def test_pairs_are_scored_by_accuracy(tmp_path, evaluated):
    folder = tmp_path / "da2k"
    (folder / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "images" / "a.png"), hill(0)[0])
    pair = {"point1": [24, 20], "point2": [2, 60], "closer_point": "point1"}
    annotations = {"images/a.png": [pair], "images/gone.png": [pair]}
    (folder / "annotations.json").write_text(json.dumps(annotations))
    status, printed, report = evaluated("da2k")
    assert status == 1  # one image is missing
    assert "left out" in printed
    assert "gone.png" in printed
    rows = {row["contender"]: row["scores"] for row in report["sets"][0]["rows"]}
    assert rows == {"green": {"accuracy": 1}, "constant": {"accuracy": 0}, "vertical gradient": {"accuracy": 1}}
    assert report["measures"] == [{"key": "accuracy", "heading": "accuracy", "better": "high", "in_tables": True}]


def test_completion_has_a_table_for_each_pattern(tmp_path, evaluated):
    """KITTI at a size that is not cropped: every pixel known, and the list of the split."""
    name = "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png"
    truth = "val/2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png"
    calibration = "P_rect_02: 480 0 256 0 0 480 160 0 0 0 1 0\n"
    image, depth = (cv2.resize(part, (512, 384)) for part in hill(0))
    for path, picture in ((name, image), (truth, (depth.astype(np.float64) / 1000 * 256 * 3).astype(np.uint16))):
        (tmp_path / "kitti" / path).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "kitti" / path), picture)
    (tmp_path / "kitti" / "2011_09_26" / "calib_cam_to_cam.txt").write_text(calibration)
    (tmp_path / "kitti" / "eigen_test_files_with_gt.txt").write_text(f"{name} {truth} 721.5\n")
    status, printed, report = evaluated("completion")
    assert status == 1  # one frame of 652
    assert [item["name"] for item in report["sets"]] == [f"kitti, lines {count}" for count in (64, 16, 8)]
    for result in report["sets"]:
        green, nothing = result["rows"]
        assert (green["contender"], nothing["contender"]) == ("green", "no network")
        assert nothing["baseline"]
        assert green["scores"]["abs_rel"] > 0
    assert printed.count("kitti has 1 frames, split") == 1
    assert report["alignment"] == "robust fit and local correction to sparse points"


def test_bundle_of_moge_is_scored_in_its_view(tmp_path, evaluated):
    from miniature_prepared import moge_sample

    names = [f"room_{number}" for number in range(3)]
    for number, name in enumerate(names):
        image, depth = hill(number)
        k = [[0.9, 0, 0.52], [0, 1.2, 0.48], [0, 0, 1]]
        moge_sample(tmp_path / "iBims-1" / name, image[..., ::-1], depth.astype(np.float32) / 1000, k)
    (tmp_path / "iBims-1" / ".index.txt").write_text("\n".join([*names, "gone"]))
    status, printed, report = evaluated("moge", "--workers", "2")
    assert status == 1
    assert "moge_ibims1 has 4 frames, split 'core' has 100" in printed
    assert f"cannot read {tmp_path / 'iBims-1' / 'gone' / 'image.jpg'}" in printed
    (result,) = report["sets"]
    assert (result["name"], result["frames"], result["rules"]["resize"]) == ("moge_ibims1", 3, [640, 480])
    green = result["rows"][0]
    assert green["scores"]["abs_rel"] < 0.1
    assert 0 <= green["scores"]["boundary_f1"] <= 1
    assert [item["key"] for item in report["measures"]][-1] == "boundary_f1"


def test_stored_points_of_void_are_completed(tmp_path, evaluated):
    from miniature_sets import MINIATURES

    MINIATURES["void_1500"](tmp_path / "void_release" / "void_1500")
    kept = tmp_path / "kept"
    arguments = [
        "evaluate",
        "--data",
        str(tmp_path),
        "--protocol",
        "completion",
        "--resume",
        str(kept),
        "--threads",
        "1",
    ]
    model = f"{tmp_path / 'green.onnx'}:{tmp_path / 'green.json'}"
    for name in ("first.json", "second.json"):
        assert main([*arguments, "--model", model, "--json", str(tmp_path / name)]) == 1  # three frames of 800
    first, second = (json.loads((tmp_path / name).read_text())["sets"] for name in ("first.json", "second.json"))
    assert first == second
    assert first[0]["name"] == "void_1500, stored"
    assert [row["contender"] for row in first[0]["rows"]] == ["green", "no network"]
    assert len(list(kept.iterdir())) == 3


def test_listed_videos_count_once_each(tmp_path, evaluated):
    from miniature_sets import MINIATURES

    MINIATURES["video_kitti"](tmp_path / "kitti")
    status, printed, report = evaluated("video", "--no-baselines")
    assert status == 1
    assert "video_kitti has 2 videos, split 'validation, 500 frames' has 13" in printed
    (row,) = report["sets"][0]["rows"]
    assert len(row["sequences"]) == 2
    videos = [np.mean([s["abs_rel"] for n, s in row["images"].items() if n.startswith(v)]) for v in row["sequences"]]
    assert row["scores"]["abs_rel"] == pytest.approx(np.mean(videos))
    assert "temporal alignment error" not in printed  # the list has no poses


def test_metric_protocol_refuses_a_relative_model(tmp_path, evaluated):
    from miniature_benchmarks import nyuv2_labeled

    nyuv2_labeled(tmp_path / "nyuv2_labeled")
    status, printed, _ = evaluated("metric")
    assert status == 1
    assert "green predicts no meters, and the protocol does not align" in printed


def test_absent_and_empty_sets_of_a_protocol_are_named(tmp_path, evaluated):
    status, printed, _ = evaluated("moge")
    assert status == 1
    assert "has none of the folders of protocol moge: moge_nyuv2" in printed
    (tmp_path / "moge_spring").mkdir()
    status, printed, _ = evaluated("moge")
    assert status == 1
    assert f"cannot read {tmp_path / 'moge_spring' / '.index.txt'}: No such file or directory" in printed
