"""No command overwrites its input, through links or "..": it reports the conflict before any work."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
from miniature_files import picture, put
from miniature_sets import MINIATURES

from depth_anything_ros.cli import main
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.registry import COMMANDS, build_parser
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER

TINY = BUNDLED_FOLDER / "tiny_140x182.onnx"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working folder with a photograph, a model, a record, a configuration and a folder of shards."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "photos" / "a.png", picture(0))
    put(tmp_path / "photos" / "sub" / "b.png", picture(1))
    (tmp_path / "link.png").symlink_to("photos/a.png")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "c.png").symlink_to("../photos/a.png")
    put(tmp_path / "list.txt", "photos/a.png\n")
    put(tmp_path / "net.onnx", TINY.read_bytes())
    for name in ("record.json", "stage.yaml", "camera.yaml", "shards/manifest.json", "shards/shard-000000.tar"):
        put(tmp_path / name, "{}")
    return tmp_path


A = "photos/a.png"
FILES = ["FILE", "DIR", "MODEL", "M", "INPUT", "SHARDS"]
"""What options that name files or folders call them."""


@pytest.mark.parametrize(
    "command",
    [
        f"predict {A} --output out --json {A}",
        f"predict {A} --output out --json photos/../photos/a.png",
        f"predict {A} --output out --json link.png",
        "predict link.png --output out --json photos/a.png",
        "predict link.png --output photos",
        f"predict {A} --output photos/sub/..",
        f"predict {A} --output out --model net.onnx --json net.onnx",
        f"predict {A} --output out --camera camera.yaml --json camera.yaml",
        f"predict {A} --output out --model net.onnx --record record.json --json record.json",
        "predict photos --output photos",
        "predict photos --output out --json photos/new.png",
        f"verify --images {A} --picture {A}",
        f"verify --images photos --picture {A}",
        f"verify --images linked --picture {A}",
        f"verify --images {A} --json {A}",
        "verify net.onnx --json net.onnx",
        f"build --images {A} --json {A}",
        "build net.onnx --json net.onnx",
        "bench net.onnx --json net.onnx",
        "bench net.onnx --markdown net.onnx",
        "bench net.onnx --record record.json --json record.json",
        f"data check folder photos --output {A}",
        "data check folder photos --output photos/sub/new.png",
        f"data check folder photos --json {A}",
        f"data check folder linked --output {A}",
        f"data check list list.txt --output {A}",
        "data check list list.txt --json list.txt",
        "data pack folder photos --output photos",
        "data pack folder photos linked --output linked",
        f"data pack folder photos --output out --json {A}",
        f"data pack list list.txt --output out --json {A}",
        "data verify shards --json shards/manifest.json",
        "data verify shards --json shards/shard-000000.tar",
        "evaluate --data photos --model net.onnx --json net.onnx",
        "evaluate --data photos --model net.onnx:record.json --json record.json",
        "evaluate --data photos --model tiny --markdown photos/a.png",
        "evaluate --data photos --model tiny --pictures photos",
        "label shards --teacher tiny --output shards",
        "label shards --teacher net.onnx --output out --json net.onnx",
        "label shards --teacher tiny --output out --json shards/manifest.json",
        "train stage.yaml --output out --json stage.yaml",
        "ablate stage.yaml --output out --json stage.yaml",
        "ablate stage.yaml --output out --base camera.yaml --json camera.yaml",
        "ablate stage.yaml --output photos --data photos",
        "pipeline stage.yaml --output out --json stage.yaml",
        "models show record.json --json record.json",
        "models seal net.onnx --json net.onnx",
        "export net.onnx --output net.onnx",
        "export net.onnx --output out.onnx --json net.onnx",
        f"demo --source {A} --json {A}",
        "demo --source photos --output photos",
        "demo --calibration camera.yaml --json camera.yaml",
    ],
)
def test_output_over_input_is_rejected(command, place, capsys):
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert main(command.split()) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "read" in said or "an input" in said
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "command",
    [
        "bench net.onnx --json out.json --markdown ./out.json",
        "evaluate --data photos --json out.json --markdown out.json",
        "label shards --teacher tiny --output out --json out/manifest.json",
        "label shards --teacher tiny --output out --json out/labels.json",
        "train stage.yaml --output out --json out/run.json",
        "train stage.yaml --output out --json out/stage.safetensors",
        "data pack folder photos --output out --json out/shard-000000.json",
        f"predict {A} --output out --json out/a.npy",
    ],
)
def test_two_outputs_of_equal_path_are_rejected(command, place, capsys):
    assert main(command.split()) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "are the same file" in said or "among the files that the command writes there" in said
    assert not (place / "out").exists()


def test_harmless_output_paths_are_accepted(place, capsys):
    """A report beside what is read, and anew."""
    for _ in range(2):
        assert main(["data", "check", "folder", "photos", "--json", "photos/report.json", "--output", "sheet.png"]) == 0
    assert main(["data", "check", "folder", "photos/sub", "--output", "photos/sheet.png"]) == 0
    put(place / "tiny" / "notes.txt", "a folder of the model's name")
    assert main(["models", "show", "tiny", "--json", "tiny/record.json"]) == 0
    assert main(["models", "list", "--json", "/dev/stdout"]) == 0


def test_report_over_file_of_set_is_rejected(tmp_path, capsys):
    root = tmp_path / "set"
    (one, *_) = MINIATURES["ddad"](root)
    for file in ("ddad.json", *(file for file in one.files if file.endswith(".json"))):
        before = (root / file).read_bytes()
        assert main(["data", "check", "ddad", str(root), "--json", str(root / file)]) == 1
        assert "which is an input" in capsys.readouterr().err
        assert (root / file).read_bytes() == before


def test_report_over_file_of_evaluated_set_is_rejected(tmp_path, capsys):
    root = tmp_path / "data" / "mine"
    put(root / "rgb" / "0.png", picture(0))
    put(root / "depth" / "0.png", np.full((32, 64), 1000, np.uint16))
    put(root / "intrinsics.json", '{"fx": 50, "fy": 50, "cx": 32, "cy": 16}')
    before = (root / "intrinsics.json").read_bytes()
    command = ["evaluate", "--data", tmp_path / "data", "--sets", "mine", "--json", root / "intrinsics.json"]
    assert main([str(word) for word in command]) == 1
    assert f"{root / 'intrinsics.json'} is a file of mine in {root}, which is an input" in capsys.readouterr().err
    assert (root / "intrinsics.json").read_bytes() == before


def test_circular_links_are_accepted(place, capsys):
    (place / "round").symlink_to("about")
    (place / "about").symlink_to("round")
    assert main(["models", "show", "tiny", "--json", "round"]) == 0


def test_bundle_over_weights_of_model_is_rejected(tmp_path, capsys):
    pytest.importorskip("onnx", reason="exporting needs the `onnx` extra")
    pytest.importorskip("torch", reason="exporting needs the `torch` extra")
    weights = tmp_path / "runs" / "tiny.safetensors"
    put(weights, (BUNDLED_FOLDER / "tiny.safetensors").read_bytes())
    before = weights.read_bytes()
    for words in (
        ["--bundle", tmp_path / "runs"],
        ["--output", tmp_path / "runs" / ".." / "runs" / "tiny.safetensors"],
    ):
        assert main(["export", str(weights), *map(str, words)]) == 1
        assert f"{weights}, which is an input" in capsys.readouterr().err
    assert weights.read_bytes() == before
    put(tmp_path / "other" / "record.json", (BUNDLED_FOLDER / "record.json").read_text().replace('"tiny"', '"vits"'))
    assert main(["export", str(weights), "--bundle", str(tmp_path / "other")]) == 1
    assert "holds the model vits: give tiny its own folder" in capsys.readouterr().err


def test_demo_output_over_source_is_rejected(tmp_path, monkeypatch, capsys):
    pytest.importorskip("rclpy", reason="the demo needs ROS 2")
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "demo" / "cloud.png", picture(0))
    assert main(["demo", "--source", "demo/cloud.png"]) == 1
    assert "--output demo: cloud.png would replace demo/cloud.png, which is an input" in capsys.readouterr().err


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
        is_command = isinstance(action, argparse._SubParsersAction)
        found += [one for sub in action.choices.values() for one in actions_of(sub)] if is_command else [action]
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_option_declares_reading_or_writing(command):
    """By its type, so that a new one is looked at too."""
    writers = parse.output_file, parse.output_folder, parse.output_picture, parse.output_bag
    for action in actions_of(build_parser(command)):
        name = (action.option_strings or [action.dest])[-1]
        if action.metavar in FILES:
            assert action.type in writers or action.type.reads, name
        if name.startswith(("--json", "--output", "--markdown", "--picture", "--pack", "--bundle")):
            assert action.type in writers, name


def test_output_to_device_is_written_in_place(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert main(["models", "list", "--json", str(pipe)]) == 0
        assert os.read(reader, 1 << 16).startswith(b"[")
    finally:
        os.close(reader)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_run_inside_evaluated_images_is_rejected(place, capsys):
    """As in those that it learns from: its files would be among what is read."""
    data = "labeled: [{shards: shards}], labeled_batch_size: 1, evaluation: [{set: folder, root: photos}]"
    network = "stage: teacher, name: a, network: {encoder: tiny}, optimizer: {steps: 1}"
    put(place / "stage.yaml", f"{{{network}, data: {{{data}}}}}")
    assert main(["train", "stage.yaml", "--output", "photos", "--accelerator", "cpu"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "--output photos" in said
    assert "data.evaluation" in said
