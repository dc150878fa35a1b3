"""`depth_anything_ros train`: what ends it early is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from waiting import limit

from depth_anything_ros.cli import main

CONFIGURATION = Path(__file__).resolve().parent.parent / "config" / "train" / "teacher.yaml"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "0"], "--devices is 0; at least one is needed"),
        (["--json", "/absent/result.json"], "--json /absent/result.json: nothing can be written into /absent"),
        (["--set", "optimizer.steps=3"], "optimizer: there is no such setting (did you mean optimiser?)"),
        (["--set", "optimiser.decoder_rat=3"], "decoder_rat: there is no such setting (did you mean decoder_rate?)"),
    ],
)
def test_mistakes_are_named_before_anything_is_done(tmp_path: Path, capsys, words: list[str], message: str) -> None:
    assert main(["train", str(CONFIGURATION), "--output", str(tmp_path / "run"), *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_all_settings_are_listed_with_what_they_mean(capsys) -> None:
    assert main(["train", "--settings"]) == 0
    printed = capsys.readouterr().out
    for line in ("stage (must be given)", "optimiser.encoder_rate: 5e-06", "data.labelled[].root: null"):
        assert f"\n{line}\n" in printed
    for line in ("data.held_out: as data.labelled[]", "labelled_perturbation: null, or as perturbation"):
        assert f"\n{line}\n" in printed
    assert "\nteacher: null, or as below\n" in printed
    assert "``tolerance`` is alpha" in printed
    assert main(["train"]) == 1
    assert "give the YAML file of a stage" in capsys.readouterr().err


def test_a_missing_gpu_is_named_before_anything_is_opened(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "depth_anything_ros", "train", str(CONFIGURATION), "--accelerator", "cuda"]
    command += ["--output", str(tmp_path / "run")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # hides the GPU of a machine that has one
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit(300), env=environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("depth_anything_ros train: --accelerator cuda: ")
    assert "--accelerator cpu" in line
    assert not (tmp_path / "run").exists()
