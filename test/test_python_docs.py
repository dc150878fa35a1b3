"""What docs/python.md and the docstrings of the Python interface show runs as it is shown."""

from __future__ import annotations

import doctest
import importlib
import re
import shutil
import warnings
from pathlib import Path

import pytest

import depth_anything_ros


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, since backends are measured once in each."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _in_a_folder_with_photos(repository: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/coffee.jpg"):
        shutil.copy(repository / "docs" / "coffee.jpg", tmp_path / name)


def blocks(page: Path, heading: str | None = None) -> list[str]:
    """The Python code of a page, all of it or of one section."""
    text = page.read_text()
    if heading is not None:
        text = re.split(r"^## ", text.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(code: list[str]) -> dict[str, object]:
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", depth_anything_ros.NominalScaleWarning)
        for block in code:
            exec(compile(block, "docs/python.md", "exec"), names)
    return names


def test_predictions_run_as_docs_show_them(repository: Path, tmp_path: Path) -> None:
    names = run(blocks(repository / "docs" / "python.md"))
    assert {"depth.png", "coffee.npy", "depth_mm.png", "cloud.ply"} <= {path.name for path in tmp_path.iterdir()}
    assert names["depth"][300, 320] == pytest.approx(0.35, rel=1e-3)
    assert names["depth"][20, 20] == pytest.approx(0.9, rel=1e-3)
    assert re.match(
        r"Prediction\(600x400, relative inverse depth, 0\.1\d* … 0\.9\d*, tiny on ", repr(names["prediction"])
    )


def test_the_readme_runs(repository: Path) -> None:
    (code,) = blocks(repository / "README.md", "In Python")
    names = run([code])
    assert "depth_anything_ros.Estimator" not in code  # the short way
    assert names["prediction"].shape == (400, 600)


@pytest.mark.parametrize("name", sorted({"", *depth_anything_ros._MODULES.values()}))
def test_examples_in_docstrings_give_what_they_say(name: str) -> None:
    module = importlib.import_module(f"depth_anything_ros.{name}".rstrip("."))
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not found.failed


def test_there_are_examples_in_docstrings() -> None:
    modules = [importlib.import_module(f"depth_anything_ros.{name}") for name in ("api.estimator", "api.prediction")]
    for module in (*modules, importlib.import_module("depth_anything_ros.geometry.camera")):
        assert sum(len(found.examples) for found in doctest.DocTestFinder().find(module)) > 1
