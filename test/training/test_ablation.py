"""Ablations: files that are read or rejected, rows from the commands' results, the table with the paper's values."""

from __future__ import annotations

import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("pydantic", reason="training needs the `train` extra")

import yaml
from folder_holder import held
from waiting import limit, wait_while_running

from depth_anything_ros.cli import main
from depth_anything_ros.system.output_folder import ABLATION
from depth_anything_ros.training.ablation import Ablation, Variant, read_ablation, row_of, table
from depth_anything_ros.training.configuration import ConfigurationError

VARIANTS = [
    {"name": "labeled", "changes": {"data.unlabeled": []}, "paper": {"KITTI": 0.085, "mean": 0.18}},
    {"name": "+ unlabeled", "paper": {"KITTI": 0.084}},
]


def written(path, **changes):
    values = {"title": "Components", "source": "table 9", "base": "student.yaml", "variants": VARIANTS, **changes}
    path.write_text(yaml.safe_dump({name: value for name, value in values.items() if value is not None}))
    return path


def test_ablation_is_read_with_its_base(tmp_path):
    ablation = read_ablation(written(tmp_path / "ablation.yaml"))
    assert ablation.base == tmp_path / "student.yaml"
    assert [variant.name for variant in ablation.variants] == ["labeled", "+ unlabeled"]
    assert ablation.variants[0].changes == {"data.unlabeled": []}
    assert ablation.variants[1].changes == {}
    assert [variant.folder for variant in ablation.variants] == ["labeled", "unlabeled"]
    absolute = read_ablation(written(tmp_path / "ablation.yaml", base="/config/student.yaml"))
    assert str(absolute.base) == "/config/student.yaml"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": None}, "title: must be given"),
        ({"variants": []}, "variants: Tuple should have at least 1 item"),
        ({"variant": []}, "variant: unknown setting"),
        ({"variants": [{"name": "a", "change": {}}]}, r"variants\.0\.change: unknown setting"),
        ({"variants": [{"changes": {}}]}, r"variants\.0\.name: must be given"),
        (
            {"variants": [{"name": "a", "paper": {"KITTI": "good"}}]},
            r"variants\.0\.paper\.KITTI: is .+, must be a valid",
        ),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "variants 'a' and 'a' both need the folder a: rename one"),
        ({"variants": [{"name": "+ a b"}, {"name": "a/b"}]}, "variants '\\+ a b' and 'a/b' both need the folder a_b"),
        ({"variants": [{"name": "+"}]}, "variant '\\+' needs a letter or a digit in its name"),
    ],
)
def test_invalid_ablation_is_named(tmp_path, changes, message):
    with pytest.raises(ConfigurationError, match=rf"ablation\.yaml: {message}"):
        read_ablation(written(tmp_path / "ablation.yaml", **changes))


def test_missing_ablation_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot read .*ablation\.yaml"):
        read_ablation(tmp_path / "ablation.yaml")


def test_ablation_of_ones_own_needs_no_paper(tmp_path):
    ablation = read_ablation(written(tmp_path / "ablation.yaml", source=None, variants=[{"name": "a"}, {"name": "b"}]))
    text = table(ablation, [{"held-out": (0.2, 0.7)}, {"held-out": (0.1, 0.8)}])
    assert "paper" not in text
    assert text.startswith("Components. AbsRel ↓ / δ1 ↑.\n")
    assert "| b | 0.100 / 0.800 |" in text


def scored(aligned: bool, baseline: bool, abs_rel: float, delta1: float) -> dict:
    return {"aligned": aligned, "baseline": baseline, "scores": {"abs_rel": abs_rel, "delta1": delta1}}


TRAINED = {"checkpoint": "a.safetensors", "scores": {"abs_rel": 0.2, "delta1": 0.7, "other": 9}}
EVALUATED = {
    "sets": [
        {
            "name": "KITTI",
            "rows": [scored(False, False, 9, 0), scored(True, False, 0.1, 0.9), scored(True, True, 9, 0)],
        },
        {"name": "NYUv2", "rows": [scored(True, True, 9, 0), scored(True, False, 0.3, 0.5)]},
    ]
}


def test_row_has_aligned_scores_by_set_and_their_mean():
    row = row_of(TRAINED, EVALUATED)
    assert list(row) == ["held-out", "KITTI", "NYUv2", "mean of sets"]
    assert row["held-out"] == (0.2, 0.7)
    assert row["KITTI"] == (0.1, 0.9)
    assert row["NYUv2"] == (0.3, 0.5)
    assert row["mean of sets"] == pytest.approx((0.2, 0.7))


def test_row_omits_missing_scores():
    assert row_of(TRAINED, None) == {"held-out": (0.2, 0.7)}
    assert list(row_of({**TRAINED, "scores": {}}, EVALUATED)) == ["KITTI", "NYUv2", "mean of sets"]
    assert row_of({**TRAINED, "scores": {}}, None) == {}


def ablation() -> Ablation:
    return Ablation(title="Components", source="table 9", base="b.yaml", variants=[Variant(**one) for one in VARIANTS])


def test_table_appends_columns_of_paper():
    rows = [{"held-out": (0.2, 0.7), "KITTI": (0.12345, 0.9)}, {"held-out": (0.1, 0.75), "KITTI": (0.1, 1.0)}]
    assert table(ablation(), rows).splitlines() == [
        "Components. AbsRel ↓ / δ1 ↑ here; the last columns are the paper's AbsRel (table 9).",
        "",
        "| | validation | KITTI | paper: KITTI | paper: mean |",
        "|---|---|---|---|---|",
        "| labeled | 0.200 / 0.700 | 0.123 / 0.900 | 0.085 | 0.180 |",
        "| + unlabeled | 0.100 / 0.750 | 0.100 / 1.000 | 0.084 |  |",
    ]


def test_missing_score_leaves_cell_empty():
    rows = [{"KITTI": (0.1, 0.9)}, {"held-out": (0.2, 0.7), "KITTI": (0.3, 0.5)}]
    lines = table(ablation(), rows).splitlines()
    assert lines[2] == "| | KITTI | validation | paper: KITTI | paper: mean |"
    assert lines[4] == "| labeled | 0.100 / 0.900 |  | 0.085 | 0.180 |"
    assert lines[5] == "| + unlabeled | 0.300 / 0.500 | 0.200 / 0.700 | 0.084 |  |"


def test_table_requires_a_row_for_every_variant():
    with pytest.raises(ValueError, match="zip"):
        table(ablation(), [{"held-out": (0.2, 0.7)}])


def small_stage(folder, images=7):
    """A stage on existing images whose batch cannot be divided between several devices."""
    (folder / "pictures").mkdir()
    cv2.imwrite(str(folder / "pictures/0_color.png"), np.zeros((28, 28, 3), np.uint8))
    cv2.imwrite(str(folder / "pictures/0_depth.png"), np.full((28, 28), 5000, np.uint16))
    source = [{"set": "tum", "root": str(folder / "pictures")}]
    values = {
        "stage": "teacher",
        "name": "teacher",
        "network": {"encoder": "tiny", "version": "v2"},
        "data": {"labeled": source, "labeled_batch_size": images, "sizes": [[28, 28]]},
        "optimizer": {"steps": 10_000},
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(values))
    return written(folder / "ablation.yaml", base="base.yaml", variants=[{"name": "one"}, {"name": "two"}])


def test_variants_train_on_requested_number_of_devices(tmp_path, capfd):
    pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")
    words = ["ablate", str(small_stage(tmp_path)), "--output", str(tmp_path / "out"), "--accelerator", "cpu"]
    assert main([*words, "--devices", "3"]) == 1
    said = capfd.readouterr().err
    assert "labeled_batch_size: 7 images in each of 1 parts of a step cannot be divided among 3 devices" in said
    assert "`train` of one ended with status 1; the same command tries it again after you fix that" in said
    assert main([*words, "--devices", "0"]) == 1
    assert "--devices is 0, must be at least 1" in capfd.readouterr().err


def test_stopped_ablation_returns_status_of_training(tmp_path):
    pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")
    line = [sys.executable, "-m", "depth_anything_ros", "ablate", str(small_stage(tmp_path))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([*line, "--output", str(tmp_path / "out")], **pipes)
    assert process.stdout.readline() == "[1/2] one\n"
    wait_while_running(process, (tmp_path / "out/one/run").exists, "the first run's folder")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=limit(120))
    assert process.returncode in (75, 128 + signal.SIGTERM), said  # as far as the training had come
    assert "[2/2]" not in said


def test_ablation_folder_takes_one_ablation_and_process(tmp_path, capfd):
    pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")
    words = ["ablate", str(small_stage(tmp_path)), "--output", str(tmp_path / "out"), "--accelerator", "cpu"]
    with held(tmp_path / "out", ABLATION, "the ablation Components", "ablate"):
        assert main(words) == 1
    assert "another process (`ablate`, process " in capfd.readouterr().err
    (tmp_path / "out" / "one").mkdir()
    written(tmp_path / "ablation.yaml", base="base.yaml", title="Tolerance")
    assert main(words) == 1
    said = "holds the ablation Components: choose another folder for the ablation Tolerance"
    assert said in capfd.readouterr().err
