"""The precision of a stage: the fast one of its device, or the one that the run began with."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from stage_runs import configuration, train, written  # noqa: E402

from depth_anything_ros.cli import main  # noqa: E402
from depth_anything_ros.runtime.cpu_features import processor  # noqa: E402
from depth_anything_ros.runtime.cuda.driver import computes_bfloat16  # noqa: E402
from depth_anything_ros.training.distributed.precision import native_precision  # noqa: E402
from depth_anything_ros.training.settings import RunSettings  # noqa: E402


def auto(scenes, **run) -> dict:
    """One step that leaves the precision to the device, or sets it in ``run``."""
    values = configuration(scenes, "teacher", optimizer__steps=1)
    values["data"] |= {"labeled_batch_size": 1, "sizes": [[28, 28]]}  # bfloat16 takes minutes where it is emulated
    del values["data"]["validation"], values["data"]["validation_images"]
    values["run"] = {"save_every": 1, **run}
    return values


def recorded(folder) -> list[str]:
    return [record["configuration"]["run"]["precision"] for record in json.loads((folder / "run.json").read_text())]


def test_default_precision_is_auto():
    assert RunSettings().precision == "auto"


@pytest.mark.processor
def test_cpu_with_bfloat16_trains_in_bf16(monkeypatch):
    assert native_precision("cpu").name == ("bf16-mixed" if processor().bf16 else "32-true")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    if processor().bf16:
        pytest.skip("the variable is of x86-64 processors")
    assert native_precision("cpu").name == "32-true"
    assert str(processor()) in native_precision("cpu").reason


@pytest.mark.parametrize(("capability", "native"), [("7.5", False), ("7.2", False), ("8.0", True), ("12.0", True)])
def test_gpus_support_bfloat16_from_ampere(capability, native):
    assert computes_bfloat16(capability) == native


@pytest.mark.processor
def test_chosen_precision_is_printed_and_recorded(scenes, tmp_path, capsys):
    folder = train(tmp_path, auto(scenes))
    chosen = native_precision("cpu")
    assert f"from step 0, in {chosen.name} (auto: {chosen.reason})" in capsys.readouterr().out
    assert recorded(folder) == [chosen.name]


@pytest.mark.processor
def test_resumed_run_keeps_precision_on_other_processor(scenes, tmp_path, capsys, caplog, monkeypatch):
    """It began where bfloat16 is fast, and goes on where it is emulated."""
    folder = train(tmp_path, auto(scenes, precision="bf16-mixed"))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    train(tmp_path, auto(scenes))
    assert "in bf16-mixed (auto: precision of the run so far)" in capsys.readouterr().out
    assert recorded(folder) == ["bf16-mixed", "bf16-mixed"]
    assert ("is emulated here and slow" in caplog.text) == (native_precision("cpu").name == "32-true")


def test_resumed_run_rejects_other_precision_by_name(scenes, tmp_path, capsys):
    train(tmp_path, auto(scenes, precision="32-true"))
    train(tmp_path, auto(scenes))
    assert "in 32-true (auto: precision of the run so far)" in capsys.readouterr().out
    words = ["train", str(written(tmp_path / "stage.yaml", auto(scenes, precision="bf16-mixed")))]
    assert main([*words, "--output", str(tmp_path / "run"), "--accelerator", "cpu"]) == 1
    assert 'run.precision was "32-true", is "bf16-mixed"' in capsys.readouterr().err


def test_damaged_run_record_is_named(scenes, tmp_path, capsys):
    folder = train(tmp_path, auto(scenes, precision="32-true"))
    (folder / "run.json").write_text("[")
    words = ["train", str(written(tmp_path / "stage.yaml", auto(scenes)))]
    assert main([*words, "--output", str(folder), "--accelerator", "cpu"]) == 1
    error = capsys.readouterr().err
    assert "run.json is damaged" in error
    assert "--set run.precision" in error
