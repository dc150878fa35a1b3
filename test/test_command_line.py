"""The command `depth_anything_ros`: what it teaches, how it fails, and what it leaves unimported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from waiting import limit

import depth_anything_ros
from depth_anything_ros.cli import COMMANDS, main

TORCH_FREE = ("bench", "camera", "demo", "evaluate", "models", "predict")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What the console script of this name does."""
    entry_point = "import sys; from depth_anything_ros.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", entry_point, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit(120))


def test_version() -> None:
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.strip() == depth_anything_ros.__version__


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "depth_anything_ros", "models", "show", "no_such_model"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit(120))
    assert result.returncode == 1
    assert result.stderr.startswith("depth_anything_ros models: ")


def test_help_lists_every_command() -> None:
    result = run("--help")
    assert result.returncode == 0
    for name, summary in COMMANDS.items():
        assert name in result.stdout
        assert summary.split(",")[0].split(";")[0] in " ".join(result.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: depth_anything_ros {command}")
    assert result.stderr == ""


@pytest.mark.parametrize("command", TORCH_FREE)
def test_importing_a_command_leaves_torch_out(command: str) -> None:
    program = (
        "import sys; from depth_anything_ros import cli; "
        f"cli.build_parser({command!r}); "
        "print(sorted({'torch', 'onnx', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=limit(120))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [(), ("no_such_command",), ("predict", "--no-such-option")])
def test_misuse_is_explained_in_the_usage_error(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: depth_anything_ros")
    assert "error: " in result.stderr.splitlines()[-1]


def test_missing_input_is_one_clear_line(tmp_path: Path) -> None:
    absent = tmp_path / "absent.png"
    result = run("predict", absent, "--output", tmp_path / "out")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("depth_anything_ros predict: ")
    assert str(absent) in line


def test_missing_model_is_one_clear_line(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"")
    absent = tmp_path / "absent.onnx"
    result = run("predict", picture, "--model", absent, "--output", tmp_path / "out")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert str(absent) in line or str(picture) in line


def test_unknown_model_name_is_one_clear_line() -> None:
    result = run("models", "show", "no_such_model")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "no_such_model" in line


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("depth_anything_ros.training.rendering")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "depth_anything_ros.commands.scenes", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert main(["scenes", "--help"]) == 1
    assert "comes with the extra train: pip install '.[train]'" in capsys.readouterr().err
