"""`depth_anything_ros train`: what ends it early is said in one line, and what was done is kept."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")
pytest.importorskip("numba", reason="the renderer needs numba, of the extra `train`")

from depth_anything_ros.cli import main
from depth_anything_ros.training.configuration import TrainingConfiguration
from depth_anything_ros.training.scene_set import render_scenes

SCENES = 40


def kill_the_renderer(scenes: Path) -> None:
    """Kills this process's child as the kernel does when memory runs out, once it has finished a scene."""
    end = time.monotonic() + 300
    while not list(scenes.glob("scene_*.npz")) and time.monotonic() < end:
        time.sleep(0.005)
    for child in multiprocessing.active_children():
        child.kill()


def test_a_missing_gpu_is_named_before_anything_is_rendered(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "depth_anything_ros", "train", "--accelerator", "cuda"]
    command += ["--output", str(tmp_path / "run")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # hides the GPU of a machine that has one
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("depth_anything_ros train: --accelerator cuda: ")
    assert "--accelerator cpu" in line
    assert not (tmp_path / "run").exists()


def test_a_killed_renderer_is_named_and_its_scenes_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    settings = (f"scenes={SCENES}", "held_out=1", "scene_size=[14, 28]")
    changes = [word for setting in settings for word in ("--set", setting)]
    scenes = tmp_path / "scenes"
    killer = threading.Thread(target=kill_the_renderer, args=(scenes,))
    killer.start()
    status = main(["train", "--output", str(tmp_path), "--processes", "1", *changes])
    killer.join()
    assert status == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "killed" in line
    assert "memory" in line
    assert "the next run goes on" in line

    kept = {path: path.stat().st_mtime_ns for path in scenes.glob("scene_*.npz")}
    assert 0 < len(kept) <= SCENES
    render_scenes(scenes, TrainingConfiguration(scenes=SCENES, held_out=1, scene_size=(14, 28)), processes=1)
    assert len(list(scenes.glob("scene_*.npz"))) == SCENES + 1
    assert all(path.stat().st_mtime_ns == modified for path, modified in kept.items())
