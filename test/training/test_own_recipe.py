"""The recipe for one's own images (docs/training.md): the shipped files train on a folder with split files of names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

import cv2
import numpy as np
import torch
from stage_runs import REPOSITORY, entries

from depth_anything_ros.cli import main
from depth_anything_ros.model.checkpoints import load_checkpoint
from depth_anything_ros.zoo.resolve import resolve

OWN = REPOSITORY / "config" / "train" / "own"
QUICK = ("data.sizes=[[28, 42]]", "data.labeled_batch_size=2", "data.workers=0", "optimizer.steps=1")

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``my_data``: slopes that are brighter where they are nearer."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "my_data"
    for kind in ("images", "depth", "splits"):
        (data / kind).mkdir(parents=True)
    for number in range(6):
        inverse_depth = np.linspace(0.2, 0.9, 60)[None] * np.linspace(0.5, 1, 40)[:, None] * (1 - 0.1 * number)
        cv2.imwrite(f"my_data/images/{number:04}.jpg", np.dstack([np.rint(inverse_depth * 250)] * 3))
        cv2.imwrite(f"my_data/depth/{number:04}.png", np.rint(1000 / inverse_depth).astype(np.uint16))
    for split, names in (("train", "0000\n0001\n0002\n0003\n"), ("val", "0004\n0005\n")):
        (data / "splits" / f"{split}.txt").write_text(names)
        (data / f"{split}.yaml").write_text(f"pairs: splits/{split}.txt\n")
    return tmp_path


def train(name: str, *changes: str) -> int:
    settings = [word for change in (*QUICK, *changes) for word in ("--set", change)]
    words = ["train", os.fspath(OWN / name), "--output", "runs/own", "--accelerator", "cpu", *settings]
    return main(words)


def test_fine_tuning_begins_with_depth_of_the_bundled_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a learning rate of zero the result has the bundled encoder and decoder."""
    assert train("finetune.yaml", "optimizer.encoder_lr=0", "optimizer.decoder_lr=0", "run.validate_every=1") == 0
    printed = capsys.readouterr().out
    assert "labeled     rgbd    4       depth in meters  2 of 2" in printed
    assert "validation  rgbd    2 of 2  depth in meters" in printed
    (score,) = entries(here / "runs" / "own", "validation")
    assert 0 < score["abs_rel"] < 1
    tuned = load_checkpoint(here / "runs" / "own" / "finetuned.safetensors")
    bundled = load_checkpoint(resolve("tiny").weights)
    assert torch.equal(tuned.pretrained.pos_embed, bundled.pretrained.pos_embed)
    assert torch.equal(tuned.depth_head.scratch.layer1_rn.weight, bundled.depth_head.scratch.layer1_rn.weight)
    assert ", from step 0, in" in printed
    assert train("finetune.yaml", "optimizer.encoder_lr=0", "optimizer.decoder_lr=0", "run.validate_every=1") == 0
    assert ", finished at step 1, in" in capsys.readouterr().out


def test_student_recipe_names_what_is_to_be_made_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("student.yaml") == 1
    assert "shards/photographs has no manifest.json; create it with `depth_anything_ros data pack`" in (
        capsys.readouterr().err
    )
    assert not (here / "runs").exists()
