"""What an error of an import says: the extra that brings a missing package, and nothing of that for other errors."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from depth_anything_ros.cli import main
from depth_anything_ros.commands import evaluate as command
from depth_anything_ros.system.extras import advice, import_problem


def problem_of(module: str, name: str = "") -> str:
    with pytest.raises(ImportError) as caught:
        importlib.import_module(module) if not name else exec(f"from {module} import {name}", {})
    return import_problem(caught.value)


def test_missing_package_is_named_with_its_extra(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "rosbags.highlevel", raising=False)
    monkeypatch.setitem(sys.modules, "rosbags", None)
    assert "it comes with the extra data: pip install" in problem_of("rosbags.highlevel")


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="needs a virtual environment")
@pytest.mark.parametrize(("path", "is_named"), [("", True), (f"{sys.prefix}/bin", False)])
def test_pip_of_the_environment_is_named_unless_it_is_on_the_path(monkeypatch, path: str, is_named: bool) -> None:
    monkeypatch.setenv("PATH", path)
    monkeypatch.chdir(Path(sys.prefix).parent)
    pip = Path(Path(sys.prefix).name, "bin", "pip")
    assert advice("rosbags").endswith(f"; pip of this environment: {pip}") is is_named


def test_installed_package_that_does_not_fit_is_not_called_missing() -> None:
    text = problem_of("numpy", "thing_of_another_release")
    assert "numpy is installed, but this release of it does not work here" in text
    assert "pip install" not in text


def test_error_of_this_package_is_not_called_missing(monkeypatch, capsys, tmp_path: Path) -> None:
    """As while files are replaced under a running program."""

    def run(args: object) -> int:
        exec("from depth_anything_ros.evaluation.run import evaluate_all", {})
        return 0

    monkeypatch.setattr(command, "run", run)
    assert main(["evaluate", "--data", str(tmp_path)]) == 1
    line = capsys.readouterr().err
    assert "cannot import name 'evaluate_all'" in line
    assert "this is an error of depth_anything_ros itself" in line
    assert "extra" not in line
