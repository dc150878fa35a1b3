"""The examples in docs/python.md and in docstrings of the Python interface run and give their stated output."""

from __future__ import annotations

import doctest
import importlib
import re
import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

import depth_anything_ros


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, because each new cache measures the backends once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _in_a_folder_with_photos(repository: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/coffee.jpg"):
        shutil.copy(repository / "docs" / "coffee.jpg", tmp_path / name)


def put_frames(folder: Path) -> None:
    """Write a ramp that recedes to the right, as the user's own images with depth."""
    for kind in ("rgb", "depth"):
        (folder / kind).mkdir(parents=True)
    for index in range(2):
        depth = np.tile(np.linspace(1000, 4000, 56).astype(np.uint16), (28, 1))
        cv2.imwrite(str(folder / "rgb" / f"{index}.png"), np.full((28, 56, 3), 60 * index + 60, np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{index}.png"), depth)


def blocks(page: Path, heading: str | None = None) -> list[str]:
    """Return the Python code blocks of a page or of one section."""
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


def test_python_page_runs(repository: Path, tmp_path: Path, scenes: dict[str, str], one_thread: None) -> None:
    pytest.importorskip("lightning_fabric", reason="trains: the extra `train`")
    from stage_runs import configuration, written

    written(tmp_path / "teacher.yaml", configuration(scenes, "teacher"))
    put_frames(tmp_path / "my_camera")
    names = run(blocks(repository / "docs" / "python.md"))
    assert set(names["evaluation"].means) == {"tiny", "constant", "vertical gradient"}
    assert names["result"].step == 2
    assert names["estimator"].record.name == "teacher"
    assert {"depth.png", "coffee.npy", "depth_mm.png", "cloud.ply"} <= {path.name for path in tmp_path.iterdir()}
    assert names["depth"][300, 320] == pytest.approx(0.35, rel=1e-3)
    assert names["depth"][20, 20] == pytest.approx(0.9, rel=1e-3)
    assert re.match(
        r"Prediction\(600x400, relative inverse depth, 0\.1\d* … 0\.9\d*, tiny on ", repr(names["prediction"])
    )


def test_readme_example_runs(repository: Path) -> None:
    (code,) = blocks(repository / "README.md", "In Python")
    names = run([code])
    assert "depth_anything_ros.Estimator" not in code  # the short way
    assert names["prediction"].shape == (400, 600)


@pytest.mark.parametrize("name", sorted({"", *depth_anything_ros._MODULES.values()}))
def test_docstring_examples_give_stated_output(name: str) -> None:
    module = importlib.import_module(f"depth_anything_ros.{name}".rstrip("."))
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not found.failed


def test_docstrings_contain_examples() -> None:
    modules = [importlib.import_module(f"depth_anything_ros.{name}") for name in ("api.estimator", "api.prediction")]
    for module in (*modules, importlib.import_module("depth_anything_ros.geometry.camera")):
        assert sum(len(found.examples) for found in doctest.DocTestFinder().find(module)) > 1
