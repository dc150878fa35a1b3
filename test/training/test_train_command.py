"""`depth_anything_ros train`: every early end gives one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from miniature_files import put
from waiting import limit

from depth_anything_ros.cli import main

CONFIGURATION = Path(__file__).resolve().parents[2] / "config" / "train" / "teacher.yaml"


def with_data_in(folder: Path) -> list[str]:
    """Settings that replace the shards of the configuration by a folder that exists."""
    return ["--set", f"data.labeled=[{{set: folder, root: {folder}}}]", "--set", "data.validation=[]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "0"], "--devices is 0; give at least 1"),
        (["--json", "/absent/result.json"], "--json /absent/result.json: cannot write into /absent"),
        (["--set", "optimiser.steps=3"], "optimiser: is now called optimizer"),
        (["--set", "optimzer.steps=3"], "optimzer: unknown setting (did you mean optimizer?)"),
        (["--set", "optimizer.decoder_lr=fast"], "optimizer.decoder_lr: is 'fast', must be a valid number"),
        (["--set", "data.labeled=[{set: rgbd, root: gone}]"], "gone does not exist; set the source's root"),
        (["--set", "optimizer.decoder_rat=3"], "decoder_rat: unknown setting (did you mean decoder_lr?)"),
    ],
)
def test_invalid_train_arguments_write_nothing(tmp_path: Path, capsys, words: list[str], message: str) -> None:
    assert main(["train", str(CONFIGURATION), "--output", str(tmp_path / "run"), *with_data_in(tmp_path), *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "shards"], "--output shards is data.labeled "),
        (["--output", "run", "--json", "shards/manifest.json"], "--json shards/manifest.json is in data.labeled "),
        (["--output", "run", "--json", "scored/a.png"], "--json scored/a.png is in data.evaluation "),
        (["--output", "run", "--json", "old/../weights.pt"], "--json old/../weights.pt is weights "),
        (["--output", "old"], "--output old: teacher_vitl.safetensors would replace "),
    ],
)
def test_train_output_over_input_is_rejected(tmp_path: Path, monkeypatch, capsys, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("shards/manifest.json", "scored/a.png", "weights.pt", "old/teacher_vitl.safetensors"):
        put(tmp_path / name, b"somebody's")
    start = tmp_path / ("old/teacher_vitl.safetensors" if "old" in words else "weights.pt")
    changes = [f"data.labeled=[{{shards: {tmp_path / 'shards'}}}]", "data.validation=[]", f"network.start={start}"]
    changes.append(f"data.evaluation=[{{set: folder, root: {tmp_path / 'scored'}}}]")
    assert main(["train", str(CONFIGURATION), *words, *(word for one in changes for word in ("--set", one))]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "which is an input" in said
    assert not (tmp_path / "run").exists()
    assert all(path.read_bytes() == b"somebody's" for path in tmp_path.rglob("*") if path.is_file())


def test_train_into_folder_with_other_content_is_rejected(tmp_path: Path, capsys) -> None:
    """Which is said before data is opened."""
    put(tmp_path / "shards" / "manifest.json", '{"set": "kitti"}')
    assert main(["train", str(CONFIGURATION), "--output", str(tmp_path / "shards"), *with_data_in(tmp_path)]) == 1
    said = f"{tmp_path / 'shards'} holds shards of kitti: choose another folder for a training run, or delete that one"
    assert said in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["manifest.json"]


def test_settings_option_lists_all_settings(capsys) -> None:
    assert main(["train", "--settings"]) == 0
    printed = capsys.readouterr().out
    for line in ("stage (must be given)", "optimizer.encoder_lr: 5e-06", "data.labeled[].root: null"):
        assert f"\n{line}\n" in printed
    for line in ("data.validation: as data.labeled[]", "labeled_augmentation: null, or as augmentation"):
        assert f"\n{line}\n" in printed
    assert "\nteacher: null, or as below\n" in printed
    assert "tolerance: alpha" in printed
    assert main(["train"]) == 1
    assert "give the YAML file of a stage" in capsys.readouterr().err


def test_missing_gpu_is_named_before_data_is_opened(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "depth_anything_ros", "train", str(CONFIGURATION), "--accelerator", "cuda"]
    command += ["--output", str(tmp_path / "run"), *with_data_in(tmp_path)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # hides the GPU of a machine that has one
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit(300), env=environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("depth_anything_ros train: --accelerator cuda: ")
    assert "--accelerator cpu" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "ablate", "label"])
def test_wrong_file_or_folder_is_named_before_torch_is_imported(tmp_path: Path, command: str) -> None:
    """The import takes seconds, and tens of them on a machine that is busy."""
    (tmp_path / "stage.yaml").write_text("stage: teacher\nnmae: x\n")
    (tmp_path / "ablation.yaml").write_text("title: t\nbase: stage.yaml\nvariants: [{name: a}]\n")
    words = {
        "train": [str(tmp_path / "stage.yaml")],
        "ablate": [str(tmp_path / "ablation.yaml"), "--output", str(tmp_path / "out")],
        "label": [str(tmp_path / "shards"), "--teacher", "tiny", "--output", str(tmp_path / "out")],
    }[command]
    program = (
        "import sys; from depth_anything_ros.cli import main\n"
        f"status = main([{command!r}, *{words!r}]); print(status, 'torch' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=limit(60), check=False
    )
    assert ended.stdout == "1 False\n"
    (line,) = ended.stderr.splitlines()
    assert "nmae: unknown setting (did you mean name?)" in line or "shards has no manifest.json; create it" in line
