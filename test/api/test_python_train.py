"""`depth_anything_ros.train` trains like the command, in one call."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

import numpy as np
from stage_runs import configuration, written

from depth_anything_ros import Estimator, TrainingResult, train
from depth_anything_ros.training import loop
from depth_anything_ros.training.run.stop_request import StoppedError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def stage(scenes, tmp_path) -> Path:
    return written(tmp_path / "stage.yaml", configuration(scenes, "teacher"))


def test_train_returns_model_and_resumes(stage, tmp_path, one_thread):
    result = train(stage, tmp_path / "run", changes={"optimizer.steps": 2}, accelerator="cpu")
    assert isinstance(result, TrainingResult)
    assert result.step == 2
    assert result.checkpoint == tmp_path / "run" / "teacher.safetensors"
    assert 0 < result.scores["abs_rel"] < 1
    assert repr(result).startswith(f"TrainingResult({result.checkpoint}, step 2, ")
    assert result.left_out == 0
    model = result.estimator("torch", threads=1)
    assert isinstance(model, Estimator)
    assert model(np.full((70, 84, 3), 90, np.uint8)).record.name == "teacher"
    again = train(str(stage), str(tmp_path / "run"), changes={"optimizer.steps": 2}, accelerator="cpu")
    assert (again.step, again.scores) == (2, result.scores)


def test_interrupt_of_train_saves_state(stage, tmp_path, monkeypatch, one_thread, capfd):
    run = loop.Training.run

    def interrupted(training: loop.Training, stop: object) -> None:
        training.objective.register_forward_pre_hook(lambda *_: signal.raise_signal(signal.SIGINT))  # in its first step
        run(training, stop)

    monkeypatch.setattr(loop.Training, "run", interrupted)
    with pytest.raises(StoppedError):
        train(stage, tmp_path / "run", accelerator="cpu")
    assert "stop requested: saving the state" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert list((tmp_path / "run" / "states").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"changes": {"optimizr.steps": 2}}, "optimizr: unknown setting"),
        ({"accelerator": "gpu"}, "accelerator is 'gpu'; give one of auto, cpu, cuda"),
        ({"devices": 0}, "^devices is 0; give at least 1"),
        ({"output": "shards"}, "^output shards is data.labeled "),
    ],
)
def test_train_with_invalid_arguments_raises(tmp_path, monkeypatch, options, message, stage):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "manifest.json").write_text("{}")
    if "output" in options:
        options = {**options, "changes": {"data.labeled": [{"shards": "shards"}]}}
    with pytest.raises(ValueError, match=message):
        train(stage, **options)
    assert not (tmp_path / "runs").exists()
